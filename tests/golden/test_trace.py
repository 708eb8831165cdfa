"""The cycle trace against the reference and the golden model."""

from dataclasses import replace

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.golden.trace import Trace, cycle_trace
from synflip.spec.coins import key_words
from synflip.spec.cycles import pipeline_depth
from synflip.spec.geometry import Geometry
from synflip_sim.testbenches.runs import RUNS, SEED

from tests.golden import reference
from tests.spec.test_maps import in_order, taps

MAPS = [name for name, case in RUNS.items() if case.convolutions]


@pytest.fixture(scope="module", params=RUNS)
def case(request):
    return RUNS[request.param]


@pytest.fixture(scope="module")
def trace(case):
    return cycle_trace(case.model(), case.geometry, case.pixels(), case.samples, SEED, margins(case))


def margins(case):
    return None if case.margins is None else np.array(case.margins)


@pytest.mark.parametrize("bits", [1, 4, 16])
def test_words_are_the_contracts(bits):
    row_keys = [reference.key(3, number) for number in range(3)]
    words = key_words(np.array(row_keys, dtype=np.uint64), 1024, bits)
    assert words.shape == (3, 1024)
    for row, row_key in enumerate(row_keys):
        for output in [*range(40), 511, 1008, 1023]:
            assert words[row, output] == reference.word(row_key, output, bits)


