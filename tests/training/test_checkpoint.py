"""A training that is stopped goes on to the same bytes; files that are no checkpoints of it are refused."""

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from synflip import modelfile
from synflip.compiler.compile import compile_network
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.errors import SynflipError
from synflip.evaluation.evaluate import evaluate
from synflip.evaluation.foreign import fit_energy_threshold
from synflip.training import convnets
from synflip.training.baseline import float_network
from synflip.training.checkpoint import Checkpoint, Interrupted, checkpoint_path
from synflip.training.convert import convert
from synflip.training.ladder import vote_accuracies
from synflip.training.loop import TrainStep
from synflip.training.train import train
from torch import nn


@pytest.fixture(scope="module")
def few() -> Dataset:
    digits = load("digits")
    return replace(digits, train_images=digits.train_images[:150], train_labels=digits.train_labels[:150])


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Signals act, also where the tests were started in the background, which ignores Ctrl-C."""
    actions = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, action) for number, action in actions.items()}
    yield
    for number, action in before.items():
        signal.signal(number, action)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "m.checkpoint.safetensors"


def digest(network: Any, data: Dataset, folder: Path) -> str:
    path = folder / "m.safetensors"
    modelfile.save(compile_network(network, data.classes, data.input_max), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def at(step: int, number: int | None = None) -> Callable[[TrainStep], None]:
    """A progress that stops the training at a step: by a signal, or by Ctrl-C in what shows progress."""

    def stop(told: TrainStep) -> None:
        if told.step == step:
            if number is None:
                raise KeyboardInterrupt
            signal.raise_signal(number)

    return stop


# 150 images are five steps an epoch: in an epoch, at the end of one, after the first step, after the last.
@pytest.mark.parametrize(
    ("step", "number"), [(7, signal.SIGINT), (5, signal.SIGTERM), (1, None), (15, signal.SIGINT)]
)
@pytest.mark.parametrize("augment", [False, True])
def test_stopped_and_resumed(few: Dataset, file: Path, step: int, number: int | None, augment: bool) -> None:
    settings: dict[str, Any] = {"hidden": (12,), "epochs": 3, "seed": 2, "augment": augment}
    whole = train(few, **settings)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match=f"stopped after step {step} of 15"):
        train(few, **settings, checkpoint=file, progress=at(step, number))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    seen: list[int] = []
    again = train(few, **settings, checkpoint=file, resume=True, progress=lambda told: seen.append(told.step))
    assert seen == list(range(step + 1, 16))
    assert digest(again, few, file.parent) == digest(whole, few, file.parent)
    assert torch.equal(again.log_temperature, whole.log_temperature)
    assert not file.exists()


def test_what_comes_behind_the_training_may_be_stopped(few: Dataset, file: Path) -> None:
    """The last state is kept until the model is safe; in a file that is named only, until it is returned."""
    settings: dict[str, Any] = {"hidden": (12,), "epochs": 1}
    whole = train(few, **settings, checkpoint=Checkpoint(file))
    seen: list[int] = []
    kept = Checkpoint(file, resume=True)
    again = train(few, **settings, checkpoint=kept, progress=lambda told: seen.append(told.step))
    assert seen == [] and digest(again, few, file.parent) == digest(whole, few, file.parent)
    kept.done()
    assert not file.exists()
    train(few, **settings, checkpoint=file)
    assert not file.exists()


def test_a_signal_while_the_last_state_is_written(
    few: Dataset, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(self: Checkpoint, *arguments: Any, real: Any = Checkpoint.keep) -> Interrupted:
        signal.raise_signal(signal.SIGTERM)
        return real(self, *arguments)

    monkeypatch.setattr(Checkpoint, "keep", keep)
    with pytest.raises(Interrupted, match="stopped after step 5 of 5"):
        train(few, (12,), epochs=1, checkpoint=file)
    assert file.is_file()


def test_a_conversion_that_is_stopped_behind_its_training(
    few: Dataset, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def converted(**settings: Any) -> Any:
        return convert(nn.Sequential(*float_network(few, (12,), 1)), data=few, epochs=1, **settings)

    def count(*arguments: Any, real: Any = vote_accuracies) -> Any:
        if file.exists():  # behind the training; before it they are counted too
            raise KeyboardInterrupt
        return real(*arguments)

    whole = converted()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("synflip.training.convert.vote_accuracies", count)
        converted(checkpoint=file)
    again = converted(checkpoint=file, resume=True)
    assert digest(again, few, file.parent) == digest(whole, few, file.parent)
    assert again.ladder == whole.ladder and not file.exists()


def test_stopped_twice(few: Dataset, file: Path) -> None:
    settings: dict[str, Any] = {"hidden": (12,), "epochs": 2, "mean_of": 2}
    settings["teachers"] = [float_network(few, (8,), 1)]
    whole = train(few, **settings)
    for step in (3, 8):
        with pytest.raises(Interrupted):
            train(few, **settings, checkpoint=file, resume=step > 3, progress=at(step))
    again = train(few, **settings, checkpoint=file, resume=True)
    assert digest(again, few, file.parent) == digest(whole, few, file.parent)
    settings["teachers"] = [float_network(few, (8,), 2)]
    with pytest.raises(Interrupted):
        train(few, **settings, checkpoint=file, progress=at(1))
    settings["teachers"] = [float_network(few, (8,), 1)]
    with pytest.raises(SynflipError, match="its teachers are others"):
        train(few, **settings, checkpoint=file, resume=True)
    settings["teachers"] = [float_network(few, (8,), 2)]
    with pytest.raises(SynflipError, match="noise"):
        train(few, **settings, noise=1, checkpoint=file, resume=True)


def test_progress_true_shows_a_bar(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what trains and evaluates, as of ``Device.infer``."""
    seen: list[tuple[str, int, int]] = []

    @contextmanager
    def noted(what: str) -> Iterator[Callable[..., None]]:
        yield lambda done, total, word="": seen.append((what, done, total))

    def last() -> tuple[str, int, int]:
        found = seen[-1]
        seen.clear()
        return found

    monkeypatch.setattr("synflip.util.progress.bar", noted)
    network = train(few, (12,), epochs=1, progress=True)
    assert last() == ("Training on digits", 5, 5)
    convert(nn.Sequential(*float_network(few, (12,), 1)), data=few, epochs=1, progress=True)
    assert last() == ("Training on digits", 5, 5)
    convnets.train(few, (12,), (2,), epochs=1, progress=True)
    assert last() == ("Training on digits", 5, 5)
    model = compile_network(network, few.classes, few.input_max)
    evaluate(model, few, 2, progress=True)
    assert last() == ("Flipping coins", 2 * len(few.test_labels), 2 * len(few.test_labels))
    fit_energy_threshold(model, few, progress=True)
    assert last()[0] == "Flipping coins"
    train(few, (12,), epochs=1, progress=False)
    evaluate(model, few, 2, progress=False)
    assert seen == []


