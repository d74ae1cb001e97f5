"""The functions that are mutated, each with its judges. Taken from the engine's tables, so none can be forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from inspect import unwrap
from types import FunctionType

from judges import (
    ON_KINKS,
    SPECIAL_LAYERS,
    Judge,
    equal_predictions_have_no_slope,
    general,
    gradient_judges,
    inputs_are_differentiated_when_asked_for,
    loss_of_blocks_is_that_of_the_whole,
    nothing_is_given_where_none_is_wanted,
    of_activation,
    of_layer,
    of_loss,
    passes_with_large_tables,
    penalties_count_what_they_say,
    slope_is_the_derivative,
    slope_on_a_kink_is_that_of_the_constant_piece,
    trajectory_judges,
)
from trajectories import muon_keeps_its_momentum_in_m, the_product_of_nadam_ends_at_zero

from mlp_core.nn import activations, layers, losses, objective, optimizer, optimizers
from mlp_core.nn import matrix_optimizers as matrix_rules
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.losses import LOSSES
from mlp_core.nn.network import Network
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.nn.objective import Objective, Penalty

FAMILIES = {
    "_moments": ("adam", "nadam", "radam", "amsgrad"),
    "nadam_rates": ("nadam",),
    "nadam_momentum": ("nadam",),
    "nadam_product": ("nadam",),
    "radam_rate": ("radam",),
}


@dataclass(frozen=True)
class Target:
    """A function and who judges its mutants, those first that find most; `apart` in a process of its own."""

    function: FunctionType
    judges: tuple[Judge, ...]
    apart: bool = False

    @property
    def name(self) -> str:
        return self.function.__qualname__


def targets() -> list[Target]:
    """Everything that a gradient or an update goes through."""
    models = tuple(gradient_judges(general()))
    return [*_of_activations(models), *_of_losses(models), *_of_layers(models), *_of_optimizers()]


def _own(kind: type, name: str) -> FunctionType | None:
    """A method that the class defines itself."""
    found = vars(kind).get(name)
    return found if isinstance(found, FunctionType) else None


def _of_activations(models: tuple[Judge, ...]) -> Iterator[Target]:
    for kind in activations.ACTIVATIONS.values():
        slope = _own(kind, "slope")
        if slope is not None:
            judges = [*gradient_judges(of_activation(kind)), partial(slope_is_the_derivative, kind)]
            if kind.__name__ in ON_KINKS:
                judges.append(partial(slope_on_a_kink_is_that_of_the_constant_piece, kind))
            yield Target(slope, tuple(judges))
    yield Target(activations.activation_gradient, models)


def _of_losses(models: tuple[Judge, ...]) -> Iterator[Target]:
    for kind in LOSSES.values():
        backward = _own(kind, "backward")
        assert backward is not None
        extra: tuple[Judge, ...] = (equal_predictions_have_no_slope,) if kind is losses.Quantile else ()
        yield Target(backward, (*gradient_judges(of_loss(kind)), *extra))
    yield Target(losses._sigmoid, tuple(gradient_judges(of_loss(losses.Bce))))
    yield Target(losses.loss_and_gradient, (*models, loss_of_blocks_is_that_of_the_whole))


def _of_layers(judges: tuple[Judge, ...]) -> Iterator[Target]:
    for kind in layers.Layer.__subclasses__():
        backward = _own(kind, "backward")
        assert backward is not None
        extra: tuple[Judge, ...] = (passes_with_large_tables,) if kind is Embedding else ()
        extra += (inputs_are_differentiated_when_asked_for,) if kind in (layers.Dense, Embedding) else ()
        if kind in (InputScale, NumericEmbedding):
            extra += tuple(
                partial(nothing_is_given_where_none_is_wanted, name) for name in SPECIAL_LAYERS[kind.__name__]
            )
        yield Target(backward, (*gradient_judges(of_layer(kind)), *judges, *extra))
    yield Target(Penalty._penalised, (*judges, penalties_count_what_they_say))
    for function in (
        *(Network.backward, Objective.value_and_gradient, Penalty.add_gradient),
        objective.Objective.value,
    ):
        assert isinstance(function, FunctionType)
        yield Target(function, judges)


def _of_optimizers() -> Iterator[Target]:
    done: set[FunctionType] = set()
    for name, kind in optimizers.OPTIMIZERS.items():
        if kind.rule not in done and name not in ("muon", "lbfgs"):
            done.add(kind.rule)
            yield Target(unwrap(kind.rule), tuple(trajectory_judges([name])))
    for helper, names in FAMILIES.items():
        extra = (the_product_of_nadam_ends_at_zero,) if helper == "nadam_product" else ()
        yield Target(getattr(optimizers, helper), (*trajectory_judges(names), *extra))
    everyone = tuple(trajectory_judges(["adam", "sgd"]))
    yield Target(optimizer.in_blocks, everyone)
    yield Target(optimizer.Optimizer.step, everyone)
    for function in (optimizers.Muon.__init__, optimizers.Muon.step, matrix_rules.muon, matrix_rules.newton_schulz):
        assert isinstance(function, FunctionType)
        yield Target(function, (*trajectory_judges(["muon"]), muon_keeps_its_momentum_in_m))
    for function in (matrix_rules.Lbfgs.step, matrix_rules.Lbfgs._remember, matrix_rules.two_loop):
        yield Target(function, tuple(trajectory_judges(["lbfgs"])))
