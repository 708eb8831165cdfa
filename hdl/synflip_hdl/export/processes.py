"""``always @*`` blocks as Yosys writes them, made to run in every simulator.

A simulator runs an ``always @*`` block when one of its inputs changes. A block whose inputs are constants
never runs, and its outputs stay unknown. Yosys lets its blocks read a register for that reason,
``reg x = 0;``, but with the rules of SystemVerilog (``iverilog -g2012``) a register has its initial value
before any block runs, so it does not change either. Here the register gets its 0 by a non-blocking
assignment, which both standards carry out when all blocks of time 0 wait for their inputs.
"""

import re

_YOSYS = r"\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ "
_TRIGGER = r"\$time_0 "
_READ = f"    if ({_TRIGGER}) begin end\n"
_DECLARATION = f"  reg {_TRIGGER};\n  initial {_TRIGGER} <= 1'h0;\n"
_OLD_READ = re.compile(rf"^    if \({_YOSYS}\) begin end\n", re.M)
_OLD_DECLARATION = re.compile(rf"^  reg {_YOSYS} = 0;\n", re.M)
#: A block of one statement, which Yosys writes without braces and without the register.
_SHORT = re.compile(r"^  always @\*\n(    .*;\n)", re.M)
_BLOCK = "  always @* begin\n"
_END = "\nendmodule\n"


def run_at_time_0(text: str) -> str:
    """The Verilog of Yosys in which every ``always @*`` block runs at the start of a simulation. Synthesis
    makes of it what it made before."""
    text = _OLD_DECLARATION.sub("", text)
    text = _OLD_READ.sub(lambda _: _READ, text)
    text = _SHORT.sub(lambda found: f"{_BLOCK}{_READ}{found[1]}  end\n", text)
    text = _END.join(module.replace(_BLOCK, _DECLARATION + _BLOCK, 1) for module in text.split(_END))
    assert text.count("always @*") == text.count(_BLOCK + _READ), "a block of another form"
    assert "dump_module" not in text, "a register of another form"
    return text
