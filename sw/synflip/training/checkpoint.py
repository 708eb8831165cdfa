"""Checkpoints: what a training that was stopped leaves in a file, so that it can go on to the same bytes.

A checkpoint is a safetensors file: parameters, both moments and the step count of Adam, the generator's state
at the beginning of the epoch (it drew the order of the images) and after the last step. Its metadata is one
JSON object: the step, and the recipe that the training must have when it goes on. The learning rate is a
function of the step and needs no state.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synflip._version import __version__
from synflip.errors import SynflipError
from synflip.modelfile.safetensors import read_tensors
from synflip.util.arrays import digest, flag
from synflip.util.outputs import beside, check_outputs, is_plain, replacing
from synflip.util.text import one_line

FORMAT = "synflip checkpoint 1"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # Adam's names
_EPOCH, _NOW = "generator.epoch", "generator.now"


class Interrupted(KeyboardInterrupt):
    """A training was stopped, and a checkpoint was kept. The text says where, and how far training was."""


def checkpoint_path(out: str | Path, resume: bool = False) -> Path | None:
    """Where the checkpoint of a model lies: ``m.checkpoint.safetensors`` beside ``m.safetensors``.

    None if ``out`` is no file, such as /dev/null or a FIFO: nothing is put beside it. Raises SynflipError if
    such a training should ``resume``.
    """
    if is_plain(out):
        return beside(out, ".safetensors", ".checkpoint.safetensors")
    if resume:
        raise SynflipError(f"{out} is no file, so there is no checkpoint beside it: take away --resume")
    return None


class Checkpoint:
    """The file that a training leaves if it is stopped, and goes on from. One that has ended leaves its last
    state too, until ``done``: what comes behind it may be stopped as well.

    path: where it lies. resume: go on from it. Raises SynflipError if the file is there and ``resume`` is
    False, because the work in it would be lost; and if it is not there and ``resume`` is True.
    """

    def __init__(self, path: str | Path, resume: bool = False) -> None:
        check_outputs([path])
        self.path = Path(path)
        self.resume = resume
        self._recipe: dict[str, Any] = {}
        if resume and not self.path.is_file():
            raise SynflipError(f"there is no checkpoint {path}: begin without --resume (resume=False)")
        if not resume and self.path.exists():
            raise SynflipError(
                f"{path} is there, from a training that was stopped: go on with --resume (resume=True), or "
                "delete the file to begin anew"
            )

    def begin(
        self,
        recipe: Mapping[str, Any],
        parameters: Sequence[Tensor],
        arrays: Sequence[NDArray[np.generic]],
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> tuple[int, Tensor]:
        """Take the state of the file if the training goes on. Returns the steps done, and the generator's
        state at the beginning of their epoch.

        recipe: JSON values that must be equal when the training goes on. parameters: of the network before
        training; they are set in place. arrays: images and labels. Raises SynflipError, with the first thing
        that differs, for a file of another training.
        """
        self._recipe = {
            **recipe,
            "data": digest(arrays),
            "network": digest([tensor.detach().numpy() for tensor in parameters]),
            "generator": digest([generator.get_state().numpy()]),
            "synflip": __version__,
            "torch": torch.__version__,
        }
        if not self.resume:
            return 0, generator.get_state()
        tensors, metadata = read_tensors(self.path, ("F32", "U8"), "a checkpoint of synflip train")
        try:
            head = json.loads(metadata["checkpoint"])
            if head["format"] != FORMAT:
                raise ValueError
            before, step = dict(head["recipe"]), int(head["step"])
        except (KeyError, TypeError, ValueError, RecursionError):
            raise SynflipError(f"{self.path} is not a checkpoint of synflip train") from None
        for name, value in self._recipe.items():
            if before.get(name) != value:
                raise SynflipError(
                    f"{self.path} is of another training: {_difference(name, before.get(name), value)}"
                )
        try:
            self._take(tensors, step, parameters, optimiser, generator)
            return step, torch.from_numpy(tensors[_EPOCH])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise SynflipError(f"{self.path} is a damaged checkpoint: {one_line(str(error))}") from None

    def _take(
        self,
        tensors: Mapping[str, NDArray[Any]],
        step: int,
        parameters: Sequence[Tensor],
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> None:
        states: dict[int, dict[str, Tensor]] = {}
        with torch.no_grad():
            for index, parameter in enumerate(parameters):
                value = tensors[f"{index}.value"]
                moments = {
                    name: torch.from_numpy(tensors[f"{index}.{name}"])
                    for name in _MOMENTS
                    if f"{index}.{name}" in tensors
                }
                shapes = [value.shape, *(moments[name].shape for name in _MOMENTS[:2] if moments)]
                if any(shape != parameter.shape for shape in shapes) or step < 0:
                    raise ValueError(f"parameter {index} has the shape {list(value.shape)}")
                parameter.copy_(torch.from_numpy(value))
                if moments:
                    states[index] = moments
        optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
        generator.set_state(torch.from_numpy(tensors[_EPOCH]))  # refused here if it is damaged
        generator.set_state(torch.from_numpy(tensors[_NOW]))

    def keep(
        self,
        step: int,
        steps: int,
        parameters: Sequence[Tensor],
        optimiser: torch.optim.Optimizer,
        epoch: Tensor,
        generator: torch.Generator,
    ) -> Interrupted:
        """Write the file after ``step`` of ``steps``; what is to be raised if the training was stopped there.
        Raises SynflipError.

        epoch: the generator's state at the beginning of the epoch.
        """
        from safetensors.numpy import save

        tensors = {_EPOCH: epoch.numpy(), _NOW: generator.get_state().numpy()}
        for index, parameter in enumerate(parameters):
            tensors[f"{index}.value"] = parameter.detach().numpy()
            for name, value in optimiser.state.get(parameter, {}).items():
                tensors[f"{index}.{name}"] = value.numpy()
        head = {"format": FORMAT, "step": step, "recipe": self._recipe}
        content = save(
            {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()},
            metadata={"checkpoint": json.dumps(head)},
        )
        with replacing(self.path) as partial:
            partial.write_bytes(content)
        return Interrupted(f"stopped after step {step:,} of {steps:,}; {self.path} keeps the state")

    def done(self) -> None:
        """Remove the file: what came of the training is kept elsewhere."""
        self.path.unlink(missing_ok=True)


def checkpoint_beside(out: str | Path, resume: bool) -> Checkpoint | None:
    """The checkpoint of a model that is written to ``out``, see ``checkpoint_path``. Raises SynflipError."""
    path = checkpoint_path(out, resume)
    return None if path is None else Checkpoint(path, resume)


def checkpoint_of(given: "str | Path | Checkpoint | None", resume: bool) -> Checkpoint | None:
    """The checkpoint that a training was given. Raises SynflipError as ``Checkpoint`` does, and if there is
    none to resume."""
    if flag(resume, "resume") and given is None:
        raise SynflipError("resume goes on from a checkpoint: give its path too, checkpoint=PATH")
    return given if given is None or isinstance(given, Checkpoint) else Checkpoint(given, resume)


def end(kept: Checkpoint | None, given: "str | Path | Checkpoint | None") -> None:
    """A training returns what it has made: its file is removed, unless it is that of a Checkpoint, which
    whoever has made it removes by ``done``."""
    if kept is not None and kept is not given:
        kept.done()


@contextmanager
def stopping(watch: bool) -> Iterator[Callable[[], bool]]:
    """Within the block SIGINT and SIGTERM wait: the function that the block is given says whether one came.

    A second one acts at once, as without the block. watch: False, or a thread other than the main one, leaves
    the signals alone.
    """
    if not watch or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # A signal that is ignored, as under nohup, stays ignored; one of a handler in C cannot be put back.
    taken = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, old in taken.items():
            signal.signal(number, old)

    def stop(number: int, _frame: object) -> None:
        came.append(number)
        restore()

    for number in taken:
        signal.signal(number, stop)
    try:
        yield lambda: bool(came)
    finally:
        restore()


def digest_of(modules: Sequence[torch.nn.Module]) -> str:
    """SHA-256 of all parameters and buffers of some modules."""
    return digest([value.numpy() for module in modules for value in module.state_dict().values()])


def _difference(name: str, before: object, now: object) -> str:
    if name == "data":
        return "its training images or labels are others"
    if name in ("network", "generator"):
        return "the network before training, so its sizes, its seed or its weights, is another"
    if name == "teachers":
        return "its teachers are others"
    return f"{name} was {before}, now it is {now}"
