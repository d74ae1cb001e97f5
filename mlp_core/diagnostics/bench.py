"""Where the time of a training step goes on this machine, and how far it is from what the machine could do."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from mlp_core.backends.cpu.steps import WholeSteps
from mlp_core.nn.layers import Dense
from mlp_core.training.events import Event, StepDone
from mlp_core.training.experiment import Experiment
from mlp_core.training.peak_memory import peak
from mlp_core.training.trainer import Progress, Trainer

ROUNDS = 7
UPDATE_BYTES = 28
"""Bytes that Adam must move per float32 parameter: it reads theta, g, m, v and writes theta, m, v."""


@dataclass(frozen=True)
class Bench:
    """Medians over rounds, in microseconds per step; `floor` is what cannot be saved.

    The floor is the time of the matrix products alone and of moving the optimizer's vectors through memory once.
    """

    rows: int
    parameters: int
    kernels: str
    threads: int
    step: float
    rows_per_second: float
    phases: dict[str, float]
    products: float
    update: float
    peak_bytes: int | None

    @property
    def floor(self) -> float:
        return self.products + self.update

    @property
    def ratio(self) -> float:
        """How many times as long as the floor a step takes."""
        return self.step / self.floor

    def to_json(self) -> dict[str, Any]:
        """The fields that programs may rely on."""
        return {**asdict(self), "floor": self.floor, "ratio": self.ratio}


def measure(experiment: Experiment, seconds: float = 3.0) -> Bench:
    """Train for about `seconds`, in rounds of steps that take turns with rounds of bare products.

    The experiment's weights move; its data is used as training uses it.
    """
    trainer, network = experiment.trainer, experiment.model.network
    trainer.job.limits = replace(trainer.job.limits, epochs=10**9, max_steps=None, max_seconds=None)
    trainer.stopping = None
    per_step = partial(_per_step, trainer.run(), trainer.progress)
    per_step(3)
    layers = [layer for layer in network._flat_layers() if isinstance(layer, Dense)]
    bare = _bare_products(layers, trainer.job.batches.size)
    count = max(1, int(seconds / (3 * ROUNDS) / max(per_step(3), 1e-6)))
    totals, products = [], []
    for _ in range(ROUNDS):
        totals.append(per_step(count))
        products.append(bare(count))
    if not isinstance(trainer.steps, WholeSteps):
        clock: dict[str, float] = defaultdict(float)
        _watch(trainer, clock)
        watched = [_phases(per_step, clock, count) for _ in range(ROUNDS)]
    else:
        watched = [_instructions(trainer.steps, statistics.median(totals), count) for _ in range(ROUNDS)]
    step = statistics.median(totals)
    parameters = network.parameters
    moved = UPDATE_BYTES // 4 * parameters.theta.nbytes
    return Bench(
        rows=trainer.job.batches.size * trainer.job.limits.accumulate,
        parameters=parameters.size,
        kernels=experiment.config.kernels,
        threads=int(experiment.config.threads),
        step=1e6 * step,
        rows_per_second=trainer.job.batches.size * trainer.job.limits.accumulate / step,
        phases={name: 1e6 * statistics.median(one[name] for one in watched) for name in watched[0]},
        products=1e6 * statistics.median(products),
        update=1e6 * moved / _bandwidth(parameters.theta.nbytes),
        peak_bytes=peak(),
    )


def _per_step(events: Iterator[Event], progress: Progress, count: int) -> float:
    """Seconds per training step over at least `count` of them, without what happens between epochs, up to the last of
    those that are made in one go: their events follow in no time."""
    spent, done, last = 0.0, 0, False
    while done < count or not last:
        begun = time.perf_counter()
        event = next(events)
        if isinstance(event, StepDone):
            spent += time.perf_counter() - begun
            done, last = done + 1, event.step == progress.step
    return spent / done


def _phases(per_step: Callable[[int], float], clock: dict[str, float], count: int) -> dict[str, float]:
    clock.clear()
    step = per_step(count)
    phases = {name: spent / count for name, spent in clock.items()}
    return {**phases, "everything else": step - sum(phases.values())}


def _instructions(whole: WholeSteps, step: float, count: int) -> dict[str, float]:
    """Seconds of every instruction of a step that is made as a whole, each done `count` times by itself."""
    phases: dict[str, float] = defaultdict(float)
    for name, seconds in whole.time(count):
        phases[name] += seconds
    return {**phases, "everything else": max(0.0, step - sum(phases.values()))}


def _timed(clock: dict[str, float], name: str | Callable[..., str], call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` with its seconds added to the clock under `name`, which may depend on its arguments."""

    def measured(*arguments: Any, **settings: Any) -> Any:
        begun = time.perf_counter()
        result = call(*arguments, **settings)
        spent = time.perf_counter() - begun
        clock[name if isinstance(name, str) else name(*arguments)] += spent
        return result

    return measured


def _watch(trainer: Trainer, clock: dict[str, float]) -> None:
    """Put the clock around every primitive that a step of this trainer calls."""
    timed = partial(_timed, clock)
    network, batches = trainer.job.network, trainer.job.batches
    batches.X.gather = timed("gather", batches.X.gather)  # type: ignore[method-assign]
    batches._gather = timed("gather", batches._gather)
    if trainer.job.augment is not None:
        trainer.job.augment = timed("noise, mixup", trainer.job.augment)  # type: ignore[assignment]
    for layer in network._flat_layers():
        if isinstance(layer, Dense):
            layer._product = timed(_product_name(layer), layer._product)
            layer._activate = timed("bias, activation", layer._activate)
            layer._differentiate = timed("activation gradient", layer._differentiate)
        else:
            kind = type(layer).__name__.lower()
            layer.forward = timed(kind, layer.forward)  # type: ignore[method-assign]
            layer.backward = timed(f"{kind} gradient", layer.backward)  # type: ignore[method-assign]
    objective = trainer.job.objective
    objective._loss_and_gradient = timed("loss", objective._loss_and_gradient)
    trainer.job.optimizer.step = timed("optimizer", trainer.job.optimizer.step)  # type: ignore[method-assign]


def _product_name(layer: Dense) -> Callable[..., str]:
    def name(A: Any, B: Any, out: Any) -> str:
        if out is layer.dW:
            return f"product {layer.index} weight gradient"
        return f"product {layer.index} forward" if out is layer.Z else f"product {layer.index} input gradient"

    return name


def _bare_products(layers: list[Dense], rows: int) -> Callable[[int], float]:
    """A function that does the products of that many steps and nothing else, in the layers' own arrays."""
    rng = np.random.default_rng(0)
    calls: list[tuple[Any, ...]] = []
    for i, layer in enumerate(layers):
        X = rng.standard_normal((rows, layer.inputs)).astype(layer.W.dtype)
        Delta, Z = rng.standard_normal((2, rows, layer.units)).astype(layer.W.dtype)
        dW, dX = np.empty_like(layer.dW), np.empty_like(X)
        calls += [(layer._product, X, layer.W.T, Z), (layer._product, Delta.T, X, dW)]
        calls += [(layer._product, Delta, layer.W, dX)] if i else []

    def run(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            for product, A, B, out in calls:
                product(A, B, out)
        return (time.perf_counter() - begun) / count

    return run


def _bandwidth(size: int) -> float:
    """Bytes per second that a copy of `size` bytes reads and writes."""
    source = np.random.default_rng(0).random(max(1, size // 8))
    target = np.empty_like(source)
    best = float("inf")
    for _ in range(10):
        begun = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - begun)
    return 2 * source.nbytes / max(best, 1e-9)
