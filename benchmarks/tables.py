"""Tables from raw files: each shipped config, and at equal settings the same network by scikit-learn, side by side.

    python benchmarks/tables.py --data FOLDER [--part shipped|equal] [--only NAME] [--seeds 3] [--splits 20]

FOLDER holds `adult`, `california-housing`, `letter`, `optdigits`, `wine-quality`, `seaborn` and `uci-regression` with
the published files. Equal settings: the same rows for training, validation and testing; numbers filled by the median
and scaled as the config says, words one-hot; two hidden layers of 64 relu units, Glorot weights, Adam at 1e-3, the
same batches and epochs, no penalty; first biases of 0 and another order of the rows in every epoch, both of which
scikit-learn has to be talked into. The epoch is always chosen by the loss on validation rows, never on test rows.
One thread each; seconds are the processor's.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.config import Config, load
from mlp_core.data.load import Data, Dataset
from mlp_core.data.load import load as load_data
from mlp_core.rng import generator
from mlp_core.runs.run import Run

CONFIGS = Path(__file__).parents[1] / "configs"
EPOCHS, BATCH, LR, HIDDEN = 40, 64, 1e-3, (64, 64)
EQUAL = (
    f"model={{hidden: {list(HIDDEN)}, init: glorot_uniform}}",
    "regularization={}",
    "loss={}",
    f"optimizer={{name: adam, lr: {LR}}}",
    "schedule={}",
    f"train={{epochs: {EPOCHS}, batch_size: {BATCH}, early_stopping: false}}",
    "preprocess.categorical={}",
    "preprocess.numeric.log=[]",
    "recipe=plain",
)


@dataclass(frozen=True)
class Case:
    """One data set: its config, the metric of the table, and the line we hold."""

    config: str
    metric: str
    line: float | None = None
    published_splits: str | None = None

    def held(self, mean: float) -> bool:
        """Whether the mean is on the right side of the line."""
        return self.line is None or (mean >= self.line if self.metric == "accuracy" else mean <= self.line)


CASES = (
    Case("adult", "accuracy", 0.852),
    Case("california", "rmse", 0.52),
    Case("concrete", "rmse", 5.5, "concrete"),
    Case("power_plant", "rmse", 4.2, "power-plant"),
    Case("letter", "accuracy"),
    Case("optdigits", "accuracy"),
    Case("wine_quality", "rmse"),
    Case("titanic", "accuracy"),
    Case("penguins", "accuracy"),
)


def overrides(case: Case, seed: int, data: Path, folder: Path) -> list[str]:
    """What turns the shipped config into this run: where its files are, the seed, the published split."""
    raw = load(CONFIGS / f"{case.config}.yaml").data
    changes = [f"seed={seed}", "threads=1", "train.preflight=off"]
    if case.published_splits is not None:
        names = list(raw.csv.names)
        path = with_split(data / "uci-regression" / case.published_splits, seed, names, folder)
        return [*changes, f"data.train={path}", "data.csv.names=[]", "data.split={method: column, column: split}"]
    changes += [f"data.{part}={data / getattr(raw, part)}" for part in ("train", "test") if getattr(raw, part)]
    return changes


def with_split(source: Path, number: int, names: Sequence[str], folder: Path) -> Path:
    """A CSV of the published table with a column that says where each row goes; 15 % of the training rows validate."""
    table = np.loadtxt(source / "data.txt")
    test = np.loadtxt(source / f"index_test_{number}.txt", dtype=int)
    train = np.loadtxt(source / f"index_train_{number}.txt", dtype=int)
    parts = np.full(len(table), "train", object)
    parts[test] = "test"
    parts[generator(number, "benchmark").permutation(train)[: round(0.15 * len(train))]] = "val"
    path = folder / f"{source.name}-{number}.csv"
    rows = [",".join([*(f"{value:.12g}" for value in row), part]) for row, part in zip(table, parts, strict=True)]
    path.write_text("\n".join([",".join([*names, "split"]), *rows]) + "\n")
    return path


def ours(case: Case, changes: Sequence[str]) -> float:
    """The test metric of one training."""
    path = CONFIGS / f"{case.config}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        run = Run.start(load(path, changes), path.read_bytes(), Path(folder) / "run")
        for _ in run.execute():
            pass
    assert run.summary is not None
    return float(run.summary.metrics["test"][case.metric])


def peer(case: Case, changes: Sequence[str]) -> float:
    """The same by scikit-learn: a pipeline of its own parts, one epoch at a time, the best of them kept."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    class FromZero:
        """Biases begin at 0, as they do here; scikit-learn's own are drawn like weights."""

        def _init_coef(self, *sizes: Any) -> tuple[Any, Any]:
            weights, biases = super()._init_coef(*sizes)  # type: ignore[misc]
            return weights, np.zeros_like(biases)

    config = load(CONFIGS / f"{case.config}.yaml", changes)
    data = load_data(config)
    prepare = pipeline(config, data)
    X = {name: prepare(part) for name, part in data.splits.items()}
    classifies = data.task.classifies
    y = {name: part.y if classifies else part.y.reshape(-1) for name, part in data.splits.items()}
    mean, scale = (0, 1) if classifies else (y["train"].mean(), y["train"].std())
    kind = type("Peer", (FromZero, MLPClassifier if classifies else MLPRegressor), {})
    network = kind()
    settings = {"hidden_layer_sizes": HIDDEN, "alpha": 0.0, "batch_size": BATCH, "learning_rate_init": LR}
    # a generator, not a number: `partial_fit` would begin anew with that, so that all epochs had the same batches
    network.set_params(**settings, random_state=np.random.RandomState(config.seed))
    best, kept = np.inf, network
    for _ in range(EPOCHS):
        target = y["train"] if classifies else (y["train"] - mean) / scale
        network.partial_fit(
            X["train"], target, **({"classes": np.arange(len(data.task.classes))} if classifies else {})
        )
        loss = validation_loss(network, X["val"], y["val"], classifies, mean, scale)
        if loss < best:
            best, kept = loss, copy.deepcopy(network)
    found = kept.predict(X["test"])
    if classifies:
        return float((found == y["test"]).mean())
    return float(np.sqrt(np.mean((found * scale + mean - y["test"]) ** 2)))