def test_convolutions_and_conversion(few: Dataset, file: Path) -> None:
    def convolutions(**settings: Any) -> Any:
        return convnets.train(few, (12,), (2,), epochs=1, **settings)

    def converted(**settings: Any) -> Any:
        return convert(nn.Sequential(*float_network(few, (12,), 1)), data=few, epochs=1, **settings)

    for trained in (convolutions, converted):
        whole = trained()
        with pytest.raises(Interrupted):
            trained(checkpoint=file, progress=at(2))
        again = trained(checkpoint=file, resume=True)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bits": 2}, "is of another training: bits was 4, now it is 2"),
        ({"epochs": 3}, "is of another training: epochs was 2, now it is 3"),
        ({"augment": True}, "is of another training: augment was False, now it is True"),
        ({"seed": 1}, "is of another training: the network before training"),
        ({"hidden": (13,)}, "is of another training: the network before training"),
    ],
)
def test_another_training(few: Dataset, file: Path, change: dict[str, Any], expected: str) -> None:
    settings: dict[str, Any] = {"hidden": (12,), "epochs": 2}
    with pytest.raises(Interrupted):
        train(few, **settings, checkpoint=file, progress=at(4))
    before = file.read_bytes()
    with pytest.raises(SynflipError) as caught:
        train(few, **(settings | change), checkpoint=file, resume=True)
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    other = replace(few, train_labels=few.train_labels[::-1].copy())
    with pytest.raises(SynflipError, match="its training images or labels are others"):
        train(other, **settings, checkpoint=file, resume=True)
    with pytest.raises(SynflipError, match="go on with --resume"):
        train(few, **settings, checkpoint=file)
    assert file.read_bytes() == before


def test_files_that_are_no_checkpoints(few: Dataset, file: Path) -> None:
    settings: dict[str, Any] = {"hidden": (12,), "epochs": 2, "checkpoint": file}
    with pytest.raises(SynflipError, match="there is no checkpoint"):
        train(few, **settings, resume=True)
    with pytest.raises(Interrupted):
        train(few, **settings, progress=at(4))
    whole = file.read_bytes()

    def refused(expected: str) -> None:
        with pytest.raises(SynflipError, match=expected) as caught:
            train(few, **settings, resume=True)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)

    for content in (b"", b"\xff" * 64, whole[:-40], whole[:100]):
        file.write_bytes(content)
        refused("not a safetensors file")
    save_file({"a": np.zeros(3, np.float32)}, file)
    refused("is not a checkpoint of synflip train")
    file.write_bytes(whole)
    tensors = load_file(file)
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
    for name in ("0.value", "0.exp_avg", "generator.now"):
        save_file({**tensors, name: np.zeros(2, tensors[name].dtype)}, file, metadata=metadata)
        refused("is a damaged checkpoint")
    save_file({name: value for name, value in tensors.items() if name != "1.value"}, file, metadata=metadata)
    refused("is a damaged checkpoint")


def test_nothing_is_put_beside_what_is_no_file(tmp_path: Path) -> None:
    """As root, --out /dev/null would leave a checkpoint in /dev."""
    os.mkfifo(tmp_path / "pipe")
    for out in (tmp_path / "pipe", "/dev/null", "/dev/stdout"):
        assert checkpoint_path(out) is None
        with pytest.raises(
            SynflipError, match="is no file, so there is no checkpoint beside it: take away --res"
        ):
            checkpoint_path(out, resume=True)
    assert checkpoint_path(tmp_path / "m.safetensors", True) == tmp_path / "m.checkpoint.safetensors"
