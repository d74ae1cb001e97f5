"""The two-level order: every row once, a function of seed and epoch, found at any place, and well mixed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_core.data.batches.chunk_shuffle import TwoLevel


def order(shuffle: TwoLevel, epoch: int) -> np.ndarray:
    return np.concatenate([shuffle.group(epoch, index).numbers for index in range(shuffle.groups)])


@given(st.integers(1, 400), st.integers(1, 50), st.integers(1, 9), st.integers(0, 2**63 - 1), st.integers(0, 3))
def test_every_row_comes_once_in_every_epoch(rows: int, chunk: int, together: int, seed: int, epoch: int) -> None:
    assert np.array_equal(np.sort(order(TwoLevel(rows, chunk, together, seed), epoch)), np.arange(rows))


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 5), st.integers(1, 64), st.data())
def test_any_place_is_found_without_those_before_it(
    rows: int, chunk: int, together: int, batch: int, data: st.DataObject
) -> None:
    whole = order(TwoLevel(rows, chunk, together, 5), 2)
    start = data.draw(st.integers(0, rows - 1))
    fresh = TwoLevel(rows, chunk, together, 5)
    pieces = fresh.pieces(2, start, min(start + batch, rows))
    found = np.concatenate([fresh.group(2, index).numbers[places] for index, places in pieces])
    assert np.array_equal(found, whole[start : start + batch])


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 5))
def test_what_is_in_memory_together_is_bounded_and_lies_in_chunks(rows: int, chunk: int, together: int) -> None:
    shuffle = TwoLevel(rows, chunk, together, 1)
    for index in range(shuffle.groups):
        group = shuffle.group(0, index)
        assert len(group.numbers) <= chunk * together
        assert all(start % chunk == 0 and 0 < stop - start <= chunk for start, stop in group.spans)
        buffer = np.concatenate([np.arange(start, stop) for start, stop in group.spans])
        assert np.array_equal(buffer[group.order], group.numbers)


def test_equal_seeds_and_epochs_give_equal_orders_and_others_do_not() -> None:
    first = order(TwoLevel(10_000, 100, 8, 3), 4)
    assert np.array_equal(first, order(TwoLevel(10_000, 100, 8, 3), 4))
    assert not np.array_equal(first, order(TwoLevel(10_000, 100, 8, 3), 5))
    assert not np.array_equal(first, order(TwoLevel(10_000, 100, 8, 4), 4))


@pytest.mark.parametrize("epoch", range(5))
def test_the_place_of_a_row_tells_nothing_of_its_number(epoch: int) -> None:
    """Rank correlation of numbers and places: its deviation is about 1 / sqrt(chunks) for whole chunks, 0.05 here."""
    numbers = order(TwoLevel(40_000, 100, 16, 7), epoch)
    assert abs(np.corrcoef(numbers, np.arange(40_000))[0, 1]) < 0.2
    steps = np.abs(np.diff(numbers))
    assert np.mean(steps <= 100) < 2.5 / 16  # neighbours in the order are hardly ever of one chunk
    epochs = [order(TwoLevel(40_000, 100, 16, 7), other).argsort() for other in (epoch, epoch + 1)]
    assert abs(np.corrcoef(*epochs)[0, 1]) < 0.2


def test_sorted_classes_come_mixed() -> None:
    """Rows sorted by class: no group of 16 chunks is without one of four classes, and few batches are."""
    labels = np.repeat(np.arange(4), 10_000)
    numbers = order(TwoLevel(40_000, 100, 16, 0), 0)
    shares = np.array([np.bincount(labels[numbers[i : i + 1600]], minlength=4) for i in range(0, 40_000, 1600)]) / 1600
    assert shares.min() > 0
    assert np.abs(shares.mean(axis=0) - 0.25).max() < 1e-9
    assert shares.std(axis=0).max() < 2 * np.sqrt(0.25 * 0.75 / 16)
