"""The cocotb benches: every block and the whole accelerator, cycle by cycle against the golden trace."""

import pytest
from synflip_sim.testbenches.accelerator import FLIP_VARIABLE
from synflip_sim.testbenches.runner import BENCHES, benches_of, run
from synflip_sim.testbenches.runs import RUNS
from synflip_sim.testbenches.scoreboard import Difference, Scoreboard

pytestmark = pytest.mark.simulator


OF_NIGHT = ("source", "key_memory", "synapse_array", "soft_votes", "registers")


def by_night(run: str, bench: str = "accelerator") -> list[pytest.MarkDecorator]:
    """The mark of a run that is left out by day. The blocks of OF_NIGHT have the small run alone then; the
    accelerator's bench looks into them in another one. Of the runs with maps the sequencer's bench is there,
    which has most of what is new."""
    by_day = {"16x2-k4": True, "48x4-k3": bench not in OF_NIGHT, "16x2-maps": bench == "sequencer"}
    return [] if by_day.get(run) else [pytest.mark.nightly]


@pytest.fixture(scope="module", params=[pytest.param(name, marks=by_night(name)) for name in RUNS])
def case(request, tmp_path_factory):
    return RUNS[request.param].prepare(tmp_path_factory.mktemp(request.param))


#: The serial line knows no sizes: of the run its benches have the images only.
OF_LINE = [bench for bench in BENCHES if bench.startswith("serial.")]


@pytest.mark.parametrize(
    ("bench", "case"),
    [
        pytest.param(bench, name, marks=by_night(name, bench))
        for name in RUNS
        for bench in benches_of(RUNS[name].geometry)
        if bench not in OF_LINE
    ],
    indirect=["case"],
)
def test_bench(bench, case):
    run(bench, case)


@pytest.mark.parametrize("case", ["16x2-k4"], indirect=True)
@pytest.mark.parametrize("bench", OF_LINE)
def test_bench_of_the_line(bench, case):
    run(bench, case)


@pytest.mark.parametrize("seed", [2, pytest.param(3, marks=pytest.mark.nightly)])
def test_other_pauses(case, seed):
    """Other idle cycles and backpressure on the bus, other noise on what nobody may look at."""
    run("accelerator", case, seed)


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(2, 6))]
)
def test_one_coin_turned_over(tmp_path, seed):
    """The seed chooses event and lane; the coin is wrong for one cycle, its activation is not zero."""
    case = RUNS["16x2-k4"].prepare(tmp_path)
    with pytest.raises(Difference) as coin:
        run("accelerator", case, seed, {FLIP_VARIABLE: "seen"})
    assert coin.value.what.startswith("coins of bank")
    with pytest.raises(Difference) as total:
        run("accelerator", case, seed, {FLIP_VARIABLE: "unseen"})
    assert total.value.what == "sums" and total.value.cycle > coin.value.cycle
    expected, seen = total.value.expected, total.value.seen
    assert sum(a != b for a, b in zip(expected, seen, strict=True)) == 1


class TestScoreboard:
    def test_passes(self):
        board = Scoreboard()
        board.expect("vote", 3, {"class": 1})
        for cycle in range(5):
            board.check("vote", cycle, {"class": 1} if cycle == 3 else None)
        board.finish()

    @pytest.mark.parametrize(("cycle", "seen"), [(3, None), (3, 2), (2, 1), (4, 1)])
    def test_wrong_missing_early_late(self, cycle, seen):
        board = Scoreboard()
        board.expect("vote", 3, 1)
        with pytest.raises(Difference, match="vote in cycle"):
            board.check("vote", cycle, seen)

    def test_never_looked_for(self):
        board = Scoreboard()
        board.expect("vote", 3, 1)
        board.expect("logit", 2, 5)
        with pytest.raises(Difference, match="logit in cycle 2: expected 5, seen None"):
            board.finish()

    def test_nothing_compared(self):
        with pytest.raises(ValueError, match="compared nothing"):
            Scoreboard().finish()

    def test_file(self, tmp_path):
        Difference("sums", 7, [1, 2], None).save(tmp_path / "difference")
        assert Difference.load(tmp_path / "difference").args == ("sums", 7, [1, 2], None)
