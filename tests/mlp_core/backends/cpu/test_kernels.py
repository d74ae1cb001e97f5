"""Compiled kernels: equal to the generic primitives, on every primitive, dtype, shape and layout."""

from __future__ import annotations

import math

import numpy as np
import pytest
from compiled_kernels import LIBRARIES, every_library, needs_kernels

from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.steps import native_backend
from mlp_core.backends.job import Job
from mlp_core.data.batches.batches import Batches, gather
from mlp_core.data.preprocess.scaling import gather_scaled
from mlp_core.nn import optimizers
from mlp_core.nn.activations import ACTIVATIONS, Activation, Elu, LeakyRelu, activation_gradient, bias_activation
from mlp_core.nn.backend import Backend, numpy_backend
from mlp_core.nn.layers import Pass
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import LOSSES, Bce, CrossEntropy, loss_and_gradient
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.numeric_embedding import NumericEmbedding, Periodic
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.nn.optimizer import Segment
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.nn.parameters import Parameters, Spec
from mlp_core.nn.primitives import dropout_mask
from mlp_core.nn.schedules import Schedule
from mlp_core.nn.step_options import Limits
from mlp_core.training.steps import make_steps
from mlp_core.training.trainer import Trainer

pytestmark = needs_kernels
GENERIC = numpy_backend()
FUSED = native_backend() if LIBRARIES else GENERIC
KERNELS = sorted(FUSED.kernels.keys() - {"product"})
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
DTYPES = list(TOLERANCE)
SHAPES = [(1, 1), (3, 5), (32, 64), (7, 257)]
LAYOUTS = ["whole", "head", "every other row", "part of the columns", "transposed"]
SETTINGS = {"mu": 0.9, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "rho": 0.9}
EDGES = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-30, 80.0, -80.0)


def array(shape: tuple[int, ...], dtype: type, seed: int = 0, layout: str = "whole") -> np.ndarray:
    """Normal numbers in a view of the named layout."""
    rows, columns = shape[0], shape[-1]
    drawn = np.random.default_rng(seed).standard_normal((2 * rows + 3, 2 * columns + 3)).astype(dtype)
    views = {
        "whole": np.ascontiguousarray(drawn[:rows, :columns]),
        "head": np.ascontiguousarray(drawn[:, :columns])[:rows],
        "every other row": drawn[: 2 * rows : 2, :columns],
        "part of the columns": drawn[:rows, 1 : columns + 1],
        "transposed": np.ascontiguousarray(drawn[:rows, :columns].T).T,
    }
    return views[layout] if len(shape) == 2 else views["whole"][0]


