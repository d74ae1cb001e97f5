"""Resumption is bit-identical whatever is trained: optimizers × schedules × everything with a state (R1)."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from small_runs import different, folder_with_config, state

from mlp_core.config import load
from mlp_core.config.training import OPTIMIZERS, SCHEDULES
from mlp_core.runs.run import Run
from mlp_core.training.events import Event, Finished

RESUMES = int(os.environ.get("MLPBP_RESUMES", "120"))
BASE = """
data: {train: table.csv, target: y, split: {val: 0.2}}
model: {hidden: [4, 4]}
train: {epochs: 4, batch_size: 8, preflight: off}
threads: 1
kernels: numpy
"""
EXTRAS = (
    "model.dropout=0.3",
    "model.input_dropout=0.2",
    "model.norm=batch",
    "model.norm=layer",
    "model.norm=rms",
    "model.residual=true",
    "model.activation=prelu",
    "optimizer.clip_norm=0.1",
    "optimizer.clip_value=0.05",
    "optimizer.accumulate=2",
    "optimizer.accumulate=3",
    "optimizer.ema=0.9",
    "optimizer.weight_decay=0.1",
    "regularization.l2=0.01",
    "regularization.l1=0.001",
    "regularization.max_norm=0.8",
    "regularization.input_noise=0.2",
    "regularization.mixup=0.4",
    "loss.class_weight=balanced",
    "loss={name: cross_entropy, label_smoothing: 0.1}",
    "train.early_stopping.patience=1",
    "train.eval_every=2",
    "train.max_steps=17",
    "train.shuffle=false",
    "train.drop_last=true",
    "checkpoint.every=1",
    "checkpoint.monitor=val_accuracy",
    "checkpoint.best=false",
    "schedule.warmup=0.3",
    "schedule.per=epoch",
    "dtype=float64",
    "optimizer.groups=[{match: '*.weight', lr_scale: 0.5}]",
    "optimizer.lr_factors.bias=0.1",
    "model.parametrization=ntk",
    "model.numeric_embedding=periodic",
    "model.input_scale=true",
    "model.init_rescale=true",
    "model.bias_init=data",
    "checkpoint.ties=last",
)
STRONG = [
    "model={hidden: [4, 4], activation: mish, parametric: true, parametrization: ntk, dropout: 0.3, input_scale: true, "
    "numeric_embedding: periodic, init_rescale: true, bias_init: data}",
    "schedule={name: coslog, dropout: flat_cos, weight_decay: flat_cos}",
    "optimizer={lr: 0.1, weight_decay: 0.02, lr_factors: {bias: 0.1, alpha: 0.1, input_scale: 6}}",
    "checkpoint={monitor: val_accuracy, ties: last}",
]
NEEDED = {"multistep": ["schedule.milestones=[1, 3]"], "plateau": ["schedule.patience=0"]}
FULL_BATCH = ("lbfgs",)


def combination(number: int) -> list[str]:
    """The overrides of one case: every optimizer and every schedule in turn, one to four extras by chance."""
    rng = random.Random(number)
    optimizer, schedule = OPTIMIZERS[number % len(OPTIMIZERS)], SCHEDULES[number // 2 % len(SCHEDULES)]
    chosen = {f"optimizer.name={optimizer}", f"schedule.name={schedule}", *NEEDED.get(schedule, [])}
    extras = {extra.split("=")[0]: extra for extra in rng.sample(EXTRAS, rng.randint(1, 4))}
    if optimizer in FULL_BATCH:
        extras = {key: extra for key, extra in extras.items() if key in ("optimizer.ema", "regularization.l2", "dtype")}
        chosen |= {"train.batch_size=full", "train.epochs=9"}
    return sorted(chosen) + sorted(extras.values())


def finish(run: Run, steps: int | None = None) -> Event:
    """Go on for so many steps, or to the end; the last event."""
    left = iter(range(steps)) if steps is not None else None
    return list(run.execute(lambda: 0 if left is None or next(left, None) is not None else 130))[-1]


@pytest.mark.parametrize("number", range(RESUMES))
def test_stopped_anywhere_and_resumed(room: Path, number: int) -> None:
    rng = random.Random(10_000 + number)
    _stop_and_go(room, combination(number), rng)


@pytest.mark.parametrize("number", range(2))
def test_a_strong_run_stopped_anywhere_and_resumed(room: Path, number: int) -> None:
    _stop_and_go(room, STRONG, random.Random(20_000 + number))


def _stop_and_go(room: Path, overrides: list[str], rng: random.Random) -> None:
    folder = folder_with_config(room / "f", BASE)
    config = load(folder / "c.yaml", overrides)
    finish(Run.start(config, b"", room / "whole"))
    last = finish(Run.start(config, b"", room / "r"), rng.randrange(4))
    while last == Finished("stopped"):
        run = Run.resume(room / "r")
        assert run.notices == []
        last = finish(run, rng.randrange(1, 9))
    assert different(room / "r", state(room / "whole")) == [], overrides


def test_every_optimizer_schedule_and_extra_has_its_turn() -> None:
    used = {word for number in range(120) for word in combination(number)}
    assert {f"optimizer.name={name}" for name in OPTIMIZERS} <= used
    assert {f"schedule.name={name}" for name in SCHEDULES} <= used
    assert set(EXTRAS) <= used
