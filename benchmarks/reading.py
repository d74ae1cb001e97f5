"""Reading large CSV files: this program beside `pandas.read_csv`, each reading in a process of its own.

    python benchmarks/reading.py [--rows 1000000] [--rounds 5] [--only words]

Seconds from the start of the reading, imports done (but that of pyarrow); medians, rounds taking
turns. Afterwards every cell is compared with what pandas reads with `float_precision="round_trip"`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

WORDS = {"numbers": 0, "words": 3}
OURS = """
import sys, time
from pathlib import Path
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.formats import read
start = time.perf_counter()
read(Path(sys.argv[1]), ReadOptions())
print(time.perf_counter() - start)
"""
THEIRS = """
import sys, time
import pandas
start = time.perf_counter()
pandas.read_csv(sys.argv[1])
print(time.perf_counter() - start)
"""


def write_numbers(path: Path, rows: int) -> None:
    """30 columns of numbers as programs write them."""
    draw = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(",".join(f"x{column}" for column in range(30)) + "\n")
        for start in range(0, rows, 10_000):
            block = draw.normal(size=(min(10_000, rows - start), 30)) * 100
            file.writelines(",".join(f"{value:.6f}" for value in row) + "\n" for row in block.tolist())


def write_words(path: Path, rows: int) -> None:
    """27 columns of numbers, one cell in twenty empty, and three of words: few, some and many different ones."""
    draw = np.random.default_rng(1)
    kinds = [np.array([f"{name}{number}" for number in range(count)]) for name, count in KINDS]
    with path.open("w") as file:
        file.write(",".join([*(f"x{column}" for column in range(27)), *(name for name, _ in KINDS)]) + "\n")
        for start in range(0, rows, 10_000):
            size = min(10_000, rows - start)
            block = draw.normal(size=(size, 27)) * 100
            gaps = draw.random((size, 30)) < 0.05
            words = [kind[draw.integers(len(kind), size=size)].tolist() for kind in kinds]
            for row, gap, *cells in zip(block.tolist(), gaps.tolist(), *words, strict=True):
                all_cells = [*(f"{value:.6f}" for value in row), *cells]
                file.write(",".join("" if empty else cell for cell, empty in zip(all_cells, gap, strict=True)) + "\n")


KINDS = (("colour", 5), ("city", 300), ("street", 20_000))
FILES: dict[str, Callable[[Path, int], None]] = {"numbers": write_numbers, "words": write_words}


def seconds(script: str, path: Path) -> float:
    """One reading in a fresh process."""
    return float(subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True).stdout)


def differing(path: Path) -> int:
    """The count of cells that pandas reads otherwise, to the last bit and letter."""
    import pandas

    from mlp_core.data.readers.format import ReadOptions
    from mlp_core.data.readers.formats import read

    table = read(path, ReadOptions())
    frame = pandas.read_csv(path, float_precision="round_trip")
    count = 0
    for column, name in enumerate(table.names):
        ours, theirs = table.cells[:, column], frame[name]
        if column in table.words:
            vocabulary = np.array([*table.words[column], ""], object)
            ours = vocabulary[np.where(np.isnan(ours), len(vocabulary) - 1, ours).astype(int)]
            count += int((ours != theirs.fillna("").to_numpy(object)).sum())
        else:
            count += int((~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)))).sum())
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", choices=["", *FILES])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind, write in FILES.items():
            if options.only not in ("", kind):
                continue
            path = Path(folder) / f"{kind}.csv"
            write(path, options.rows)
            times = [(seconds(OURS, path), seconds(THEIRS, path)) for _ in range(options.rounds)]
            ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
            print(
                f"{kind}: {options.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB: ours {ours:.2f} s, "
                f"pandas {theirs:.2f} s, {ours / theirs:.2f} times; {differing(path)} cells differ",
                flush=True,
            )


if __name__ == "__main__":
    main()
