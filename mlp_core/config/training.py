"""The sections about how the weights are learned: optimizer, schedule, train."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Tag

from mlp_core.config.section import LIST, MAPPING, OR_LIST, OR_MAPPING, SCALAR, Complaint, Section, key
from mlp_core.config.text_kinds import Duration, Text, Word, seconds
from mlp_core.config.value_kinds import Bool, Float, Int

OPTIMIZERS = (
    *("sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam", "radam"),
    *("amsgrad", "lion", "muon", "lbfgs"),
)
SCHEDULES = (
    *("constant", "linear", "cosine", "cosine_restarts", "step", "multistep", "exponential", "polynomial"),
    *("inverse_sqrt", "one_cycle", "plateau", "wsd", "coslog"),
)
FADES = ("constant", "flat_cos")
MOST_WAVES = 30
MOST_SHARDS = 1 << 16
_AVERAGED = tuple(f"{name}_{way}" for way in ("macro", "micro", "weighted") for name in ("precision", "recall", "f1"))
METRICS = (
    *("loss", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "mcc", *_AVERAGED, "roc_auc", "pr_auc"),
    *("log_loss", "brier", "ece", "subset_accuracy", "hamming"),
    *("rmse", "mae", "medae", "r2", "explained_variance", "mape", "mse", "pinball"),
)
NUMBERED = r"(?:top_k\([1-9][0-9]{0,5}\)|pinball\(0\.[0-9]{1,6}\))"
_ELSEWHERE = "auc:roc_auc auroc:roc_auc auprc:pr_auc average_precision:pr_auc acc:accuracy f1_score:f1 r2_score:r2 "
_ELSEWHERE += "macro_f1:f1_macro micro_f1:f1_micro cross_entropy:log_loss hamming_loss:hamming top_k:top_k(5) "
_ELSEWHERE += "exact_match:subset_accuracy matthews_corrcoef:mcc median_absolute_error:medae"
SYNONYMS = tuple((other, ours) for other, _, ours in (pair.partition(":") for pair in _ELSEWHERE.split()))
MONITORS = ("train_loss", *(f"val_{metric}" for metric in METRICS))
MODES = ("auto", "min", "max")
Monitor = Annotated[str, Word(words=MONITORS, pattern=f"val_{NUMBERED}")]


class Group(Section):
    """Settings for the parameters whose names match."""

    match: Annotated[str, Text(example='"layers.0.*"')] = key(..., "pattern of parameter names; * stands for anything")
    lr_scale: Annotated[float, Float(ge=0, example="0.1")] = key(1.0, "the learning rate is multiplied by this")
    weight_decay: Annotated[float | None, Float(ge=0, null=True, example="0")] = key(
        None, "as optimizer.weight_decay; null: that value"
    )
    freeze: Annotated[bool, Bool()] = key(False, "leave these parameters as they are")


_FACTOR = Float(ge=0, example="0.1")


class LrFactors(Section):
    """What the learning rate of one kind of parameters is multiplied by."""

    bias: Annotated[float, _FACTOR] = key(1.0, "biases of the layers")
    numeric_embedding: Annotated[float, _FACTOR] = key(1.0, "everything in model.numeric_embedding")
    input_scale: Annotated[float, _FACTOR] = key(1.0, "the factors of model.input_scale")
    alpha: Annotated[float, _FACTOR] = key(1.0, "the shares of model.parametric")


Betas = Annotated[
    Annotated[Literal["auto"], Word(words=("auto",), example="a list such as [0.9, 0.999]"), Tag(SCALAR)]
    | Annotated[tuple[Annotated[float, Float(ge=0, lt=1, example="0.9")], ...], Tag(LIST)],
    OR_LIST,
]


class Optimizer(Section):
    """How a gradient becomes a step."""

    name: Annotated[str, Word(words=OPTIMIZERS)] = key("adam", "update rule")
    lr: Annotated[float | Literal["auto"], Float(gt=0, words=("auto",), example="1e-3")] = key(
        "auto", "learning rate; auto: the usual one of the optimizer"
    )
    momentum: Annotated[float | Literal["auto"], Float(ge=0, lt=1, words=("auto",), example="0.9")] = key(
        "auto", "share of the last step kept in the next; auto: 0.9, muon 0.95"
    )
    betas: Betas = key(
        "auto", "decay of the first and second moment in the adam family and lion; auto: [0.9, 0.999], lion [0.9, 0.99]"
    )
    eps: Annotated[float | Literal["auto"], Float(gt=0, words=("auto",), example="1e-8")] = key(
        "auto", "added to the root of the second moment; auto: 1e-8, adagrad 1e-10, adadelta 1e-6"
    )
    rho: Annotated[float | Literal["auto"], Float(ge=0, lt=1, words=("auto",), example="0.9")] = key(
        "auto", "decay of the squares in rmsprop and adadelta; auto: 0.99, adadelta 0.9"
    )
    weight_decay: Annotated[float, Float(ge=0, example="0.01")] = key(
        0.0, "weights (not biases) shrink by the learning rate times this in each step, apart from the gradient"
    )
    clip_norm: Annotated[float | None, Float(gt=0, null=True, example="1.0")] = key(
        None, "longest gradient, all parameters together; null: no limit"
    )
    clip_value: Annotated[float | None, Float(gt=0, null=True, example="0.5")] = key(
        None, "largest entry of a gradient; null: no limit"
    )
    accumulate: Annotated[int, Int(ge=1, example="4")] = key(1, "batches whose gradients are averaged for one step")
    ema: Annotated[float | None, Float(gt=0, lt=1, null=True, example="0.999")] = key(
        None, "decay of the running average of weights that is used for evaluation; null: none"
    )
    lr_factors: LrFactors = key(LrFactors(), "factors of the learning rate, by kind of parameters")
    groups: tuple[Group, ...] = key((), "settings for parameters by name: {match, lr_scale, weight_decay, freeze}")

    def rules(self) -> Iterator[Complaint]:
        if self.betas != "auto" and len(self.betas) != 2:
            yield Complaint("betas", "expected two numbers in [0, 1)", "for example betas: [0.9, 0.999]", "wrong_type")


class Schedule(Section):
    """How the learning rate changes over a run."""

    name: Annotated[str, Word(words=SCHEDULES)] = key("constant", "which curve")
    warmup: Annotated[float, Float(ge=0, example="0.05")] = key(
        0.0, "the rate rises from 0 over this many epochs, below 1 over this share of the run"
    )
    final: Annotated[float, Float(ge=0, le=1, example="0.01")] = key(0.0, "share of the rate that is left at the end")
    step_size: Annotated[int, Int(ge=1, example="10")] = key(10, "epochs between two drops of step")
    milestones: tuple[Annotated[int, Int(ge=1, example="10")], ...] = key((), "epochs at which multistep drops")
    gamma: Annotated[float, Float(gt=0, le=1, example="0.1")] = key(
        0.1, "factor of each drop of step and multistep, and of exponential over the run"
    )
    power: Annotated[float, Float(gt=0, example="1.0")] = key(1.0, "exponent of polynomial")
    cycles: Annotated[int | Literal["auto"], Int(ge=1, words=("auto",), example="4")] = key(
        "auto", "number of periods of cosine_restarts and coslog; auto: 1, coslog 4"
    )
    patience: Annotated[int, Int(ge=0, example="5")] = key(5, "epochs without progress before plateau drops")
    factor: Annotated[float, Float(gt=0, lt=1, example="0.5")] = key(0.5, "factor of each drop of plateau")
    per: Annotated[str, Word(words=("step", "epoch"))] = key("step", "change the rate every step or every epoch")
    dropout: Annotated[str, Word(words=FADES)] = key(
        "constant", "flat_cos: dropout stays to half time, then falls to 0 by a cosine"
    )
    weight_decay: Annotated[str, Word(words=FADES)] = key(
        "constant", "flat_cos: optimizer.weight_decay stays to half time, then falls to 0 by a cosine"
    )

    def rules(self) -> Iterator[Complaint]:
        if any(later <= earlier for earlier, later in zip(self.milestones, self.milestones[1:], strict=False)):
            yield Complaint("milestones", "expected increasing epochs", "for example milestones: [10, 20]", show=False)
        if self.name == "coslog" and self.cycles != "auto" and self.cycles > MOST_WAVES:
            yield Complaint("cycles", f"coslog has at most {MOST_WAVES}, each twice as long as the last", "write 4")
        if self.name == "multistep" and not self.milestones:
            yield Complaint(
                "milestones", "multistep needs them", "for example milestones: [10, 20]", "missing", show=False
            )


class EarlyStopping(Section):
    """When to stop because nothing gets better."""

    monitor: Monitor = key("val_loss", "metric to watch")
    mode: Annotated[str, Word(words=MODES)] = key("auto", "whether smaller or larger is better; auto: by metric")
    patience: Annotated[int, Int(ge=1, example="20")] = key(20, "epochs without progress before the run stops")
    patience_factor: Annotated[float, Float(ge=0, example="3")] = key(
        0.0, "further patience for every epoch until the best one: what learns late is given more time"
    )
    ties: Annotated[str, Word(words=("first", "last"))] = key("first", "last: to be as good as the best is progress")
    min_delta: Annotated[float, Float(ge=0, example="1e-4")] = key(0.0, "smallest change that counts as progress")
    min_epochs: Annotated[int, Int(ge=0, example="10")] = key(0, "never stop before this many epochs")


_Never = Annotated[Literal[False], Bool(only=False, example="{patience: 20}"), Tag(SCALAR)]
Stopping = Annotated[_Never | Annotated[EarlyStopping, Tag(MAPPING)], OR_MAPPING]


class Train(Section):
    """How long and in which portions."""

    epochs: Annotated[int, Int(ge=1, example="20")] = key(100, "passes over the training rows")
    max_steps: Annotated[int | None, Int(ge=1, null=True, example="1000")] = key(
        None, "stop after this many steps; null: no limit"
    )
    max_time: Annotated[str | None, Duration(null=True, example="2h30m")] = key(
        None, "stop after this time, such as 2h30m; null: no limit"
    )
    batch_size: Annotated[int | Literal["full", "auto"], Int(ge=1, words=("auto", "full"), example="64")] = key(
        "auto", "rows per step; full: all; auto: 32 below 10,000 rows, 256 below 1,000,000, else 1024"
    )
    eval_batch_size: Annotated[int, Int(ge=1, example="4096")] = key(4096, "rows per batch in evaluation")
    shuffle: Annotated[bool, Bool()] = key(True, "a new order of the rows in every epoch")
    shards: Annotated[int | Literal["auto"], Int(ge=1, le=MOST_SHARDS, words=("auto",), example="8")] = key(
        "auto",
        "parts, a power of two, into which each batch is cut; the gradient is their sum, in an order of theirs, so "
        "that any number of workers that divides them computes the same bits; auto: 8 with several workers, else 1",
    )
    drop_last: Annotated[bool, Bool()] = key(False, "leave out a last batch that is not full")
    eval_every: Annotated[int, Int(ge=1, example="1")] = key(1, "epochs between two evaluations")
    early_stopping: Stopping = key(
        EarlyStopping(),
        "stop when a metric no longer improves: {monitor, patience, patience_factor, ...}, or false",
    )
    on_nan: Annotated[str, Word(words=("stop",))] = key("stop", "what happens when a number stops being finite")
    preflight: Annotated[str, Word(words=("off", "quick", "full"))] = key(
        "quick", "gradient check before the first step"
    )

    def rules(self) -> Iterator[Complaint]:
        if self.shards != "auto" and self.shards & (self.shards - 1):
            yield Complaint("shards", "expected a power of two", "write 1, 2, 4, 8, 16, ...", "out_of_range")

    @property
    def max_seconds(self) -> int | None:
        """`max_time` in seconds, None without a limit."""
        return None if self.max_time is None else seconds(self.max_time)
