"""What starts out unknown in Icarus: found in the Verilog without Icarus, so by day and on every machine."""

import pytest
from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry
from synflip_hdl.export.verilog import convert
from synflip_sim.simulators.icarus import noisy_memories


@pytest.mark.parametrize(
    ("geometry", "ends"),
    [
        (Geometry(16, 1, bits=2, event_depth=64, weight_depth=64), []),
        (Geometry(16, 2, bits=1, event_depth=64, weight_depth=64, map_depth=64), ["before", "up_to"]),
    ],
    ids=["dense", "maps"],
)
def test_all_memories_are_found(geometry, ends):
    text = convert(geometry)
    paths = {found["path"] for found in noisy_memories(text, geometry)}
    banks = [f"events.{name}_{bank}" for name in ("images", "hidden") for bank in range(geometry.banks)]
    weights = [f"array.weights_{bank}" for bank in range(geometry.banks)]
    assert paths == {*banks, *weights, *(f"events.ends_{name}" for name in ends)}
    with pytest.raises(SynflipError, match=r"^\d memories of weights and events in the Verilog, not \d$"):
        noisy_memories(text.replace("weights_0 ", "others_0 "), geometry)
