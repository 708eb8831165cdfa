"""What an output is: links, FIFOs, modes, names, and what is asked before the work."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.util.outputs import check_folder, check_outputs, make_folder, replacing, write_array, write_text

AS_ROOT = os.geteuid() == 0
NOBODY = 65534


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_new_file_has_the_mode_of_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x", "é")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    assert (tmp_path / "x").read_bytes() == "é".encode()
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o666])
def test_modes_are_kept(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "x"
    path.touch()
    path.chmod(mode)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == "new"


@pytest.mark.skipif(not AS_ROOT, reason="only root gives files away")
def test_owners_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o660)
    write_text(path, "new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (NOBODY, NOBODY, 0o660)


@pytest.mark.parametrize("target", ["real", "sub/real"])
@pytest.mark.parametrize("exists", [True, False])
def test_links_stay(tmp_path: Path, target: str, exists: bool) -> None:
    (tmp_path / "sub").mkdir()
    if exists:
        (tmp_path / target).write_text("old")
    (tmp_path / "one").symlink_to(target)
    (tmp_path / "two").symlink_to(tmp_path / "one")
    check_outputs([tmp_path / "two"])
    write_text(tmp_path / "two", "new")
    assert (tmp_path / "one").is_symlink() and (tmp_path / "two").is_symlink()
    assert not (tmp_path / target).is_symlink() and (tmp_path / target).read_text() == "new"
    assert len(names(tmp_path)) == 4


def test_other_names_of_a_file_keep_the_old_content(tmp_path: Path) -> None:
    """As with every program that replaces files: copies by hard links, such as backups, are not written."""
    (tmp_path / "x").write_text("old")
    (tmp_path / "backup").hardlink_to(tmp_path / "x")
    write_text(tmp_path / "x", "new")
    assert (tmp_path / "backup").read_text() == "old"


def test_a_fifo_is_given_the_content_and_stays(tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    for path in (fifo, link):
        check_outputs([path], [path])  # a FIFO is no file that could be lost
        with subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE) as reader:
            write_array(path, np.arange(3))
            assert reader.communicate(timeout=60)[0].startswith(b"\x93NUMPY")
    assert stat.S_ISFIFO(fifo.stat().st_mode) and link.is_symlink()
    assert names(tmp_path) == ["fifo", "link"]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("piped", [True, False])
def test_standard_output(tmp_path: Path, name: str, piped: bool) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = f"""
from synflip.util.outputs import check_outputs, write_text
print("before")
check_outputs([{name!r}])
write_text({name!r}, "content\\n")
print("after")
"""
    file = tmp_path / "out"
    with file.open("w") as out:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE if piped else out, check=True
        )
    assert (done.stdout if piped else file.read_bytes()) == b"before\ncontent\nafter\n"


def test_text_that_is_none_of_a_file(tmp_path: Path) -> None:
    """As a name from a disk that is no UTF-8 is."""
    with pytest.raises(SynflipError, match=r"cannot write .*x: its text is no utf-8: surrogates not allowed"):
        write_text(tmp_path / "x", "\udcff")
    with pytest.raises(SynflipError, match="its text is no utf-8"):
        check_outputs([tmp_path / "\ud800"])
    assert names(tmp_path) == []


def test_what_fails_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    (tmp_path / "x.partial").write_text("mine")
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        with pytest.raises((SynflipError, KeyboardInterrupt)), replacing(tmp_path / "x") as partial:
            partial.write_text("half")
            raise error
        with pytest.raises((SynflipError, KeyboardInterrupt)), replacing(tmp_path / "new" / "sub" / "x"):
            raise error
    assert names(tmp_path) == ["x", "x.partial"]
    assert (tmp_path / "x").read_text() == "old" and (tmp_path / "x.partial").read_text() == "mine"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".", "it is a folder"),
        ("file/x", "cannot make the folder file"),
        ("file/sub/x", "cannot make the folder file/sub"),
        ("n" * 300, "File name too long"),
        ("n" * 300 + "/x", "File name too long"),
        ("new/" + "n" * 300, "File name too long"),
        ("circle", "symbolic links"),
        ("socket", "it is a socket"),
        ("/proc/nothing/x", "No such file"),
        ("/dev/null/x", "cannot make the folder /dev/null"),
        ("new/", "it is the name of a folder: give that of a file"),
        ("new/.", "it is the name of a folder"),
        ("file/", "it is the name of a folder"),
    ],
)
def test_what_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    import socket

    monkeypatch.chdir(tmp_path)
    Path("file").write_text("old")
    Path("circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for write in (lambda: check_outputs([path]), lambda: write_text(path, "new")):
            with pytest.raises(SynflipError, match=reason) as caught:
                write()
            assert "\n" not in str(caught.value)
    assert Path("file").read_text() == "old" and not Path("new").exists()


AS_NOBODY = """
import os, sys
from synflip.util.outputs import check_folder, check_outputs, write_text
os.chdir({folder!r})
os.setgroups([]); os.setgid({user}); os.setuid({user})
{code}
"""


def as_nobody(folder: Path, code: str) -> str:
    """What ``code`` prints, as a user who is not root and owns nothing."""
    text = AS_NOBODY.format(folder=str(folder), user=NOBODY, code=code)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().rpartition("\n")[2]


@pytest.mark.skipif(not AS_ROOT, reason="only root becomes somebody else")
def test_permissions(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    (tmp_path / "open").write_text("old")
    (tmp_path / "open").chmod(0o666)
    (tmp_path / "closed").write_text("old")
    (tmp_path / "closed").chmod(0o644)
    assert "cannot write x: Permission denied" in as_nobody(tmp_path, "check_outputs(['x'])")
    assert "cannot write closed: Permission denied" in as_nobody(tmp_path, "check_outputs(['closed'])")
    assert "cannot make the folder new: Permission denied" in as_nobody(tmp_path, "check_outputs(['new/x'])")
    assert "cannot write .: Permission denied" in as_nobody(tmp_path, "check_folder('.')")
    code = "check_outputs(['open']); write_text('open', 'new'); print('written')"
    assert as_nobody(tmp_path, code) == "written"  # in place: the folder takes no new file
    assert (tmp_path / "open").read_text() == "new" and (tmp_path / "open").stat().st_uid == 0
    (tmp_path / "backup").hardlink_to(tmp_path / "open")
    assert "would lose their content too" in as_nobody(tmp_path, "check_outputs(['open'])")


def test_a_file_of_somebody_else_in_a_folder_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file would have another owner: the content is written into the old one."""

    def refused(*arguments: object) -> None:
        raise PermissionError

    path = tmp_path / "x"
    path.write_text("old, and longer")
    inode = path.stat().st_ino
    monkeypatch.setattr(Path, "chmod", refused)
    write_text(path, "new")
    assert path.read_text() == "new" and path.stat().st_ino == inode
    assert names(tmp_path) == ["x"]
    (tmp_path / "backup").hardlink_to(path)  # which would be overwritten too
    for write in (lambda: check_outputs([path]), lambda: write_text(path, "newer")):
        with pytest.raises(SynflipError, match=r"its other names \(hard links: 1\) would lose"):
            write()
    assert (tmp_path / "backup").read_text() == "new" and names(tmp_path) == ["backup", "x"]


