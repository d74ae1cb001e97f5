"""Folds are those of scikit-learn's splitters in kind: sizes, shares of classes, whole groups, earlier rows."""

from __future__ import annotations

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.data.folds import deal_fold
from mlp_core.data.load import load
from mlp_core.errors import ConfigError, DataError

N = 103
RNG = np.random.default_rng(0)
LABELS = RNG.choice(3, N, p=[0.6, 0.3, 0.1])
GROUPS = [f"g{g}" for g in RNG.integers(0, 17, N)]
ROWS = np.arange(N) * 2  # not the places, which are 0, 1, ...


def folds(method: str, k: int = 5, repeat: int = 1, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    labels = LABELS if method in ("stratified", "auto") else None
    keys = GROUPS if method in ("group", "hash") else None
    return [deal_fold(ROWS, labels, keys, method, k, i + 1, repeat, seed) for i in range(k)]


@pytest.mark.parametrize("method", ["auto", "stratified", "random", "group", "hash"])
def test_every_row_is_held_out_once_and_else_trained_on(method: str) -> None:
    for k in (2, 5):
        found = folds(method, k)
        assert np.array_equal(np.sort(np.concatenate([held for _, held in found])), ROWS)
        for train, held in found:
            assert np.array_equal(np.sort(np.concatenate([train, held])), ROWS)
            assert (np.diff(train) > 0).all()
            assert (np.diff(held) > 0).all()


def test_folds_are_as_scikit_learn_deals_them() -> None:
    splitters = pytest.importorskip("sklearn.model_selection")
    X = np.zeros((N, 1))
    theirs = [held for _, held in splitters.StratifiedKFold(5, shuffle=True, random_state=0).split(X, LABELS)]
    mine = [held // 2 for _, held in folds("stratified")]
    counts = [np.array([np.bincount(LABELS[held], minlength=3) for held in some]) for some in (mine, theirs)]
    assert np.array_equal(
        np.sort(counts[0], axis=0), np.sort(counts[1], axis=0)
    )  # which fold has the odd row may differ
    assert sorted(map(len, mine)) == sorted(map(len, theirs))
    sizes = [sorted(len(held) for _, held in splitters.KFold(5, shuffle=True).split(X))]
    assert [sorted(len(held) for _, held in folds("random"))] == sizes
    grouped = sorted(len(held) for _, held in splitters.GroupKFold(5).split(X, groups=GROUPS))
    assert sorted(len(held) for _, held in folds("group")) == grouped
    for (train, held), (other, theirs_held) in zip(
        folds("ordered"), splitters.TimeSeriesSplit(5).split(X), strict=True
    ):
        assert np.array_equal(train // 2, other)
        assert np.array_equal(held // 2, theirs_held)


def test_groups_stay_together_and_repeats_differ() -> None:
    for train, held in folds("group"):
        assert not {GROUPS[i // 2] for i in train} & {GROUPS[i // 2] for i in held}
    for method in ("stratified", "random", "group"):
        first, second = folds(method, repeat=1), folds(method, repeat=2)
        assert any(not np.array_equal(a[1], b[1]) for a, b in zip(first, second, strict=True))
        again = folds(method, repeat=1)
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(("method", "k"), [("random", 104), ("group", 18), ("ordered", 103), ("stratified", 90)])
def test_too_many_folds_are_refused(method: str, k: int) -> None:
    with pytest.raises(DataError, match=r"data\.split\.folds"):
        folds(method, k)


def test_rows_set_apart_are_in_no_fold() -> None:
    config = from_mapping({"data": {"name": "digits", "split": {"test": 0.2}}})
    apart = load(config).indices["test"]
    held = []
    for fold in (1, 2, 3):
        data = load(config.replace(**{"data.split.folds": 3, "data.split.fold": fold}))
        everything = np.concatenate(list(data.indices.values()))
        assert len(np.unique(everything)) == len(everything) == 1797 - len(apart)
        assert not np.isin(everything, apart).any()
        assert data.splits["val"].rows == pytest.approx(0.2 * (len(everything) - data.splits["test"].rows), abs=1)
        held.append(data.indices["test"])
    assert len(np.unique(np.concatenate(held))) == 1797 - len(apart)


@pytest.mark.parametrize(
    ("split", "word"),
    [
        ({"folds": 5}, "needs data.split.fold"),
        ({"fold": 1}, "needs data.split.folds"),
        ({"folds": 3, "fold": 4}, "fewer folds"),
        ({"repeat": 2}, "needs data.split.folds"),
        ({"folds": 3, "fold": 1, "repeat": 2, "method": "ordered"}, "one way only"),
        ({"folds": 3, "fold": 1, "method": "column", "column": "c"}, "says itself"),
    ],
)
def test_what_does_not_go_with_folds_is_refused(split: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        from_mapping({"data": {"name": "digits", "split": split}})
