"""The names of signals, the same on every Python.

Amaranth reads a signal's name from the bytecode behind the call that makes it. Python 3.13 has instructions
that store two variables, or store one and load another, which Amaranth 0.5 does not know: in a function,
``a, b = Signal(), Signal()`` gives ``b`` its name on Python 3.11 and 3.12, and none on 3.13. Other names are
another Verilog text and another netlist.
"""

import sys
from opcode import opname
from types import CodeType

from amaranth import tracer

#: Instructions that store the top of the stack into a variable and do one thing more. The upper four bits of
#: the argument number that variable.
_TWO_IN_ONE = ("STORE_FAST_STORE_FAST", "STORE_FAST_LOAD_FAST", "STORE_FAST_LOAD_FAST_BORROW")
_read = tracer.get_var_name


def stored_at_once(code: CodeType, call: int) -> str | None:
    """The variable that gets the result of the call at ``call``, an index of ``code.co_code``, if one of
    _TWO_IN_ONE is the next instruction."""
    index = call + 2
    while index < len(code.co_code) and opname[code.co_code[index]] == "CACHE":
        index += 2
    if index < len(code.co_code) and opname[code.co_code[index]] in _TWO_IN_ONE:
        return code.co_varnames[code.co_code[index + 1] >> 4]
    return None


def _get_var_name(depth: int = 2, default: object = tracer._raise_exception) -> object:
    """Amaranth's ``get_var_name``, and what it misses."""
    name = _read(depth + 1, default=None)
    if name is not None:
        return name
    frame = sys._getframe(depth)
    name = stored_at_once(frame.f_code, frame.f_lasti)
    if name is None and default is tracer._raise_exception:
        raise tracer.NameNotFound
    return default if name is None else name


def read_names_as_python_3_11_does() -> None:
    """From now on Amaranth gives names as it does on Python 3.11."""
    tracer.get_var_name = _get_var_name
