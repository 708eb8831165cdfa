"""Images in the codes of the line, taken apart by another way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synflip.devices.image_code import packed, pairs, shortest
from synflip.spec.frames import PACKED, PAIRS


def decode(code, words, rows):
    """In plain Python, by the rules of docs/reference/uart.md."""
    content = b"".join(int(word).to_bytes(4, "little") for word in words)
    x, row = [0] * (rows + 1024), 0
    if code == PAIRS:
        for gap, value in zip(content[::2], content[1::2], strict=True):
            row += gap
            x[row] = value
            row += 1
    else:
        for byte in content:
            for shift in range(0, 8, code):
                x[row] = byte >> shift & (1 << code) - 1
                row += 1
    assert not any(x[rows:])
    return np.array(x[:rows], np.uint8)


sparse = st.tuples(st.integers(1, 900), st.integers(0, 12), st.integers(0, 1 << 32))


@settings(max_examples=60, deadline=None)
@given(sparse)
def test_pairs(case):
    rows, count, seed = case
    rng = np.random.default_rng(seed)
    x = np.zeros(rows, np.uint8)
    x[rng.choice(rows, min(count, rows), replace=False)] = rng.integers(1, 256, min(count, rows))
    assert (decode(PAIRS, pairs(x), rows) == x).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PACKED), arrays(np.uint8, st.integers(1, 70)))
def test_packed(bits, x):
    x = x & np.uint8((1 << bits) - 1)
    assert (decode(bits, packed(x, bits), len(x)) == x).all()


def test_the_words_of_the_page():
    x = np.zeros(304, np.uint8)
    x[[2, 3, 303]] = 9, 8, 5
    assert bytes(pairs(x).view(np.uint8)) == bytes([2, 9, 0, 8, 255, 0, 43, 5])
    assert packed(np.array([1, 2, 3], np.uint8), 2).tolist() == [0b11_10_01]


@pytest.mark.parametrize(
    ("events", "largest", "code", "words"),
    [
        (0, 0, PAIRS, 1),
        (3, 255, PAIRS, 2),
        (200, 3, 2, 49),
        (100, 15, PAIRS, 50),
        (300, 15, 4, 98),
        (300, 1, 1, 25),
    ],
)
def test_the_shortest_is_taken(events, largest, code, words):
    x = np.zeros(784, np.uint8)
    x[:events] = largest
    found, coded = shortest(x)
    assert (found, len(coded)) == (code, words)
    assert (decode(found, coded, 784) == x).all()