def test_outputs_are_no_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x").write_text("mine")
    Path("link").symlink_to("x")
    Path("hard").hardlink_to("x")
    for path in ("x", "./x", "link", "hard", tmp_path / "x", f"../{tmp_path.name}/x"):
        with pytest.raises(SynflipError, match="it is read too"):
            check_outputs(["new/y", path], [None, "none", "x"])
    with pytest.raises(SynflipError, match=r"cannot write y: it is written twice, as sub/\.\./y"):
        check_outputs(["sub/../y", None, "y"])
    with pytest.raises(SynflipError, match="cannot write y: it is written twice"):
        check_outputs(["y", "y"])
    check_outputs(["new/y", "new/z", "new/../w"], ["x", "none"])
    assert names(tmp_path) == ["hard", "link", "x"]


def test_folders(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == []
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "link").symlink_to("a")
    check_folder(tmp_path / "link")
    assert names(tmp_path) == ["a", "b", "link"]
    (tmp_path / "file").touch()
    for name in ("file", "file/sub", "n" * 300):
        with pytest.raises(SynflipError, match="cannot make the folder"):
            check_folder(tmp_path / name)


def test_a_folder_of_others_never_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that begin together ask for one folder: the first must not delete it below the second."""
    tried = []
    monkeypatch.setattr(
        os, "mkdir", lambda path, *rest, made=os.mkdir: (tried.append(path), made(path, *rest))
    )
    check_outputs([tmp_path / "new" / "sub" / "x"])
    assert tried and not {tmp_path / "new", str(tmp_path / "new")} & set(tried)


def test_a_link_to_a_folder_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new")
    check_outputs([tmp_path / "link" / "x"])
    assert names(tmp_path) == ["link"]
    write_text(tmp_path / "link" / "x", "content")
    assert (tmp_path / "new" / "x").read_text() == "content"