def assert_close(actual, expected, dtype):
    """Within the dtype's tolerance of the largest entry, and of the same dtype."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    size = float(np.abs(expected).max(initial=0))
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * size)


every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
FUNCTIONS: list[Activation] = [kind() for kind in ACTIVATIONS.values()] + [LeakyRelu(0.3), Elu(0.7)]
every_function = pytest.mark.parametrize("f", FUNCTIONS, ids=repr)


def activated(backend: Backend, f: Activation, shape, dtype, layout="whole", bias=True, in_place=None):
    Z, b = array(shape, dtype, 1, layout), array(shape[1:], dtype, 2)
    A = Z if (f.from_output if in_place is None else in_place) else np.empty_like(Z)
    backend.primitive(bias_activation)(Z, b if bias else None, f, A)
    return Z, A


def differentiated(backend: Backend, f: Activation, shape, dtype, layout="whole", bias=True):
    Z, A = activated(GENERIC, f, shape, dtype, layout)
    Delta, db = array(shape, dtype, 3, layout), np.full(shape[1:], 7, dtype)
    backend.primitive(activation_gradient)(Delta, f, Z, A, db if bias else None)
    return Delta, db


@every_dtype
@every_shape
@every_function
def test_bias_and_activation(f, shape, dtype):
    for actual, expected in zip(activated(FUSED, f, shape, dtype), activated(GENERIC, f, shape, dtype), strict=True):
        assert_close(actual, expected, dtype)


@every_dtype
@every_shape
@every_function
def test_gradient_of_activation_and_bias(f, shape, dtype):
    fused, generic = (differentiated(backend, f, shape, dtype) for backend in (FUSED, GENERIC))
    for actual, expected in zip(fused, generic, strict=True):
        assert_close(actual, expected, dtype)


@every_dtype
@every_function
def test_functions_to_their_last_digits(f, dtype):
    """Near zero, where series end and logarithms of almost 1 are taken, and as far as anything still changes."""
    Z = np.concatenate([np.linspace(-4, 4, 2001), np.linspace(-40, 40, 401), [0.0]]).astype(dtype)[:, None]
    fused, generic = Z.copy(), Z.copy()
    for backend, A in ((FUSED, fused), (GENERIC, generic)):
        backend.primitive(bias_activation)(A if f.from_output else Z.copy(), None, f, A)
    limit = 64 * np.finfo(dtype).eps
    np.testing.assert_allclose(fused, generic, rtol=limit, atol=limit)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("f", [ACTIVATIONS["relu"](), ACTIVATIONS["tanh"](), ACTIVATIONS["identity"]()], ids=repr)
def test_layouts_of_activations(f, bias, layout):
    shape, dtype = (6, 9), np.float64
    for run in (activated, differentiated):
        fused, generic = (run(backend, f, shape, dtype, layout, bias) for backend in (FUSED, GENERIC))
        for actual, expected in zip(fused, generic, strict=True):
            assert_close(actual, expected, dtype)


@every_dtype
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "tanh", "sigmoid", "identity"])
def test_numbers_that_are_none_come_through_as_in_numpy(name, dtype):
    f, results = ACTIVATIONS[name](), []
    for backend in (FUSED, GENERIC):
        Z, b = np.array([EDGES], dtype), np.zeros(len(EDGES), dtype)
        with np.errstate(all="ignore"):
            backend.primitive(bias_activation)(Z, b, f, Z)
            Delta = np.array([EDGES[::-1]], dtype)
            backend.primitive(activation_gradient)(Delta, f, Z, Z, b)
        results.append((Z, Delta, b))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("kind", [np.complex128, np.longdouble])
def test_other_numbers_are_left_to_the_generic_primitive(kind):
    Z = np.array([[1.0, -1.0]]).astype(kind) + (1e-200j if kind is np.complex128 else 0)
    expected = np.maximum(Z.real, 0) + (1j * np.array([[1e-200, 0]]) if kind is np.complex128 else 0)
    FUSED.primitive(bias_activation)(Z, np.zeros(2, kind), ACTIVATIONS["relu"](), Z)
    np.testing.assert_array_equal(Z, expected)


def loss_case(loss: Loss, shape, dtype, kind: str):
    """Logits, targets of a kind the loss takes, and weights."""
    rng, (rows, columns) = np.random.default_rng(5), shape
    Z = (3 * rng.standard_normal(shape)).astype(dtype)
    if loss.name == "gaussian_nll":
        Z = np.concatenate([Z, Z[:, ::-1] / 9], axis=1)
    Y = rng.standard_normal(shape).astype(dtype)
    if loss.name == "cross_entropy":
        Y = rng.integers(0, columns, rows) if kind == "classes" else rng.dirichlet(np.ones(columns), rows).astype(dtype)
    elif loss.name == "focal":
        Y = rng.integers(0, max(2, columns), rows)
    elif loss.name in ("bce", "poisson"):
        Y = rng.integers(0, 2, shape).astype(dtype)
    elif loss.name == "quadratic":
        Y = rng.integers(0, columns, rows) if columns > 1 else rng.integers(0, 2, (rows, 1)).astype(dtype)
    return Z, Y, (rng.random(rows) + 0.1).astype(dtype)


LOSS_CASES = [(kind(), "classes") for kind in LOSSES.values()]
LOSS_CASES += [(CrossEntropy(0.1), "classes"), (CrossEntropy(0.1), "soft"), (Bce(pos_weight=2.5), "")]


@every_dtype
@every_shape
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "equal"])
@pytest.mark.parametrize(("loss", "kind"), LOSS_CASES, ids=lambda value: repr(value))
def test_loss_and_gradient(loss, kind, weighted, shape, dtype):
    Z, Y, w = loss_case(loss, shape, dtype, kind)
    results = []
    for backend in (FUSED, GENERIC):
        Delta = np.full_like(Z, 9)
        value = backend.primitive(loss_and_gradient)(loss, Z, Y, w if weighted else None, 17.5, Delta)
        alone = backend.primitive(loss_and_gradient)(loss, Z, Y, w if weighted else None, 17.5, None)
        results.append((float(value), float(alone), Delta))
    for actual, expected in zip(*results, strict=True):
        scale = TOLERANCE[dtype] * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype], atol=scale)
        assert np.asarray(actual).dtype == np.asarray(expected).dtype


@pytest.mark.parametrize("row", [[1e4, -1e4, 0], [math.inf, 0, 0], [-math.inf, 0, 1], [math.nan, 0, 0]], ids=str)
def test_extreme_logits_as_in_numpy(row):
    results = []
    for backend in (FUSED, GENERIC):
        Z, Delta = np.array([row, [0, 1, 2]], np.float32), np.empty((2, 3), np.float32)
        with np.errstate(all="ignore"):
            value = backend.primitive(loss_and_gradient)(CrossEntropy(), Z, np.array([1, 2]), None, 2.0, Delta)
        results.append((float(value), Delta))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["cross_entropy", "bce", "quadratic", "focal"])
@pytest.mark.parametrize(("target", "outputs"), [(-1, 3), (3, 3), (-1, 1), (2, 1)])
def test_a_target_that_is_no_class_is_refused(name, target, outputs):
    if outputs == 1 and name == "cross_entropy":
        pytest.skip("it has an output for each class")
    Z = np.zeros((1, outputs))
    with pytest.raises(IndexError, match="class"):
        FUSED.primitive(loss_and_gradient)(LOSSES[name](), Z, np.array([target]), None, 1.0, np.empty_like(Z))


def moved(backend: Backend, name: str, dtype: type, size: int, steps: int = 8, decay: float = 0.1) -> dict:
    """Parameters and state after some steps on a quadratic, over two segments and a frozen end."""
    parameters = Parameters([Spec("0.weight", (size, 1), True)], backend, dtype)
    parameters.theta[:] = array((1, size), dtype)[0]
    half = max(1, size // 2)
    segments = [Segment(slice(0, half), 0.5, decay), Segment(slice(half, size - size // 5))]
    optimizer = OPTIMIZERS[name](parameters, backend, segments, **SETTINGS)
    for _ in range(steps):
        parameters.grad[:] = parameters.theta * np.linspace(0.5, 2, size, dtype=dtype)
        optimizer.step(parameters.theta, parameters.grad, 1e-2)
    return {"theta": parameters.theta, **optimizer.state}


@every_dtype
@pytest.mark.parametrize("size", [1, 5, 64, 1003])
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("muon", "lbfgs")])
def test_optimizers(name, size, dtype):
    fused, generic = (moved(backend, name, dtype, size) for backend in (FUSED, GENERIC))
    for slot, expected in generic.items():
        assert_close(fused[slot], expected, dtype)


@pytest.mark.parametrize("name", [name for name in KERNELS if hasattr(optimizers, name)])
def test_an_infinite_gradient_is_seen_by_every_optimizer(name):
    results = []
    for backend in (FUSED, GENERIC):
        parameters = Parameters([Spec("0.weight", (4, 1), True)], backend, np.float32)
        optimizer = OPTIMIZERS[name](parameters, backend, **SETTINGS)
        for gradient in ([1e30, -math.inf, math.nan, 0], [1, 1, 1, 1]):
            parameters.grad[:] = gradient
            with np.errstate(all="ignore"):
                optimizer.step(parameters.theta, parameters.grad, 1e-2)
        results.append(parameters.theta)
    np.testing.assert_allclose(results[0], results[1], rtol=2e-5)


@every_dtype
@pytest.mark.parametrize("shape", [(5,), (5, 3), (40, 784)], ids=str)
def test_gather_copies_the_rows_asked_for(shape, dtype):
    X = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    X.flags.writeable = False
    rows, out = np.array([3, 0, 3, 1]), np.empty((4, *shape[1:]), dtype)
    FUSED.primitive(gather)(X, rows, out)
    np.testing.assert_array_equal(out, X[rows])


@every_dtype
@pytest.mark.parametrize("stored", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(1, 1), (9, 3), (60, 784)], ids=str)
def test_scaled_rows_have_the_bits_of_numpy(shape, stored, dtype):
    X, rng = (40 * np.abs(array(shape, np.float64))).astype(stored), np.random.default_rng(1)
    rows, (shift, scale) = rng.integers(0, len(X), 2 * len(X)), rng.standard_normal((2, shape[1]))
    expected, found = (np.zeros((len(rows), shape[1]), dtype) for _ in range(2))
    gather_scaled(np, X, rows, shift, scale, expected)
    FUSED.primitive(gather_scaled)(X, rows, shift, scale, found)
    np.testing.assert_array_equal(found, expected)


@every_dtype
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 5), (2, 8), (13, 37), (700, 512)], ids=str)
@pytest.mark.parametrize(("p", "seed", "step", "layer"), [(0.5, 0, 0, 2), (0.2, 7, 123_456, 4), (0.9, 2**63 - 1, 1, 0)])
def test_masks_are_those_of_numpy_bit_for_bit(p, seed, step, layer, shape, dtype):
    masks = []
    for backend in (GENERIC, FUSED, native_backend(2)):
        masks.append(np.full(shape, np.nan, dtype))
        backend.primitive(dropout_mask)(masks[-1], np.empty(shape, np.float32), p, seed, step, layer)
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])


@every_library
@every_dtype
def test_every_set_of_instructions_has_these_primitives(dtype, library):
    """The tests above are of the best set that this processor has."""
    backend, shape = native_backend(1, library), (7, 257)
    for f in FUNCTIONS:
        for run in (activated, differentiated):
            for actual, expected in zip(run(backend, f, shape, dtype), run(GENERIC, f, shape, dtype), strict=True):
                assert_close(actual, expected, dtype)
    for loss, kind in LOSS_CASES:
        Z, Y, w = loss_case(loss, shape, dtype, kind)
        Delta, slope = np.empty_like(Z), np.empty_like(Z)
        value = backend.primitive(loss_and_gradient)(loss, Z, Y, w, 17.5, Delta)
        assert value == pytest.approx(
            float(GENERIC.primitive(loss_and_gradient)(loss, Z, Y, w, 17.5, slope)), rel=10 * TOLERANCE[dtype]
        )
        assert_close(Delta, slope, dtype)
    for name in OPTIMIZERS.keys() - {"muon", "lbfgs"}:
        for slot, expected in moved(GENERIC, name, dtype, 65).items():
            assert_close(moved(backend, name, dtype, 65)[slot], expected, dtype)
    mask, expected = np.empty(shape, dtype), np.empty(shape, dtype)
    for one, into in ((backend, mask), (GENERIC, expected)):
        one.primitive(dropout_mask)(into, np.empty(shape, np.float32), 0.3, 7, 12, 4)
    np.testing.assert_array_equal(mask, expected)


@every_library
@every_dtype
@pytest.mark.parametrize("frequencies", [1, 3, 16, 37])
def test_waves_are_those_of_numpy_also_far_from_zero(frequencies, dtype, library):
    """cos and sin of up to a thousand turns, on rows that one and more instructions take, by the layer's own pass."""
    rows, layer = 21, NumericEmbedding(0, 3, Periodic(2, frequencies, 4, 100.0))
    values, gradients = {}, {}
    sizes = [math.prod(spec.shape) for spec in layer.specs()]
    theta, grad = np.empty(sum(sizes), dtype), np.zeros(sum(sizes), dtype)
    for spec, start, size in zip(layer.specs(), np.cumsum([0, *sizes]), sizes, strict=False):
        values[spec.name] = theta[start : start + size].reshape(spec.shape)
        gradients[spec.name] = grad[start : start + size].reshape(spec.shape)
    layer.bind(values, gradients, {})
    layer.allocate(GENERIC, np.dtype(dtype), rows, True)
    layer.initialize(0)
    X, Delta = array((rows, 3), dtype, 1), array((rows, layer.units), dtype, 2)
    expected, A = layer.forward(X, Pass(True)), np.empty((rows, layer.units), dtype)
    layer.backward(Delta.copy(), False)
    found, crew = np.zeros_like(grad), Crew(2, kernels=library)
    words = layer.u, *layer.u.shape, layer.learned
    program = [do.over(A, "waves", X, 3, A, *words), do.over(Delta, "waves_gradient", X, 3, Delta, *words, found)]
    crew.run(do.assemble(crew.library, program))
    turns = float(np.abs(layer.u).max() * np.abs(X).max())
    limit = max(1.0, 2 * math.pi * turns) * np.finfo(dtype).eps * 4  # numpy rounds 2 pi u x + c, too
    np.testing.assert_allclose(A, expected, rtol=limit, atol=limit * np.abs(layer.V).sum(axis=2).max())
    np.testing.assert_allclose(found, grad, rtol=0, atol=rows * limit * np.abs(grad).max())


