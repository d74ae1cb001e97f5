"""Draws `docs/screen.svg`, the picture of the screen in the README: a real run on a table, as a terminal shows it.

    python docs/picture.py

The table is the embedded diabetes data, written out as a CSV file; the config is the one that `mlpbp init` writes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mlpbp.render import EpochTable, metrics_table
from rich.console import Console
from rich.text import Text

from mlp_core.config import load
from mlp_core.data.readers.embedded import read_embedded
from mlp_core.runs.run import Run
from mlp_core.training.events import EpochDone

PICTURE = Path(__file__).parent / "screen.svg"
WIDTH = 80
COMMAND = "bold"


def main() -> None:
    screen = Console(record=True, width=WIDTH, file=open(os.devnull, "w", encoding="utf-8"), force_terminal=True)  # noqa: PTH123, SIM115
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        draw(screen)
    PICTURE.write_text(screen.export_svg(title="mlpbp", unique_id="mlpbp"), encoding="utf-8")
    print(f"written to {PICTURE}")


def draw(screen: Console) -> None:
    """The screen of a first session with a table."""
    write_tables(Path("patients.csv"), Path("new.csv"))
    screen.print(Text("$ mlpbp init patients.csv --target progression -o patients.yaml", COMMAND))
    mlpbp("init", "patients.csv", "--target", "progression", "-o", "patients.yaml")
    screen.print(Text("$ mlpbp train patients.yaml", COMMAND))
    run = Run.start(load(Path("patients.yaml")), Path("patients.yaml").read_bytes(), Path("runs/patients-001"))
    for note in run.experiment.notes[:4]:
        screen.print(note, highlight=False, markup=False)
    trainer = run.experiment.trainer
    table = EpochTable(trainer.job.limits.epochs, trainer.steps_per_epoch, lines=6)
    for event in run.execute():
        if isinstance(event, EpochDone):
            table.epoch(event)
    table.bar.update(table.task, visible=False)
    screen.print(table._draw())
    assert run.summary is not None
    screen.print(metrics_table(run.summary.metrics))
    screen.print(Text("$ mlpbp predict runs/patients-001 new.csv -o predictions.csv", COMMAND))
    screen.print(mlpbp("predict", "runs/patients-001", "new.csv", "-o", "predictions.csv"), highlight=False)


def write_tables(known: Path, new: Path) -> None:
    """The embedded diabetes data as two CSV files: 400 rows, and 42 more."""
    table = read_embedded("diabetes")
    rows = [",".join(table.cell(row, column) for column in range(len(table.names))) for row in range(table.rows)]
    for path, part in ((known, rows[:400]), (new, rows[400:])):
        path.write_text("\n".join([",".join(table.names), *part]) + "\n", encoding="utf-8")


def mlpbp(*words: str) -> str:
    """What a command says on stderr."""
    result = subprocess.run([sys.executable, "-m", "mlpbp", *words], capture_output=True, text=True, check=True)
    return result.stderr.strip()


if __name__ == "__main__":
    main()
