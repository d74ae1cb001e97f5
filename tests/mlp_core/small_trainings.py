"""Small trainings on numbers that are drawn: every layer, loss, rule and option of a step, for any backend and way."""

from __future__ import annotations

import numpy as np

from mlp_core.backends.job import Job
from mlp_core.data.batches.batches import Augment, Batches
from mlp_core.nn.activations import ACTIVATIONS, LeakyRelu, Relu
from mlp_core.nn.backend import Backend
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import LOSSES, Bce, CrossEntropy, Focal, Mse, Quantile
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.numeric_embedding import Periodic
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.nn.optimizer import Segment
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.nn.schedules import Fade, Schedule
from mlp_core.nn.step_options import Limits
from mlp_core.training.sharded import ShardedSteps
from mlp_core.training.steps import make_steps
from mlp_core.training.trainer import Trainer
from mlp_core.workers.world import ALONE, World

ROWS, INPUTS, OUTPUTS, BATCH = 75, 9, 5, 16  # the last batch has 11 rows
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
SETTINGS = {"mu": 0.9, "beta1": 0.9, "beta2": 0.999, "eps": 1e-3, "rho": 0.9}


def make(
    backend: Backend,
    *,
    loss: Loss = CrossEntropy(),
    hidden: tuple[Block, ...] = (Block(40, Relu()), Block(7, Relu())),
    rule: str = "adam",
    dtype: str = "float64",
    weighted: bool = False,
    shuffle: bool = True,
    segments: bool = False,
    penalty: Penalty = Penalty(),
    rate: float = 1e-2,
    input_dropout: float = 0.0,
    embeddings: tuple[tuple[int, int], ...] = (),
    classes_as: str = "numbers",
    drop_last: bool = False,
    noise: float = 0.0,
    mixup: float = 0.0,
    fades: bool = False,
    whole: dict | None = None,
    batch: int = BATCH,
    world: World = ALONE,
    **limits,
) -> Trainer:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, INPUTS)).astype(dtype)
    classes = (X @ rng.standard_normal((INPUTS, OUTPUTS))).argmax(axis=1)
    outputs = loss.outputs(OUTPUTS)
    Y = np.eye(OUTPUTS, dtype=dtype)[classes]
    if isinstance(loss, CrossEntropy | Focal) or loss.per_output:
        Y = classes if classes_as == "numbers" else Y
    for k, (words, _) in enumerate(embeddings):
        X[:, INPUTS - len(embeddings) + k] = rng.integers(0, words, ROWS)
    w = rng.uniform(0.1, 2, ROWS).astype(dtype) if weighted else None
    network = Network(
        Architecture(INPUTS, outputs, hidden, input_dropout, embeddings=embeddings, **(whole or {})),
        backend,
        dtype,
        batch,
    )
    network.initialize(0)
    parameters = network.parameters
    parts = None
    if segments:
        cut = parameters.slices[[name for name in parameters.slices if name.endswith("weight")][1]].start
        parts = [Segment(slice(0, cut), 0.5, 0.1), Segment(slice(cut, parameters.weights.stop))]
    optimizer = OPTIMIZERS[rule](parameters, backend, parts, **SETTINGS)
    batches = Batches(backend, X, Y, w, size=batch, shuffle=shuffle, drop_last=drop_last)
    schedule = Schedule("cosine", rate, 100, batches.count, warmup=3)
    objective = Objective(network, loss, penalty)
    augment = Augment(backend, noise, mixup, outputs, len(embeddings)) if noise or mixup else None
    fade = Fade("flat_cos", 15) if fades else Fade()
    job = Job(objective, optimizer, batches, Limits(3, **limits), 0, augment, dropout=fade, decay=fade)
    steps = ShardedSteps(job, world) if job.limits.shards > 1 else make_steps(job)
    return Trainer(steps, schedule, dict, world=world)


def trained(trainer: Trainer):
    """The events of a training, and the parameters and the optimizer's state it ends with."""
    events = list(trainer.run())
    theta = trainer.job.network.parameters.theta
    state = [theta, *trainer.job.optimizer.state.values(), trainer.job.network.statistics.theta]
    state += [] if trainer.job.average is None else [trainer.job.average]
    return events, [vector.copy() for vector in state]


