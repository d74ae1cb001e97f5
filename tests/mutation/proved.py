"""The proof of training, and its parts, as judges: of a config that is built but once."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from judges import Judge

from mlp_core.proof.loop import prove_loop
from mlp_core.proof.paper import Paper
from mlp_core.proof.planted import CASES, config
from mlp_core.proof.self_test import SECONDS, wrong
from mlp_core.proof.training import walk
from mlp_core.proof.twins import twin
from mlp_core.runs.prove import answer
from mlp_core.training.experiment import Experiment

_SHARDED = ("train.shards=8", "kernels=numpy")
OWN = {
    "constant": (),
    "polynomial, half": ("schedule={name: polynomial, power: 1.5}", "train.epochs=9"),
    "inverse_sqrt, at once": ("schedule={name: inverse_sqrt}", "train.epochs=9"),
    "coslog": ("schedule={name: coslog, cycles: 3}", "train.epochs=9"),
    **{f"one cycle of {n}": ("schedule={name: one_cycle}", f"train.max_steps={n}") for n in (1, 2, 3)},
    "ties": ("train.early_stopping={patience: 3, ties: last}", "checkpoint.ties=last", "train.epochs=20"),
    "stop not before": ("train.early_stopping={patience: 2, min_epochs: 9}", "train.epochs=20"),
    "drops alone": ("schedule={name: plateau, patience: 2}", "checkpoint.monitor=val_accuracy", "train.epochs=20"),
    "clip norm, numpy": ("optimizer.clip_norm=0.5", "kernels=numpy"),
    "long clip norm, numpy": ("optimizer.clip_norm=50", "kernels=numpy"),
    "clip value, numpy": ("optimizer.clip_value=0.02", "kernels=numpy"),
    "strong, numpy": (*CASES["strong"], "kernels=numpy"),
    "shards, residual, numpy": (*_SHARDED, *CASES["batch norm"], "model.residual=true", "model.hidden=[6, 6]"),
    "shards, sums, numpy": (*_SHARDED, "optimizer.accumulate=2", "loss.class_weight=balanced", "model.dropout=0.3"),
    "shards, mixup, numpy": (*_SHARDED, "regularization={mixup: 0.4, input_noise: 0.1}"),
    "shards, mixup, weights": ("train.shards=8", "regularization.mixup=0.4", "loss.class_weight=balanced"),
}
"""Cases that the proof's own test does not have, or has with kernels only."""


def proofs(cases: tuple[str, ...], *others: Judge) -> tuple[Judge, ...]:
    """The parts of the proof that find most, then others, then of the first case all of the proof."""

    def each(part: Callable[[str], bool]) -> list[Judge]:
        return [partial(part, case) for case in cases]

    return (*each(looped), *each(walked), *others, *each(proved)[:1])


@cache
def folder() -> Path:
    """For the tables of all cases."""
    made = tempfile.mkdtemp(prefix="mlpbp-mutants-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


@cache
def experiment(case: str) -> Experiment:
    """The config of a case, built; each proof leaves it as it was."""
    CASES.setdefault(case, OWN.get(case, ()))
    return Experiment.build(config(case, folder()))


def looped(case: str) -> bool:
    """Whether the loop of epochs is what it should be, without a step."""
    one = experiment(case)
    return prove_loop(Paper(one)).wrong is None


def walked(case: str) -> bool:
    """Whether the steps are those of the formulas, as they train and in float64."""
    one = experiment(case)
    return all(walk(each, "", SECONDS).wrong is None for each in (one, twin(one)))


def proved(case: str) -> bool:
    """Whether the whole proof of training has nothing against the config of this case, built anew."""
    CASES.setdefault(case, OWN.get(case, ()))
    return not wrong(case, folder(), answer)
