"""Deciding what a config leaves open: every `auto`, from the data and the machine."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from mlp_core.backends.cpu.crew import SHARED_FLOPS
from mlp_core.config import Config
from mlp_core.data.batches.inputs import smaller_as_stored
from mlp_core.data.load import Data
from mlp_core.data.preprocess.preprocessor import Preprocessor
from mlp_core.errors import clean, counted
from mlp_core.machine import asked_threads, available_cpus
from mlp_core.metrics import fitting, known
from mlp_core.metrics.calibration import misfit, wants_fit
from mlp_core.nn.losses import LOSSES
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.training import from_config
from mlp_core.training.devices import check_precision, decide_device, device_memory
from mlp_core.training.kernels import decide_kernels
from mlp_core.training.sharding import check_shards
from mlp_core.training.unused import OF_OPTIMIZERS, refuse_unused

CHANCE = 10
"""Validation rows below which it is said to be mostly chance which epoch is best by them."""


RARE = 50
"""Times as many rows as the smallest class has, from which on it is said to be rare."""


def resolve(config: Config, data: Data) -> tuple[Config, tuple[str, ...]]:
    """The config with every `auto` decided and data files as absolute paths, and one line for each decision."""
    task, values, notes = data.task, {}, []

    def decide(key: str, value: Any, note: str | None = None) -> None:
        values[key] = value
        if note:
            notes.append(note)

    decide("data.task", task.kind)
    decide("data.memory", data.memory, _memory_note(data))
    loss = config.loss.name
    if loss == "auto":
        loss = from_config.usual_loss(task.kind)
        decide("loss.name", loss, f"loss: {loss}")
        refuse_unused(config.replace(**{"loss.name": loss}))
    elif task.kind not in LOSSES[loss].tasks:
        those = ", ".join(name for name, one in LOSSES.items() if task.kind in one.tasks)
        message, hint = f"does not fit a {task.kind} task", f"use one of {those}"
        raise config.refusal("loss.name", message, code="wrong_loss", got=loss, hint=hint)
    if loss == "focal" and config.regularization.mixup:
        message = "focal needs one class per row, mixup makes two of them"
        raise config.refusal("regularization.mixup", message, code="wrong_loss", hint="remove one of them")
    decided, lines = _optimizer(config)
    values |= decided
    notes += lines
    if config.schedule.cycles == "auto":
        decide("schedule.cycles", 4 if config.schedule.name == "coslog" else 1)
    batch, line = _batch_size(config, data.splits["train"].rows)
    if config.train.batch_size == "auto":
        decide("train.batch_size", batch, line)
    if config.model.output_init == "auto":
        given = config.model.init
        plain = given if isinstance(given, str) else given.model_dump(mode="json")
        decide("model.output_init", "glorot_uniform" if given == "auto" else plain)
    if config.model.init == "auto":
        init = from_config.auto_init(config.model.activation)
        if all(from_config.auto_init(layer.activation) == init for layer in config.model.layers()):
            decide("model.init", init, None if config.model.weights else f"initial weights: {init}")
    shards = check_shards(config, batch)
    decide("train.shards", shards)
    widths = [len(task.features), *(layer.units for layer in config.model.layers()), task.outputs]
    device, note = decide_device(config, widths, batch, data.splits["train"].rows)
    if shards > 1 and config.device == "auto" and device != "cpu":
        device = "cuda"  # any number of workers, of which each has one, may go on with it
    decide("device", device, note)
    if about := check_precision(config, device):
        notes.append(about)
    kernels, note = decide_kernels(config, device)
    decide("kernels", kernels, note)
    if config.threads == "auto":
        threads, most = 1 if shards > 1 else auto_threads(config, data, batch, kernels), asked_threads()
        said = f", OMP_NUM_THREADS is {most}" if most is not None and threads > most else ""
        threads = threads if most is None else min(threads, most)
        decide("threads", threads, f"threads: {threads}{said}")
    elif config.threads > 1 and kernels == "numpy":
        notes.append("threads: 1, kernels: numpy takes no more")
    if config.loss.class_weight != "none":
        weights = _class_weights(config, data)
        told = ", ".join(f"{name} {weight:.4g}" for name, weight in list(weights.items())[:8])
        decide("loss.class_weight", weights, f"class weights: {told}{', ...' if len(weights) > 8 else ''}")
    if "val" in data.splits and data.splits["val"].rows < CHANCE:
        few = counted(data.splits["val"].rows, "validation row")
        taken = "" if config.checkpoint.best else ": the last one is taken"
        chance = f"note: by {few} it is mostly chance which epoch is best{taken}"
        notes.append(f"{chance}; mlpbp cv takes all rows for it in turn")
    if config.loss.class_weight == "none" and (rare := _rare(data)) is not None:
        notes.append(rare)
    if "val" not in data.splits:
        if config.train.early_stopping:
            decide("train.early_stopping", False, "early stopping: off, there are no validation rows")
        if config.checkpoint.monitor.startswith("val_"):
            decide("checkpoint.monitor", "train_loss")
    _check_metrics(config, data)
    if wrong := misfit(task.kind, config.eval.calibrate, config.eval.threshold):
        raise config.refusal(f"eval.{wrong[0]}", wrong[1], code="wrong_task", hint=wrong[2])
    if "val" not in data.splits and wants_fit(config.eval.calibrate, config.eval.threshold):
        notes.append("calibration and threshold: not fitted, there are no validation rows")
    return config.with_absolute_paths().replace(**values), tuple(notes)


def _memory_note(data: Data) -> str | None:
    """A line about inputs that stay on the disk."""
    X = data.splits["train"].X
    if not data.splits["train"].on_disk:
        return None
    size = X.file.count * X.stored_bytes / 2**20
    told = f"{size:,.1f} MiB" if size < 1024 else f"{size / 1024:,.1f} GiB"
    return f"memory: {told} of inputs stay on the disk; shuffled in chunks, and within groups of these"


def _optimizer(config: Config) -> tuple[dict[str, Any], list[str]]:
    """The optimizer's settings that are `auto`, and what is to be said about all of them."""
    values, name = config.optimizer, config.optimizer.name
    decided: dict[str, Any] = {}
    notes = []
    if values.lr == "auto":
        decided["optimizer.lr"] = from_config.auto_lr(name)
        notes.append(f"learning rate: {from_config.auto_lr(name):g} ({name})")
    said = []
    for key, usual in from_config.auto_settings(name).items():
        if getattr(values, key) == "auto":
            decided[f"optimizer.{key}"] = usual
            if name in OF_OPTIMIZERS[key]:
                said.append(f"{key} {usual if isinstance(usual, float) else list(usual)}")
    if said:
        notes.append(f"{name}: {', '.join(said)}")
    if name == "lbfgs":
        regular, model = config.regularization, config.model
        random = [("dropout", model.input_dropout or any(layer.dropout for layer in model.layers()))]
        random += [("input noise", regular.input_noise), ("mixup", regular.mixup)]
        drawn = [what for what, on in random if on]
        if drawn:
            notes.append(f"lbfgs: {' and '.join(drawn)} drawn anew in each step, which its curvature cannot tell apart")
    return decided, notes