BLOCKS = (Block(40, LeakyRelu(0.2)), Block(7, Relu(), bias=False))


def mixing(name: str, **settings) -> tuple[Block, ...]:
    """Two layers of units that learn how much of an activation they take."""
    return tuple(Block(units, ACTIVATIONS[name](), parametric=True, **settings) for units in (37, 7))


STRONG = {"periodic": Periodic(7), "input_scale": True, "ntk": True}
CASES = {
    "cross entropy": {},
    "float32": {"dtype": "float32"},
    "label smoothing": {"loss": CrossEntropy(0.1)},
    "one output for each class": {"loss": Bce(2.0)},
    "squares": {"loss": Mse()},
    "weights": {"weighted": True},
    "weights, squares": {"weighted": True, "loss": Mse()},
    "weights, outputs": {"weighted": True, "loss": Bce()},
    "leaky relu, no bias": {"hidden": BLOCKS},
    "no hidden layer but one": {"hidden": (Block(33, Relu()),)},
    "no hidden layer": {"hidden": ()},
    "in order": {"shuffle": False},
    "segments, one of them frozen": {"segments": True},
    "segments of momentum": {"segments": True, "rule": "momentum"},
    "few steps at most": {"max_steps": 8},
    "l2": {"penalty": Penalty(l2=0.1)},
    "l1 and l2 of everything, momentum": {"penalty": Penalty(l2=0.1, l1=0.01, bias=True), "rule": "momentum"},
    "l1, segments": {"penalty": Penalty(l1=0.01), "segments": True},
    "dropout": {"hidden": (Block(37, Relu(), dropout=0.5), Block(7, Relu(), dropout=0.2))},
    "dropout, float32": {"hidden": (Block(37, Relu(), dropout=0.3), Block(7, Relu())), "dtype": "float32"},
    "dropout of the inputs": {"input_dropout": 0.3},
    "dropout of everything": {"hidden": (Block(37, Relu(), dropout=0.5),), "input_dropout": 0.2},
    "dropout, segments": {"hidden": (Block(37, Relu(), dropout=0.5), Block(7, Relu())), "penalty": Penalty(l2=0.1)},
    **{
        name: {"hidden": (Block(37, ACTIVATIONS[name](), dropout=0.1), Block(7, ACTIVATIONS[name]()))}
        for name in ACTIVATIONS
    },
    **{f"loss {name}": {"loss": kind()} for name, kind in LOSSES.items()},
    "two quantiles": {"loss": Quantile((0.1, 0.7)), "weighted": True},
    "distributions over classes": {"loss": CrossEntropy(0.1), "classes_as": "columns"},
    "an output for each column": {"loss": Bce(2.0), "classes_as": "columns"},
    "batch norm": {"hidden": (Block(37, Relu(), norm="batch"), Block(7, Relu(), norm="batch", norm_first=False))},
    "layer norm": {"hidden": (Block(37, Relu(), norm="layer", dropout=0.2), Block(7, Relu(), norm="layer"))},
    "rms norm, without bias": {"hidden": (Block(37, Relu(), bias=False, norm="rms"), Block(7, Relu(), norm="rms"))},
    "norms, momentum, frozen": {"hidden": (Block(9, Relu(), norm="batch"),), "rule": "momentum", "segments": True},
    "prelu": {"hidden": (Block(37, None), Block(7, None, norm="layer"))},
    "skips": {"hidden": (Block(9, Relu(), residual=True), Block(9, None, residual=True, norm="layer", dropout=0.1))},
    "skips over batch norms": {"hidden": (Block(9, Relu()), Block(9, Relu(), residual=True, norm="batch"))},
    "embeddings": {"embeddings": ((7, 3), (40, 5)), "weighted": True},
    "embeddings of nothing but words": {"embeddings": ((3, 2),) * INPUTS, "input_dropout": 0.1, "rule": "adagrad"},
    "entries cut": {"clip_value": 0.01},
    "lengths cut": {"clip_norm": 0.1},
    "both cut, penalties": {"clip_norm": 0.05, "clip_value": 0.01, "penalty": Penalty(l2=0.1, l1=0.01, bias=True)},
    "lengths cut, segments": {"clip_norm": 0.1, "segments": True, "hidden": (Block(37, None), Block(7, Relu()))},
    "short weights": {"max_norm": 0.5, "rule": "sgd", "rate": 0.5},
    "short weights, embeddings": {"max_norm": 0.2, "embeddings": ((7, 3),), "segments": True},
    "an average": {"ema": 0.9},
    "an average of everything": {"ema": 0.99, "max_norm": 0.7, "clip_value": 0.1, "segments": True},
    "sums over two batches": {"accumulate": 2},
    "sums over three batches": {
        **{"accumulate": 3, "hidden": (Block(37, Relu(), norm="batch", dropout=0.2),), "weighted": True},
        **{"penalty": Penalty(l2=0.1, l1=0.01), "clip_norm": 0.1, "ema": 0.9},
    },
    "sums, embeddings, the last rows dropped": {"accumulate": 2, "embeddings": ((7, 3),), "drop_last": True},
    "noise": {"noise": 0.1},
    "noise, float32": {"noise": 0.1, "dtype": "float32", "embeddings": ((7, 3),)},
    "mixup": {"mixup": 0.4, "weighted": True},
    "mixup of squares, noise": {"mixup": 0.4, "noise": 0.1, "loss": Mse(), "weighted": True},
    "sums over mixed batches": {"mixup": 0.4, "noise": 0.1, "accumulate": 2, "loss": Bce(2.0)},
    "ntk": {"whole": {"ntk": True}},
    "ntk, no bias, a norm": {
        "whole": {"ntk": True},
        "hidden": (Block(37, Relu(), bias=False), Block(7, Relu(), norm="layer")),
    },
    "input scale": {"whole": {"input_scale": True}, "input_dropout": 0.2},
    "input scale, embeddings": {"whole": {"input_scale": True}, "embeddings": ((7, 3), (40, 5))},
    "waves": {"whole": {"periodic": Periodic(INPUTS)}},
    "waves, float32": {"whole": {"periodic": Periodic(INPUTS)}, "dtype": "float32"},
    "waves of many frequencies": {"whole": {"periodic": Periodic(2, 37, 2, 1.0)}},
    "waves of one frequency, many numbers": {"whole": {"periodic": Periodic(8, 1, 10)}, "rule": "momentum"},
    "waves, sums, lengths cut": {
        "whole": {"periodic": Periodic(4, 5, 6)},
        "accumulate": 2,
        "clip_norm": 0.1,
        "ema": 0.9,
    },
    "waves beside embeddings": {"whole": {"periodic": Periodic(7)}, "embeddings": ((7, 3), (40, 5)), "weighted": True},
    **{f"a learned share of {name}": {"hidden": mixing(name)} for name in ACTIVATIONS if name != "identity"},
    "a learned share, dropout": {"hidden": mixing("mish", dropout=0.3)},
    "a learned share behind norms": {"hidden": mixing("selu", norm="batch", dropout=0.1), "dtype": "float32"},
    "a learned share between skips": {"hidden": (Block(9, Relu(), residual=True, parametric=True, norm="layer"),)},
    "dropout and decay that fade": {"fades": True, "hidden": (Block(37, Relu(), dropout=0.5),), "segments": True},
    "all ingredients": {
        **{"whole": STRONG, "hidden": mixing("mish", dropout=0.15), "embeddings": ((7, 3), (40, 5)), "fades": True},
        **{"segments": True, "loss": CrossEntropy(0.1)},
    },
    "all ingredients, float32": {"whole": STRONG, "hidden": mixing("selu", dropout=0.15), "dtype": "float32"},
    "all ingredients, two batches to a step": {
        **{"whole": STRONG, "hidden": mixing("mish", dropout=0.15), "accumulate": 2, "clip_norm": 0.5, "ema": 0.9},
        **{"loss": Mse(), "fades": True, "penalty": Penalty(l2=0.01, bias=True)},
    },
    "sums over all batches": {"accumulate": 100, "hidden": (Block(9, None, residual=True),)},
}