def test_every_kernel_stands_for_a_primitive_of_its_name():
    generic = {bias_activation, activation_gradient, loss_and_gradient, gather, gather_scaled, dropout_mask}
    generic |= {getattr(optimizers, name) for name in KERNELS if hasattr(optimizers, name)}
    assert {function.__name__ for function in generic} == set(KERNELS)


def trained(backend: Backend, dtype: type = np.float64, stop: int | None = None, state: dict | None = None) -> Trainer:
    """A small network after two epochs, or after `stop` steps; or going on from `state`."""
    blocks = (Block(16, ACTIVATIONS["relu"](), dropout=0.2), Block(8, ACTIVATIONS["tanh"](), norm="layer"))
    network = Network(Architecture(6, 3, blocks), backend, dtype, 16)
    network.initialize(1)
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((100, 6)).astype(dtype), rng.integers(0, 3, 100)
    optimizer = OPTIMIZERS["adam"](network.parameters, backend, [Segment(slice(0, network.parameters.size), 1, 0.01)],
                                   **SETTINGS)  # fmt: skip
    objective, batches = Objective(network, CrossEntropy(0.05), Penalty(l2=1e-3)), Batches(backend, X, Y, None, size=16)
    steps = make_steps(Job(objective, optimizer, batches, Limits(2, clip_norm=1.0), seed=3))
    trainer = Trainer(steps, Schedule("cosine", 1e-2, 14, 7), evaluate=dict)
    if state:
        network.parameters.theta[:], network.statistics.theta[:] = state["theta"], state["statistics"]
        for name, vector in state["optimizer"].items():
            optimizer.state[name][:] = vector
        optimizer.t, trainer.progress = state["t"], state["progress"]
    for _ in trainer.run(lambda: stop is not None and trainer.progress.step >= stop):
        pass
    return trainer


def test_training_is_the_same_to_rounding():
    fused, generic = (trained(backend).job.network.parameters.theta for backend in (FUSED, GENERIC))
    np.testing.assert_allclose(fused, generic, rtol=0, atol=1e-11)


@every_dtype
def test_training_twice_gives_the_same_bits(dtype):
    first, second = (trained(FUSED, dtype).job.network.parameters.theta for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("step", [1, 6, 7, 9])
def test_going_on_gives_the_same_bits(step):
    whole, half = trained(FUSED), trained(FUSED, stop=step)
    network = half.job.network
    state = {
        "theta": network.parameters.theta,
        "statistics": network.statistics.theta,
        "optimizer": half.job.optimizer.state,
        "t": half.job.optimizer.t,
        "progress": half.progress,
    }
    resumed = trained(FUSED, state=state)
    np.testing.assert_array_equal(resumed.job.network.parameters.theta, whole.job.network.parameters.theta)
