"""Splits: every row in exactly one part, classes in equal shares, the same seed the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_core.data.split import OneRow, put_in_order, sample_rows, split_by, split_rows
from mlp_core.errors import DataError

ROWS = np.arange(100, 300)
LABELS = np.arange(200) % 7 % 4


@pytest.mark.parametrize("method", ["stratified", "random", "ordered", "auto"])
@pytest.mark.parametrize(("val", "test"), [(0.2, 0.0), (0.0, 0.2), (0.2, 0.2), (30, 41), (0.15, 7), (1, 1)])
def test_parts_are_disjoint_and_cover_all_rows(method: str, val: float, test: float) -> None:
    parts = split_rows(ROWS, LABELS, method, val, test, seed=3)
    assert list(parts) == ["train"] + ["val"] * (val > 0) + ["test"] * (test > 0)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), ROWS)
    for name, part in (("val", val), ("test", test)):
        if part:
            assert len(parts[name]) == (part if part >= 1 else round(200 * part))
            assert (np.diff(parts[name]) > 0).all()


def test_ordered_takes_the_last_rows_for_testing() -> None:
    parts = split_rows(ROWS, None, "ordered", 2, 3, seed=0)
    assert (parts["train"][-1], parts["val"].tolist(), parts["test"].tolist()) == (294, [295, 296], [297, 298, 299])


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 60), min_size=2, max_size=8),
    val=st.sampled_from([0, 0.1, 0.2, 0.37]),
    test=st.sampled_from([0.1, 0.25, 0.4]),
    seed=st.integers(0, 2**32),
)
def test_every_class_gets_its_share(sizes: list[int], val: float, test: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = len(labels)
    if rows * test < 0.5 or (val and rows * val < 0.5):
        return
    try:
        parts = split_rows(np.arange(rows), labels, "stratified", val, test, seed)
    except DataError:
        assert sum(int(rows * part + 0.5) for part in (val, test)) > rows - len(sizes)
        return
    assert (np.bincount(labels[parts["train"]], minlength=len(sizes)) >= 1).all()
    share = np.bincount(labels[parts["test"]], minlength=len(sizes)) - np.array(sizes) * len(parts["test"]) / rows
    if min(sizes) > 4:  # a class too small for its share keeps a row for training
        assert np.abs(share).max() < 1


@pytest.mark.parametrize("method", ["stratified", "random"])
def test_a_seed_gives_the_same_rows_again(method: str) -> None:
    first, again, other = (split_rows(ROWS, LABELS, method, 0.2, 0.2, seed) for seed in (5, 5, 6))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["val"], other["val"])


def test_the_rows_of_a_seed_never_change() -> None:
    """Golden rows, made with numpy 2.4: when they change, a seed no longer means the split it meant."""
    parts = split_rows(np.arange(20), np.arange(20) % 2, "stratified", 4, 4, seed=0)
    assert (parts["val"].tolist(), parts["test"].tolist()) == ([0, 11, 17, 18], [1, 4, 10, 13])


@pytest.mark.parametrize(
    ("rows", "labels", "method", "val", "test", "key"),
    [
        (3, None, "random", 0.1, 0, "data.split.val"),
        (3, None, "random", 0, 0.1, "data.split.test"),
        (3, None, "random", 3, 0, "data.split.val"),
        (4, None, "random", 2, 2, "data.split.val"),
        (4, None, "stratified", 0.5, 0, "data.split.method"),
        (4, [0, 0, 1, 1], "stratified", 3, 0, "data.split.val"),
    ],
)
def test_an_impossible_split_names_its_key(
    rows: int, labels: Any, method: str, val: float, test: float, key: str
) -> None:
    with pytest.raises(DataError) as caught:
        split_rows(np.arange(rows), None if labels is None else np.array(labels), method, val, test, 0)
    assert caught.value.problems[0].key == key


def test_a_class_with_one_row_cannot_be_shared_out() -> None:
    with pytest.raises(OneRow) as caught:
        split_rows(np.arange(5), np.array([0, 0, 1, 0, 0]), "stratified", 0.2, 0, 0)
    assert caught.value.label == 1


def test_a_sample_is_drawn_once_and_sorted() -> None:
    rows = sample_rows(1000, 50, seed=1)
    assert len(set(rows.tolist())) == 50
    assert (np.diff(rows) > 0).all()
    assert rows.max() > 500
    np.testing.assert_array_equal(sample_rows(5, None, 0), np.arange(5))
    np.testing.assert_array_equal(sample_rows(5, 9, 0), np.arange(5))


KEYS = [f"g{k % 23}" for k in range(200)]


def test_a_column_of_words_says_where_rows_go() -> None:
    words = ["train", "val", "Test", "validation"] * 50
    parts = split_by(ROWS, words, "column", 0.2, 0.0, seed=0)
    assert {name: list(part[:2]) for name, part in parts.items()} == {
        "train": [100, 104], "val": [101, 103], "test": [102, 106]
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_together(seed: int) -> None:
    parts = split_by(ROWS, KEYS, "group", 0.2, 40, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), ROWS)
    groups = [{KEYS[row - 100] for row in part} for part in parts.values()]
    assert sum(map(len, groups)) == 23
    assert 40 <= len(parts["val"]) < 50
    assert 40 <= len(parts["test"]) < 50


def test_a_hash_does_not_move_rows_when_others_come() -> None:
    keys = [f"row {k}" for k in range(3000)]
    few = split_by(np.arange(1000), keys[:1000], "hash", 0.2, 0.1, seed=0)
    many = split_by(np.arange(3000), keys, "hash", 0.2, 0.1, seed=0)
    for name, share in (("val", 0.2), ("test", 0.1)):
        assert set(few[name]) == {row for row in many[name] if row < 1000}
        assert abs(len(many[name]) / 3000 - share) < 0.02
    assert set(many["val"]) != set(split_by(np.arange(3000), keys, "hash", 0.2, 0.1, seed=1)["val"])


@pytest.mark.parametrize(
    ("keys", "method", "val", "code"),
    [
        (["train", "holdout"] * 100, "column", 0.2, "unknown_split"),
        (["val"] * 200, "column", 0.2, "too_few_rows"),
        (["one"] * 200, "group", 0.2, "too_few_rows"),
        (KEYS, "hash", 20, "inconsistent"),
    ],
)
def test_a_column_that_cannot_split_is_refused(keys: list[str], method: str, val: float, code: str) -> None:
    with pytest.raises(DataError) as caught:
        split_by(ROWS, keys, method, val, 0.0, seed=0)
    assert caught.value.problems[0].code == code


@pytest.mark.parametrize("method", ["random", "ordered"])
@pytest.mark.parametrize(("val", "test"), [(0.2, 0.1), (0.6, 0.3), (0.0, 0.5), (1, 0)])
@pytest.mark.parametrize("view", [False, True])
def test_rows_are_dealt_within_their_own_memory(monkeypatch, method: str, val: float, test: float, view: bool) -> None:
    """In several blocks of rows; the parts are slices of X, which holds every row once."""
    monkeypatch.setattr("mlp_core.data.split.CELLS", 50)
    X = np.random.default_rng(0).random((203, 9))[:, 1:] if view else np.random.default_rng(0).random((203, 8))
    parts, before = split_rows(np.arange(203), None, method, val, test, seed=1), X.copy()
    found = put_in_order(X, parts)
    assert list(found) == list(parts)
    for name, rows in parts.items():
        assert np.shares_memory(found[name], X)
        np.testing.assert_array_equal(found[name], before[rows])
    np.testing.assert_array_equal(np.sort(X, axis=0), np.sort(before, axis=0))
