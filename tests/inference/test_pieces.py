"""A request cut into pieces in any way, and put together again, is the request itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synflip.golden.cpu import Golden
from synflip.inference.compare import QUANTITIES
from synflip.inference.pieces import Piece, Uncut, Whole
from synflip.inference.request import InferenceRequest
from synflip.inference.result import Result

from tests.networks import random_model

MODEL = random_model((12, 16, 5))
IMAGES = np.random.default_rng(2).integers(0, 256, (7, 12)).astype(np.uint8)
ALL_BUT_CYCLES = [name for name in QUANTITIES if name != "cycles"]


def equal(one: Result, other: Result) -> bool:
    """In everything but cycles."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ALL_BUT_CYCLES)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 7),
    st.integers(1, 9),
    st.lists(st.integers(0, 70), min_size=1, max_size=5),
    st.sampled_from(["plain", "margin", "keys", "first", "keep_keys"]),
    st.randoms(),
)
def test_any_cut_in_any_order(images: int, samples: int, sizes: list[int], kind: str, order: object) -> None:
    options: dict[str, object] = {
        "plain": {},
        "margin": {"margin": 2},
        "keys": {"keys": np.random.default_rng(1).integers(0, 1 << 63, (samples, 32)).astype(np.uint64)},
        "first": {"first": 5},
        "keep_keys": {"keep_keys": True},
    }[kind]
    request = InferenceRequest(MODEL, IMAGES[:images], samples, 3, logits=True, **options)  # type: ignore[arg-type]
    uncut, pieces = Uncut(request), []
    while uncut:
        pieces.append(uncut.take(sizes[len(pieces) % len(sizes)]))
    order.shuffle(pieces)  # type: ignore[attr-defined]
    whole = Whole(request)
    with Golden(predict=False) as golden:
        golden.load(MODEL)
        for piece in pieces:
            whole.add(piece, golden.run(piece.of(request)))
        assert equal(golden.run(request), whole.result())
    if kind in ("margin", "keep_keys"):
        assert all(len(piece.samples) == samples for piece in pieces)
    if kind == "keep_keys":
        assert np.array_equal(whole.result().keys, request.sample_keys)


def test_a_piece_that_was_given_back_is_cut_again() -> None:
    uncut = Uncut(InferenceRequest(MODEL, IMAGES, 4, 3))
    uncut.give_back(uncut.take(12))
    assert uncut.size == 28 and uncut.take(4) == Piece(range(1), range(4))


def test_samples_without_numbers_are_not_cut() -> None:
    uncut = Uncut(InferenceRequest(MODEL, IMAGES[:1], 4, 3), cut_samples=False)
    assert uncut.take(1) == Piece(range(1), range(4)) and not uncut


@pytest.mark.parametrize(("cycles", "total"), [((3, 4), 7), ((3, -1), -1), ((-1, 3), -1)])
def test_cycles_are_added_where_all_are_known(cycles: tuple[int, int], total: int) -> None:
    request = InferenceRequest(MODEL, IMAGES[:2], 1, 3)
    whole, uncut = Whole(request), Uncut(request)
    for count in cycles:
        one = Result(np.zeros((1, 5), np.int32), np.zeros((1, 5), np.int64), np.zeros(1, np.int32), count)
        whole.add(uncut.take(1), one)
    assert whole.result().cycles == total
