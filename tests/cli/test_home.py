"""Commands as processes of users without a home folder, or without an entry among the users."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from synflip.inference.result import Result

STRANGER = 12345  # a user that the system does not know, as `docker run -u 12345` makes

#: Carries a command out twice: as root, so that all modules are there, which a stranger may not be allowed to
#: read; then as the stranger, without HOME.
AS_STRANGER = f"""
import os, sys, tempfile
from synflip.cli import app
words = sys.argv[1:]
assert app.main([*words, "root.npz"]) == 0
os.environ.pop("HOME", None)
tempfile.tempdir = None
os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})
sys.exit(app.main([*words, "stranger.npz"]))
"""


def carry_out(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python in ``folder``, which is its temporary folder too, without a variable that names a cache."""
    hidden = ("SYNFLIP_CACHE", "XDG_CACHE_HOME", "YOWASP_CACHE_DIR", "MPLCONFIGDIR")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    kept |= {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(folder), **environment}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=kept, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("home", ["/dev/null/x", "/proc"])
def test_no_home(tmp_path: Path, home: str) -> None:
    words = ("-m", "synflip.cli.app", "verilog", "--geometry", "16x1", "--out", "t.v")
    done = carry_out(tmp_path, *words, HOME=home)
    assert (done.stderr, done.returncode) == ("", 0)
    assert "module synflip" in (tmp_path / "t.v").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_user_without_a_name(files: Path) -> None:
    with tempfile.TemporaryDirectory() as name:  # others may not enter those of pytest
        folder = Path(name)
        for file in ("m.safetensors", "x.npy"):
            shutil.copy(file, folder)
        folder.chmod(0o777)
        words = ["run", "m.safetensors", "--images", "x.npy", "--samples", "2", "--out"]
        done = carry_out(folder, "-c", AS_STRANGER, *words)
        assert (done.stderr, done.returncode) == ("", 0)
        assert (folder / "stranger.npz").stat().st_uid == STRANGER
        found = [Result.load(folder / file).votes for file in ("root.npz", "stranger.npz")]
    assert np.array_equal(*found)
