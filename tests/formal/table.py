"""docs/explanation/proofs.md: what is proved, for which parameters, and how far."""

from collections.abc import Sequence

from tests.formal.runner import Proof

TABLE = "docs/explanation/proofs.md"
HEAD = """\
# Proofs

`make proof` checks these properties of the gateware, from its Amaranth sources, with Yosys, yosys-smtbmc
and z3, and writes this table. `make proof ARGS='key_memory votes'` checks those whose names have one of the
words; `make proof ARGS=--quick` leaves out slow ones that have another like them, as `.ci/run` does.
The harnesses are in `tests/formal/`; `tests/formal/test_formal.py` runs a part of them, and breaks the design
to see the proofs fail.

**How far.** *All cycles, by induction*: it holds in the first k cycles after the reset, and k cycles in
which it holds are followed by another (k-induction), so in every cycle that can be reached. *Complete: no
state*: a function of its inputs, for all inputs. Nothing in the table is merely checked for some cycles.
The parameters are those of the table: a proof for Q = 4 says nothing of Q = 8.

**What is free.** Inputs may be anything in any cycle, except where the table says *assumes*; in brackets is
the proof that shows the assumption, or who else keeps it: "driver" is the host's software, which the tests
check. Where assumptions could contradict each other, cover statements show cycles in which the interesting
things happen.

**Memories.** In most harnesses a memory has one row, at an address that may be any, and reads of other rows
give anything. That allows all that the real memory does and more, so a proof holds for the real one, of
that depth.

**The tools.** An Amaranth harness becomes RTLIL, Yosys makes SMT-LIB of it, yosys-smtbmc looks for a
counterexample with z3: what SymbiYosys does with its smtbmc engine, with one start of Yosys a proof instead
of three. Combinational claims go the same way, with a single cycle: z3 knows integers of many bits, which
Yosys' own `sat` does not. A large claim is cut along the pipeline's registers, each stage asserted against
the contract's words for it; for the key source, abc merges equal XORs first. A failed proof leaves a trace
(`*.vcd`) and its logs in `build/proof/`.

**What is not proved.** That every run ends, and in how many cycles; the accelerator as a whole; the network
between the array's lanes and banks; the log of logits; aborts. The simulations compare those with the
golden model.

| proof | what | parameters and assumptions | how | how far |
|---|---|---|---|---|
"""


def table(proofs: Sequence[Proof]) -> str:
    """The whole text."""
    return HEAD + "".join(
        f"| {proof.name} | {proof.claim} | {proof.parameters} | {proof.mode} | {proof.strength} |\n"
        for proof in proofs
    )
