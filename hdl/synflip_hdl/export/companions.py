"""What is written beside the Verilog: a waiver file for Verilator's lint, and a FuseSoC core file."""

import re
from pathlib import Path

from synflip._version import __version__
from synflip.errors import SynflipError
from synflip.util.outputs import beside, check_new, is_plain, says

#: Verilator's rule -> why the Verilog breaks it.
WAIVED = {
    "ASCRANGE": "a signal of no bits, such as the number of the only slot, is written [-1:0] and not used",
    "CASEINCOMPLETE": "a default is assigned in front of every case, so nothing latches",
    "CASEOVERLAP": "inside the USB device the first of several events at once counts, as casez says",
    "DECLFILENAME": "all modules are in one file",
    "INITIALDLY": "$time_0 is assigned so on purpose, to start always @* blocks in other simulators",
    "PROCASSINIT": "registers start with their reset values, which FPGAs load with the bitstream",
    "SYNCASYNCNET": "the reset of a FIFO's end also resets, asynchronously, registers at its other end",
    "UNSIGNED": "addresses are compared with the first word of their region's part, also if that is word 0",
    "UNUSEDPARAM": "STYLE is used in an attribute only, for synthesis",
    "UNUSEDSIGNAL": "every field of a structure has a name of its own, used or not",
    "VARHIDDEN": "an instance and the memory inside it are both called rows",
    "WIDTHEXPAND": "the narrower operand is extended, as the language says: 3 bits == 1 bit",
    "WIDTHTRUNC": "! of several bits is true if all are 0; sums are cut to the width that is declared",
}

_BY = "Written by synflip verilog, for"


def waiver(verilog: str) -> str:
    """The text of a waiver file (.vlt) for the file called ``verilog``: with it,
    ``verilator --lint-only -Wall`` says nothing."""
    pattern = re.sub(r'["\\*?\[\]]', "?", verilog)
    lines = ["`verilator_config", f"// {_BY} {verilog}. Each rule and why it does not matter there."]
    for rule, reason in WAIVED.items():
        lines += [f"// {reason}", f'lint_off -rule {rule} -file "*{pattern}"']
    return "\n".join([*lines, ""])


def core(verilog: str, waivers: str, top: str) -> str:
    """The text of a FuseSoC core file (CAPI2) for ``verilog``, with the module ``top``, and ``waivers``.

    Targets: default (the file, for a design that depends on it), lint (Verilator), sim (Icarus; the testbench
    comes from the design that depends on it, or from cocotb).
    """
    return f"""CAPI=2:
# {_BY} {verilog}.
name: synflip:synflip:{top}:{__version__}
description: Accelerator for neural networks whose weights are coin flips

filesets:
  rtl:
    files:
      - {_quoted(verilog)}
    file_type: verilogSource-2005
  waivers:
    files:
      - {_quoted(waivers)}
    file_type: vlt

targets:
  default: &default
    filesets:
      - rtl
    toplevel: {top}

  lint:
    <<: *default
    filesets:
      - waivers
      - rtl
    flow: lint
    flow_options:
      tool: verilator
      verilator_options:
        - -Wall

  sim:
    <<: *default
    flow: sim
    flow_options:
      tool: icarus
      iverilog_options:
        - -g2012
"""


def _quoted(name: str) -> str:
    """A file's name as a string of YAML."""
    return "'" + name.replace("'", "''") + "'"


def companions(out: Path, top: str) -> dict[Path, str]:
    """Path -> text of what is written beside the Verilog ``out`` of the module ``top``: its waivers and its
    core file, which are called as it is, with .vlt and .core for .v. None beside what is no file, such as
    /dev/stdout.

    Raises SynflipError if ``out`` is named as one of these, or has a name that these cannot say, and if one
    of them is a file that ``synflip verilog`` did not write.
    """
    if not is_plain(out):
        return {}
    waivers, cores = beside(out, ".v", ".vlt"), beside(out, ".v", ".core")
    texts = {waivers: waiver(out.name), cores: core(out.name, waivers.name, top)}
    if out.suffix in (".vlt", ".core"):
        raise SynflipError(
            f"{out} is no name for Verilog: {out.suffix} is for what lies beside it: use --out NAME.v"
        )
    if not out.name.isprintable():  # a line break, or bytes that are no UTF-8
        raise SynflipError(f"the files beside {out.name!r} cannot say this name: take another for --out")
    check_new((path for path in texts if not says(path, _BY)), "synflip verilog")
    return texts
