"""What there is before a network: a config with nothing left open, the data it names, what is done to its columns.

Of several workers one on each machine reads and fits; the others are told what it found, and have targets and weights
of rows in the memory that they share (inputs follow, once the network knows how it wants them: `Model.split`). Data
that stays on the disk is opened by every worker, and looked through by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.data.fingerprints import MOST_CELLS, Fingerprints, fingerprints
from mlp_core.data.fit_from_scan import fit_surveyed
from mlp_core.data.load import Data, Dataset, load
from mlp_core.data.preprocess.from_config import check_fits, lost_notes, make_preprocessor, make_target, unseen_notes
from mlp_core.data.preprocess.preprocessor import Preprocessor
from mlp_core.data.preprocess.scaling import Target, TooFar
from mlp_core.data.readers.format import Reading
from mlp_core.data.task import Task
from mlp_core.training import from_config
from mlp_core.training.auto import check_memory, resolve
from mlp_core.training.checkpoint import Checkpoint, damaged
from mlp_core.training.recipe import with_recipe
from mlp_core.training.warm_start import WarmStart
from mlp_core.workers.world import ALONE, World


@dataclass(frozen=True)
class Prepared:
    """A resolved config, its data, and its preprocessing as fitted.

    room: whether a device has room for the rows. notes: what was decided and found, one line each. prints:
    fingerprints of the training rows, where they were asked for.
    """

    config: Config
    data: Data
    inputs: Preprocessor
    target: Target | None
    room: bool = True
    notes: tuple[str, ...] = ()
    prints: Fingerprints | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        progress: Reading | None = None,
        own: Checkpoint | None = None,
        start: WarmStart | None = None,
        known: bool = False,
        world: World = ALONE,
    ) -> Prepared:
        """Read the data of a config and fit to it what its columns need; in one worker of every machine.

        own, known: as `Experiment.build` takes them. start: the model whose preprocessing is taken over. Raises
        ConfigError, DataError.
        """
        if world.size == 1:
            return _read(config, progress, own, start, known)
        mine: list[Prepared] = []

        def told() -> dict[str, Any]:
            mine.append(_read(config, progress, own, start, known and world.writes))
            return mine[0].to_state()

        state = world.shared(told)
        return mine[0] if mine else _told(config, state)

    @property
    def batch(self) -> int:
        """Rows of a batch."""
        return from_config.auto_batch_size(self.config.train.batch_size, self.data.splits["train"].rows)

    def to_state(self) -> dict[str, Any]:
        """What the other workers of this machine need: plain values, and the arrays of rows without their inputs."""
        return {
            "config": self.config.model_dump(mode="json"),
            "task": self.data.task.to_state(),
            "inputs": self.inputs.to_state(),
            "target": None if self.target is None else self.target.to_state(),
            "room": self.room,
            "sha256": self.data.sha256,
            "splits": _truths(self.data.splits),
        }


def _told(config: Config, state: Mapping[str, Any]) -> Prepared:
    """What another worker of this machine has read, from its state. Raises ConfigError where this one was to read other
    files, DataError for data on the disk that cannot be opened here."""
    mine = config.with_absolute_paths()
    config, task = mine.replace(**state["config"]), Task.from_state(state["task"])
    for name in ("train", "val", "test"):
        here, there = (getattr(one.data, name) for one in (mine, config))
        if here != there:
            message, hint = f"{there} is read for this machine, not {here}", "give all workers one config"
            raise config.refusal(f"data.{name}", message, code="workers_differ", hint=hint)
    if state["splits"] is None:
        data = replace(load(config, task=task, look=False), sha256=state["sha256"])
    else:
        data = Data(task, _without_inputs(state["splits"]), sha256=state["sha256"])
    target = None if state["target"] is None else Target.from_state(state["target"])
    return Prepared(config, data, Preprocessor.from_state(state["inputs"]), target, state["room"])


def shared_rows(world: World, read: Callable[[], dict[str, Dataset]]) -> dict[str, Dataset]:
    """The splits that `read` gives in one worker of every machine; the others have their targets and weights in memory
    that is shared, or read as well what stays on the disk."""
    mine: list[dict[str, Dataset]] = []

    def told() -> dict[str, Any] | None:
        mine.append(read())
        return _truths(mine[0])

    state = world.shared(told)
    return mine[0] if mine else read() if state is None else _without_inputs(state)


def _truths(splits: Mapping[str, Dataset]) -> dict[str, Any] | None:
    """Targets and weights of splits in memory; None where inputs are on the disk."""
    if any(part.on_disk for part in splits.values()):
        return None
    return {name: {"y": part.y, "weight": part.weight} for name, part in splits.items()}


def _without_inputs(state: Mapping[str, Any]) -> dict[str, Dataset]:
    return {name: Dataset(None, part["y"], part["weight"]) for name, part in state.items()}


def _read(
    config: Config, progress: Reading | None, own: Checkpoint | None, start: WarmStart | None, known: bool
) -> Prepared:
    task, learned = (None, None) if own is None else learned_before(own)
    data = load(config, progress, task)
    config, told = with_recipe(config, data)
    config, notes = resolve(config, data)
    train = data.splits["train"]
    prints = fingerprints(train.X, train.words) if known and _few(train.X) else None
    if start is None:
        inputs, target, fitted = _fit(config, data, learned)
    else:
        start.check(config, data.task)
        inputs, target, fitted = start.model.inputs, start.model.target, (start.note,)
    said = (*data.notes, *unseen_notes(inputs, data.splits), *told, *notes, *fitted)
    made = Prepared(config, data, inputs, target, notes=said, prints=prints)
    return replace(made, room=check_memory(config, data, inputs, made.batch))


def learned_before(checkpoint: Checkpoint) -> tuple[Task, Preprocessor]:
    """What a run that goes on knows of its data; raises CheckpointError where that cannot be used."""
    try:
        task = Task.from_state(checkpoint.document["task"])
        return task, Preprocessor.from_state(checkpoint.document["inputs"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged("the checkpoint", f"its description cannot be used ({error})") from None


def _few(X: Any) -> bool:
    """Whether rows are in memory, and not so many that it would take long to tell them apart."""
    return isinstance(X, np.ndarray) and X.size <= MOST_CELLS


def _fit(
    config: Config, data: Data, learned: Preprocessor | None
) -> tuple[Preprocessor, Target | None, tuple[str, ...]]:
    """What is done to inputs and targets, fitted to the training rows, and what is to be said about it. learned: what
    is done to inputs where that is known."""
    train, fitted = data.splits["train"], tuple[str, ...]()
    inputs = learned or make_preprocessor(config, data.task.features, data.task.input_kinds)
    if learned is None and train.survey is not None:
        fitted = fit_surveyed(inputs, train.survey, train.words)
    elif learned is None:
        try:
            inputs.fit(train.X, train.words)
        except TooFar as error:
            raise error.placed(data.indices.get("train")) from None
    check_fits(config, inputs)
    fitted += lost_notes(inputs)
    target = make_target(config, data.task.kind)
    if target is not None:
        target.fit(train.y)
    return inputs, target, fitted
