"""Temperatures of shares."""

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.uncertainty import softmax
from synflip.uncertainty.temperature import at_temperature, fit_temperature


def test_shares_that_are_too_sure_are_cooled_to_what_labels_say() -> None:
    generator = np.random.default_rng(1)
    z = generator.normal(0, 3, (5000, 5))
    true = softmax(z, 2.0)
    labels = (true.cumsum(1) > generator.random((len(z), 1))).argmax(1)
    assert fit_temperature(softmax(z, 1.0), labels) == pytest.approx(2, rel=0.08)
    assert at_temperature(softmax(z, 1.0), 2.0) == pytest.approx(true)
    mean = (softmax(z, 1.0) + softmax(z[:, ::-1], 1.0)) / 2
    assert at_temperature(mean, 1.0) == pytest.approx(mean)


def test_a_share_of_nothing() -> None:
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert np.isfinite(fit_temperature(sure, np.array([0, 0])))
    assert at_temperature(sure, 3.0)[0] == pytest.approx([1, 0], abs=1e-9)
    with pytest.raises(SynflipError):
        fit_temperature(sure, np.zeros(3, np.int64))
