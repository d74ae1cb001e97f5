"""Published results, reached again: trains each network with several seeds and prints them side by side.

    python benchmarks/published.py --data FOLDER [--only NAME] [--seeds 3]

FOLDER holds `mnist/` with LeCun's four files. The epoch is chosen on validation rows (the last 10,000 training images),
never on the test rows; what is printed is test accuracy in percent, mean and single runs. One thread; seconds are the
processor's.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mlp_core.config import load
from mlp_core.runs.run import Run

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class Case:
    """One network, what others got, and the line we hold (test accuracy in percent)."""

    name: str
    config: str
    overrides: tuple[str, ...]
    published: str
    line: float | None = None


STANDARDISED = ("preprocess.numeric.scale=standard",)
CASES = (
    Case("digits, shipped config", "digits.yaml", (), "-", 97.5),
    Case("relu [100], shipped config", "mnist.yaml", (), "-", 97.2),
    Case("relu [100], standardised", "mnist.yaml", STANDARDISED, "97.2 (Fashion-MNIST paper)"),
    Case("relu [10]", "mnist.yaml", (*STANDARDISED, "model.hidden=[10]"), "93.3 (same)"),
    Case("tanh [100]", "mnist.yaml", (*STANDARDISED, "model.activation=tanh"), "96.2 (same)"),
    Case("tanh [10]", "mnist.yaml", (*STANDARDISED, "model.activation=tanh", "model.hidden=[10]"), "92.1 (same)"),
    Case("relu [100, 10]", "mnist.yaml", (*STANDARDISED, "model.hidden=[100,10]"), "97.2 (same)"),
    Case("relu (100, 100), X/255", "mnist.yaml", ("model.hidden=[100,100]",), "97.76 (scikit-learn benchmark)", 97.5),
    Case(
        "same, SGD 0.2, momentum 0.9",
        "mnist.yaml",
        ("model.hidden=[100,100]", "optimizer.name=momentum", "optimizer.lr=0.2"),
        "97.13 (same)",
    ),
    Case("relu 800", "mnist_800.yaml", (), "98.4 (Simard 2003)", 98.2),
    Case("relu 3 x 1024, dropout, max-norm", "mnist_best.yaml", (), "98.94 (Srivastava 2014)", 98.8),
)


def accuracy(case: Case, seed: int, data: Path) -> tuple[float, float]:
    """Test accuracy in percent of the best validation epoch, and seconds."""
    overrides = [f"seed={seed}", "threads=1", *case.overrides]
    if case.config.startswith("mnist"):
        for split, stem in (("train", "train"), ("test", "t10k")):
            overrides.append(f"data.{split}.x={data}/mnist/{stem}-images-idx3-ubyte.gz")
            overrides.append(f"data.{split}.y={data}/mnist/{stem}-labels-idx1-ubyte.gz")
    path = CONFIGS / case.config
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = Run.start(load(path, overrides), path.read_bytes(), Path(folder) / "run")
        for _ in run.execute():
            pass
    assert run.summary is not None
    return 100 * run.summary.metrics["test"]["accuracy"], time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print("| network | published | ours, mean | runs | line | seconds a run |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        if options.only not in case.name:
            continue
        runs = [accuracy(case, seed, options.data) for seed in range(options.seeds)]
        mean = sum(value for value, _ in runs) / len(runs)
        single = ", ".join(f"{value:.2f}" for value, _ in runs)
        line = "-" if case.line is None else f"{case.line} {'held' if mean >= case.line else 'MISSED'}"
        seconds = sum(value for _, value in runs) / len(runs)
        print(f"| {case.name} | {case.published} | {mean:.2f} | {single} | {line} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
