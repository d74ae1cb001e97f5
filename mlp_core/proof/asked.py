"""What the config asks for, beside what was built of it: what formulas take from the engine's objects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.config import model as schema
from mlp_core.explain.step import chains, front
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.layers import Activate, Dense, Dropout, Layer, PRelu
from mlp_core.nn.norm import Norm
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.nn.parametric import Parametric
from mlp_core.proof.compare import Tally
from mlp_core.proof.rows import Table
from mlp_core.proof.truth import prove_truth
from mlp_core.proof.warm import prove_warm
from mlp_core.training.ensemble import member_configs
from mlp_core.training.experiment import Experiment

ALPHA = {"leaky_relu": 0.01, "elu": 1.0, "prelu": 0.25}
"""The alpha of an activation that is given none: Maas et al. 2013, Clevert et al. 2016, He et al. 2015."""
LARGER = (
    *("accuracy", "balanced_accuracy", "subset_accuracy", "mcc", "top_k", "precision", "recall", "f1"),
    *("roc_auc", "pr_auc", "r2", "explained_variance"),
)
"""How the metrics begin of which more is better."""
SETTINGS = {"mu": "momentum", "eps": "eps", "rho": "rho"}


def prove_asked(experiment: Experiment, given: Config | None = None) -> Tally:
    """Network, loss, penalties, limits, settings, rates, weights of rows and targets as the config names them.

    given: the config before anything `auto` or balanced in it was decided.
    """
    tally = Tally("what the config asks for")
    _network(tally, experiment)
    _front(tally, experiment)
    _step(tally, experiment)
    _segments(tally, experiment)
    _schedule(tally, experiment)
    _watches(tally, experiment)
    prove_truth(tally, experiment, given or experiment.config)
    if given is not None and given.ensemble > 1:
        _members(tally, given)
    if not experiment.trainer.progress.step:
        _beginning(tally, experiment)
        if given is not None and given.model.weights is not None:
            prove_warm(tally, experiment, given)
    return tally


def _network(tally: Tally, experiment: Experiment) -> None:
    model = experiment.config.model
    found = chains(experiment.model.network, 1)
    tally.same("the number of hidden layers", len(found) - 1, len(model.layers()))
    for chain, layer in zip(found, model.layers(), strict=False):
        of, (name, alpha), dense = f"of layer {chain.l}", activation(layer), chain.layers[0]
        assert isinstance(dense, Dense)
        words = [word for one in chain.layers for word in _words(one)]
        acts, norms, drops = ([tuple(w) for k, *w in words if k == kind] for kind in ("activation", "norm", "dropout"))
        act = [] if name == "identity" else [(name, alpha)]
        norm = [] if layer.norm == "none" else [(layer.norm, model.norm_eps, model.norm_momentum)]
        mixed = any(isinstance(one, Parametric) for one in chain.layers)
        mixes = model.parametric and name not in ("prelu", "identity")
        skips = bool(layer.residual) and dense.inputs == layer.units
        tally.same(f"the units {of}", dense.units, layer.units)
        tally.same(f"the parametrization {of}", dense.ntk, model.parametrization == "ntk")
        tally.same(f"the bias {of}", dense.has_bias, bool(layer.bias))
        tally.same(f"the skip connection {of}", chain.residual, skips)
        tally.same(f"the activation {of}", [a for a in acts if a[0] != "identity"], act)
        tally.same(f"whether layer {chain.l} learns its activation's share", mixed, mixes)
        tally.same(f"the norm {of}", norms, norm)
        tally.same(f"the dropout {of}", drops, [(layer.dropout,)] if layer.dropout else [])
        if norm and act:
            first = next(kind for kind, *_ in words if kind != "dropout")
            tally.same(f"the place of the norm {of}", first == "norm", model.norm_position == "pre_activation")


def activation(layer: schema.Layer) -> tuple[str, float | None]:
    """The activation of a layer of the config by its name, and its alpha."""
    choice: Any = layer.activation
    name, alpha = (choice, None) if isinstance(choice, str) else (choice.name, choice.alpha)
    return name, ALPHA.get(name) if alpha is None else float(alpha)


def _front(tally: Tally, experiment: Experiment) -> None:
    """What stands before the first product: learned words, waves of numbers, factors, dropout."""
    model, inputs = experiment.config.model, experiment.model.inputs
    there, waves = dict[str, Any](), model.periodic
    if inputs.embeddings:
        there["Embedding"] = tuple(inputs.embeddings)
    if waves is not None and inputs.numbers_first:
        there["NumericEmbedding"] = (inputs.numbers_first, waves.frequencies, waves.size, waves.sigma)
    there |= {"InputScale": ()} if model.input_scale else {}
    there |= {"Dropout": model.input_dropout} if model.input_dropout else {}
    here = dict[str, Any]()
    for layer in front(experiment.model.network):
        match layer:
            case Embedding(tables=tables):
                here["Embedding"] = tables
            case NumericEmbedding(plan=plan):
                here["NumericEmbedding"] = (plan.numbers, plan.frequencies, plan.size, plan.sigma)
            case Dropout(p=p):
                here["Dropout"] = p
            case _:
                here[type(layer).__name__] = ()
    tally.same("what stands before the first layer", list(here.items()), list(there.items()))
    last = chains(experiment.model.network, 1)[-1].layers
    tally.same("what stands behind the last layer", [type(one).__name__ for one in last], ["Dense"])


def _words(layer: Layer) -> Iterator[tuple[Any, ...]]:
    """A layer in words: its kind, and its settings."""
    match layer:
        case Norm():
            yield "norm", layer.kind, layer.eps, layer.momentum
        case PRelu():
            yield "activation", "prelu", layer.slope
        case Dropout():
            yield "dropout", layer.p
        case Dense(f=f) | Activate(f=f) | Parametric(f=f) if f is not None:
            yield "activation", f.name, getattr(f, "alpha", None)


def _step(tally: Tally, experiment: Experiment) -> None:
    """Loss, penalties, limits, the settings of the update rule, the seed."""
    config, job, loss = experiment.config, experiment.trainer.job, experiment.model.objective.loss
    tally.same("the loss", loss.name, config.loss.name)
    for key, value in {
        "label_smoothing": config.loss.label_smoothing,
        "pos_weight": float(config.loss.pos_weight or 1.0),
        "gamma": config.loss.gamma,
        "delta": config.loss.delta,
        "quantiles": tuple(config.loss.quantiles),
    }.items():
        if hasattr(loss, key):
            tally.same(f"loss.{key}", getattr(loss, key), value)
    regular, values, limits = config.regularization, config.optimizer, job.limits
    penalty = experiment.model.objective.penalty
    for key in ("l1", "l2", "bias"):
        tally.same(f"regularization.{key}", getattr(penalty, key), getattr(regular, key))
    tally.same("regularization.max_norm", limits.max_norm, regular.max_norm)
    tally.same("optimizer.accumulate", limits.accumulate, Table(experiment, experiment.splits["train"]).many)
    for key in ("clip_norm", "clip_value", "ema"):
        tally.same(f"optimizer.{key}", getattr(limits, key), getattr(values, key))
    tally.same("train.epochs", limits.epochs, config.train.epochs)
    tally.same("train.max_steps", limits.max_steps, config.train.max_steps)
    tally.same("seed", job.seed, config.seed)
    settings = {name: getattr(values, key) for name, key in SETTINGS.items()}
    settings |= {"beta1": values.betas[0], "beta2": values.betas[1]}
    for name, value in job.optimizer.settings.items():
        tally.same(f"{name} of {values.name}", value, settings.get(name, value))
    augment = job.augment
    tally.same("regularization.input_noise", augment.noise if augment else 0.0, regular.input_noise)
    tally.same("regularization.mixup", augment.mixup if augment else 0.0, regular.mixup)


def _segments(tally: Tally, experiment: Experiment) -> None:
    """The rate's scale and the decay of each tensor: decay is for matrices; of groups the last one counts."""
    config, job = experiment.config, experiment.trainer.job
    parameters = job.network.parameters
    for spec in parameters.specs:
        decay, scale, frozen = (config.optimizer.weight_decay if spec.is_weight else 0.0), 1.0, False
        for group in config.optimizer.groups:
            if fnmatchcase(spec.name, group.match):
                scale, frozen = group.lr_scale, group.freeze
                decay = decay if group.weight_decay is None else group.weight_decay
        tally.same(f"whether {spec.name} is a matrix", spec.is_weight, len(spec.shape) == 2 and spec.is_weight)
        place = parameters.slices[spec.name]
        inside = [s for s in job.optimizer.segments if s.part.start <= place.start and place.stop <= s.part.stop]
        tally.same(f"whether {spec.name} is trained", len(inside), 0 if frozen else 1)
        for segment in inside:
            factor = getattr(config.optimizer.lr_factors, spec.kind) if spec.kind else 1.0
            tally.same(f"lr_scale of {spec.name}", segment.lr_scale, scale * factor)
            tally.same(f"weight_decay of {spec.name}", segment.weight_decay, decay)


