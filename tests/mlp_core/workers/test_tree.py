"""Sums over shards are the same bits whoever adds them, and sent as little as can be."""

from __future__ import annotations

import numpy as np
import pytest
from threads import together

from mlp_core.workers.tree import WHOLE, add_across, add_pairs

SHARDS = 16
LENGTHS = (1, 5, WHOLE // 4, WHOLE // 4 + 3, 50_001)


def shards(length: int) -> list[np.ndarray]:
    return [np.random.default_rng(i).standard_normal(length).astype(np.float32) for i in range(SHARDS)]


def by_recursion(parts: list[np.ndarray]) -> np.ndarray:
    """The sum of a tree is that of its left half and that of its right half."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return by_recursion(parts[:half]) + by_recursion(parts[half:])


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_bits_of_a_sum_do_not_depend_on_the_workers(size, length):
    def work(world):
        mine = shards(length)[world.rank * SHARDS // size : (world.rank + 1) * SHARDS // size]
        add_pairs(mine)
        add_across(world, mine[0], np.empty_like(mine[0]))
        return mine[0], world.sent

    right = by_recursion(shards(length))
    for found, sent in together(size, work):
        np.testing.assert_array_equal(found.view(np.uint32), right.view(np.uint32))
        if length * 4 > WHOLE * size:
            least = 2 * length * 4 * (size - 1) / size  # there is no way to send less, as `tree` says
            assert sent <= least + 16 * size


def test_the_order_is_not_that_of_a_plain_sum():
    parts = shards(1000)
    plain = np.sum(parts, axis=0, dtype=np.float32)
    add_pairs(parts)
    assert np.any(plain != parts[0])
    np.testing.assert_allclose(plain, parts[0], rtol=1e-4, atol=1e-5)


def test_numbers_are_added_in_the_same_order():
    numbers = [0.1, 0.2, 0.3, 1e16]
    add_pairs(numbers)
    assert numbers[0] == (0.1 + 0.2) + (0.3 + 1e16)
