"""What a step passes outside the engine's tables: trainer, schedules, stages of a step, shards.

Their mutants are judged by the proof of training, on configs that go that way."""

from __future__ import annotations

from types import FunctionType

from judges import Judge
from proved import proofs
from targets import Target
from trainer_judges import TRAINER_JUDGES, stages_are_those_asked_for

from mlp_core.nn import primitives
from mlp_core.nn.lockstep import Lockstep
from mlp_core.nn.schedules import Fade, Schedule
from mlp_core.nn.step_options import average_share, stages
from mlp_core.training.sharded import ShardedSteps, StagedShards
from mlp_core.training.steps import StageSteps
from mlp_core.training.trainer import Stopping, Trainer, Watch
from mlp_core.workers.tree import add_pairs

LOOP = (
    *("warm-up", "stop late", "plateau", "eval_every", "few steps", "weights", "stop seldom", "accuracy"),
    *("stop not before", "drops alone", "ties"),
)
STEP = (
    *("accumulate, numpy", "clip, numpy", "average, numpy", "max norm, numpy", "dropout, numpy", "weights, numpy"),
    *("accumulate, noise, numpy", "strong, numpy", "clip norm, numpy", "long clip norm, numpy", "clip value, numpy"),
)
SHARDS = (
    *("shards, residual, numpy", "shards, batch norm", "shards, sums", "shards, dropout", "shards, average"),
    *("shards, sums, numpy", "shards, mixup, numpy", "shards, mixup, weights"),
)
RATES = (
    *("warm-up", "per epoch", "linear", "step", "multistep", "exponential", "polynomial", "restarts"),
    *("inverse_sqrt", "one cycle", "wsd", "strong", "constant", "polynomial, half", "inverse_sqrt, at once", "coslog"),
    *("one cycle of 1", "one cycle of 2", "one cycle of 3"),
)

METHODS: tuple[tuple[type, str, tuple[str, ...]], ...] = (
    (Trainer, "run _end _take _rate rates settle _read _epoch _compare", LOOP),
    (Stopping, "over", ("stop late", "stop early")),
    (Watch, "better", ("stop early", "accuracy", "ties", "drops alone", "plateau", "numbers")),
    (StageSteps, "take _gradient _evaluate _pass _clip _update _max_norm _average _accumulate _batch", STEP),
    (ShardedSteps, "_evaluate _total _total_loss _rows", SHARDS),
    (StagedShards, "gradient", SHARDS),
    (Lockstep, "forward backward _forward _backward _normalise _normalise_backward _sum", SHARDS),
    (Schedule, "rate _factor _one_cycle _above_final", RATES),
    (Fade, "share", ("strong", "warm-up")),
)
FUNCTIONS: tuple[tuple[FunctionType, tuple[str, ...]], ...] = (
    (add_pairs, SHARDS),
    (average_share, ("average, numpy",)),
    (primitives.follow, ("average, numpy",)),
    (primitives.clip_value, ("clip, numpy",)),
    (primitives.shorten_rows, ("max norm, numpy",)),
    (primitives.dropout_mask, ("dropout, numpy", "shards, residual, numpy")),
)


def training_targets() -> list[Target]:
    """Every function that a step passes but for those of the engine."""
    found = [
        Target(vars(owner)[name], proofs(cases, *_more(owner)), True)
        for owner, names, cases in METHODS
        for name in names.split()
    ]
    found += [Target(function, proofs(cases), True) for function, cases in FUNCTIONS]
    return [*found, Target(stages, (stages_are_those_asked_for, *proofs(STEP)), True)]


def _more(owner: type) -> tuple[Judge, ...]:
    """Judges of what is no number of a sound run."""
    return TRAINER_JUDGES if owner is Trainer else ()
