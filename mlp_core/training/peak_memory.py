"""How much memory a run will take at its peak, told before it begins."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlp_core.nn.layers import Layer
from mlp_core.nn.network import Network
from mlp_core.training.baselines import ROWS
from mlp_core.training.experiment import Experiment

PROOF = 16
"""Bytes per parameter of a network in float64 with its gradient, in which the quick gradient check proves it."""

FULL_CHECK = 68
"""Bytes per parameter of the whole gradient check: the directions of a sweep and 20 steps of Adam besides."""

PAPER, FORMULAS, PAPER_PARAMETERS = 200, 6 << 20, 1 << 17
"""Bytes per parameter of the first step on paper, and of the formulas and what carries them out; up to so many."""

BASELINES = 4 << 20
"""Bytes of what baselines are the first to use, and of the outcomes that they are held against."""

PREDICTIONS = 6
"""Arrays as large as a split's predictions in float64 that the metrics of that split need at once."""


def resident() -> int | None:
    """Bytes of memory this process holds now, None where the system does not tell."""
    return _status("VmRSS")


def peak() -> int | None:
    """The most bytes this process has held at once, None where the system does not tell."""
    return _status("VmHWM")


def give_back() -> None:
    """Give freed memory back to the system where the C library keeps it for later, as glibc does."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def expected_peak(experiment: Experiment) -> int | None:
    """Bytes that a run of this experiment, just built, will hold at most; None where the system does not tell.

    What is there now, plus what is taken and not yet touched (the system gives a page at its first use), plus the
    larger of two peaks: the gradient check before the first step, or training with a copy of its state (the best so far
    that waits to be saved, or what is loaded in the end), with a split being measured, or with the baselines. If
    reading the data took more, it is that.
    """
    now = resident()
    if now is None:
        return None
    config, trainer, network = experiment.config, experiment.trainer, experiment.model.network
    parameters = network.parameters
    state = sum(array.nbytes for array in trainer.job.optimizer.state.values())
    state += 0 if trainer.job.average is None else int(parameters.theta.nbytes)
    gradient = parameters.grad.nbytes - trainer.steps.spared  # steps that are compiled as a whole write to less of it
    training = gradient + state + workspace(network) + trainer.job.batches.nbytes
    saved = config.checkpoint.last or config.checkpoint.best or config.checkpoint.every is not None
    val = experiment.splits.get("val")  # whose activations are kept from epoch to epoch
    kept = 0 if val is None else _chunk(experiment, len(val.X), 0)
    copy = state + parameters.theta.nbytes + kept if saved else 0
    measured = max(_evaluation(experiment), _baselines(experiment))
    ahead = int(now + max(_check(experiment), training + max(copy, measured)))
    return max(ahead, peak() or 0)


def workspace(network: Network) -> int:
    """Bytes of the arrays that a network's layers work in, parameters aside."""
    arrays = {id(a): a for layer in network.layers for a in _arrays(layer) if a.base is None}
    delta = 0 if network.Delta is None else network.Delta.nbytes
    return int(sum(array.nbytes for array in arrays.values()) + delta)


def _arrays(layer: Any) -> Iterator[Any]:
    for value in vars(layer).values():
        for one in value if isinstance(value, list) else [value]:
            if hasattr(one, "nbytes"):
                yield one
            elif isinstance(one, Layer):
                yield from _arrays(one)


def _check(experiment: Experiment) -> int:
    """Bytes of the gradient check before the first step, beside what is there before it.

    The quick one needs the proving network, and when that is done its gradient beside a network as it is trained.
    """
    preflight, network = experiment.config.train.preflight, experiment.model.network
    quick = max(PROOF, PROOF // 2 + (0 if network.backend.remote else 2 * network.dtype.itemsize))
    size = network.parameters.size
    paper = FORMULAS + PAPER * size if preflight != "off" and size <= PAPER_PARAMETERS else 0
    return max(paper, {"off": 0, "quick": quick, "full": FULL_CHECK}[preflight] * size)


def _chunk(experiment: Experiment, rows: int, inputs: int) -> int:
    """Bytes of the activations, and of so many inputs, of a chunk of so many rows at most."""
    architecture, most = experiment.model.network.architecture, experiment.config.train.eval_batch_size
    numbers = sum(block.units for block in architecture.hidden) + architecture.outputs + inputs
    return int(experiment.model.network.dtype.itemsize * min(most, rows) * numbers)


def _evaluation(experiment: Experiment) -> int:
    """Bytes to measure the largest split: its predictions, and a chunk of rows: activations, and inputs where these are
    made for it."""
    architecture, splits = experiment.model.network.architecture, experiment.splits.values()
    inputs = architecture.inputs if any(split.X.made for split in splits) else 0
    rows = max(len(split.measured().X) for split in splits)
    return _chunk(experiment, rows, inputs) + PREDICTIONS * 8 * rows * architecture.outputs


def _baselines(experiment: Experiment) -> int:
    """Bytes of the network without hidden layers that the one trained is held against: inputs of some training rows in
    float64, and then of some measured ones; each of them also as they are gathered."""
    others = [split for name, split in experiment.splits.items() if name != "train"]
    if not experiment.config.eval.baselines or not others:
        return 0
    network, train = experiment.model.network, experiment.splits["train"]
    fitted, held = min(ROWS, len(train.X)), min(ROWS, max(len(split.X) for split in others))
    gathered = network.dtype.itemsize
    return BASELINES + int(network.architecture.inputs * (8 * fitted + max(gathered * fitted, (8 + gathered) * held)))


def _status(key: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))
    except (OSError, ValueError, StopIteration):
        return None
