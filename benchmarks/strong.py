"""The defaults against the best learners of tables there are, each as it comes, on one thread.

    python benchmarks/strong.py run --data FOLDER --into FILE [--learner NAME ...] [--set NAME ...] [--seeds 1]
    python benchmarks/strong.py table --into FILE

FOLDER holds `adult`, `california-housing`, `letter`, `optdigits`, `wine-quality`, `seaborn` and `uci-regression` with
the published files; three more sets come with scikit-learn, and one is made by it. At most 10,000 training rows; a
fifth is the test where none is published. Every learner takes its own validation rows from the training rows; nobody
sees a test row. What was run is kept in FILE, a line of JSON for each fit, and not run again.

Learners: `mlpbp` (a config of three lines), `mlpbp_8` (the same with `ensemble: 8`), any other name beginning with
`mlpbp` for three lines with the keys given by --key; RealMLP_TD, RealMLP_TD_S, CatBoost_TD, LGBM_TD (pytabkit) and
HistGradientBoosting (scikit-learn). Who is not installed is left out: it is said.

Seconds are those of the processor, in one thread. Error: the share of wrong test rows, or the root mean squared error
in deviations of the test target.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from strong_sets import JUDGED, SETS, TARGET, TUNED, Table

KEYS = ("log_loss", "seconds")
PEERS = ("RealMLP_TD", "RealMLP_TD_S", "CatBoost_TD", "LGBM_TD", "HistGradientBoosting")


def fit_mlpbp(table: Table, seed: int, keys: Sequence[str]) -> dict[str, float]:
    """Errors of a config of three lines with further keys, by the command as users type it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        table.train.to_csv(home / "train.csv", index=False)
        table.test.to_csv(home / "test.csv", index=False)
        (home / "three.yaml").write_text(f"data:\n  train: train.csv\n  target: {TARGET}\n")
        task = [] if table.classes else ["data.task=regression"]
        asked = [f"data.test={home}/test.csv", f"seed={seed}", "threads=1", *task, *keys]
        command = [sys.executable, "-m", "mlpbp", "--json", "train", str(home / "three.yaml"), *asked]
        done = subprocess.run(
            [*command, "-o", str(home / "run")], capture_output=True, text=True, check=False, cwd=folder
        )
        told = json.loads(done.stdout)
        if done.returncode:
            raise RuntimeError(told["errors"][0]["message"])
    metrics = told["metrics"]["test"]
    found = {"epochs": told["epochs"], "best": told["best"]["epoch"]}
    if table.classes:
        return found | {"error": 1 - metrics["accuracy"], "log_loss": metrics.get("log_loss", metrics["loss"])}
    return found | {"error": metrics["rmse"] / table.spread}


def fit_peer(name: str, table: Table, seed: int) -> dict[str, float]:
    """Errors of a learner with its own defaults. Raises ImportError where it is not installed."""
    from sklearn.metrics import log_loss

    warnings.filterwarnings("ignore")
    X, X_test = _inputs(table, name)
    kind = "Classifier" if table.classes else "Regressor"
    if name == "HistGradientBoosting":
        from sklearn import ensemble

        learner = getattr(ensemble, f"{name}{kind}")(random_state=seed, categorical_features="from_dtype")
    else:
        import pytabkit

        learner = getattr(pytabkit, f"{name}_{kind}")(random_state=seed, n_threads=1, device="cpu", verbosity=0)
    y, y_test = table.train[TARGET].to_numpy(), table.test[TARGET].to_numpy()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        learner.fit(X, y)
        if not table.classes:
            away = np.asarray(learner.predict(X_test), float).ravel() - y_test
            return {"error": float(np.sqrt(np.mean(away**2))) / table.spread}
        chances = np.asarray(learner.predict_proba(X_test), float)
    labels = np.asarray(learner.classes_)
    wrong = float(np.mean(labels[chances.argmax(axis=1)] != y_test))
    return {"error": wrong, "log_loss": float(log_loss(y_test, chances, labels=labels))}


