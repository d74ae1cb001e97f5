"""An experiment: a config made into objects that can train, be saved, and go on from where they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from mlp_core.backends.cpu.library import library
from mlp_core.backends.job import Job
from mlp_core.config import Config
from mlp_core.data.batches.batches import Augment, Batches
from mlp_core.data.batches.from_disk import StreamedBatches
from mlp_core.data.batches.from_host import SentBatches
from mlp_core.data.batches.inputs import OnHost, Stored
from mlp_core.data.fingerprints import Fingerprints
from mlp_core.data.load import Data
from mlp_core.data.readers.format import Reading
from mlp_core.machine import environment, single_thread_blas
from mlp_core.metrics import defined
from mlp_core.metrics.calibration import Calibration, choose, wants_fit
from mlp_core.nn.data_start import data_start
from mlp_core.training import from_config
from mlp_core.training.baselines import Baselines, baselines
from mlp_core.training.checkpoint import Checkpoint, damaged
from mlp_core.training.evaluator import MEASURED, Evaluation, Evaluator, Split
from mlp_core.training.model import Model, check_tensors
from mlp_core.training.prepared import Prepared
from mlp_core.training.sharded import ShardedSteps
from mlp_core.training.steps import make_steps
from mlp_core.training.trainer import Progress, Trainer
from mlp_core.training.unused import refuse_unused
from mlp_core.training.warm_start import WarmStart
from mlp_core.workers.world import ALONE, World


@dataclass
class Experiment:
    """A model with its data and everything that trains it; `home` is the directory of its run, if it has one."""

    model: Model
    data: Data
    splits: dict[str, Split]
    trainer: Trainer
    evaluator: Evaluator
    notes: tuple[str, ...]
    stamp: str | None = None
    trained_rows: Fingerprints | None = None
    home: Path | None = None
    environment: dict[str, Any] = field(init=False)
    _saved: tuple[Config, dict[str, Any]] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.environment = {**environment(self.model.network.backend.device), "threads": self.config.threads}
        if self.config.kernels == "native" and not self.config.device.startswith("cuda"):
            self.environment["kernels"] = library().made

    @property
    def config(self) -> Config:
        return self.model.config

    @property
    def world(self) -> World:
        return self.trainer.world

    @classmethod
    def build(
        cls,
        config: Config,
        progress: Reading | None = None,
        own: Checkpoint | None = None,
        known: bool = False,
        world: World = ALONE,
    ) -> Experiment:
        """Read the data, fit the preprocessing, make the network with its initial weights.

        own: the checkpoint of the run itself, where it goes on: what was learned of the data is as it was, and a warm
        start is not looked up again. known: take the fingerprints of the training rows, where they are in memory and
        not too many. world: the workers that train it. Raises ConfigError and DataError, each with its place,
        CheckpointError for weights that cannot be used.
        """
        refuse_unused(config)
        start = WarmStart.of(config, own)
        single_thread_blas()
        ready = Prepared.of(config, progress, own, start, known, world)
        config, data, inputs, target = ready.config, ready.data, ready.inputs, ready.target
        train = data.splits["train"]
        model = Model.build(config, data.task, inputs, target, ready.batch, training=True, world=world)
        if config.model.output_bias == "prior" and start is None:
            width = model.network.architecture.outputs
            bias = model.objective.loss.prior(model.targets(train.y), model.weights(train), width)
            model = Model.build(config, data.task, inputs, target, ready.batch, bias, True, world)
        model.network.initialize(config.seed)
        if start is not None:
            start.fill(config, model.network)
        splits = {name: model.split(dataset, ready.room, world) for name, dataset in data.splits.items()}
        rows = min(config.train.eval_batch_size, max(len(split.X) for split in splits.values()))
        if start is None:
            data_start(model.network, splits["train"].X, config.seed)
        evaluator = model.evaluator(rows)
        trainer = make_trainer(model, splits, evaluator, world)
        notes = (*ready.notes, *_measured_notes(splits))
        notes += (trainer.steps.name,) if trainer.steps.name else ()
        if config.model.periodic is not None and not inputs.numbers_first:
            notes += ("numeric embedding: none, there is no column of numbers",)
        notes += () if ready.room else ("data: stays on the host, the device has no room for it; batches are sent",)
        return cls(model, data.without_inputs(), splits, trainer, evaluator, notes, trained_rows=ready.prints)

    def evaluate(self, names: list[str] | None = None) -> dict[str, Evaluation]:
        """Every split, measured with the weights as they are for use: averaged where there is an average."""
        evaluator = self.evaluator.calibrated(self.model.calibration)
        chosen = self.model.metric_names(report=True) if names is None else names
        with _weights_for_use(self.trainer):
            return {name: evaluator.evaluate(split, chosen, self.world) for name, split in self.splits.items()}

    def baselines(self, measured: Mapping[str, Evaluation]) -> Baselines | None:
        """What the result is worth, beside no network and one without hidden layers."""
        with _weights_for_use(self.trainer):
            return baselines(self.model, self.splits, measured)

    def calibrate(self) -> Calibration | None:
        """Fit probabilities and threshold to the validation rows if `eval` asks for it; then they are used."""
        judged = self.config.eval
        if "val" not in self.splits or not wants_fit(judged.calibrate, judged.threshold):
            return None
        neutral = self.evaluator.calibrated(Calibration())
        with _weights_for_use(self.trainer):
            outcome = neutral.evaluate(self.splits["val"], [], self.world).outcome
        state = None
        if self.world.writes:
            state = choose(self.model.task.kind, judged.calibrate, judged.threshold, outcome).to_state()
        found = Calibration.from_state(self.world.told(state))
        self.model = replace(self.model, calibration=found)
        return found

    def checkpoint(self, metrics: Mapping[str, float], offset: Mapping[str, int]) -> Checkpoint:
        """The whole state of the run as named arrays and a document; the arrays are those that training works on."""
        trainer, to_host = self.trainer, self.model.network.backend.to_host
        trainer.settle()
        return Checkpoint(
            {name: np.asarray(to_host(array)) for name, array in self._arrays().items()},
            {
                "config": self._portable(),
                "task": self.model.task.to_state(),
                "inputs": self.model.inputs.to_state(),
                "target": None if self.model.target is None else self.model.target.to_state(),
                "metrics": dict(metrics),
                "progress": asdict(trainer.progress),
                "optimizer_steps": trainer.job.optimizer.t,
                "log": dict(offset),
                "data": self.data.sha256,
                "environment": self.environment,
                "gradient": self.stamp,
            },
        )

    def _arrays(self) -> dict[str, Any]:
        """The arrays that training works on, by their names in a checkpoint.

        Weights for use carry PyTorch's names; under an average of weights those are the averaged ones, and the ones
        being trained are `optimizer.theta`.
        """
        trainer, network = self.trainer, self.model.network
        parameters = network.parameters
        used = parameters.theta if trainer.job.average is None else trainer.job.average
        arrays = {**parameters.views(used), **network.statistics.values}
        arrays |= {f"optimizer.{name}": array for name, array in trainer.job.optimizer.state.items()}
        return arrays if trainer.job.average is None else {**arrays, "optimizer.theta": parameters.theta}

    def _portable(self) -> dict[str, Any]:
        """The config as it is saved: data files as they are found from the run's directory, so that both may move."""
        if self._saved is None or self._saved[0] is not self.config:
            config = self.config if self.home is None else self.config.with_paths_from(self.home)
            self._saved = (self.config, config.model_dump(mode="json"))
        return self._saved[1]

    def follow(self) -> None:
        """Take over the weights for use, and the statistics of norms, that worker 0 has."""
        network, average = self.model.network, self.trainer.job.average
        for array in (network.parameters.theta, *network.statistics.values.values(), average):
            if array is not None and self.world.size > 1:
                host = network.backend.to_host(array)
                self.world.copy(host)
                array[...] = network.backend.asarray(host)

    def restore(self, checkpoint: Checkpoint, path: str) -> None:
        """Go back to the state of a checkpoint; validates everything before it changes anything."""
        trainer, backend, live = self.trainer, self.model.network.backend, self._arrays()
        document, tensors = checkpoint.document, checkpoint.tensors
        check_tensors(live, tensors, path)
        progress = check_document(checkpoint, path)
        steps = int(document["optimizer_steps"])
        for name, array in live.items():
            array[...] = backend.asarray(tensors[name])
        trainer.progress, trainer.job.optimizer.t = progress, steps
        self.stamp = document.get("gradient")


