"""The sections about what a run writes and checks: checkpoint, logging, output, eval, gradcheck."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from mlp_core.config.section import Complaint, Section, key
from mlp_core.config.text_kinds import Text, Word
from mlp_core.config.training import MODES, Monitor
from mlp_core.config.value_kinds import Bool, Float, Int

PROBES = ("init", "burn", "wild")


class Checkpoint(Section):
    """Which states of the network are saved."""

    monitor: Monitor = key("val_loss", "metric that decides which epoch is best; train_loss without validation rows")
    mode: Annotated[str, Word(words=MODES)] = key("auto", "whether smaller or larger is better; auto: by metric")
    best: Annotated[bool, Bool()] = key(True, "save the best epoch")
    ties: Annotated[str, Word(words=("first", "last"))] = key("first", "which of several equally good epochs is best")
    last: Annotated[bool, Bool()] = key(True, "save the newest epoch, from which a run is resumed")
    every: Annotated[int | None, Int(ge=1, null=True, example="10")] = key(
        None, "save also every so many epochs, each in its own file; null: do not"
    )
    keep: Annotated[int, Int(ge=1, example="3")] = key(3, "how many of those files are kept")
    every_minutes: Annotated[float | None, Float(gt=0, null=True, example="10")] = key(
        None, "save the newest state within an epoch too, this often; null: do not"
    )


class Logging(Section):
    """What is recorded and shown while a run goes on."""

    jsonl: Annotated[bool, Bool()] = key(True, "write metrics.jsonl")
    csv: Annotated[bool, Bool()] = key(True, "write metrics.csv")
    progress: Annotated[str, Word(words=("auto", "rich", "plain", "off"))] = key(
        "auto", "live table, one line per epoch, or nothing; auto: a table on a terminal"
    )
    tensorboard: Annotated[bool, Bool()] = key(
        False, "write the metrics of every epoch for TensorBoard, in the folder tensorboard of the run"
    )
    mlflow: Annotated[bool, Bool()] = key(
        False, "log them to MLflow, where MLFLOW_TRACKING_URI says, else where MLflow does by itself"
    )
    every_steps: Annotated[int, Int(ge=0, example="100")] = key(
        0, "write loss and learning rate to steps.jsonl every so many steps; 0: only per epoch"
    )


class Output(Section):
    """Where a run is written."""

    dir: Annotated[str, Text(example="runs")] = key("runs", "folder of all runs")
    if_exists: Annotated[str, Word(words=("number", "error"))] = key(
        "number", "take the next free number, or refuse if there is a run of this name"
    )


RULES = ("accuracy", "balanced_accuracy", "f1", "mcc")


class Eval(Section):
    """How predictions are judged."""

    threshold: Annotated[float | str, Float(gt=0, lt=1, words=RULES, example="0.5")] = key(
        0.5, "probability from which the positive class, or a label, is predicted; or the metric it is chosen for"
    )
    calibrate: Annotated[str, Word(words=("none", "temperature", "platt"))] = key(
        "none", "how `eval` fits probabilities to the validation rows: one temperature, or slope and offset"
    )
    baselines: Annotated[bool, Bool()] = key(
        True, "beside the result of a run stands what no network and one without hidden layers come to"
    )
    bins: Annotated[int, Int(ge=1, le=10_000, example="15")] = key(15, "bins of the calibration error")


class Gradcheck(Section):
    """How gradients are proved."""

    tolerance: Annotated[float, Float(gt=0, lt=1, example="1e-8")] = key(1e-8, "largest relative error of a tensor")
    batch: Annotated[int, Int(ge=1, example="4")] = key(4, "rows used")
    probes: tuple[Annotated[str, Word(words=PROBES)], ...] = key(
        PROBES, "where: at the start, after a few steps, at wild weights"
    )
    mode: Annotated[str, Word(words=("auto", "full", "sweep", "fast"))] = key(
        "auto", "every entry, rows and columns, or a few directions; auto: by the number of parameters"
    )

    def rules(self) -> Iterator[Complaint]:
        if not self.probes or len(set(self.probes)) != len(self.probes):
            yield Complaint("probes", "expected one or more, each once", "for example probes: [init, burn]", show=False)