def _inputs(table: Table, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The inputs with words as categories; missing numbers become medians for pytabkit, which takes none."""
    train, test = table.train.drop(columns=TARGET), table.test.drop(columns=TARGET)
    for column in train.columns:
        if not pd.api.types.is_numeric_dtype(train[column]):
            kind = pd.CategoricalDtype(sorted(train[column].dropna().unique()))
            train[column], test[column] = train[column].astype(kind), test[column].astype(kind)
        elif name != "HistGradientBoosting":
            middle = train[column].median()
            train[column], test[column] = train[column].fillna(middle), test[column].fillna(middle)
    return train, test


def run(options: argparse.Namespace) -> None:
    """Fit whatever is asked for and not there yet, cheapest sets first."""
    done = {(line["set"], line["seed"], line["learner"]) for line in _lines(options.into)}
    tables = {one: [SETS[one](options.data, seed) for seed in range(options.seeds)] for one in options.set or SETS}
    for name in sorted(tables, key=lambda one: tables[one][0].train.size):
        for learner in options.learner or ("mlpbp", *PEERS):
            for seed, table in enumerate(tables[name]):
                if (name, seed, learner) in done:
                    continue
                begun = _processor()
                try:
                    keys = ["ensemble=8"] if learner == "mlpbp_8" else options.key
                    ours = learner.startswith("mlpbp")
                    found: dict[str, Any] = fit_mlpbp(table, seed, keys) if ours else fit_peer(learner, table, seed)
                except ImportError:
                    print(f"{learner} is not installed: left out", flush=True)
                    break
                seconds = _processor() - begun
                line = {"set": name, "seed": seed, "learner": learner, **found, "seconds": round(seconds, 2)}
                line |= {"rows": len(table.train), "columns": table.train.shape[1] - 1, "test_rows": len(table.test)}
                with options.into.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)


def _processor() -> float:
    """Seconds that this process and those it waited for have computed: other work on the machine does not add any."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def means(lines: Sequence[dict[str, Any]], key: str) -> dict[str, dict[str, float]]:
    """{set: {learner: mean}} over the seeds that everybody was run with who was run on the set at all."""
    found: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        if line.get(key) is not None:
            found[line["set"]][line["learner"]][line["seed"]] = line[key]
    common = {one: set.intersection(*map(set, row.values())) for one, row in found.items()}
    return {
        one: {who: float(np.mean([values[seed] for seed in common[one]])) for who, values in row.items()}
        for one, row in found.items()
        if common[one]
    }


def counted(line: dict[str, Any]) -> dict[str, Any]:
    """The line with the error of classes as (wrong + 1) / (rows + 2): no wrong row at all has no ratio to others."""
    wrong = line["error"] * line["test_rows"]
    return line if "log_loss" not in line else {**line, "error": (wrong + 1) / (line["test_rows"] + 2)}


def ratio(lines: Sequence[dict[str, Any]], key: str, ours: str, theirs: str, sets: Sequence[str]) -> float:
    """The geometric mean of our mean / their mean over the sets that both were run on, with the seeds of both."""
    both = means([line for line in lines if line["learner"] in (ours, theirs)], key)
    rows = [row for name, row in both.items() if name in sets and {ours, theirs} <= set(row)]
    return float(np.exp(np.mean([np.log(row[ours] / row[theirs]) for row in rows]))) if rows else float("nan")


def table(options: argparse.Namespace) -> None:
    """Errors with seconds, mean ranks, and geometric means against every peer."""
    lines = _lines(options.into)
    lines = [line for line in lines if not options.learner or line["learner"] in options.learner]
    errors, seconds = (means(lines, key) for key in ("error", "seconds"))
    learners = list(dict.fromkeys(line["learner"] for line in lines))
    print("| set | rows | seeds | " + " | ".join(learners) + " |\n|---|---|---|" + "---|" * len(learners))
    for name in [name for name in SETS if name in errors]:
        mine = [line for line in lines if line["set"] == name]
        seeds = min(sum(line["learner"] == who for line in mine) for who in errors[name])
        cells = [
            f"{errors[name][who]:.4f} ({seconds[name][who]:.0f} s)" if who in errors[name] else "-" for who in learners
        ]
        print(f"| {name} | {mine[0]['rows']:,} | {seeds} | " + " | ".join(cells) + " |")
    whole = [name for name in SETS if len(errors.get(name, {})) == len(learners)]
    ranks = {who: np.mean([pd.Series(errors[name]).rank()[who] for name in whole]) for who in learners} if whole else {}
    print("| mean rank | | | " + " | ".join(f"{ranks.get(who, float('nan')):.2f}" for who in learners) + " |")
    peers = [who for who in learners if who.startswith("RealMLP")]
    judged = [counted(line) for line in lines]
    rows = [
        (f"error / {peer}, {title}", "error", peer, list(sets))
        for title, sets in (("tuned", TUNED), ("judged", JUDGED), ("all", SETS))
        for peer in peers
    ]
    rows += [(f"{key.replace('_', ' ')} / {peer}", key, peer, list(SETS)) for key in KEYS for peer in peers]
    for title, key, peer, sets in rows:
        print(f"| {title} | | | " + " | ".join(f"{ratio(judged, key, who, peer, sets):.3f}" for who in learners) + " |")


def main() -> None:
    if os.environ.get("OMP_NUM_THREADS") != "1":  # is read when numpy is imported
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **one})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--learner", action="append")
    parser.add_argument("--set", action="append", choices=SETS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--key", action="append", default=[])
    options = parser.parse_args()
    run(options) if options.what == "run" else table(options)


if __name__ == "__main__":
    main()
