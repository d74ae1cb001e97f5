"""Preprocessing: each step equal to scikit-learn's, fitted on training rows only, stored without loss."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mlp_core.data.preprocess.categories import Categories, CategoryPlan
from mlp_core.data.preprocess.preprocessor import NumericPlan, Preprocessor
from mlp_core.data.preprocess.quantile_scores import Ranks, normal_quantile
from mlp_core.errors import CheckpointError, DataError

RNG = np.random.default_rng(0)
HOLES = np.where(RNG.random((300, 3)) < 0.1, np.nan, RNG.lognormal(size=(300, 3)))
WORDS = ["c", "a", "b", "rare", "d"]
CODES = np.array([0, 1, 1, 2, 2, 2, 3, np.nan, 4, 4], np.float64)


def sklearn(name: str) -> Any:
    return pytest.importorskip(name, reason="needs scikit-learn as the reference")


def stored(fitted: Preprocessor) -> Preprocessor:
    """The preprocessing after a trip through JSON with sorted keys, as checkpoints have them."""
    return Preprocessor.from_state(json.loads(json.dumps(fitted.to_state(), sort_keys=True, allow_nan=False)))


@pytest.mark.parametrize("impute", ["median", "mean", "zero", 7.5])
def test_missing_numbers_are_filled_as_scikit_learn_fills_them(impute: Any) -> None:
    peers, scalers = sklearn("sklearn.impute"), sklearn("sklearn.preprocessing")
    known = impute in ("median", "mean")
    constant = {"fill_value": 0 if impute == "zero" else impute}
    peer = peers.SimpleImputer(strategy=impute) if known else peers.SimpleImputer(strategy="constant", **constant)
    expected = scalers.StandardScaler().fit_transform(peer.fit_transform(HOLES))
    fitted = Preprocessor(NumericPlan(impute=impute)).fit(HOLES)
    inputs = fitted.transform(HOLES)
    assert fitted.inputs == 6
    np.testing.assert_allclose(inputs[:, :3], expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(inputs[:, 3:], np.isnan(HOLES))


def test_the_commonest_number_is_scikit_learns() -> None:
    X = RNG.integers(0, 4, (200, 3)).astype(float)
    X[RNG.random(X.shape) < 0.2] = np.nan
    X[:4, 2] = [5, 5, 7, 7]
    X[4:, 2] = np.nan  # of several, the smallest
    expected = sklearn("sklearn.impute").SimpleImputer(strategy="most_frequent").fit_transform(X)
    found = Preprocessor(NumericPlan("none", "mode", indicator=False)).fit(X).transform(X)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("indicator", "inputs"), [("auto", 4), (True, 6), (False, 3)])
def test_indicators_are_for_columns_that_miss_values_in_training(indicator: Any, inputs: int) -> None:
    X = HOLES.copy()
    X[:, :2] = np.nan_to_num(X[:, :2])
    fitted = Preprocessor(NumericPlan(indicator=indicator)).fit(X)
    assert fitted.inputs == inputs
    assert np.isfinite(fitted.transform(HOLES)).all()  # missing in new rows only: filled all the same


def test_quantile_scaling_equals_scikit_learn() -> None:
    preprocessing = sklearn("sklearn.preprocessing")
    X = np.column_stack([RNG.exponential(size=5000), RNG.integers(0, 4, 5000), np.full(5000, 3.0)])
    count = 5000 // 30
    peer = preprocessing.QuantileTransformer(n_quantiles=count, output_distribution="normal", subsample=None)
    new = np.vstack([X, X + 0.01, [[-5, 9, 3], [99, -9, 3]]])
    found = Preprocessor(NumericPlan("quantile")).fit(X).transform(new)
    inner = (new[:, 1] > 0) & (new[:, 1] < 3)  # at its ends scikit-learn has 5.2, however many rows lie there
    expected = peer.fit(X).transform(new)
    np.testing.assert_allclose(found[:, 0], expected[:, 0], atol=1e-7)
    np.testing.assert_allclose(found[inner, 1], expected[inner, 1], atol=1e-7)
    assert (found[:, 2] == 0).all()


def test_the_normal_quantile_undoes_the_normal_distribution() -> None:
    distribution = __import__("statistics").NormalDist()
    p = np.concatenate([np.logspace(-7, -1, 50), np.linspace(0.1, 0.9, 50), 1 - np.logspace(-7, -1, 50)])
    np.testing.assert_allclose(normal_quantile(p), [distribution.inv_cdf(float(x)) for x in p], rtol=1e-14, atol=1e-15)


def test_ranks_of_a_constant_column_are_zero() -> None:
    assert (Ranks.fit(np.full(100, 2.0)).transform(np.array([1.0, 2.0, 3.0])) == 0).all()


def test_logarithm_and_limits_come_before_scaling() -> None:
    X = RNG.lognormal(3, 2, (500, 2))
    fitted = Preprocessor(NumericPlan(), {0: NumericPlan(log=True, clip=1.5), 1: NumericPlan(clip=2.0)}).fit(X)
    inputs = fitted.transform(X)
    for column, values, reach in ((0, np.log1p(X[:, 0]), 1.5), (1, X[:, 1], 2.0)):
        limited = np.clip(values, values.mean() - reach * values.std(), values.mean() + reach * values.std())
        np.testing.assert_allclose(inputs[:, column], (limited - limited.mean()) / limited.std(), rtol=1e-9)
    with pytest.raises(DataError, match="log"):
        Preprocessor(NumericPlan(log=True)).fit(-X)


@pytest.mark.parametrize(
    ("plan", "names", "places"),
    [
        (CategoryPlan(), ["a", "b", "d", "(other)", "(missing)"], [3, 0, 0, 1, 1, 1, 3, 4, 2, 2]),
        (CategoryPlan(min_count=1), ["a", "b", "c", "d", "rare", "(missing)"], [2, 0, 0, 1, 1, 1, 4, 5, 3, 3]),
        (CategoryPlan(max_categories=1), ["b", "(other)", "(missing)"], [1, 1, 1, 0, 0, 0, 1, 2, 1, 1]),
        (CategoryPlan(missing="mode"), ["a", "b", "d", "(other)"], [3, 0, 0, 1, 1, 1, 3, 1, 2, 2]),
        (CategoryPlan(unknown="zero"), ["a", "b", "d", "(other)", "(missing)"], [-1, 0, 0, 1, 1, 1, -1, 4, 2, 2]),
    ],
)
def test_words_get_places(plan: CategoryPlan, names: list[str], places: list[int]) -> None:
    fitted = Categories.fit(plan, CODES, WORDS)
    assert fitted.names() == names
    assert fitted.place(CODES, WORDS).tolist() == places


def test_one_hot_equals_scikit_learn() -> None:
    encoder = sklearn("sklearn.preprocessing").OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    codes = RNG.integers(0, 4, 200).astype(np.float64)
    new, vocabulary = np.array([0.0, 1, 2, 3, 4]), ["w", "x", "y", "z", "unseen"]
    expected = encoder.fit([[vocabulary[int(code)]] for code in codes]).transform([[word] for word in vocabulary])
    fitted = Preprocessor(plans={0: CategoryPlan()}).fit(codes[:, None], {0: vocabulary})
    np.testing.assert_array_equal(fitted.transform(new[:, None], {0: vocabulary}), expected)
    assert fitted.unseen(new[:, None], {0: vocabulary}) == {"column 0 (from 0)": (1, "unseen")}


def test_words_are_matched_by_name_whatever_their_codes() -> None:
    fitted = Preprocessor(plans={0: CategoryPlan(min_count=1)}).fit(CODES[:, None], {0: WORDS})
    turned = [*reversed(WORDS), "new"]
    codes = np.array([turned.index(WORDS[int(code)]) if code == code else np.nan for code in CODES])
    np.testing.assert_array_equal(
        fitted.transform(codes[:, None], {0: turned}), fitted.transform(CODES[:, None], {0: WORDS})
    )


@pytest.mark.parametrize("encode", ["onehot", "ordinal", "hash", "embedding"])
@pytest.mark.parametrize("scale", ["standard", "quantile"])
def test_the_state_survives_json_exactly(encode: str, scale: str) -> None:
    words = {column: [f"w{column}-{k}" for k in range(5)] for column in range(3, 14)}
    X = np.column_stack([HOLES, RNG.integers(0, 5, (300, 11))])
    X[5, 12] = np.nan
    plans = {column: CategoryPlan(encode, 8) for column in words} | {1: NumericPlan("robust", log=True, clip=3.0)}
    fitted = Preprocessor(NumericPlan(scale), plans, [f"column {k}" for k in range(14)]).fit(X, words)
    again = stored(fitted)
    assert (again.inputs, again.embeddings, again.input_names()) == (
        fitted.inputs, fitted.embeddings, fitted.input_names()
    )  # fmt: skip
    assert len(fitted.input_names()) == fitted.inputs == fitted.transform(X, words).shape[1]
    np.testing.assert_array_equal(again.transform(X, words), fitted.transform(X, words))


def test_codes_for_embeddings_come_last_and_have_a_place_for_everything() -> None:
    X = np.column_stack([CODES, np.arange(10.0), CODES])
    fitted = Preprocessor(plans={0: CategoryPlan("embedding"), 2: CategoryPlan()}).fit(X, {0: WORDS, 2: WORDS})
    inputs = fitted.transform(X, {0: WORDS, 2: WORDS})
    assert fitted.embeddings == ((5, 4),)
    assert inputs[:, -1].tolist() == [3, 0, 0, 1, 1, 1, 3, 4, 2, 2]
    new = np.array([[0.0, 1.0, 0.0], [np.nan, 1.0, 0.0]])
    assert fitted.transform(new, {0: ["never"], 2: ["a"]})[:, -1].tolist() == [3, 4]


def test_hashed_words_need_no_vocabulary() -> None:
    plan = CategoryPlan("hash", max_categories=16)
    fitted = Preprocessor(plans={0: plan}).fit(CODES[:, None], {0: WORDS})
    assert fitted.inputs == 17  # and one for missing
    again = stored(fitted).transform(np.array([[0.0]]), {0: ["b"]})
    np.testing.assert_array_equal(again[0], fitted.transform(np.array([[2.0]]), {0: WORDS})[0])


def test_an_unknown_word_is_refused_where_asked_for() -> None:
    plan = CategoryPlan(unknown="error", min_count=1)
    fitted = Preprocessor(plans={0: plan}, names=["job"]).fit(CODES[:, None], {0: WORDS})
    with pytest.raises(DataError, match='column "job": never seen in training: "clerk"'):
        fitted.transform(np.array([[0.0]]), {0: ["clerk"]})


def test_arrays_are_only_scaled() -> None:
    X = RNG.integers(0, 256, (50, 6), np.uint8)
    fitted = Preprocessor(NumericPlan("minmax")).fit(X)
    scaler = fitted.numbers.scaler
    np.testing.assert_array_equal(fitted.transform(X), (X - scaler.shift) * scaler.scale)
    assert fitted.transform(X, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize(
    "damage",
    [
        {"columns": 1},
        {"fill": [float("nan"), 0.0]},
        {"fill": [0.0]},
        {"log": [7]},
        {"flag": ["x"]},
        {"ranks": {"0": [2.0, 1.0]}},
        {"ranks": {"9": [1.0, 2.0]}},
        {"categories": {"2": {}}},
        {"scale": {"method": "standard", "shift": [0.0], "scale": [1.0]}},
        {"limits": {"0": [1.0]}},
        {"names": None},
    ],
)
def test_a_state_that_is_none_is_refused(damage: dict[str, Any]) -> None:
    X = np.column_stack([np.arange(10.0), np.arange(10.0), CODES])
    state = Preprocessor(plans={2: CategoryPlan()}).fit(X, {2: WORDS}).to_state()
    with pytest.raises(CheckpointError):
        Preprocessor.from_state({**state, **damage})


def test_dates_give_their_circles_between_flags_and_words() -> None:
    days = np.arange(19_000.0, 19_060.0)
    days[3] = np.nan
    X = np.column_stack([days, np.arange(60.0) % 2, np.full(60, 7.0)])
    plans = {0: NumericPlan(cycles=(365.2425, 7.0, 1.0)), 1: CategoryPlan(), 2: NumericPlan(cycles=(7.0,))}
    made = Preprocessor(plans=plans, names=("day", "word", "still")).fit(X, {1: ["a", "b"]})
    circles = [f"day {what} {part}" for what in ("time of year", "day of week") for part in ("sin", "cos")]
    assert made.input_names() == ["day", "still", "day missing", *circles, "word=a", "word=b"]
    assert made.input_columns() == [0, 2, 0, 0, 0, 0, 0, 1, 1]
    assert made.dead.tolist() == [False] * 9
    state = json.loads(json.dumps(made.to_state()))
    again = Preprocessor.from_state(state)
    np.testing.assert_array_equal(again.transform(X, {1: ["a", "b"]}), made.transform(X, {1: ["a", "b"]}))
    assert made.transform(X, {1: ["a", "b"]})[:, 1].tolist() == [0.0] * 60
    with pytest.raises(CheckpointError):
        Preprocessor.from_state({**state, "cycles": {"0": [-7]}})


def test_places_that_training_never_had_do_not_act() -> None:
    codes = np.arange(60.0)[:, None] % 2
    made = Preprocessor(plans={0: CategoryPlan(encode="hash", max_categories=50)}).fit(codes, {0: ["a", "b"]})
    words = [f"w{k}" for k in range(200)]
    rows = made.transform(np.arange(200.0)[:, None], {0: words})
    assert made.dead.sum() == 48
    assert not rows[:, made.dead].any()
    one = Preprocessor(plans={0: CategoryPlan()}).fit(codes * 0, {0: ["a"]})
    assert not one.transform(np.array([[0.0], [1.0], [np.nan]]), {0: ["a", "b"]}).any()


def smoothly(column: Any) -> Any:
    """robust_smooth of one column, written out."""
    low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
    spread = high - low or (column.max() - column.min()) / 2
    z = (column - middle) / spread if spread else np.zeros_like(column)
    return z / np.sqrt(1 + (z / 3) ** 2)


def test_robust_smooth_is_its_formula_and_nothing_is_farther_than_three() -> None:
    X = np.column_stack([RNG.lognormal(0, 3, 400), RNG.random(400) < 0.1, np.full(400, 2.0), RNG.normal(size=400)])
    X[0, 3] = 1e200
    plans = {3: NumericPlan("robust_smooth"), 0: NumericPlan("robust_smooth")}
    for fitted in (
        Preprocessor(NumericPlan("robust_smooth")).fit(X),
        Preprocessor(NumericPlan("minmax"), plans).fit(X),
    ):
        inputs = stored(fitted).transform(X)
        columns = range(4) if fitted.plan.scale == "robust_smooth" else (0, 3)
        for column in columns:
            expected = np.clip(smoothly(np.clip(X[:, column], None, 1e100)), None, 3)
            np.testing.assert_allclose(inputs[:, column], expected, rtol=1e-13)
        assert np.abs(inputs).max() <= 3
        assert fitted.linear is None
    assert (inputs[:, 1] == X[:, 1]).all()  # its neighbours are scaled as they were


@pytest.mark.parametrize("scale", ["robust", "robust_smooth"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_quartiles_are_those_of_the_cells_that_are_there(scale: str, share: float) -> None:
    """Half a column of gaps would otherwise bring its quartiles together, and scale it by what is left between them."""
    rng = np.random.default_rng(3)
    X = rng.normal(5.0, 2.0, (400, 3)).round(3)
    X[rng.random(X.shape) < share] = np.nan
    X[:, 2] = np.nan  # no cell at all
    fitted = Preprocessor(NumericPlan(scale)).fit(X).numbers.scaler
    quartiles = np.nanquantile(X[:, :2], (0.25, 0.5, 0.75), axis=0)
    np.testing.assert_allclose(fitted.shift[:2], quartiles[1], rtol=1e-14)
    np.testing.assert_allclose(fitted.scale[:2], 1 / (quartiles[2] - quartiles[0]), rtol=1e-14)


@pytest.mark.parametrize("scale", ["robust_smooth", "standard", "robust", "minmax", "maxabs", "none", "quantile"])
@pytest.mark.parametrize("count", [2, 5])
def test_compact_words_are_one_hot_columns_scaled_like_numbers(scale: str, count: int) -> None:
    vocabulary = ["a", "b", "c", "d", "e", "unseen"]
    codes = RNG.choice(count, 301, p=np.arange(1, count + 1) / np.arange(1, count + 1).sum()).astype(np.float64)
    codes[RNG.random(301) < 0.1] = np.nan
    words = {0: vocabulary}
    fitted = stored(
        Preprocessor(NumericPlan(scale), {0: CategoryPlan("compact", scale=scale)}).fit(codes[:, None], words)
    )
    raw = (codes[:, None] == np.arange(count)).astype(float)
    raw = raw[:, 1:] - raw[:, :1] if count == 2 else raw
    scaled = Preprocessor(NumericPlan("none" if scale == "quantile" else scale)).fit(raw)
    np.testing.assert_allclose(fitted.transform(codes[:, None], words), scaled.transform(raw), rtol=1e-12, atol=1e-15)
    new = fitted.transform(np.array([[5.0], [np.nan]]), words)
    np.testing.assert_allclose(new, scaled.transform(np.zeros((2, raw.shape[1]))), rtol=1e-12, atol=1e-15)
    assert fitted.input_names() == [f"column 0 (from 0)={word}" for word in vocabulary[count == 2 : count]]


def test_columns_of_more_words_get_learned_vectors() -> None:
    plan = CategoryPlan("compact", embedding_dim=8, embed_above=3)
    few, many = CODES[CODES < 2], CODES
    assert Categories.fit(plan, few, WORDS).plan.encode == "compact"
    fitted = stored(
        Preprocessor(plans={0: plan, 1: CategoryPlan(embed_above=3)}).fit(
            np.column_stack([many, many]), {0: WORDS, 1: WORDS}
        )
    )
    assert fitted.embeddings == ()  # three of the words are kept
    plan = CategoryPlan("compact", min_count=1, embedding_dim=8, embed_above=3)
    assert stored(Preprocessor(plans={0: plan}).fit(many[:, None], {0: WORDS})).embeddings == ((6, 8),)


def test_a_compact_column_with_nothing_to_tell_gives_zeros() -> None:
    same, each = np.zeros((9, 1)), np.arange(5.0)[:, None]
    plan = CategoryPlan("compact", scale="robust_smooth")
    assert not Preprocessor(plans={0: plan}).fit(same, {0: WORDS}).transform(same, {0: WORDS}).any()
    assert Preprocessor(plans={0: plan}).fit(each, {0: WORDS}).transform(each, {0: WORDS}).shape == (5, 0)
