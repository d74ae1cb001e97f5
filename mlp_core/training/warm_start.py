"""A warm start: the weights of an earlier model to begin with, and what belongs to them: its preprocessing.

Weights mean something only for the inputs that they were trained on, so a new run keeps how these are made (ranges,
words, scaling of the target), and the rows alone are new. What does not fit is refused with the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.config.keys import said
from mlp_core.config.schema import differences
from mlp_core.data.task import Task
from mlp_core.errors import UsageError
from mlp_core.nn.network import Network
from mlp_core.training.checkpoint import Checkpoint, checkpoint_path, load
from mlp_core.training.model import Model, model_of

KEY = "model.weights"
NAMED = 4  # differences that are told


@dataclass(frozen=True)
class WarmStart:
    """An earlier model, and its checkpoint with the file that it was read from."""

    model: Model
    checkpoint: Checkpoint
    file: str

    @classmethod
    def of(cls, config: Config, own: Checkpoint | None = None) -> WarmStart | None:
        """What `model.weights` names; None where it names nothing.

        own: the checkpoint of a run that began so, and that goes on: it has all of it, and the file may be gone.
        Raises ConfigError where there is no such file, CheckpointError for one that cannot be used.
        """
        if config.model.weights is None:
            return None
        if own is not None:
            return cls(model_of(own, KEY, rows=1), own, KEY)
        try:
            file = checkpoint_path(config.resolve_path(config.model.weights))
        except UsageError as error:
            problem = error.problems[0]
            hint = "name a checkpoint or a run directory"
            given = config.model.weights
            raise config.refusal(KEY, problem.message, code=problem.code, hint=hint, got=given) from None
        checkpoint = load(file)
        return cls(model_of(checkpoint, str(file), rows=1), checkpoint, str(file))

    @property
    def note(self) -> str:
        """One line about where the weights are from."""
        progress = self.checkpoint.document.get("progress")
        epoch = progress.get("epoch") if isinstance(progress, dict) else None
        digest = str(self.checkpoint.document.get("sha256"))[:12]
        return f"weights: those of {self.file} (epoch {epoch}, SHA-256 {digest}), with its preprocessing"

    def check(self, config: Config, task: Task) -> None:
        """Raise ConfigError where columns, classes or preprocessing are not those of the earlier model."""
        theirs = self.model.task
        wrong = [*_tasks(theirs, task)]
        there, here = self.model.config.model.parametrization, config.model.parametrization
        if there != here:  # the same numbers mean another function
            wrong.append(f"model.parametrization is {there} there, {here} here")
        if not wrong:
            before, now = (one.preprocess.model_dump(mode="json") for one in (self.model.config, config))
            for key, (there, here) in list(differences(before, now).items())[:NAMED]:
                wrong.append(f"preprocess.{key} is {said(there)} there, {said(here)} here")
        self._refuse(config, wrong, "train on the same columns, or without model.weights")

    def fill(self, config: Config, network: Network) -> None:
        """Write the weights, and the statistics of norms, into a network. Raises ConfigError where shapes differ."""
        live = {**network.parameters.values, **network.statistics.values}
        stored = {name: array for name, array in self.checkpoint.tensors.items() if not name.startswith("optimizer.")}
        self._refuse(config, list(_shapes(stored, live)), "give model.hidden and its norms as they are there")
        for name, array in live.items():
            array[...] = network.backend.asarray(np.asarray(stored[name]).astype(array.dtype))

    def _refuse(self, config: Config, wrong: list[str], hint: str) -> None:
        if wrong:
            more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
            message = f"does not fit: {'; '.join(wrong[:NAMED])}{more}"
            raise config.refusal(KEY, message, code="does_not_fit", hint=hint, got=config.model.weights)


def _tasks(there: Task, here: Task) -> Iterator[str]:
    """How two tasks differ in what weights depend on."""
    if there.kind != here.kind:
        yield f"it is a {there.kind} task there, a {here.kind} task here"
        return
    for what, before, now in (
        ("input columns", there.features, here.features),
        ("classes", there.classes, here.classes),
        ("targets", there.targets if not there.classifies else (), here.targets if not here.classifies else ()),
    ):
        gone, new = ([name for name in a if name not in b] for a, b in ((before, now), (now, before)))
        if gone or new:
            parts = [
                f"{', '.join(names[:NAMED])} only {where}" for names, where in ((gone, "there"), (new, "here")) if names
            ]
            yield f"{what}: {', '.join(parts)}"
        elif before != now:
            yield f"{what} are in another order ({', '.join(before[:NAMED])}, ... there)"
    kinds = {name: pair for name, *pair in zip(here.features, there.input_kinds, here.input_kinds, strict=False)}
    for name, (before_kind, now_kind) in kinds.items() if there.features == here.features else ():
        if before_kind != now_kind:
            yield f"{name} is {before_kind} there, {now_kind} here"


def _shapes(stored: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[str]:
    """Tensors that one of two networks does not have, or has in another shape."""
    for name in {**live, **stored}:
        shapes = ["none" if name not in one else "×".join(map(str, one[name].shape)) for one in (stored, live)]
        if shapes[0] != shapes[1]:
            yield f"{name} is {shapes[0]} there, {shapes[1]} here"