def _schedule(tally: Tally, experiment: Experiment) -> None:
    """The numbers of the schedule."""
    config, schedule = experiment.config, experiment.trainer.schedule
    values, table = config.schedule, Table(experiment, experiment.splits["train"])
    steps = config.train.epochs * table.steps
    steps = steps if config.train.max_steps is None else min(steps, config.train.max_steps)
    warmup = values.warmup * steps if values.warmup < 1 else values.warmup * table.steps
    tally.same("the steps of an epoch", experiment.trainer.steps_per_epoch, table.steps)
    for name, there in {
        "name": "constant" if values.name == "plateau" else values.name,
        "lr": float(config.optimizer.lr),
        "steps": steps,
        "steps_per_epoch": table.steps,
        "warmup": math.ceil(min(warmup, 2.0**62)),
        "final": values.final,
        "step_size": values.step_size,
        "milestones": tuple(values.milestones),
        "gamma": values.gamma,
        "power": values.power,
        "per_epoch": values.per == "epoch",
        "cycles": int(values.cycles),
    }.items():
        tally.same(f"schedule: {name}", getattr(schedule, name), there)
    for name in ("dropout", "weight_decay"):
        fade = getattr(experiment.trainer.job, "decay" if name == "weight_decay" else name)
        tally.same(f"schedule.{name}", (fade.name, fade.steps), (getattr(values, name), steps))


