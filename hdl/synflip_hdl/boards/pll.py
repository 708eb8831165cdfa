"""Phase-locked loops of the FPGA families: the board's oscillator to the accelerator's clock."""

from dataclasses import dataclass
from itertools import product

from amaranth.hdl import Const, Instance, Module, Signal
from synflip.errors import SynflipError

TOLERANCE = 0.005  # of the frequency asked for


@dataclass(frozen=True)
class Divisors:
    """The dividers of a PLL: of its input (reference), its loop (feedback) and its output. frequency: of the
    output, in Hz."""

    reference: int
    feedback: int
    output: int
    frequency: float


def _nearest(clock: float, choices) -> Divisors:
    best = min(choices, key=lambda item: (abs(item.frequency - clock), item.reference), default=None)
    if best is None or abs(best.frequency - clock) > TOLERANCE * clock:
        near = f"; the nearest is {best.frequency / 1e6:.3f} MHz" if best else ""
        raise SynflipError(f"this board's PLL cannot make {clock / 1e6:g} MHz{near}")
    return best


def ecp5_divisors(reference: float, clock: float) -> Divisors:
    """Dividers of an EHXPLLL: its loop runs over CLKOP, at ``feedback`` times the divided input; the clock is
    CLKOS.

    Limits: oscillator 400 to 800 MHz, phase detector from 10 MHz (Lattice FPGA-DS-02012, sysCLOCK PLL
    timing). The oscillator runs at ``reference / divisor * feedback * CLKOP_DIV``: see ``ecp5_loop``.
    """
    choices = []
    for divide, feedback in product(range(1, 4), range(1, 17)):
        if reference / divide < 10e6:
            continue
        oscillator = reference / divide * feedback * ecp5_loop(reference / divide * feedback)
        if 400e6 <= oscillator <= 800e6:
            output = max(round(oscillator / clock), 1)
            choices.append(Divisors(divide, feedback, output, oscillator / output))
    return _nearest(clock, choices)


