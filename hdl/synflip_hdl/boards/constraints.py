"""The files in constraints/: settings of a board's build that amaranth-boards does not have."""

from pathlib import Path

from synflip.errors import SynflipError

#: Where the files are: in a checkout, and in an installed package.
FOLDERS = (Path(__file__).parents[3] / "constraints", Path(__file__).parents[1] / "constraints")


def read_constraints(name: str) -> str:
    """The file called ``name``. Raises SynflipError if it is missing."""
    for folder in FOLDERS:
        if (folder / name).is_file():
            return (folder / name).read_text("utf-8")
    raise SynflipError(f"constraints/{name} is missing: the installation is not whole")
