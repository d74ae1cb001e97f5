"""Predicting one row and many: by `mlpbp predict`, from Python, by exported ONNX and C, by scikit-learn's pipeline.

    python benchmarks/predict.py [--rows 1000000]

A table of 20 numbers with gaps, two classes, a network of 64-64 relu units in float32, one thread each. `mlpbp predict`
reads a CSV file and writes one; all others have the rows in memory. scikit-learn's pipeline (imputer, scaler,
MLPClassifier) has the same shape; it is trained for one epoch, which does not matter for the time. Then how long it
takes to import things, and to the first answer of a model in a new process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

COLUMNS, TRAINED = 20, 5_000
CONFIG = """
data: {train: train.csv, target: y}
model: {hidden: [64, 64]}
train: {epochs: 1}
threads: 1
"""
MAIN = """
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(int count, char **names)
{
    const size_t rows = (size_t)atol(names[1]);
    model_row *row = malloc(rows * sizeof *row);
    model_answer answer;
    double sum = 0;
    size_t i;
    clock_t start;
    if (fread(row, sizeof *row, rows, stdin) != rows)
        return 1;
    start = clock();
    for (i = 0; i < rows; i++) {
        if (model_predict(row + i, &answer) != 0)
            return 1;
        sum += answer.probabilities[1];
    }
    printf("%g %g\\n", (double)(clock() - start) / CLOCKS_PER_SEC, sum);
    return count < 0;
}
"""


def table(rows: int, seed: int) -> Any:
    """Rows of numbers [rows, COLUMNS], a twentieth of them missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, COLUMNS))
    X[rng.random(X.shape) < 0.05] = np.nan
    return X


def write(path: Path, X: Any, y: Any = None) -> None:
    """A CSV file; missing cells are empty."""
    import pandas as pd

    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(COLUMNS)])
    if y is not None:
        frame["y"] = y
    frame.to_csv(path, index=False, float_format="%.6g")


def mlpbp(*words: str, folder: Path, stdin: str = "") -> float:
    """Seconds that a command takes, all of it."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mlpbp", *words], cwd=folder, check=True, capture_output=True, input=stdin, text=True
    )
    return time.perf_counter() - start


def median(work: Any, times: int) -> float:
    """The middle of several times."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def by_pipe(folder: Path, line: str, times: int) -> float:
    """Seconds from a row to its answer on an open pipe."""
    command = [sys.executable, "-m", "mlpbp", "predict", "run", "-", "--proba"]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as p:
        assert p.stdin is not None
        assert p.stdout is not None

        def ask(text: str) -> None:
            p.stdin.write(text)  # type: ignore[union-attr]
            p.stdin.flush()  # type: ignore[union-attr]
            p.stdout.readline()  # type: ignore[union-attr]

        ask(",".join(f"x{k}" for k in range(COLUMNS)) + "\n" + line)
        p.stdout.readline()
        return median(lambda: ask(line), times)


STARTS = {
    "import mlpbp": "import mlpbp",
    "from mlpbp import load": "from mlpbp import load",
    "load, and the first answer": (
        "import numpy; from mlpbp import load; load('run').predict_proba(numpy.zeros((1, 20)))"
    ),
    "import numpy": "import numpy",
    "from sklearn.neural_network import MLPClassifier": "from sklearn.neural_network import MLPClassifier",
}


def started(code: str, folder: Path) -> float:
    """Seconds of some lines in a process of their own, without its start: the best of five."""
    timed = f"import time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
    command = [sys.executable, "-P", "-c", timed]
    said = [subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout for _ in range(5)]
    return min(map(float, said))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    warnings.filterwarnings("ignore")
    import onnxruntime
    import pandas as pd
    from mlpbp import load
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        T = table(TRAINED, 0)
        y = np.where(np.nansum(T[:, :5], axis=1) > 0, "up", "down")
        write(folder / "train.csv", T, y)
        (folder / "c.yaml").write_text(CONFIG)
        mlpbp("train", "c.yaml", "-o", "run", folder=folder)
        X = table(rows, 1)
        write(folder / "many.csv", X)
        write(folder / "one.csv", X[:1])
        line = (folder / "one.csv").read_text().splitlines()[1] + "\n"
        one = min(mlpbp("predict", "run", "one.csv", "--proba", folder=folder) for _ in range(3))
        many = mlpbp("predict", "run", "many.csv", "--proba", "-o", "out.csv", folder=folder)
        found["mlpbp predict, from start to end"] = one, many
        found["mlpbp predict -, on an open pipe"] = by_pipe(folder, line, 300), float("nan")
        model = load(folder / "run")
        one_row = median(lambda: model.predict_proba(X[:1]), 1000)
        found["load().predict_proba, an array"] = one_row, median(lambda: model.predict_proba(X), 1)
        frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(COLUMNS)])
        one_row = median(lambda: model.predict_proba(frame[:1]), 300)
        found["load().predict_proba, a pandas frame"] = one_row, median(lambda: model.predict_proba(frame), 1)
        for to, end in (("onnx", "onnx"), ("c", "c")):
            mlpbp("export", "run", "--to", to, "-o", f"model.{end}", folder=folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])

        def onnx() -> None:
            for start in range(0, rows, 4096):
                session.run(None, {"X": X[start : start + 4096]})

        found["exported ONNX, onnxruntime"] = median(lambda: session.run(None, {"X": X[:1]}), 1000), median(onnx, 1)
        (folder / "main.c").write_text(MAIN)
        command = ["cc", "-O3", "-march=native", "main.c", "model.c", "-lm", "-o", "main"]
        subprocess.run(command, cwd=folder, check=True)
        said = subprocess.run(["./main", str(rows)], cwd=folder, input=X.tobytes(), capture_output=True, check=True)
        seconds = float(said.stdout.split()[0])
        found["exported C, cc -O3 -march=native"] = seconds / rows, seconds
        pipeline = make_pipeline(SimpleImputer(), StandardScaler(), MLPClassifier((64, 64), max_iter=1)).fit(T, y)
        slow = median(lambda: pipeline.predict_proba(X[:1]), 300)
        found["scikit-learn's pipeline"] = slow, median(lambda: pipeline.predict_proba(X), 1)
        starts = {what: started(code, folder) for what, code in STARTS.items()}
    print(f"| way | one row | {rows:,} rows |\n|---|---|---|")
    for way, (single, all_rows) in found.items():
        shown = "-" if np.isnan(all_rows) else f"{all_rows:.2f} s"
        print(f"| {way} | {single * 1e6:,.1f} us | {shown} |")
    print("\n| start | seconds |\n|---|---|")
    for what, seconds in starts.items():
        print(f"| {what} | {seconds:.3f} |")


if __name__ == "__main__":
    main()
