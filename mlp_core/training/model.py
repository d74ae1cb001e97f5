"""A model: a network with what its inputs are made of and what its outputs mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.config import Config, from_mapping
from mlp_core.data.batches.inputs import Held, OnHost, Rows, Scaled, Stored, smaller_as_stored
from mlp_core.data.load import Dataset
from mlp_core.data.preprocess.preprocessor import Preprocessor
from mlp_core.data.preprocess.scaling import Target, gather_scaled
from mlp_core.data.task import Task
from mlp_core.errors import CheckpointError, MlpbpError
from mlp_core.metrics import BRIEF, THRESHOLD, full
from mlp_core.metrics.calibration import Calibration
from mlp_core.nn.backend import Backend, numpy_backend
from mlp_core.nn.network import Network, parameter_count
from mlp_core.nn.objective import Objective
from mlp_core.training import from_config
from mlp_core.training.checkpoint import Checkpoint, damaged
from mlp_core.training.devices import open_cuda
from mlp_core.training.evaluator import Evaluator, Split
from mlp_core.training.kernels import native
from mlp_core.workers.world import ALONE, World


@dataclass(frozen=True)
class Model:
    """What is needed to use a network on data: how inputs are made, what the outputs mean, the network itself.

    data: the digest of the data it was trained on, empty where that is not known.
    """

    config: Config
    task: Task
    inputs: Preprocessor
    target: Target | None
    objective: Objective
    calibration: Calibration
    data: str = ""

    @classmethod
    def build(
        cls,
        config: Config,
        task: Task,
        inputs: Preprocessor,
        target: Target | None,
        rows: int,
        bias: tuple[float, ...] | None = None,
        training: bool = False,
        world: World = ALONE,
    ) -> Model:
        """The model of a resolved config, its parameters still zero; memory for `rows` rows at once.

        world: the workers that train it; each has a network where it computes.
        """
        loss = from_config.make_loss(config)
        architecture = from_config.make_architecture(
            config, inputs.inputs, from_config.outputs(loss, task), bias, inputs.embeddings, inputs.numbers_first
        )
        # a forward pass alone does not repay loading the compiled kernels
        backend = make_backend(config, world) if training else numpy_backend()
        network = Network(architecture, backend, config.dtype, rows, training)
        threshold = config.eval.threshold if isinstance(config.eval.threshold, float) else THRESHOLD
        objective = Objective(network, loss, from_config.make_penalty(config))
        return cls(config, task, inputs, target, objective, Calibration(threshold=threshold))

    @property
    def network(self) -> Network:
        return self.objective.network

    def targets(self, y: Any) -> Any:
        """Targets as the loss takes them: class indices int64, else numbers [n, k] in the model's dtype."""
        if self.task.classifies and self.network.architecture.outputs > 1:
            return y
        if self.target is not None:
            return self.target.transform(y, dtype=self.config.dtype)
        return y.reshape(len(y), -1).astype(self.config.dtype)

    def weights(self, dataset: Dataset) -> Any:
        """Row weights: those of the data times those of the classes; None where all are 1."""
        choice, w = self.config.loss.class_weight, dataset.weight
        if isinstance(choice, dict):
            per_class = np.array([choice[name] for name in self.task.classes])
            w = per_class[dataset.y] if w is None else w * per_class[dataset.y]
        return None if w is None else w.astype(self.config.dtype)

    def split(self, dataset: Dataset, room: bool = True, world: World = ALONE) -> Split:
        """A data set ready for the network; without `room` on the device its inputs stay on the host.

        The data set's memory is taken over where that does: it is of no use any more. Of the workers of a machine the
        one that reads makes the inputs, for all.
        """
        backend, w, dtype = self.network.backend, self.weights(dataset), self.config.dtype
        X: Rows
        if dataset.on_disk:
            X = Stored(backend, dataset.X, self.inputs, dtype, dataset.words)
        else:
            as_stored, rows = world.shared(lambda: self._on_host(dataset, room))
            if as_stored:
                X = Scaled(backend, rows, self.inputs, dtype)
            elif room:
                X = Held(backend, backend.asarray(rows))
            else:
                X = OnHost(backend, rows)
        return Split(
            X=X,
            Y=backend.asarray(self.targets(dataset.y)),
            w=None if w is None else backend.asarray(w),
            y=dataset.y,
            weight=dataset.weight,
        )

    def _on_host(self, dataset: Dataset, room: bool) -> tuple[bool, Any]:
        """Whether a data set in memory stays as it is stored, to be scaled batch by batch, and its rows [n, ...]."""
        kernels, dtype = self.network.backend.kernels, self.config.dtype
        if room and gather_scaled.__name__ in kernels and smaller_as_stored(dataset.X, self.inputs, dtype):
            return True, dataset.X
        return False, self._made(dataset)

    def _made(self, dataset: Dataset) -> Any:
        """The inputs of a data set on the host, written over its rows where these have the same shape and type."""
        X, dtype = dataset.X, np.dtype(self.config.dtype)
        alike = self.inputs.linear is not None and X.dtype == dtype and X.flags.c_contiguous and X.flags.writeable
        return self.inputs.transform(X, dataset.words, X if alike else None, dtype)

    def evaluator(self, rows: int) -> Evaluator:
        """An evaluator over this model's parameters, `rows` rows at a time."""
        objective = Objective(self.network.replica(rows), self.objective.loss, self.objective.penalty)
        return Evaluator(objective, self.task.kind, self.target, self.calibration, self.config.eval.bins)

    def metric_names(self, report: bool = False) -> list[str]:
        """What is measured: the config's list; for `auto` a few while training, more of them in a full `report`."""
        chosen = self.config.metrics
        if chosen != "auto":
            return [name for name in chosen if name != "loss"]
        return full(self.task.kind, len(self.task.classes)) if report else BRIEF[self.task.kind]


