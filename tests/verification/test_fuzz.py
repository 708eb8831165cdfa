"""The fuzzer: it finds what is wrong on purpose, makes it small, saves it, and finds nothing else."""

import itertools
import shlex
from dataclasses import replace

import numpy as np
import pytest
from synflip.cli import app
from synflip.devices import registry
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.parts import runs_of
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.verification import fuzz
from synflip.verification.cases import RandomCase, draw_case, draw_geometry, runs_of_case
from synflip.verification.shrink import shrink, simpler

from tests.golden import reference
from tests.networks import small_convolutional_network


class Wrong(Golden):
    """The golden model, but for one logit of an image whose last pixel is lit, in a network that is not
    trivial."""

    name = "wrong"

    def run(self, request, progress=None) -> Result:
        result = super().run(request, progress)
        broken = request.pixels[:, -1] > 0
        runs_of(request, self.geometry)
        if request.samples >= 2 and self.model.shape.count("-") >= 2:
            result.logit_sums[broken, -1] += 1
        return result


class Refusing(Golden):
    """The golden model, refusing what has no room, as the accelerator does."""

    def run(self, request, progress=None) -> Result:
        runs_of(request, self.geometry)
        return super().run(request, progress)


class Slow(Refusing):
    """The slow reading of the contract as a device; it does not count cycles."""

    name = "reference"

    def run(self, request, progress=None) -> Result:
        runs_of(request, self.geometry)
        model, pixels, samples, seed = request.model, request.pixels, request.samples, request.seed
        margins, logits = request.limits, request.logits
        outcome = reference.run(
            [(layer.q, layer.sign, layer.bias) for layer in model.layers],
            model.bits,
            model.activation_bits,
            model.shifts,
            model.activations(pixels),
            samples,
            seed,
            margins,
            kinds=[layer.metadata() for layer in model.layers],
        )
        shape = (len(pixels), len(model.classes))
        tables, soft = request.tables, {}
        if tables is not None:
            votes, energies = outcome.soft(reference.Tables.of(tables))
            soft["soft_votes"] = np.array(votes, dtype=np.int64).reshape(shape)
            soft["energy_sums"] = np.array(energies, dtype=np.int64)
        return Result(
            votes=np.array(outcome.votes, dtype=np.int32).reshape(shape),
            logit_sums=np.array(outcome.logit_sums, dtype=np.int64).reshape(shape),
            used=np.array(outcome.used, dtype=np.int32),
            cycles=-1,
            logits=np.array(outcome.logits, dtype=np.int32).reshape(samples, *shape) if logits else None,
            **soft,
        )


def small(case: RandomCase) -> bool:
    """A second or less for the slow reading."""
    synapses = sum(layer.q.size for layer in case.model.layers)
    return case.samples * synapses * (len(case.pixels) + case.model.bits) < 200_000


def test_what_is_wrong_on_purpose_is_found_shrunk_saved_and_replayed(tmp_path, monkeypatch, capsys):
    session = fuzz.Session(3, "verilator", tmp_path / "found", opened=Wrong)
    monkeypatch.setattr(fuzz, "MAX_FINDINGS", 1)
    session.run(3600.0)
    (finding,) = session.findings
    case = finding.case
    assert finding.alone
    assert (case.samples, case.pixels.shape, case.seed) == (2, (1, 1), 0)
    assert case.model.shape == "1-1-1"
    assert case.margins is None
    assert not any(layer.q.any() or layer.bias.any() for layer in case.model.layers)
    assert finding.command in (finding.folder / fuzz.NOTE).read_text()

    command = shlex.split(finding.command)
    assert command.pop(0) == "synflip"
    monkeypatch.setattr(registry, "open_device", lambda name, geometry: replayed(name, geometry))
    assert app.main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: first difference: logit sums: image 0, class 0, golden 0, verilator 1")


