"""The estimators as scikit-learn's own checks and tools see them, and without scikit-learn."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
from mlpbp import MLPClassifier, MLPRegressor, load

from mlp_core.errors import DataError

QUICK = {"hidden": [16], "optimizer__lr": 0.02, "train__epochs": 50}
ESTIMATORS = [MLPClassifier(**QUICK), MLPRegressor(**QUICK)]
EXCLUDED = {
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_sample_weight_equivalence_on_dense_data",
    "check_methods_subset_invariance",
}
"""scikit-learn's checks that are not passed by the estimators as they come; docs/python.md says why of each."""
WHOLE = {
    "data__split__val": 0.0,
    "train__batch_size": "full",
    "preprocess__numeric__scale": "none",
    "model__output_bias": "zeros",
    "dtype": "float64",
}
"""Settings with which the last two are passed: nothing in them counts rows or rounds to seven digits."""


def blobs(rows: int = 90, kinds: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % kinds
    return rng.normal(size=(rows, 4)) + 3 * np.eye(4)[y], y


def checks():
    """Every check of scikit-learn for both estimators."""
    try:
        from sklearn.utils.estimator_checks import estimator_checks_generator
    except ImportError:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            pytest.param(estimator, check, id=f"{type(estimator).__name__}-{check.func.__name__}")
            for one in ESTIMATORS
            for estimator, check in estimator_checks_generator(one)
        ]


@pytest.mark.parametrize(("estimator", "check"), checks() or [pytest.param(None, None, id="none")])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    if check is None:
        pytest.skip("needs scikit-learn 1.6")
    name = check.func.__name__
    if name == "check_do_not_raise_errors_in_init_or_set_params":
        pytest.skip("it passes an argument called keys, which is refused as every unknown one")
    if name in EXCLUDED:
        further = {"preprocess__target__scale": "none"} if isinstance(estimator, MLPRegressor) else {}
        estimator = type(estimator)(**QUICK, **WHOLE, **further)
    try:
        check(estimator)
    except SkipTest as skipped:
        pytest.skip(str(skipped))


