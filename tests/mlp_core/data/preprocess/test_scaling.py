"""Scaling: equal to scikit-learn's scalers, undone exactly, stored without loss."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mlp_core.data.preprocess.scaling import CELLS, METHODS, Scaler, Target, TooFar
from mlp_core.errors import CheckpointError, DataError

RNG = np.random.default_rng(0)
TABLES: dict[str, np.ndarray[Any, Any]] = {
    "normal": RNG.normal(size=(200, 5)),
    "large mean": RNG.normal(size=(200, 5)) + 1e6,
    "mixed scales": RNG.normal(size=(200, 5)) * 10.0 ** np.arange(-6, 4, 2),
    "constant column": np.where(np.arange(5) == 2, 0.1, RNG.normal(size=(200, 5))),
    "constant up to rounding": 1e8 * (1 + 1e-16 * RNG.normal(size=(200, 5))),
    "images": RNG.integers(0, 256, (200, 5), np.uint8),
    "one row": RNG.normal(size=(1, 5)),
    "float32": RNG.normal(size=(200, 5)).astype(np.float32),
}  # fmt: skip


# scikit-learn's MinMaxScaler scales before it shifts, which loses all digits of a column constant up to rounding
PEERS = [(m, n) for m in METHODS[:4] for n in TABLES if (m, n) != ("minmax", "constant up to rounding")]


@pytest.mark.parametrize(("method", "name"), PEERS)
def test_scaling_equals_scikit_learn(method: str, name: str) -> None:
    sklearn = pytest.importorskip("sklearn.preprocessing", reason="needs scikit-learn as the reference")
    X = TABLES[name].astype(np.float64)
    peers = dict(zip(METHODS, ("StandardScaler", "MinMaxScaler", "RobustScaler", "MaxAbsScaler"), strict=False))
    peer = getattr(sklearn, peers[method])().fit(X)
    scaled = Scaler(method).fit(TABLES[name]).transform(TABLES[name])
    np.testing.assert_allclose(scaled, peer.transform(X), rtol=1e-12, atol=2e-9 if name == "large mean" else 1e-12)


@pytest.mark.parametrize("method", METHODS[:-1])
@pytest.mark.parametrize("name", TABLES)
def test_shift_and_scale_are_the_whole_transform(method: str, name: str) -> None:
    X = TABLES[name]
    fitted = Scaler(method).fit(X)
    assert (fitted.shift.dtype, fitted.scale.dtype) == (np.float64, np.float64)
    np.testing.assert_array_equal(fitted.transform(X), (X - fitted.shift) * fitted.scale)
    np.testing.assert_allclose(fitted.inverse(fitted.transform(X)), X, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_writes_where_it_is_told(dtype: Any) -> None:
    X = TABLES["images"]
    fitted = Scaler("minmax").fit(X)
    out = np.full((200, 5), np.nan, dtype)
    assert fitted.transform(X, out=out) is out
    np.testing.assert_array_equal(out, ((X - fitted.shift) * fitted.scale).astype(dtype))
    np.testing.assert_array_equal(out, fitted.transform(X, dtype=dtype))


def test_blocks_of_rows_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    X = TABLES["mixed scales"]
    whole = Scaler().fit(X)
    assert X.size < CELLS
    monkeypatch.setattr("mlp_core.data.preprocess.scaling.CELLS", 35)
    parts = Scaler().fit(X)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-14)
    np.testing.assert_allclose(parts.shift, whole.shift, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [Scaler, Target])
def test_the_state_survives_json_exactly(method: str, kind: Any) -> None:
    fitted = kind(method).fit(TABLES["mixed scales"] / 3)
    again = kind.from_state(json.loads(json.dumps(fitted.to_state(), allow_nan=False)))
    assert again.method == method
    np.testing.assert_array_equal(again.shift, fitted.shift)
    np.testing.assert_array_equal(again.scale, fitted.scale)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"method": "rank", "shift": [0.0], "scale": [1.0]},
        {"method": [], "shift": [0.0], "scale": [1.0]},
        {"method": "none", "shift": [0.0], "scale": [1.0, 1.0]},
        {"method": "none", "shift": [float("nan")], "scale": [1.0]},
        {"method": "none", "shift": ["0"], "scale": [1.0]},
        {"method": "none", "shift": [True], "scale": [1.0]},
        {"method": "none", "shift": [10**400], "scale": [1.0]},
        {"method": "none", "shift": 0.0, "scale": 1.0},
    ],
)
def test_a_state_that_is_none_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        Scaler.from_state(state)


@pytest.mark.parametrize("method", ["standard", "minmax"])
def test_a_spread_beyond_float64_is_refused(method: str) -> None:
    with pytest.raises(DataError, match=r"column 1 \(from 0\) spans -1e\+308 to 1e\+308"):
        Scaler(method).fit(np.array([[0.0, -1e308], [1.0, 1e308]]))


def test_the_row_of_a_cell_too_far_out_is_named() -> None:
    with pytest.raises(TooFar) as caught:
        Scaler("standard").fit(np.array([[0.0, 1.0], [1.0, -1e308], [1.0, 2.0]]))
    assert "row 2 of the data" in str(caught.value.placed(None))
    assert "row 1,009 of the data" in str(caught.value.placed(np.array([7, 1008, 9])))


def test_a_value_beyond_float32_is_refused() -> None:
    X = np.array([[1.0], [1e39]])
    with pytest.raises(DataError, match="does not fit float32"):
        Scaler("none").fit(X).transform(X, dtype=np.float32)


@pytest.mark.parametrize("step", [5e-324, 1e-310, 1e-300])
def test_a_tiny_spread_gives_finite_numbers(step: float) -> None:
    X = np.array([[0.0], [step], [2 * step]])
    for method in METHODS:
        assert np.isfinite(Scaler(method).fit(X).transform(X)).all()


@pytest.mark.parametrize("columns", [1, 2, 7])
@pytest.mark.parametrize("method", METHODS)
def test_where_rows_lie_changes_no_bit(method: str, columns: int) -> None:
    """Part of the columns of a wider table, not copied; and rows scaled in their own memory."""
    wide = np.random.default_rng(2).standard_normal((40_003, columns + 1)) * 1e3 + 17
    view, whole = wide[:, :columns], np.ascontiguousarray(wide[:, :columns])
    ours, theirs = Scaler(method).fit(view), Scaler(method).fit(whole)
    assert ours.shift.tobytes() == theirs.shift.tobytes()
    assert ours.scale.tobytes() == theirs.scale.tobytes()
    expected = theirs.transform(whole)
    assert ours.transform(view).tobytes() == expected.tobytes()
    assert ours.transform(whole, whole).tobytes() == expected.tobytes()


def test_quartiles_are_those_of_every_column_by_itself(monkeypatch) -> None:
    X = np.random.default_rng(2).standard_normal((1001, 12)).astype(np.float32)
    expected = Scaler("robust").fit(X)
    monkeypatch.setattr("mlp_core.data.preprocess.scaling.CELLS", 5000)
    found = Scaler("robust").fit(X)
    for kind in ("shift", "scale"):
        assert getattr(found, kind).tobytes() == getattr(expected, kind).tobytes()
    np.testing.assert_array_equal(found.shift, [np.quantile(X[:, j].astype(np.float64), 0.5) for j in range(12)])


@pytest.mark.parametrize("log", [False, True])
def test_predictions_are_cut_to_the_range_of_the_training_targets(log: bool) -> None:
    y = np.array([[1.0, 0.5], [3.0, 0.25], [9.0, 4.0]])
    target = Target("standard", log, clamp=True).fit(y)
    target = Target.from_state(json.loads(json.dumps(target.to_state())))
    Z = target.transform(np.array([[0.0, 0.3], [5.0, 9.0]]))
    np.testing.assert_allclose(target.inverse(Z), [[1.0, 0.3], [5.0, 4.0]], rtol=1e-12)
    slope = target.inverse(Z + 1e-20j).imag  # a complex step: nothing moves beyond the range
    assert (slope != 0).tolist() == [[False, True], [True, False]]
    with pytest.raises(CheckpointError, match="limits"):
        Target.from_state({**target.to_state(), "limits": [[1.0], [2.0]]})
