"""Who finds a mutant: the gradient check on small models, or an independent trajectory."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from trajectories import SCENARIOS, agrees

from mlp_core.gradcheck import check
from mlp_core.gradcheck.cases import CLASSES, LossCase, Specimen, loss_cases, specimen
from mlp_core.gradcheck.self_test import model
from mlp_core.nn.activations import ACTIVATIONS, Activation
from mlp_core.nn.backend import Backend
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.layers import Layer, Pass
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import CrossEntropy, Focal, Quantile
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.objective import Objective, Penalty

SECONDS = 5
"""Of processor time: a mutant of which a judge takes longer has become an endless loop."""
Make = Callable[[], Specimen]
Judge = Callable[[], bool]
PLAIN = LossCase("cross_entropy", CrossEntropy())
GENERAL = (
    *("plain", "weighted", "penalties", "residual", "dropout", "prelu", "prelu at zero"),
    *("batch", "batch, evaluating", "layer", "rms", "square", "float32", "gelu"),
)


class TooLong(Exception):
    """A mutant ran for too long."""


def finder(judges: Sequence[Judge]) -> str:
    """The judge that finds the engine wrong, or in which an exception does; empty where nobody does."""
    for judge in judges:
        with np.errstate(all="ignore"):
            try:
                with _limited(SECONDS):
                    right = judge()
            except Exception as error:
                return f"{type(error).__name__} in {named(judge)}"
        if not right:
            return named(judge)
    return ""


def named(judge: Judge) -> str:
    """What a judge is called in a table."""
    if isinstance(judge, partial):
        return " ".join([judge.func.__name__, *(arg for arg in judge.args if isinstance(arg, str))])
    return str(getattr(judge, "__name__", judge))


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Where the system can: Windows has no such timer."""
    if sys.platform == "win32":
        yield
        return

    def stop(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def passes(make: Make, probes: Sequence[str] = ("init", "wild")) -> bool:
    """Whether the gradient check passes on a specimen made anew."""
    one = make()
    return check(one.objective, one.X, one.Y, one.w, mode=one.mode, probes=probes, method="full", opinion=False).passed


def gradient_judges(makes: Sequence[Make]) -> list[Judge]:
    """One check for each specimen; those on a kink stay where they are."""
    return [partial(passes, make, ("init",) if getattr(make, "still", False) else ("init", "wild")) for make in makes]


def trajectory_judges(names: Sequence[str]) -> list[Judge]:
    """The optimizers by name, each in every scenario."""
    return [partial(agrees, name, scenario) for name in names for scenario in SCENARIOS]


def still(make: Make) -> Make:
    """A specimen that is examined only where it stands."""
    make.still = True  # type: ignore[attr-defined]
    return make


def general() -> list[Make]:
    """Models with every kind of layer, with and without bias, in blocks, with tables of words."""
    makes: list[Make] = [partial(model, name) for name in GENERAL]
    makes += [in_blocks, squares_alone, no_bias, evaluating, words, words_alone, deep, tangent]
    return makes


def equal_predictions_have_no_slope() -> bool:
    """A quantile that is met exactly, where its loss has a kink."""
    loss, Z = Quantile((0.3, 0.6)), np.array([[1.0, 1.0], [-2.0, -2.0]])
    return not loss.backward(np, Z[:, :1], loss.forward(np, Z, Z[:, :1])[1]).any()


def tangent() -> Specimen:
    """Products divided by the root of their inputs."""
    blocks = (Block(5, ACTIVATIONS["tanh"](), norm="layer"), Block(4, ACTIVATIONS["silu"]()))
    return specimen(Architecture(3, CLASSES, blocks, ntk=True), PLAIN, 6, weighted=True)


def of_activation(kind: type[Activation]) -> list[Make]:
    """A model with this activation, and one whose units stand on every kink that an activation has."""
    f = kind(alpha=0.7) if hasattr(kind, "alpha") else kind()
    return [partial(model, kind.name), still(lambda: on_kinks(f)), lambda: weights_on(f), lambda: behind_a_norm(f)]


def behind_a_norm(f: Activation) -> Specimen:
    """Pre-activations that are kept beside the activations."""
    return specimen(Architecture(3, CLASSES, (Block(6, f, norm="layer"),)), PLAIN, 5, spread=2.0)


def slope_is_the_derivative(kind: type[Activation]) -> bool:
    """The derivative at many points by the complex step, without a network around it."""
    f = kind()
    z = np.linspace(-5, 5, 41) + 0.01
    step = f.forward(np, z + 1e-200j).imag / 1e-200
    return np.allclose(f.slope(np, z, f.forward(np, z)), step, rtol=1e-10, atol=1e-12)


ON_KINKS = {"HardSigmoid": ((-3.0, 0.0), (3.0, 0.0)), "HardSwish": ((-3.0, 0.0), (3.0, 1.0))}
"""z on a kink and the slope there: that of the constant piece. The gradient check goes out of the way of kinks."""


def slope_on_a_kink_is_that_of_the_constant_piece(kind: type[Activation]) -> bool:
    z, slopes = np.array(ON_KINKS[kind.__name__]).T
    return np.array_equal(kind().slope(np, z, kind().forward(np, z)), slopes)


def inputs_are_differentiated_when_asked_for() -> bool:
    """A layer gives the derivative to its inputs in memory of its own, and none where that is not wanted."""
    for make in (partial(model, "plain"), words):
        one = make()
        layer = one.objective.network.layers[0]
        Delta = np.ones_like(layer.forward(one.X, one.mode))
        if layer.backward(Delta.copy(), False) is not None:
            return False
        if not np.shares_memory(layer.backward(Delta.copy(), True), layer._dX):
            return False
    return True


def nothing_is_given_where_none_is_wanted(name: str) -> bool:
    """The first layer of a model gives no derivative to its inputs unless it is asked for one."""
    one = model(name)
    layer = one.objective.network.layers[0]
    Delta = np.ones_like(layer.forward(one.X, one.mode))
    return layer.backward(Delta.copy(), False) is None and layer.backward(Delta.copy(), True) is not None


def penalties_count_what_they_say() -> bool:
    """Weight matrices, or all parameters, in the value of the penalty."""
    network = model("plain").objective.network
    theta, W = network.parameters.theta, network.parameters.theta[network.parameters.weights]
    pairs = (Penalty(0.2).value(network), 0.1 * W @ W), (Penalty(0.2, bias=True).value(network), 0.1 * theta @ theta)
    return all(np.isclose(value, expected, rtol=1e-12) for value, expected in pairs)


def of_loss(kind: type[Loss]) -> list[Make]:
    """Every case of a loss, with and without row weights, and where its parts meet."""
    cases = [case for case in loss_cases() if isinstance(case.loss, kind)]
    cases += [LossCase("two classes", kind(), outputs=2)] if kind is Focal else []
    makes: list[Make] = []
    for case in cases:
        makes += [lambda case=case: _of_case(case), lambda case=case: _of_case(case, weighted=True)]
        makes += [still(lambda case=case: at_targets(case))]
    return makes


def _of_case(case: LossCase, weighted: bool = False) -> Specimen:
    blocks = (Block(6, ACTIVATIONS["tanh"]()),)
    return specimen(Architecture(3, case.outputs, blocks), case, 5, weighted=weighted)


def at_targets(case: LossCase) -> Specimen:
    """Logits of which some are the targets and some 1 beside them: output weights 0, biases 0 and 1."""
    one = _of_case(case)
    network = one.objective.network
    output = network._dense_layers()[-1]
    output.W[...] = 0
    output.b[...] = np.arange(len(output.b)) % 2
    if case.loss.classifies or case.loss.name == "poisson":
        return one
    Y = np.arange(one.Y.size, dtype=float).reshape(one.Y.shape) % 3 - 1
    return replace(one, Y=Y)


def on_kinks(f: Activation) -> Specimen:
    """Pre-activations that are whole numbers from -6 to 6, so that every kink of every activation is stood on."""
    one = specimen(Architecture(1, CLASSES, (Block(3, f, bias=False),)), PLAIN, 13)
    one.objective.network.layers[0].W[...] = [[1.0], [-1.0], [0.5]]
    one.X[:, 0] = np.arange(-6, 7)
    return one


def weights_on(f: Activation) -> Specimen:
    """Pre-activations within a few units of 0, with a mean far from it."""
    return specimen(Architecture(3, CLASSES, (Block(7, f), Block(3, f))), PLAIN, 6, spread=2.0, weighted=True)


def in_blocks() -> Specimen:
    """Elementwise work in blocks of a few entries."""
    base = model("penalties")
    return with_backend(base, Backend("numpy", np, block=8), Penalty(0.1, 0.05, bias=True))


def loss_of_blocks_is_that_of_the_whole() -> bool:
    """A loss summed block by block."""
    one = model("weighted")
    small = with_backend(one, Backend("numpy", np, block=8), Penalty())
    values = [float(case.objective.value_and_gradient(one.X, one.Y, one.w, one.mode)[0]) for case in (one, small)]
    return math.isclose(*values, rel_tol=1e-13)


def squares_alone() -> Specimen:
    """A penalty of squares and none of absolute values."""
    return replace(
        base := model("plain"), objective=Objective(base.objective.network, base.objective.loss, Penalty(0.1))
    )


def with_backend(base: Specimen, backend: Backend, penalty: Penalty) -> Specimen:
    source = base.objective.network
    network = Network(source.architecture, backend, np.float64, len(base.X))
    network.parameters.theta[:] = source.parameters.theta
    return replace(base, objective=Objective(network, base.objective.loss, penalty))


def no_bias() -> Specimen:
    """Layers without bias, one of them without an activation of its own."""
    blocks = tuple(
        Block(units, ACTIVATIONS["gelu"](), bias=False, norm=norm) for units, norm in ((6, "none"), (2, "rms"))
    )
    return specimen(Architecture(3, CLASSES, blocks), PLAIN, 5, penalty=Penalty(l1=0.05), weighted=True)


def evaluating() -> Specimen:
    """Dropout that is switched off, a norm after the activation, weights that are 0."""
    blocks = tuple(Block(4, ACTIVATIONS["silu"](), norm="batch", norm_first=False, dropout=0.5) for _ in range(2))
    one = specimen(Architecture(3, CLASSES, blocks), PLAIN, 5, mode=Pass(training=False), penalty=Penalty(l1=0.05))
    one.objective.network.layers[0].W[0] = 0
    return one


SPECIAL_LAYERS = {
    "InputScale": ("factors",),
    "NumericEmbedding": ("waves",),
    "Parametric": ("parametric",),
}
"""Layers that no general model has, and the models that have them."""


def of_layer(kind: type[Layer]) -> list[Make]:
    """Models with a layer that is not in every network."""
    return [partial(model, name) for name in SPECIAL_LAYERS.get(kind.__name__, ())]


def deep() -> Specimen:
    """Skip connections around two layers of several parts, with dropout on the inputs."""
    blocks = tuple(
        Block(5, ACTIVATIONS["mish"](), norm="layer", dropout=0.3, residual=True, norm_first=first)
        for first in (True, False, True)
    )
    return specimen(Architecture(5, CLASSES, blocks, input_dropout=0.2), PLAIN, 6, weighted=True)


def words(numbers: int = 2) -> Specimen:
    """Columns of numbers, and two of words, each word of which has numbers of its own."""
    tables = ((4, 2), (6, 3))
    architecture = Architecture(numbers + 2, CLASSES, (Block(5, ACTIVATIONS["tanh"]()),), embeddings=tables)
    one = specimen(architecture, PLAIN, 7)
    rng = np.random.default_rng(4)
    for k, (count, _) in enumerate(tables):
        one.X[:, numbers + k] = rng.integers(0, count - 1, len(one.X))
    return one


def words_alone() -> Specimen:
    """No numbers beside the words."""
    return words(0)


def passes_with_large_tables() -> bool:
    """`words`, with one of the tables too large for a product with zeros and ones."""
    before = Embedding.MATRIX_WORDS
    Embedding.MATRIX_WORDS = 4
    try:
        return passes(words)
    finally:
        Embedding.MATRIX_WORDS = before