def validation_loss(network: Any, X: Any, y: Any, classifies: bool, mean: float, scale: float) -> float:
    if not classifies:
        return float(np.mean((network.predict(X) * scale + mean - y) ** 2))
    chances = np.clip(network.predict_proba(X), 1e-12, 1)
    return float(-np.log(chances[np.arange(len(y)), y]).mean())


def pipeline(config: Config, data: Data) -> Callable[[Dataset], Any]:
    """Scikit-learn's preprocessing, fitted on the training rows."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, QuantileTransformer, StandardScaler

    train = data.splits["train"]
    words = sorted(train.words)
    numbers = [column for column in range(train.X.shape[1]) if column not in words]
    scalers = {
        "standard": StandardScaler,
        "minmax": MinMaxScaler,
        "quantile": lambda: QuantileTransformer(n_quantiles=min(1000, train.rows // 30), output_distribution="normal"),
    }
    scaler = scalers[config.preprocess.numeric.scale]()
    fill = SimpleImputer(strategy="median", add_indicator=True)
    onehot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2, sparse_output=False)
    columns = ColumnTransformer([("numbers", make_pipeline(fill, scaler), numbers), ("words", onehot, words)])

    def table(part: Dataset) -> Any:
        cells = part.X.astype(object)
        for column in words:
            vocabulary = [*part.words[column], "(missing)"]
            codes = np.where(np.isnan(part.X[:, column]), len(vocabulary) - 1, part.X[:, column]).astype(int)
            cells[:, column] = np.array(vocabulary, object)[codes]
        return cells

    columns.fit(table(train))
    return lambda part: np.asarray(columns.transform(table(part)), np.float64)


def shipped(case: Case, runs: int, data: Path) -> str:
    """One line of the first table: the shipped config, mean over seeds or over published splits."""
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        results = [ours(case, overrides(case, seed, data, Path(folder))) for seed in range(runs)]
    seconds = (time.process_time() - begun) / runs
    mean = float(np.mean(results))
    line = "-" if case.line is None else f"{case.line} {'held' if case.held(mean) else 'MISSED'}"
    return f"| {case.config} | {case.metric} | {len(results)} | {_with_error(results)} | {line} | {seconds:.0f} |"


def equal(case: Case, runs: int, data: Path) -> str:
    """One line of the second table: both at equal settings, and the difference of runs on the same rows."""
    here, there = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(runs):
            changes = overrides(case, seed, data, Path(folder))
            here.append(ours(case, [*changes, *EQUAL]))
            there.append(peer(case, changes))
    difference = _with_error(np.subtract(here, there), "+")
    return (
        f"| {case.config} | {case.metric} | {len(here)} | {_with_error(here)} | {_with_error(there)} | {difference} |"
    )


def _with_error(values: Any, sign: str = "") -> str:
    """Mean ± standard error, which one value alone does not have."""
    if len(values) == 1:
        return f"{values[0]:{sign}.4f}"
    return f"{np.mean(values):{sign}.4f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--splits", type=int, default=20, help="of the published ones, where there are any")
    parser.add_argument("--part", choices=["shipped", "equal"], default="shipped")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    row, columns = (
        (shipped, "shipped | line | seconds a run")
        if options.part == "shipped"
        else (equal, "ours | scikit-learn | ours - theirs")
    )
    print(f"| config | metric | runs | {columns} |")
    print("|" + (4 + columns.count("|")) * "---|")
    for case in CASES:
        if options.only in case.config:
            runs = options.splits if case.published_splits else options.seeds
            print(row(case, runs, options.data.absolute()), flush=True)


if __name__ == "__main__":
    main()
