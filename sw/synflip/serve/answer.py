"""An answer that grows: one image's votes on one or two devices, a network sample at a time."""

import base64
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.golden.cpu import Golden
from synflip.inference.compare import compare
from synflip.inference.device import Device
from synflip.inference.result import Result, Tally, sum_of_cycles
from synflip.serve.inputs import Asked, Picture
from synflip.spec.model import CompiledModel
from synflip.uncertainty import lead

#: Called in a device's thread with the name of an event and its numbers.
Send = Callable[[str, dict[str, Any]], None]

MOST_TILES, MOST_OUTPUTS, MOST_INPUTS = 12, 48, 96  # of a layer's coins that are shown
MOST_COINS = 1 << 15  # of pictures: an event waits in memory until a slow reader takes it


def coin_window(model: CompiledModel, layer: int, picture: Picture | None) -> dict[str, int]:
    """Which coins of a layer are shown: of the first ``outputs`` outputs, and of their first ``inputs``.

    Where the inputs are the pixels of a grey image, they are ``height`` rows of ``width`` coins, a tile for
    each output; else, and of pictures of more than MOST_COINS pixels, ``height`` is 1, a row for each output.
    """
    rows, outputs = model.layers[layer].q.shape[1], model.layers[layer].outputs
    if layer == 0 and picture is not None and picture.height * picture.width == rows <= MOST_COINS:
        return {
            "outputs": min(outputs, MOST_TILES, MOST_COINS // rows),
            "inputs": rows,
            "height": picture.height,
            "width": picture.width,
        }
    inputs = min(rows, MOST_INPUTS)
    return {"outputs": min(outputs, MOST_OUTPUTS), "inputs": inputs, "height": 1, "width": inputs}


def packed(coins: NDArray[np.int8]) -> dict[str, str]:
    """Coins in -1, 0, 1 as two planes of bits, base64: those that came up +1, and those that came up -1."""
    planes = {"plus": coins == 1, "minus": coins == -1}
    return {
        name: base64.b64encode(np.packbits(plane.ravel()).tobytes()).decode()
        for name, plane in planes.items()
    }


class Votes:
    """The part of an answer that one device gives: a job, one network sample a turn.

    Network samples may be computed one by one, because votes, sums and samples used add up; so the result is
    that of ``Device.infer`` with the same model, image, samples, seed and margin.
    """

    def __init__(self, answer: "Answer", number: int) -> None:
        request = answer.asked.request
        self.answer, self.number = answer, number
        self.tally = Tally.zeros(request.samples, 1, len(request.model.classes), logits=True)
        self.done = 0
        self.cycles = 0
        self.left: int | None = None  # network samples that the image had used when it left, or would have

    @property
    def result(self) -> Result:
        """Of the network samples so far."""
        return self.tally.result(self.cycles, self.answer.asked.request.model, None)

    def turn(self, device: Device) -> bool:
        """One network sample. Raises SynflipError."""
        asked, request = self.answer.asked, self.answer.asked.request
        if self.answer.cancelled:
            return False
        first = self.done if device.numbered else 0  # tunnel junctions have no samples before
        began = device.clock_cycles()
        one = device.infer(request.pixels, 1, request.seed, logits=True, first=first)
        clock = device.clock_cycles() - began
        assert one.logits is not None and self.tally.logits is not None
        self.tally.votes[:] += one.votes
        self.tally.logit_sums[:] += one.logit_sums
        self.tally.used[:] += one.used
        self.tally.logits[self.done] = one.logits[0]
        self.cycles = sum_of_cycles(self.cycles, one.cycles)
        self.done += 1
        ahead = int(lead(self.tally.votes)[0])
        if self.left is None and asked.margin is not None and ahead >= asked.margin:
            self.left = self.done
        last = self.done == request.samples or (asked.stop and self.left is not None)
        coins = None
        if asked.coins is not None and self.number == 0 and device.numbered:
            coins = self.answer.coins(self.done - 1)
        self.answer.grown(self, one, {"lead": ahead, "clock": clock, "coins": coins, "last": last})
        return not last

    def fail(self, why: str) -> None:
        """Say why the answer has no end."""
        self.answer.failed(self, why)


class Answer:
    """What one request gets: events of each device's votes, and the comparison of two devices.

    flips: a golden model with the model loaded, which shows coins; it is only read. send: takes the events.
    """

    def __init__(self, asked: Asked, flips: Golden, picture: Picture | None, send: Send) -> None:
        self.asked, self.flips, self.picture, self.send = asked, flips, picture, send
        self.cancelled = False
        self.parts = [Votes(self, number) for number in range(len(asked.devices))]
        self._open = len(self.parts)
        self._failed = False
        self._lock = threading.Lock()  # two devices have two threads

    def cancel(self) -> None:
        """Nobody takes the events any more: no device does more for them."""
        self.cancelled = True

    def coins(self, sample: int) -> dict[str, str]:
        """The coins of a network sample that are shown, packed."""
        assert self.asked.coins is not None
        window = coin_window(self.asked.request.model, self.asked.coins, self.picture)
        coins = self.flips.coins(self.asked.request.seed, sample)[self.asked.coins].numpy()
        return packed(coins[: window["outputs"], : window["inputs"]])

    def grown(self, part: Votes, one: Result, more: dict[str, Any]) -> None:
        """A part has one more network sample, ``one``. more: what its event says besides."""
        result = part.result
        event: dict[str, Any] = {
            "device": part.number,
            "sample": part.done,
            "vote": int(one.winner[0]),
            "votes": result.votes[0].tolist(),
            "winner": int(result.winner[0]),
            "runner_up": int(result.runner_up[0]),
            "entropy": float(result.entropy[0]),
            "left": part.left,
            "cycles": one.cycles,
            **more,
        }
        if result.logit_scale is not None:
            event |= {
                "posterior": result.posterior[0].tolist(),
                "mutual_information": float(result.mutual_information[0]),
                "energy": float(result.energy[0]),
                "foreign": None if result.energy_threshold is None else bool(result.foreign[0]),
            }
        with self._lock:
            if len(self.parts) > 1:
                event |= self._equal()
            self.send("sample", event)
            if more["last"]:
                self._end()

    def failed(self, part: Votes, why: str) -> None:
        """A part has ended early."""
        with self._lock:
            self._failed = True
            self.send("failed", {"device": part.number, "error": why})
            self._end()

    def _equal(self) -> dict[str, int]:
        """Of the network samples that both devices have, how many gave equal logits."""
        both = min(part.done for part in self.parts)
        one, other = (part.tally.logits for part in self.parts)
        assert one is not None and other is not None
        return {"both": both, "equal": int((one[:both] == other[:both]).all(axis=(1, 2)).sum())}

    def _end(self) -> None:
        self._open -= 1
        if self._open:
            return
        event: dict[str, Any] = {}
        if len(self.parts) > 1 and not self._failed:
            one, other = (part.result for part in self.parts)
            found = compare(one, other, self.asked.devices[1])
            numbers = {name: count for name, count in found.compared.items() if name != "cycles"}
            event["compared"] = sum(numbers.values())  # cycles differ where geometries do
            event["different"] = sum(found.different[name] for name in numbers)
        self.send("end", event)