def ecp5_loop(frequency: float) -> int:
    """The largest CLKOP_DIV with an oscillator of at most 800 MHz, for a loop at ``frequency`` Hz: at 100 MHz
    it is 8."""
    return max(int(800e6 // frequency), 1)


def ice40_divisors(reference: float, clock: float) -> Divisors:
    """Dividers of an SB_PLL40 with simple feedback: clock = reference / (DIVR + 1) * (DIVF + 1) / 2^DIVQ.

    Limits: phase detector 10 to 133 MHz, oscillator 533 to 1066 MHz (Lattice FPGA-TN-02052).
    """
    choices = [
        Divisors(divide, feedback, output, reference / divide * feedback / (1 << output))
        for divide, feedback, output in product(range(1, 17), range(1, 65), range(1, 7))
        if 10e6 <= reference / divide <= 133e6 and 533e6 <= reference / divide * feedback <= 1066e6
    ]
    return _nearest(clock, choices)


def gowin_divisors(reference: float, clock: float) -> Divisors:
    """Dividers of an rPLL: clock = reference * feedback / divisor; ``output`` times it is the oscillator.

    Limits of GW1NR-9 C6: phase detector 3 to 400 MHz, oscillator 400 to 1200 MHz (Gowin DS117E).
    """
    choices = [
        Divisors(divide, feedback, output, reference * feedback / divide)
        for divide, feedback, output in product(range(1, 10), range(1, 65), (2, 4, 8, 16, 32, 48, 64))
        if reference / divide >= 3e6 and 400e6 <= reference * feedback / divide * output <= 1200e6
    ]
    return _nearest(clock, choices)


def xilinx_divisors(reference: float, clock: float) -> Divisors:
    """Dividers of a PLLE2_BASE: clock = reference * feedback / output.

    Limits: oscillator 800 to 1600 MHz (Xilinx DS181).
    """
    choices = [
        Divisors(1, feedback, output, reference * feedback / output)
        for feedback, output in product(range(2, 65), range(1, 129))
        if 800e6 <= reference * feedback <= 1600e6
    ]
    return _nearest(clock, choices)


def frequency(family: str, reference: float, clock: float) -> float:
    """Hz that a family's PLL makes for ``clock``. Raises SynflipError if it cannot come close enough."""
    if family == "ice40" and clock == reference:
        return reference
    divisors = {
        "ecp5": ecp5_divisors,
        "ice40": ice40_divisors,
        "gowin": gowin_divisors,
        "xilinx": xilinx_divisors,
    }
    return divisors[family](reference, clock).frequency


def ecp5(pin, reference: float, clock: float):
    """(module, clock, locked) of an EHXPLLL. pin: the buffered oscillator. Raises SynflipError."""
    m, out, _, locked = ecp5_two(pin, reference, clock)
    return m, out, locked


def ecp5_two(pin, reference: float, clock: float, slower: int = 1, reset=None, names=("clock", "second")):
    """(module, clock, second clock, locked) of an EHXPLLL. pin: the buffered oscillator. slower: how many
    times the second clock is; its edges come with edges of the first. reset: 1 while the oscillator does not
    run yet. names: of the two clocks' nets. Raises SynflipError."""
    m, out, second = Module(), *(Signal(name=name) for name in names)
    locked, loop = Signal(name="locked"), Signal(name="loop")
    chosen = ecp5_divisors(reference, clock)
    loop_divide = ecp5_loop(reference / chosen.reference * chosen.feedback)
    second_output = {
        "p_CLKOS2_ENABLE": "ENABLED",
        "p_CLKOS2_DIV": chosen.output * slower,
        "p_CLKOS2_CPHASE": 0,
        "i_ENCLKOS2": Const(0),
        "o_CLKOS2": second,
    }
    m.submodules.pll = Instance(
        "EHXPLLL",
        p_CLKI_DIV=chosen.reference,
        p_CLKFB_DIV=chosen.feedback,
        p_FEEDBK_PATH="CLKOP",
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=loop_divide,
        p_CLKOP_CPHASE=loop_divide // 2,
        p_CLKOS_ENABLE="ENABLED",
        p_CLKOS_DIV=chosen.output,
        p_CLKOS_CPHASE=0,
        **(second_output if slower > 1 else {}),
        i_CLKI=pin,
        i_CLKFB=loop,
        i_RST=Const(0) if reset is None else reset,
        **({} if reset is None else {"p_PLLRST_ENA": "ENABLED"}),
        i_STDBY=Const(0),
        i_PHASESEL0=Const(0),
        i_PHASESEL1=Const(0),
        i_PHASEDIR=Const(0),
        i_PHASESTEP=Const(0),
        i_PHASELOADREG=Const(0),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        i_ENCLKOS=Const(0),
        o_CLKOP=loop,
        o_CLKOS=out,
        o_LOCK=locked,
        # How nextpnr and ecppack set the loop filter.
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
    )
    return m, out, second, locked


def ice40(pin, reference: float, clock: float):
    """(module, clock, locked) of an SB_PLL40_CORE, or of nothing if the oscillator has the frequency asked
    for. pin: the buffered oscillator. Raises SynflipError."""
    if clock == reference:
        return Module(), pin, Const(1)
    m, out, locked = Module(), Signal(name="clock"), Signal(name="locked")
    chosen = ice40_divisors(reference, clock)
    detector = reference / chosen.reference
    limits = (17e6, 26e6, 44e6, 66e6, 101e6)
    m.submodules.pll = Instance(
        "SB_PLL40_CORE",
        p_FEEDBACK_PATH="SIMPLE",
        p_PLLOUT_SELECT="GENCLK",
        p_DIVR=Const(chosen.reference - 1, 4),
        p_DIVF=Const(chosen.feedback - 1, 7),
        p_DIVQ=Const(chosen.output, 3),
        p_FILTER_RANGE=Const(1 + sum(detector >= limit for limit in limits), 3),
        i_REFERENCECLK=pin,
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=out,
        o_LOCK=locked,
    )
    return m, out, locked


def gowin(pin, reference: float, clock: float, device: str):
    """(module, clock, locked) of an rPLL. pin: the buffered oscillator. Raises SynflipError."""
    m, out, locked = Module(), Signal(name="clock"), Signal(name="locked")
    chosen = gowin_divisors(reference, clock)
    m.submodules.pll = Instance(
        "rPLL",
        p_DEVICE=device,
        p_FCLKIN=f"{reference / 1e6:g}",
        p_DYN_IDIV_SEL="false",
        p_IDIV_SEL=chosen.reference - 1,
        p_DYN_FBDIV_SEL="false",
        p_FBDIV_SEL=chosen.feedback - 1,
        p_DYN_ODIV_SEL="false",
        p_ODIV_SEL=chosen.output,
        p_CLKFB_SEL="internal",
        i_CLKIN=pin,
        i_CLKFB=Const(0),
        i_RESET=Const(0),
        i_RESET_P=Const(0),
        i_FBDSEL=Const(0, 6),
        i_IDSEL=Const(0, 6),
        i_ODSEL=Const(0, 6),
        i_PSDA=Const(0, 4),
        i_DUTYDA=Const(0, 4),
        i_FDLY=Const(0, 4),
        o_CLKOUT=out,
        o_LOCK=locked,
    )
    return m, out, locked


def xilinx(pin, reference: float, clock: float):
    """(module, clock, locked) of a PLLE2_BASE behind a BUFG. pin: the buffered oscillator. Raises
    SynflipError."""
    m, out, locked = Module(), Signal(name="clock"), Signal(name="locked")
    raw, loop = Signal(name="raw"), Signal(name="loop")
    chosen = xilinx_divisors(reference, clock)
    m.submodules.pll = Instance(
        "PLLE2_BASE",
        p_CLKIN1_PERIOD=1e9 / reference,
        p_DIVCLK_DIVIDE=1,
        p_CLKFBOUT_MULT=chosen.feedback,
        p_CLKOUT0_DIVIDE=chosen.output,
        i_CLKIN1=pin,
        i_CLKFBIN=loop,
        i_RST=Const(0),
        i_PWRDWN=Const(0),
        o_CLKFBOUT=loop,
        o_CLKOUT0=raw,
        o_LOCKED=locked,
    )
    m.submodules.buffer = Instance("BUFG", i_I=raw, o_O=out)
    return m, out, locked