def check_document(checkpoint: Checkpoint, path: str) -> Progress:
    """Where the run of a checkpoint stands; raises CheckpointError unless all that a run goes on from is there."""
    document, kinds = checkpoint.document, get_type_hints(Progress)
    try:
        progress = {name: document["progress"][name] for name in kinds}
        wrong = [name for name, value in progress.items() if not isinstance(value, kinds[name])]
        parts = {name: dict for name in ("config", "metrics", "log", "environment")}
        wrong += [name for name, kind in {**parts, "data": str}.items() if not isinstance(document[name], kind)]
        counts = [document["optimizer_steps"], document["log"]["jsonl"], document["log"].get("steps", 0)]
        counts += [value for name, value in progress.items() if kinds[name] is int]
        if wrong or any(type(count) is not int or not 0 <= count < 2**62 for count in counts):
            raise ValueError(wrong)
    except (KeyError, TypeError, ValueError):
        raise damaged(path, "it does not say where the run stands") from None
    return Progress(**progress)


def make_trainer(model: Model, splits: Mapping[str, Split], evaluator: Evaluator, world: World = ALONE) -> Trainer:
    """The trainer of a model on its training split, measuring on its validation split."""
    config, network, train = model.config, model.network, splits["train"]
    kinds: dict[type, type[Batches]] = {OnHost: SentBatches}
    kinds |= {Stored: StreamedBatches} if config.train.shuffle else {}  # else rows come as they lie
    batches = kinds.get(type(train.X), Batches)(
        network.backend,
        train.X,
        train.Y,
        train.w,
        size=network.rows,
        seed=config.seed,
        shuffle=config.train.shuffle,
        drop_last=config.train.drop_last,
    )
    optimizer = from_config.make_optimizer(config, network, network.backend)
    monitor = config.checkpoint.monitor
    regular = config.regularization
    augment = None
    if regular.input_noise or regular.mixup:
        augment = Augment(
            network.backend,
            regular.input_noise,
            regular.mixup,
            network.architecture.outputs,
            codes=len(network.architecture.embeddings),
        )
    names = model.metric_names()
    if "val" in splits:
        monitored = (name.partition("_") for name in from_config.monitors(config).values())
        wanted = dict.fromkeys(name for split, _, name in monitored if split == "val")
        names += [name for name in wanted if name != "loss" and name not in names]
    limits = from_config.make_limits(config)
    job = Job(model.objective, optimizer, batches, limits, config.seed, augment)
    schedule = from_config.make_schedule(config, job.steps_per_epoch)
    dropout, decay = from_config.make_fades(config, schedule.steps)
    job = replace(job, dropout=dropout, decay=decay)
    watch = from_config.make_watch(monitor, config.checkpoint.mode, ties=config.checkpoint.ties == "last")
    trainer = Trainer(
        ShardedSteps(job, world) if limits.shards > 1 else make_steps(job),
        schedule=schedule,
        evaluate=dict,
        best=watch if config.checkpoint.best else None,
        stopping=from_config.make_stopping(config),
        plateau=from_config.make_plateau(config, monitor),
        read_every=config.logging.every_steps,
        world=world,
    )
    if "val" in splits:
        trainer.evaluate = lambda: _validate(trainer, evaluator, splits["val"], names)
    return trainer


def _measured_notes(splits: Mapping[str, Split]) -> tuple[str, ...]:
    """A line about splits that are measured on some of their rows."""
    large = [name for name, split in splits.items() if split.measured() is not split]
    return (f"measured on {MEASURED:,} rows drawn at random: {', '.join(large)}",) if large else ()


@contextmanager
def _weights_for_use(trainer: Trainer) -> Iterator[None]:
    """The averaged weights in place of the trained ones, where there is an average."""
    theta = trainer.job.network.parameters.theta
    trained = None if trainer.job.average is None else theta.copy()
    if trainer.job.average is not None:
        theta[:] = trainer.job.average
    try:
        yield
    finally:
        if trained is not None:
            theta[:] = trained


def _validate(trainer: Trainer, evaluator: Evaluator, split: Split, names: list[str]) -> dict[str, float]:
    """Metrics of the validation split, with the averaged weights in place where there are any."""
    with _weights_for_use(trainer):
        measured = evaluator.evaluate(split, names, trainer.world).metrics
    metrics = {**defined(measured), "loss": measured["loss"]}  # a metric may have no value, the loss must have one
    return {f"val_{name}": value for name, value in metrics.items()}