def _batch_size(config: Config, rows: int) -> tuple[int, str]:
    """Rows per step, and a line that says so; lbfgs takes them all. Raises ConfigError."""
    choice = config.train.batch_size
    if config.optimizer.name != "lbfgs":
        batch = from_config.auto_batch_size(choice, rows)
        return batch, f"batch size: {batch}"
    if choice not in ("auto", "full") and int(choice) < rows:
        message, hint = "lbfgs needs the gradient of all rows", "write full, or choose another optimizer.name"
        raise config.refusal("train.batch_size", message, code="not_full", got=str(choice), hint=hint)
    return rows, f"batch size: {rows}, all rows (lbfgs)"


SHARE_FLOPS = SHARED_FLOPS * 4 / 3
"""Floating-point operations of the largest product for each thread that takes part: it must be worth their meeting,
also beside two busy processes, where a step that is shared out at its limit may take four times as long."""


LEAST_ROWS = 8
"""Rows of a batch for each thread: so many are multiplied at once."""


def auto_threads(config: Config, data: Data, batch: int, kernels: str) -> int:
    """Threads of the compiled kernels: one for every processor, as far as the largest product goes round, never by the
    machine's load. numpy takes one."""
    if kernels != "native":
        return 1
    widths = [len(data.task.features), *(layer.units for layer in config.model.layers()), data.task.outputs]
    largest = max(2 * batch * n * m for n, m in itertools.pairwise(widths))
    fitting = int(largest // SHARE_FLOPS)
    return max(1, min(available_cpus(), fitting, batch // LEAST_ROWS))


def _class_weights(config: Config, data: Data) -> dict[str, float]:
    """A weight for every class: `balanced` gives n / (classes * rows of the class), as scikit-learn does."""
    task, choice = data.task, config.loss.class_weight
    if not task.classifies:
        message = f"a {task.kind} task has no classes"
        raise config.refusal("loss.class_weight", message, code="no_classes", hint="remove it")
    if isinstance(choice, str):
        counts = np.bincount(data.splits["train"].y, minlength=len(task.classes))
        balanced = data.splits["train"].rows / (len(counts) * np.maximum(counts, 1))
        return {name: float(value) for name, value in zip(task.classes, balanced, strict=True)}
    for name in choice:
        if name not in task.classes:
            hint = "the classes are " + ", ".join(task.classes[:8])
            raise config.refusal("loss.class_weight", "no such class", code="unknown_class", got=name, hint=hint)
    return {name: float(choice.get(name, 1.0)) for name in task.classes}


def _rare(data: Data) -> str | None:
    """A line about a class of so few training rows that how many rows are right tells nothing about it."""
    train = data.splits["train"]
    if not data.task.classifies or train.on_disk:
        return None
    counts = np.bincount(train.y, minlength=len(data.task.classes))
    least, rows = int(counts.argmin()), train.rows
    if counts[least] * RARE >= rows or rows < RARE:
        return None
    told = f'class "{clean(data.task.classes[least], 40)}" has {counts[least]:,} of {rows:,} training rows'
    return f"note: {told}; accuracy tells little about it: metrics: [roc_auc], loss.class_weight: balanced"


def _check_metrics(config: Config, data: Data) -> None:
    chosen = [] if config.metrics == "auto" else [("metrics", name) for name in config.metrics]
    chosen += [(key, name.split("_", 1)[1]) for key, name in from_config.monitors(config).items()]
    for key, name in chosen:
        if not known(data.task.kind, name):
            message, hint = f"does not fit a {data.task.kind} task", "use loss, " + ", ".join(fitting(data.task.kind))
            raise config.refusal(key, message, code="wrong_metric", got=name, hint=hint)


def check_memory(config: Config, data: Data, inputs: Preprocessor, batch: int) -> bool:
    """Refuse a network that cannot fit before memory is taken for it; raises ConfigError naming the key to change.

    False where a device has room for the network but not for the rows, which then stay on the host.
    """
    architecture = from_config.make_architecture(
        config, inputs.inputs, max(1, len(data.task.classes)), numbers=inputs.numbers_first
    )
    itemsize = np.dtype(config.dtype).itemsize
    first, periodic = inputs.inputs + sum(dim for _, dim in inputs.embeddings), architecture.periodic
    waves, learned = (0, 0) if periodic is None else (periodic.frequencies, periodic.size - 1)
    waves, learned = waves * inputs.numbers_first, learned * inputs.numbers_first
    widths = [first + learned, *(block.units for block in architecture.hidden), architecture.outputs]
    slots = 2 + len(OPTIMIZERS[config.optimizer.name].slots)
    shards = 1 if config.train.shards == "auto" else int(config.train.shards)
    staged = config.kernels != "native" or any(block.norm == "batch" for block in architecture.hidden)
    # a gradient of each shard, or of each floor of their tree
    slots += shards - 1 if staged else shards.bit_length() - 1
    rows = max(batch, 0) * 3 + config.train.eval_batch_size
    parameters = sum(n * m + m for n, m in itertools.pairwise(widths))
    parameters += sum(words * dim for words, dim in inputs.embeddings)
    fused = config.device.startswith("cuda") and config.kernels != "numpy"
    held = 0
    for split in data.splits.values():
        if split.survey is None:
            stored = (fused or config.kernels == "native") and smaller_as_stored(split.X, inputs, config.dtype)
            there = 0 if not fused else split.X.dtype.itemsize  # on the host they are in memory already
            held += first * split.rows * (there if stored else itemsize)
    needed = itemsize * (parameters * slots + rows * (sum(widths) + 3 * waves))
    free = device_memory(config)
    if fused and free is not None and needed <= free < needed + held:
        return False
    needed += held
    if free is not None and needed > free:
        message = f"this network needs about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        hint = "use fewer units, or a smaller train.batch_size"
        raise config.refusal("model.hidden", message, code="too_large", hint=hint)
    return True