def check_tensors(live: Mapping[str, Any], stored: Mapping[str, Any], path: str) -> None:
    """Raise CheckpointError unless `stored` has exactly the tensors, shapes and dtypes of `live`."""
    for name, array in live.items():
        if name not in stored:
            raise damaged(path, f"tensor {name} is missing")
        if stored[name].shape != array.shape or stored[name].dtype != array.dtype:
            got = f"{stored[name].dtype}{list(stored[name].shape)}"
            raise damaged(path, f"tensor {name} is {got}, expected {array.dtype}{list(array.shape)}")
    for name in stored:
        if name not in live:
            raise damaged(path, f"tensor {name} belongs to no part of this network")


def home_of(path: str) -> Path:
    """The folder from which a checkpoint's data files are named: that of its run, or else its own."""
    folder = Path(path).parent
    return folder.parent if folder.name == "checkpoints" else folder


def model_of(checkpoint: Checkpoint, path: str, rows: int) -> Model:
    """The model of a checkpoint, ready to be used on at most `rows` rows at once, on the CPU wherever it was trained.

    Raises CheckpointError.
    """
    document = checkpoint.document
    try:
        config = from_mapping({**document["config"], "device": "cpu"}, folders=(home_of(path),)).as_sent()
        task = Task.from_state(document["task"])
        inputs = Preprocessor.from_state(document["inputs"])
        target = None if document["target"] is None else Target.from_state(document["target"])
        _check_sizes(checkpoint, config, task, inputs, path)
        model = Model.build(config, task, inputs, target, rows)
        state = document.get("calibration")
        calibration = None if state is None else Calibration.from_state(state)
    except CheckpointError as error:
        raise damaged(path, str(error.problems[0])) if error.problems[0].file is None else error from None
    except (KeyError, TypeError, ValueError, AttributeError, MlpbpError) as error:
        raise damaged(path, f"its description cannot be used ({error})") from None
    network = model.network
    live = {**network.parameters.values, **network.statistics.values}
    stored = {name: array for name, array in checkpoint.tensors.items() if not name.startswith("optimizer.")}
    check_tensors(live, stored, path)
    for name, array in live.items():
        array[...] = network.backend.asarray(stored[name])
    known = str(document.get("data", ""))
    return replace(model, data=known, calibration=model.calibration if calibration is None else calibration)


def _check_sizes(checkpoint: Checkpoint, config: Config, task: Task, inputs: Preprocessor, path: str) -> None:
    """Raise CheckpointError where the parts do not fit, or tell of more than is stored, before memory is taken."""
    if len(task.features) != inputs.columns:
        raise damaged(path, f"its task has {len(task.features)} input columns, its preprocessing {inputs.columns}")
    architecture = from_config.make_architecture(
        config, inputs.inputs, from_config.outputs(from_config.make_loss(config), task)
    )
    told, stored = parameter_count(architecture), sum(tensor.size for tensor in checkpoint.tensors.values())
    if told > stored:
        raise damaged(path, f"its config tells of {told:,} parameters, it holds {stored:,} numbers")


def make_backend(config: Config, world: World = ALONE) -> Backend:
    """The backend of a resolved config's device and kernels."""
    if config.device.startswith("cuda"):
        return open_cuda(config, world)
    threads = 1 if config.threads == "auto" else config.threads
    return native(config, threads) if config.kernels == "native" else numpy_backend()
