"""Results on disk are outputs as any other: nothing of the user's is lost, nothing is there by halves."""

import errno
import os
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from synflip.cluster.store import NAMES, Store
from synflip.data.image_file import ImageFile
from synflip.errors import SynflipError
from synflip.inference.request import InferenceRequest
from synflip.inference.result import Result

from tests.cluster.networks import IMAGES, MODEL, golden


def stored(folder: Path, images: NDArray[np.uint8] = IMAGES, **options: bool) -> Result:
    """The golden result of ``images``, through a store."""
    found = golden(images, **options)
    with Store(folder, InferenceRequest(MODEL, images, 8, 3, **options)) as store:
        tally = store.tally
        for name in ("votes", "logit_sums", "used"):
            getattr(tally, name)[:] = getattr(found, name)
        if tally.logits is not None:
            tally.logits[:] = found.logits
        return store.finished(tally.result(found.cycles, MODEL, None))


@pytest.mark.parametrize("images", [IMAGES, IMAGES[:0]], ids=len)
def test_files_are_the_result_s(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    found, want = stored(tmp_path / "new" / "r", images, logits=True), golden(images, logits=True)
    names = {"votes", "logit_sums", "used", "logits", "cycles"}
    assert {file.stem for file in (tmp_path / "new" / "r").iterdir()} == names
    for name in names:
        array = np.load(tmp_path / "new" / "r" / f"{name}.npy")
        assert array.dtype == np.asarray(getattr(want, name)).dtype or name == "cycles"
        assert np.array_equal(array, getattr(want, name)) and np.array_equal(getattr(found, name), array)


def test_links_and_modes_stay(tmp_path: Path) -> None:
    stored(tmp_path / "r", IMAGES[::-1])
    (tmp_path / "r" / "votes.npy").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o640)
    (tmp_path / "r" / "votes.npy").symlink_to("../elsewhere")
    (tmp_path / "r" / "cycles.npy").chmod(0o600)
    stored(tmp_path / "r")
    assert (tmp_path / "r" / "votes.npy").is_symlink()
    assert np.array_equal(np.load(tmp_path / "elsewhere"), golden().votes)
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "r" / "cycles.npy").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_lies_beside_is_nobody_s_business(tmp_path: Path, kind: str) -> None:
    """A name that could be taken for an array's that is not whole."""
    mine, beside = tmp_path / "mine", tmp_path / "r" / "votes.npy.partial"
    beside.parent.mkdir()
    mine.write_text("mine")
    if kind == "link":
        beside.symlink_to(mine)
    elif kind == "fifo":
        os.mkfifo(beside)
    else:
        beside.mkdir()
    stored(tmp_path / "r")
    assert np.array_equal(np.load(tmp_path / "r" / "votes.npy"), golden().votes)
    assert mine.read_text() == "mine" and os.path.lexists(beside)


def test_a_fifo_is_given_the_array(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "votes.npy")
    with subprocess.Popen(["cat", str(tmp_path / "votes.npy")], stdout=subprocess.PIPE) as reader:
        stored(tmp_path)
        assert reader.communicate(timeout=60)[0].endswith(golden().votes.tobytes())
    assert stat.S_ISFIFO((tmp_path / "votes.npy").stat().st_mode)


@pytest.mark.parametrize("name", ["cycles", "votes"])
def test_a_folder_at_a_name_is_told_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.npy").mkdir()
    with pytest.raises(SynflipError, match=rf"cannot write \S+/{name}.npy: it is a folder"):
        stored(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [f"{name}.npy"]


def test_arrays_of_another_run_do_not_stay_beside_this_one_s(tmp_path: Path) -> None:
    stored(tmp_path, logits=True)
    old = np.load(tmp_path / "logits.npy")
    with pytest.raises(SynflipError, match=r"/logits.npy is of another run, and would stay beside"):
        stored(tmp_path, IMAGES[::-1])
    assert np.array_equal(np.load(tmp_path / "logits.npy"), old)
    assert np.array_equal(np.load(tmp_path / "votes.npy"), golden().votes)
    stored(tmp_path, IMAGES[::-1], logits=True)
    assert np.array_equal(np.load(tmp_path / "votes.npy"), golden(IMAGES[::-1]).votes)


def test_an_array_alone_is_somebody_s(tmp_path: Path) -> None:
    (tmp_path / "votes.npy").write_text("mine")
    with pytest.raises(
        SynflipError, match=r"/votes.npy is there already and is not from a result: .* another out$"
    ):
        stored(tmp_path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("votes.npy", "mine")]


@pytest.mark.parametrize("kind", ["map", "rows of a map", "file"])
@pytest.mark.parametrize("name", NAMES)
def test_images_are_not_replaced_while_they_are_read(tmp_path: Path, name: str, kind: str) -> None:
    file = tmp_path / f"{name}.npy"
    np.save(file, IMAGES)
    images = np.load(file, mmap_mode="r")
    if kind == "rows of a map":
        images = np.asarray(images)
    elif kind == "file":
        images = ImageFile(file, IMAGES.shape, 128)
    with (
        pytest.raises(SynflipError, match=rf"cannot write \S+/{name}.npy: it is read too"),
        Store(tmp_path, InferenceRequest(MODEL, images, 8, 3)),
    ):
        pass
    assert np.array_equal(np.load(file), IMAGES) and len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_is_full_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SynflipError, match=r"^cannot write \S+/votes.npy: No space left on device$"):
        stored(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_disk_has_all_of_the_files(tmp_path: Path) -> None:
    """No file has holes: a write into one, when the disk is full, is a SIGBUS."""
    with Store(tmp_path, InferenceRequest(MODEL, IMAGES, 1000, 3, logits=True)):
        (growing,) = tmp_path.iterdir()
        files = [file.stat() for file in growing.iterdir()]
        assert len(files) == 4 and all(file.st_blocks * 512 >= file.st_size for file in files)


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    stored(tmp_path)
    with (
        pytest.raises(KeyboardInterrupt),
        Store(tmp_path, InferenceRequest(MODEL, IMAGES[:9], 8, 3)) as store,
    ):
        store.tally.votes[:] = 9
        raise KeyboardInterrupt
    assert np.array_equal(np.load(tmp_path / "votes.npy"), golden().votes)
    assert not any(file.name.startswith(".") for file in tmp_path.iterdir())