def _watches(tally: Tally, experiment: Experiment) -> None:
    """Which metric decides what, which way is better, and how long is waited for it."""
    config, trainer = experiment.config, experiment.trainer
    monitor, values, stop = config.checkpoint.monitor, config.checkpoint, config.train.early_stopping
    tally.same("train.eval_every", trainer.job.limits.eval_every, config.train.eval_every)
    tally.same("checkpoint.best", trainer.best is not None, values.best)
    if trainer.best is not None:
        found = (trainer.best.metric, trainer.best.smaller, trainer.best.min_delta, trainer.best.ties)
        tally.same("what is best", found, (monitor, _smaller(monitor, values.mode), 0.0, values.ties == "last"))
    tally.same("train.early_stopping", trainer.stopping is not None, bool(stop))
    if trainer.stopping is not None and stop:
        watch = trainer.stopping.watch
        here = (watch.metric, watch.smaller, watch.min_delta)
        tally.same("early stopping's watch", here, (stop.monitor, _smaller(stop.monitor, stop.mode), stop.min_delta))
        tally.same("early stopping: patience", trainer.stopping.patience, stop.patience)
        tally.same("early stopping: min_epochs", trainer.stopping.min_epochs, stop.min_epochs)
    tally.same("the plateau", trainer.plateau is not None, config.schedule.name == "plateau")
    if trainer.plateau is not None:
        watch = trainer.plateau.watch
        tally.same("the plateau's watch", (watch.metric, watch.smaller), (monitor, _smaller(monitor, "auto")))
        tally.same("the plateau's patience", trainer.plateau.patience, config.schedule.patience)
        tally.same("the plateau's factor", trainer.plateau.factor, config.schedule.factor)


def _smaller(monitor: str, mode: str) -> bool:
    """Whether less of a metric such as val_accuracy is better."""
    larger = monitor.partition("_")[2].startswith(LARGER)
    return not larger if mode == "auto" else mode == "min"


def _members(tally: Tally, given: Config) -> None:
    """The members of an ensemble: each with the next seed, all with the same rows, and else as the config says."""
    found = member_configs(given, 1)
    tally.same("the members of the ensemble", len(found), given.ensemble)
    seed = given.seed if given.data.split.seed is None else given.data.split.seed
    asked_for = _plain(given)
    for k, member in enumerate(found):
        tally.same(f"the seed of member {k + 1}", member.seed, given.seed + k)
        tally.same(f"by what the rows of member {k + 1} are dealt", member.data.split.seed, seed)
        same = member.ensemble, _plain(member) == asked_for
        tally.same(f"whether member {k + 1} is as the config says", same, (1, True))


def _plain(config: Config) -> dict[str, Any]:
    """A config without what a member has for itself, the seed that deals the rows, and what is measured beside its
    result."""
    values: dict[str, Any] = config.model_dump(mode="json")
    values["data"]["split"]["seed"] = values["eval"]["baselines"] = None
    return {key: value for key, value in values.items() if key not in ("ensemble", "seed", "threads")}


def _beginning(tally: Tally, experiment: Experiment) -> None:
    """What the optimizer remembers at first: nothing; the average: the weights; running statistics: 0 and 1."""
    job = experiment.trainer.job
    to_host = job.backend.to_host
    tally.same("the optimizer's count of steps", job.optimizer.t, 0)
    for name, vector in job.optimizer.state.items():
        tally.entries(f"optimizer.{name} at first", to_host(vector), np.zeros(len(vector)), 0.0)
    if job.average is not None:
        tally.entries("the averaged weights at first", to_host(job.average), to_host(job.network.parameters.theta), 0.0)
    if experiment.config.model.weights is None:
        for name, place in job.network.statistics.slices.items():
            there = np.full(place.stop - place.start, 1.0 if name.endswith("var") else 0.0)
            tally.entries(f"{name} at first", to_host(job.network.statistics.theta[place]), there, 0.0)