def test_a_session_ends_inside_a_case_and_opens_nothing_that_takes_too_long(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(fuzz.time, "monotonic", lambda: now)

    class Slow(Refusing):
        """Takes 10 s to open, and 1 s for each piece of a case."""

        def __init__(self, geometry) -> None:
            nonlocal now
            now += 10
            super().__init__(geometry)

        def run(self, request, progress=None) -> Result:
            nonlocal now
            for piece in range(4):
                now += 1
                progress(piece, 4)
            return super().run(request)

    def session(seconds: float) -> fuzz.Session:
        nonlocal now
        now = 0.0
        made = fuzz.Session(3, "golden", tmp_path, opened=Slow)
        made.run(seconds)
        return made

    inside = session(24)  # 10 s to open, three cases of 4 s, and the fourth is left after 3
    assert (inside.cases, inside.seconds) == (3, 25)
    first = session(5)  # nothing is cut short before there is one case
    assert (first.cases, first.seconds) == (1, 14)
    monkeypatch.setattr(fuzz, "CASES", 2)
    no_second = session(25)  # 18 s after two cases, and another accelerator takes 10
    assert (no_second.accelerators, no_second.cases, no_second.seconds) == (1, 2, 18)
    assert session(33).accelerators == 2


def replayed(name: str, geometry: Geometry):
    return Wrong(geometry) if name == "verilator" else Golden(geometry)


def test_command_says_all_of_a_case(tmp_path, monkeypatch):
    """What verify asks of the device is the case, to the last margin."""
    asked = []

    class Spy(Golden):
        def run(self, request, progress=None) -> Result:
            asked.append(
                RandomCase(
                    self.geometry,
                    request.model,
                    request.pixels,
                    request.samples,
                    request.seed,
                    request.margin,
                    request.logits,
                    bool(request.soft),
                )
            )
            return super().run(request, progress)

    monkeypatch.setattr(registry, "open_device", lambda name, geometry: Spy(geometry))
    for number in range(12):
        geometry = draw_geometry(np.random.default_rng((1, number)))
        case = draw_case(geometry, np.random.default_rng((1, number, 0)))
        assert app.main(shlex.split(fuzz.save(case, tmp_path / str(number), "golden"))[1:]) == 0
        for have in asked:
            assert (have.geometry, have.samples, have.seed, have.logits, have.soft) == (
                case.geometry,
                case.samples,
                case.seed,
                case.logits,
                case.soft,
            )
            np.testing.assert_array_equal(have.pixels, case.pixels)
            np.testing.assert_array_equal(have.margins, case.margins)
            assert have.model.metadata() == case.model.metadata()
            for name, tensor in case.model.tensors().items():
                np.testing.assert_array_equal(have.model.tensors()[name], tensor)
        asked.clear()


def test_failure_that_needs_what_ran_before_is_kept_as_it_is(tmp_path):
    class Worn(Refusing):
        """Wrong from its fifth inference on."""

        done = 0

        def run(self, request, progress=None) -> Result:
            self.done += 1
            result = super().run(request, progress)
            result.used[:] += self.done >= 5
            return result

    steps = fuzz.steps(3, Worn)
    step = next(step for step in steps if step.difference)
    steps.close()
    finding = fuzz.settle(step, 3, Worn, "verilator", tmp_path)
    assert not finding.alone
    assert finding.case is step.case
    assert finding.command == "synflip fuzz --seed 3 --first 0 --device verilator"


def test_what_has_no_room_must_be_refused_and_the_rest_done():
    class Bold(Golden):
        def run(self, request, progress=None) -> Result:
            return replace(super().run(request, progress), cycles=1)

    class Timid(Golden):
        def prepare(self, model) -> None:
            raise SynflipError("too large for me")

    geometry = Geometry(16, 1, result_depth=3, log_depth=3)
    rng = np.random.default_rng(1)
    cases = [draw_case(geometry, rng) for _ in range(40)]
    fits = [runs_of_case(case) is not None for case in cases]
    assert any(fits) and not all(fits)
    for case, fit in zip(cases, fits, strict=True):
        assert fuzz.run(case, Refusing(geometry))[1] is None
        if fit:
            assert "does not do what it has room for: too large for me" in fuzz.run(case, Timid())[1]
        else:
            assert fuzz.run(case, Bold())[1] == "golden did what it has no room for"


def test_clean_session_on_the_slow_reading():
    steps = (step for step in fuzz.steps(4, Slow) if small(step.case))
    for step in itertools.islice(steps, 60):
        assert step.difference is None


def test_clean_session_in_verilator():
    with fuzz.opener("verilator")(Geometry(16, 2, bits=5, image_slots=3, log_depth=60)) as accelerator:
        for number in range(40):
            case = draw_case(accelerator.geometry, np.random.default_rng((5, number)))
            assert fuzz.run(case, accelerator)[1] is None


def test_cases_are_numbered():
    """Whatever ran before, case c of accelerator g is the same."""
    first = [step for step in itertools.islice(fuzz.steps(6, Refusing), 3)]
    again = [step for step in itertools.islice(fuzz.steps(6, Refusing), 3)]
    other = next(fuzz.steps(6, Refusing, 1))
    for one, two in zip(first, again, strict=True):
        assert (one.case.geometry, one.case.seed) == (two.case.geometry, two.case.seed)
        np.testing.assert_array_equal(one.case.pixels, two.case.pixels)
        np.testing.assert_array_equal(one.golden.logit_sums, two.golden.logit_sums)
    assert other.accelerator == 1 and other.case.geometry != first[0].case.geometry


def test_simpler_cases_end():
    """A device that fails everything shrinks to the smallest case there is."""
    rng = np.random.default_rng(7)
    geometry = draw_geometry(rng)
    for _ in range(5):
        case = draw_case(geometry, rng)
        least = shrink(case, lambda candidate: True)
        assert (least.samples, least.model.shape, len(least.pixels)) == (1, "1-1", min(1, len(case.pixels)))
        assert not list(simpler(least))


def test_cases_with_convolutions_become_simpler():
    """Each is one that can be asked for: its images are those that its model takes."""
    pixels = np.ones((2, 40), dtype=np.uint8)
    case = RandomCase(Geometry(16, 1), small_convolutional_network(), pixels, 3, 5, None, True)
    least = shrink(case, lambda candidate: candidate.request.samples > 0)
    assert (least.samples, least.model.shape, least.pixels.shape) == (1, "1-1", (1, 1))
    least = shrink(case, lambda candidate: candidate.request.model.convolutional)
    assert least.model.shape == "5x4x2-1(3x3, pad 1x1, pool 2x2)-1"


@pytest.mark.parametrize(
    "text",
    ["16x2", "64x8,bits=4", "48x4,bits=1,activation_bits=3,image_slots=9,log_depth=7", "16x1,key_depth=3"],
)
def test_geometry_as_text(text):
    geometry = Geometry.parse(text)
    assert Geometry.parse(geometry.text, bits=16, activation_bits=1) == geometry


@pytest.mark.parametrize(
    "text", ["16x2,", "16x2,bits", "16x2,bits=x", "16x2,lanes=3", "16x2,cups=3", "16x2,bits=-1"]
)
def test_geometry_that_is_not_one(text):
    with pytest.raises(SynflipError, match="is not NAME=N, with one of bits"):
        Geometry.parse(text)