def test_the_table_of_exceptions_is_told():
    page = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(check_\w+)`", page, re.MULTILINE)) == EXCLUDED


@pytest.mark.filterwarnings("ignore")
def test_it_takes_part_in_pipelines_searches_and_calibration():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    from sklearn.base import clone, is_classifier, is_regressor
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = blobs()
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**QUICK))
    assert pipeline.fit(X, y).score(X, y) > 0.9
    search = GridSearchCV(pipeline, {"mlpclassifier__optimizer__lr": [1e-6, 0.02]}, cv=2).fit(X, y)
    assert search.best_params_ == {"mlpclassifier__optimizer__lr": 0.02}
    assert cross_val_score(MLPClassifier(**QUICK), X, y, cv=2).mean() > 0.8
    assert CalibratedClassifierCV(MLPClassifier(**QUICK), cv=2).fit(X, y).predict_proba(X).shape == (90, 3)
    assert is_classifier(MLPClassifier())
    assert is_regressor(MLPRegressor())
    assert clone(MLPClassifier(**QUICK)).get_params() == MLPClassifier(**QUICK).get_params()


@pytest.mark.parametrize("kind", [str, int, float, bool, object])
def test_labels_come_back_as_what_they_were(kind):
    X, y = blobs(60, 2)
    y = np.array([f"class {value}" for value in y], object) if kind is object else y.astype(kind)
    model = MLPClassifier(**QUICK).fit(X, y)
    assert model.predict(X).dtype.kind == {str: "U", object: "U"}.get(kind, y.dtype.kind)
    assert list(model.classes_) == sorted(set(y.tolist()))
    assert model.score(X, y) > 0.9
    assert (model.predict(X) == model.classes_[model.predict_proba(X).argmax(axis=1)]).all()


def test_several_labels_and_several_values():
    X, y = blobs()
    labels = np.stack([y == 0, y > 0], axis=1).astype(int)
    model = MLPClassifier(**QUICK).fit(X, labels)
    assert model.predict(X).shape == model.predict_proba(X).shape == (90, 2)
    assert model.score(X, labels) > 0.9
    values = np.stack([X[:, 0] + X[:, 1], X[:, 2]], axis=1)
    regressor = MLPRegressor(**QUICK).fit(X, values)
    assert regressor.predict(X).shape == (90, 2)
    assert regressor.score(X, values) > 0.8


def test_nothing_is_written_unless_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = blobs()
    model = MLPClassifier(**QUICK).fit(X, y)
    assert not list(tmp_path.iterdir())
    assert model.run_ is None
    kept = MLPClassifier(**QUICK, output__dir="kept").fit(X, y)
    assert kept.run_.as_posix() == "kept/run-001"
    assert np.array_equal(load("kept/run-001").predict(X), model.predict(X))


def test_an_ensemble_is_the_average_of_its_members():
    X, y = blobs()
    model = MLPClassifier(**QUICK, ensemble=2, data__split__seed=0).fit(X, y)
    members = [MLPClassifier(**QUICK, seed=seed, data__split__seed=0).fit(X, y) for seed in (0, 1)]
    mean = np.mean([one.predict_proba(X) for one in members], axis=0)
    assert np.allclose(model.predict_proba(X), mean, atol=1e-6)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    assert model.metrics_["val"]["accuracy"] > 0.9
    assert repr(model.model_) == "<multiclass model of 4 columns: 2 members>"
    with pytest.raises(Exception, match="several members have no checkpoint"):
        model.save("model.safetensors")


def test_a_pickle_and_a_saved_file_are_the_model(tmp_path):
    X, y = blobs()
    model = MLPClassifier(**QUICK).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    model.save(tmp_path / "model.safetensors")
    assert np.array_equal(load(tmp_path / "model.safetensors").predict(X), y.astype(int)) == (model.score(X, y) == 1)
    with pytest.raises(Exception, match="there is such a file already"):
        model.save(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"optimzer__lr": 1}, "unknown argument optimzer__lr; did you mean optimizer__lr?"),
        ({"data__train": "x.csv"}, "data__train: fit(X, y) brings the data"),
        ({"learning_rate": 1}, "unknown argument learning_rate"),
    ],
)
def test_an_argument_that_is_no_key_is_refused_at_once(keys, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        MLPClassifier(**keys)
    with pytest.raises(ValueError, match=r"argument|brings"):
        MLPClassifier().set_params(**keys)


def test_columns_of_a_mapping_in_the_config_may_be_named():
    table = {"size": [1.0, 2.0, 3.0, 4.0] * 10, "count": [1, 2] * 20}
    keys = {"preprocess__columns": {"size": {"scale": "minmax"}}, "preprocess__columns__count__scale": "robust"}
    model = MLPClassifier(**QUICK, **keys).fit(table, ["a", "b"] * 20)
    columns = model.model_.config["preprocess"]["columns"]
    assert (columns["size"]["scale"], columns["count"]["scale"]) == ("minmax", "robust")


def test_what_is_refused_is_a_value_error_with_the_text_of_the_command_line():
    X, y = blobs()
    with pytest.raises(ValueError, match=r"optimizer\.lr: ") as caught:
        MLPClassifier(optimizer__lr=-1).fit(X, y)
    assert caught.value.problems[0].key == "optimizer.lr"
    model = MLPClassifier(**QUICK).fit(X, y)
    sparse = pytest.importorskip("scipy.sparse", reason="needs scipy")
    with pytest.raises(ValueError, match=r"Sparse data .*toarray"):
        model.predict(sparse.csr_matrix(X))
    with pytest.raises((ValueError, DataError), match="not a finite number"):
        model.predict(np.full((1, 4), np.inf))


@pytest.mark.parametrize("y", [[None, *"ab" * 20], [float("nan"), *"ab" * 20], [np.nan] * 41, [0, None] * 20 + [1]])
def test_a_missing_label_is_refused(y):
    with pytest.raises(ValueError, match="Input y contains NaN"):
        MLPClassifier().fit(np.arange(41.0)[:, None], np.array(y, object))


def test_whole_numbers_that_came_as_objects_stay_whole():
    model = MLPClassifier(**QUICK).fit(np.arange(40.0)[:, None], np.array([1, 2] * 20, object))
    assert model.classes_.dtype == np.int64


def test_the_estimators_need_no_scikit_learn(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "from mlpbp import MLPClassifier\n"
        "X, y = [[0, 1], [1, 0]] * 20, ['a', 'b'] * 20\n"
        "try:\n    MLPClassifier().predict(X)\n"
        "except ValueError as error:\n    print(error)\n"
        "print(*MLPClassifier(hidden=[4], optimizer__lr=0.05, train__epochs=20).fit(X, y).predict(X[:2]))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[1:] == ["a b"], done.stderr
    assert "not fitted yet" in done.stdout


def test_importing_the_package_loads_nothing():
    code = "import sys, mlpbp; print(sorted({'numpy', 'mlp_core', 'typer', 'pydantic', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_contributions_of_shap_add_up_to_the_predictions():
    shap = pytest.importorskip("shap")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    model = MLPClassifier(**QUICK).fit(X, np.where(X[:, 0] > 0, "up", "down"))
    explainer = shap.PermutationExplainer(model.predict_proba, X[:10])
    found = explainer(X[:2], silent=True)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base_values, model.predict_proba(X[:2]), atol=1e-5)
    assert np.abs(found.values[:, 0]).mean() > np.abs(found.values[:, 1:]).mean()
