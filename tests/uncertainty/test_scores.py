"""Entropies against sums written out, and limits that are known in closed form."""

import math

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.inference.result import Result
from synflip.uncertainty.scores import entropy


def result(logits, used=None, scale=2.0):
    samples, images, classes = np.shape(logits)
    used = np.full(images, samples) if used is None else np.array(used)
    votes = np.zeros((images, classes), np.int32)
    return Result(votes, votes.astype(np.int64), used, 0, np.array(logits, np.int32), scale)


def by_hand(logits, used, scale):
    """Mean softmax and mutual information of one image, logits [S][C], in plain Python."""
    softmaxes = []
    for z in logits[:used]:
        weights = [math.exp(value / scale) for value in z]
        softmaxes.append([weight / sum(weights) for weight in weights])
    mean = [sum(column) / used for column in zip(*softmaxes, strict=True)]

    def bits(shares):
        return -sum(share * math.log2(share) for share in shares)

    return mean, bits(mean) - sum(map(bits, softmaxes)) / used


def test_posterior_and_mutual_information_by_hand():
    rng = np.random.default_rng(0)
    logits = rng.integers(-6, 7, (5, 4, 3))
    used = [5, 1, 3, 5]
    have = result(logits, used, 2.5)
    for image in range(4):
        mean, information = by_hand(logits[:, image].tolist(), used[image], 2.5)
        assert have.posterior[image] == pytest.approx(mean, abs=1e-12)
        assert have.mutual_information[image] == pytest.approx(information, abs=1e-12)


def test_energy_by_hand():
    logits = np.random.default_rng(1).integers(-6, 7, (5, 4, 3))
    used = [5, 1, 3, 5]
    have = result(logits, used, 2.5).energy
    for image in range(4):
        of_each = [-math.log(sum(math.exp(z / 2.5) for z in row)) for row in logits[: used[image], image]]
        assert have[image] == pytest.approx(sum(of_each) / used[image], abs=1e-12)
    assert result([[[2**31 - 1, -(2**31)]]], scale=0.01).energy[0] == pytest.approx(-(2**31 - 1) / 0.01)
    with pytest.raises(SynflipError, match="above 0"):
        _ = result([[[1, 2]]], scale=0.0).energy


def test_samples_that_agree_tell_nothing_and_certain_ones_that_differ_tell_a_bit():
    agree = result(np.tile([[[3, -1]]], (8, 1, 1)))
    assert agree.mutual_information[0] == pytest.approx(0.0, abs=1e-12)
    differ = result([[[9000, 0]], [[0, 9000]]])
    assert differ.mutual_information[0] == pytest.approx(1.0)
    assert differ.posterior[0].tolist() == [0.5, 0.5]


def test_extreme_logits_do_not_overflow():
    far = result([[[2**31 - 1, -(2**31)]]], scale=0.01)
    assert far.posterior[0].tolist() == [1.0, 0.0]
    assert far.mutual_information[0] == 0.0


def test_entropy_of_shares():
    assert entropy(np.array([[0.25] * 4, [1, 0, 0, 0], [0, 0, 0, 0]])).tolist() == [2.0, 0.0, 0.0]


def test_without_logits_or_scale():
    votes = np.ones((1, 2), np.int32)
    with pytest.raises(SynflipError, match="logits=True"):
        _ = Result(votes, votes.astype(np.int64), np.ones(1, np.int32), 0).posterior
    with pytest.raises(SynflipError, match="logit_scale"):
        _ = result([[[1, 2]]], scale=None).mutual_information
    with pytest.raises(SynflipError, match="above 0"):
        _ = result([[[1, 2]]], scale=0.0).posterior