def test_events_are_the_contracts(case, trace):
    """Keys, words and coins of the reference; what they add up to is each tile's sums."""
    model, lanes = case.model(), case.geometry.lanes
    offsets = np.cumsum([0, *(-(-rows // 8) * 8 for rows in model.rows)])
    row_keys = reference.keys_from(reference.lfsr_seed(SEED))
    row_keys = [next(row_keys) for _ in range(case.samples * offsets[-1])]
    sums = np.zeros((len(trace.tiles), lanes), dtype=int)
    ends = trace.tiles["cycle"] - pipeline_depth(case.geometry.banks)
    numbers = np.searchsorted(ends, trace.events["cycle"])  # of the tile of each event
    for event, tile in zip(trace.events, numbers, strict=True):
        layer = model.layers[event["layer"]]
        number = event["sample"] * offsets[-1] + offsets[event["layer"]] + event["row"]
        assert event["key"] == row_keys[number]
        assert event["bank"] == event["row"] % case.geometry.banks
        assert event["x"] != 0
        where = ["slot", "sample", "layer", "tile"]
        assert event[where] == trace.tiles[tile][where]
        total = sums[tile]
        for lane in range(lanes):
            output = int(event["tile"]) * lanes + lane
            assert event["words"][lane] == reference.word(row_keys[number], output, case.geometry.bits)
            if output < layer.outputs and event["row"] < layer.rows:
                q, sign = int(layer.q[output, event["row"]]), layer.sign[output, event["row"]]
                assert event["coins"][lane] == reference.coin(row_keys[number], output, q, model.bits)
                assert event["signs"][lane] == sign
                total[lane] += (-1 if sign else 1) * int(event["x"]) * int(event["coins"][lane])
            else:
                assert not event["coins"][lane] and not event["signs"][lane]
    np.testing.assert_array_equal(trace.tiles["sums"], sums)


def test_results_are_the_golden_models(case, trace):
    golden = Golden(case.geometry)
    golden.load(case.model())
    result = golden.infer(case.pixels(), case.samples, SEED, margins(case), logits=True)
    assert trace.cycles == result.cycles == trace.votes["cycle"].max() + 2
    votes, used, sums = (
        np.zeros_like(result.votes),
        np.zeros_like(result.used),
        np.zeros_like(result.logit_sums),
    )
    for vote in trace.votes:
        votes[vote["slot"], vote["winner"]] += 1
        assert vote["count"] == votes[vote["slot"], vote["winner"]]
        used[vote["slot"]] += 1
        assert vote["leaves"] == (used[vote["slot"]] == result.used[vote["slot"]])
    for logit in trace.logits:
        assert logit["z"] == result.logits[logit["sample"], logit["slot"], logit["class_"]]
        sums[logit["slot"], logit["class_"]] += logit["z"]
    np.testing.assert_array_equal(votes, result.votes)
    np.testing.assert_array_equal(used, result.used)
    np.testing.assert_array_equal(sums, result.logit_sums)


def test_hidden_values_are_the_next_layers_events(case, trace):
    """What a layer's tiles drain is what the next one's first tile streams, without the zeros: all of it once
    it is there, or its head before the last tile's outputs and the rest after them."""
    banks, lanes = case.geometry.banks, case.geometry.lanes
    origin = ["slot", "sample", "layer"]
    first = trace.events[trace.events["tile"] == 0]
    for where in np.unique(trace.opens[trace.opens["layer"] > len(case.convolutions)][origin]):
        opens, events = (table[table[origin] == where] for table in (trace.opens, first))
        complete = opens["cycle"][opens["rest"].argmax()]  # when the rest, or else the whole, is opened
        hidden_set = 2 * opens["member"][0] + (where["layer"] - 1) % 2
        drained = trace.drains[(trace.drains["cycle"] < complete) & (trace.drains["set"] == hidden_set)]
        drained = drained[np.flatnonzero(drained["block"] == 0)[-1] :]
        values, since = drained["values"].reshape(-1), drained["cycle"].repeat(banks)
        assert sorted(events["row"].tolist()) == np.flatnonzero(values).tolist()
        np.testing.assert_array_equal(events["x"][np.argsort(events["row"])], values[values != 0])
        assert (events["cycle"] > since[events["row"]]).all()
        assert (events["cycle"] > opens["cycle"][0]).all()

        if where["layer"] == len(case.convolutions):  # behind a map: never by its head
            assert opens["load"].tolist() == [max((values != 0)[bank::banks].sum() for bank in range(banks))]
            continue
        last_tile = (case.model().layers[where["layer"] - 1].outputs - 1) // lanes * lanes
        late = np.arange(len(values)) >= last_tile
        fullest = [
            max(np.count_nonzero(part[bank::banks]) for bank in range(banks))
            for part in (values * ~late, values * late, values)
        ]
        if opens["rest"].any():
            assert opens["rest"].tolist() == [0, 1, 0][: len(opens)]
            assert opens["load"].tolist() == fullest[: len(opens)]
        else:
            assert opens["load"].tolist() == fullest[2:]


@pytest.mark.parametrize("name", MAPS)
def test_positions_meet_the_contracts_taps(name):
    """Of a convolution: each position's events, for each tile; the largest of each pool window's outputs go
    into the lists; what is open is what is issued."""
    case = RUNS[name]
    model, banks, lanes = case.model(), case.geometry.banks, case.geometry.lanes
    trace = cycle_trace(model, case.geometry, case.pixels(), case.samples, SEED, margins(case))
    inputs, origin = dict(enumerate(model.activations(case.pixels()))), ["slot", "sample", "layer"]
    for index, (place, outputs) in enumerate(case.convolutions):
        tiles, window = -(-outputs // lanes), place.pool[0] * place.pool[1]
        order = np.array(in_order(place)).reshape(-1, 1, window, 2).repeat(tiles, 1).reshape(-1, 2)
        following = {}
        for where in np.unique(trace.tiles[trace.tiles["layer"] == index][origin]):
            x = inputs[where["slot"]] if index == 0 else inputs[where[["slot", "sample"]].item()]
            wanted = taps(x, place)
            mine, events, opens, issues = (
                table[table[origin] == where]
                for table in (trace.tiles, trace.events, trace.opens, trace.issues)
            )
            ends = mine["cycle"] - pipeline_depth(banks)
            cuts = np.searchsorted(events["cycle"], ends, side="right")
            for position, past, first in zip(order.tolist(), cuts, [0, *cuts], strict=False):
                met = events[first:past][events["row"][first:past] < place.rows]
                rows = np.zeros(place.rows, dtype=np.uint8)
                rows[met["row"]] = met["x"]
                assert len(met) == np.count_nonzero(rows)
                np.testing.assert_array_equal(rows, wanted[tuple(position)])
            assert np.maximum(opens["load"], 1).sum() == len(issues)
            assert (opens["segment"][0], max(opens["load"].max(), 1)) == (0, issues["index"].max() + 1)

            here = (trace.outputs["cycle"] > opens["cycle"][0]) & (
                trace.outputs["cycle"] <= mine["cycle"][-1] + 99
            )
            of_layer = trace.outputs[here & (trace.outputs["set"] == index % 2)]
            steps = sum(-(-min(outputs - tile * lanes, lanes) // banks) for tile in range(tiles))
            of_layer = of_layer[: steps * len(order) // tiles]
            pixels = np.zeros((place.output[0] * place.output[1] * outputs // banks, banks), dtype=np.uint8)
            for group in of_layer:
                pixels[group["block"]] = np.maximum(pixels[group["block"]], group["values"])
            drained = trace.drains[np.isin(trace.drains["cycle"], of_layer["cycle"] + 1)]
            assert drained["block"].tolist() == list(range(len(pixels)))
            np.testing.assert_array_equal(drained["values"], pixels)
            following[where[["slot", "sample"]].item()] = pixels.reshape(-1)
        inputs = following
    assert {0, 1, 2} <= set(trace.opens[trace.opens["layer"] == 1]["load"].tolist())


def test_nothing_collides(case, trace):
    """A bank issues at most one event a cycle, the drain gives at most one group, keys are there."""
    pairs = trace.events[["cycle", "bank"]].tolist()
    assert len(set(pairs)) == len(pairs)
    for table in (trace.outputs, trace.drains, trace.logits, trace.votes, trace.fills, trace.tiles):
        assert (np.diff(table["cycle"]) > 0).all()
    halves = {}
    fills = iter(trace.fills)
    fill = next(fills, None)
    offsets = np.cumsum([0, *(-(-rows // 8) * 8 for rows in case.model().rows)]) // case.geometry.banks
    for event in trace.events:
        read = event["cycle"] + 3
        while fill is not None and fill["cycle"] < read:
            halves[int(fill["half"]), int(fill["block"])] = fill["keys"]
            fill = next(fills, None)
        block = offsets[event["layer"]] + event["row"] // case.geometry.banks
        half = int(event["sample"]) % case.geometry.key_halves
        assert halves[half, int(block)][event["bank"]] == event["key"]


def test_cases_reach_what_the_benches_are_for():
    """Tiles that are empty, images that leave early, layers with zeros, and without."""
    for name, case in RUNS.items():
        trace = cycle_trace(case.model(), case.geometry, case.pixels(), case.samples, SEED, margins(case))
        assert (trace.opens["load"] == 0).any(), name
        assert len(trace.releases) == trace.picks["sample"].max() >= 2, name
        assert {0, (1 << case.geometry.activation_bits) - 1} <= set(trace.drains["values"].reshape(-1)), name
        if case.margins:
            left = trace.votes[trace.votes["leaves"] == 1]
            assert len(set(left["sample"])) > 1 and (left["sample"] < case.samples - 1).any(), name


def test_file(trace, tmp_path):
    path = tmp_path / "trace.npz"
    trace.save(path)
    again = Trace.load(path)
    assert (again.geometry, again.cycles) == (trace.geometry, trace.cycles)
    np.testing.assert_array_equal(again.events, trace.events)
    np.testing.assert_array_equal(again.fills, trace.fills)


def test_a_file_is_whole_or_as_it_was(trace, tmp_path, monkeypatch):
    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    path = tmp_path / "trace.npz"
    trace.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(SynflipError, match="No space left"):
        trace.save(path)
    assert path.read_bytes() == before


def test_bad_files(trace, tmp_path):
    path = tmp_path / "trace.npz"
    with pytest.raises(SynflipError, match="not a cycle trace"):
        Trace.load(path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(SynflipError, match="not a cycle trace"):
        Trace.load(path)
    replace(trace, votes=trace.votes[["cycle", "slot"]]).save(path)
    with pytest.raises(SynflipError, match="table votes is"):
        Trace.load(path)
    late = trace.picks.copy()
    late["cycle"] += trace.cycles
    replace(trace, picks=late).save(path)
    with pytest.raises(SynflipError, match="table picks has cycles outside"):
        Trace.load(path)


def test_more_than_one_run_is_refused():
    case = RUNS["16x2-k4"]
    with pytest.raises(SynflipError, match=r"1\.\.4 images .*, not 8 images"):
        cycle_trace(case.model(), case.geometry, np.concatenate([case.pixels()] * 2), 3, SEED)
    with pytest.raises(SynflipError, match="the model has 4-bit"):
        cycle_trace(case.model(), Geometry(16, 2, bits=3), case.pixels(), 3, SEED)
