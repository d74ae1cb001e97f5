"""The fused kernels: they compile for GPUs, and on the CPU they give the numbers of the generic primitives.

`pytest -m gpu` runs the same tests on a real GPU too, where there is one.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from cuda_shim import COMPILER, RawModule
from fake_cuda import backend, equip
from strict_xp import StrictDevice
from test_cuda_engine import DROPOUT, JOBS, Job, state

from mlp_core.backends.cuda import Unusable, cuda_backend, find_device
from mlp_core.backends.cuda.backend import device_backend
from mlp_core.backends.cuda.kernels import WHOLE, Kernels
from mlp_core.backends.cuda.source import ACTIVATIONS as FORMULAS
from mlp_core.backends.cuda.source import LOSSES, kernels, source
from mlp_core.backends.numbers import RULES
from mlp_core.data.batches import batches
from mlp_core.data.preprocess.scaling import Scaler
from mlp_core.nn import activations, layers, losses, optimizers
from mlp_core.nn import primitives as vectors
from mlp_core.nn.activations import ACTIVATIONS, Elu, LeakyRelu, Relu
from mlp_core.nn.backend import Backend
from mlp_core.nn.losses import CrossEntropy, Mse
from mlp_core.nn.network import Block
from mlp_core.nn.norm import Norm
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.rng import generator
from mlp_core.training.events import EpochDone, StepDone

CLOSE = {"float32": 4e-6, "float64": 1e-13}  # of the largest entry: slopes may cancel
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


class Machine:
    """A device with kernels and without, and numpy to compare with."""

    def __init__(self, fused: Backend, eager: Backend) -> None:
        self.xp, self.fused, self.eager = fused.xp, fused, eager

    def both(self, generic, *arguments, **settings) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each array among the arguments after the generic primitive, and after the fused one; then the results."""
        hosts = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        there = [self.xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
        expected = generic(np, *hosts, **settings)
        got = self.fused.primitive(generic)(*there, **settings)
        for host, array in zip(hosts, there, strict=True):
            if isinstance(host, np.ndarray):
                yield host, array.get()
        if expected is not None:
            yield np.asarray(expected), got.get()


@pytest.fixture(scope="module", params=["stand-in", pytest.param("gpu", marks=pytest.mark.gpu)])
def machine(request) -> Machine:
    """The stand-in with g++; under `pytest -m gpu` a real GPU as well."""
    if request.param == "gpu":
        found = find_device()
        if isinstance(found, Unusable):
            pytest.skip(found.reason)
        return Machine(cuda_backend(0), cuda_backend(0, fused=False))
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    device = equip(StrictDevice())
    return Machine(backend(device), device_backend(device.xp, "cuda:0"))


def numbers(shape, dtype, seed=0, spread=3.0) -> np.ndarray:
    """Numbers on both sides of every kink, zero among them."""
    array = (spread * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)
    array.reshape(-1)[::7] = 0
    return array


def agree(pairs, dtype: str) -> None:
    checked = 0
    for expected, got in pairs:
        assert expected.dtype == got.dtype or got.dtype == np.float64  # a loss has all its digits
        np.testing.assert_allclose(got, expected, rtol=CLOSE[dtype], atol=CLOSE[dtype] * abs(expected).max())
        checked += 1
    assert checked


def test_every_activation_and_rule_has_a_kernel():
    assert set(FORMULAS) == set(ACTIVATIONS)
    rules = {kind.rule.__name__ for name, kind in OPTIMIZERS.items() if name not in ("muon", "lbfgs")}
    assert rules <= set(Kernels(None).primitives())
    assert rules - set(RULES.values()) == {"nadam"}  # adam with other numbers


@DTYPES
@pytest.mark.parametrize("f", [*(kind() for kind in ACTIVATIONS.values()), LeakyRelu(0.3), Elu(0.5)], ids=str)
@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
def test_activations(machine, f, biased, dtype):
    Z, b = numbers((37, 9), dtype), numbers((9,), dtype, 1) if biased else None
    agree(machine.both(activations.bias_activation, Z, b, f, np.empty_like(Z)), dtype)
    A = f.forward(np, Z) if not biased else f.forward(np, Z + b)
    Z = A if f.from_output else Z
    Delta, db = numbers(Z.shape, dtype, 2), np.empty(9, dtype) if biased else None
    agree(machine.both(activations.activation_gradient, Delta, f, Z, A, db), dtype)


@pytest.mark.parametrize("f", [kind() for kind in ACTIVATIONS.values() if kind.from_output], ids=str)
def test_activations_in_place(machine, f):
    Z = numbers((5, 6), "float64")
    array = machine.xp.asarray(Z.copy())
    machine.fused.primitive(activations.bias_activation)(array, None, f, array)
    agree([(f.forward(np, Z), array.get())], "float64")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_relu_keeps_what_is_not_finite(machine, value):
    Z = np.array([[value, -1.0, 2.0]])
    (_, _), (expected, got) = machine.both(
        activations.bias_activation, Z, None, ACTIVATIONS["relu"](), np.empty_like(Z)
    )
    np.testing.assert_array_equal(got, expected)


@DTYPES
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("differentiated", [True, False], ids=["gradient", "value"])
def test_cross_entropy(machine, dtype, smoothing, weighted, differentiated):
    Z, Y = numbers((300, 7), dtype, spread=20.0), np.random.default_rng(1).integers(0, 7, 300)
    w = (np.random.default_rng(2).random(300) + 0.1).astype(dtype) if weighted else None
    Delta = np.empty_like(Z) if differentiated else None
    loss = CrossEntropy(smoothing)
    agree(machine.both(losses.loss_and_gradient, loss, Z, Y, w, 250.0, Delta), dtype)


OUTPUT_LOSSES = [losses.Mse(), losses.Mae(), losses.Huber(), losses.Huber(0.3), losses.LogCosh(), losses.Poisson()]
OUTPUT_LOSSES += [losses.Quantile((0.3,)), losses.Quadratic()]


@DTYPES
@pytest.mark.parametrize("loss", [*OUTPUT_LOSSES, losses.Bce(), losses.Bce(2.5)], ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("differentiated", [True, False], ids=["gradient", "value"])
def test_losses_of_single_outputs(machine, loss, dtype, weighted, differentiated):
    Z, rng = numbers((300, 3), dtype), np.random.default_rng(1)
    Y = rng.integers(0, 2, Z.shape) if loss.name in ("bce", "quadratic") else numbers(Z.shape, dtype, 3)
    Y = Y.astype(dtype)
    Y[::5] = Z[::5]  # no difference at all
    w = (rng.random(300) + 0.1).astype(dtype) if weighted else None
    assert set(LOSSES) == {"bce", *(one.name for one in OUTPUT_LOSSES)}
    assert machine.fused.recorder.kernels.knows_loss(loss, machine.xp.asarray(Z), machine.xp.asarray(Y), None)
    Delta = np.empty_like(Z) if differentiated else None
    agree(machine.both(losses.loss_and_gradient, loss, Z, Y, w, 250.0, Delta), dtype)


@DTYPES
@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 64, 1000, 3000])
@pytest.mark.parametrize("columns", [1, 5, 40])
def test_sums_of_columns(machine, rows, columns, dtype):
    Delta, Z = numbers((rows, columns), dtype), numbers((rows, columns), dtype, 1)
    there = [machine.xp.asarray(array) for array in (Delta, Z)]
    db = machine.xp.empty((columns,), dtype)
    for _ in range(2):
        machine.fused.primitive(activations.activation_gradient)(there[0], Relu(), there[1], there[1], db)
    masked = Delta.astype(np.float64) * (Z > 0)
    bound = 20 * np.finfo(dtype).eps * abs(masked).sum(axis=0)
    assert (abs(db.get() - masked.sum(axis=0)) <= bound).all()


@DTYPES
def test_small_primitives(machine, dtype):
    X, Y, out = (numbers((40, 9), dtype, seed) for seed in range(3))
    for generic in (vectors.multiply, vectors.add):
        agree([pair for pair in machine.both(generic, X, Y, out)], dtype)
    agree(machine.both(vectors.copy, X, out), dtype)
    agree(machine.both(vectors.follow, X.ravel(), Y.ravel(), 0.1), dtype)
    agree(machine.both(vectors.clip_value, X.ravel(), 0.5), dtype)
    agree(machine.both(vectors.shorten_rows, X, 4.0), dtype)
    for longest in (0.5, 1e6):
        agree(machine.both(vectors.clip_norm, X.ravel(), longest), dtype)


@DTYPES
@pytest.mark.parametrize("rows", [1, 2, 9, 300])
@pytest.mark.parametrize("kind", ["batch", "layer", "rms"])
def test_norms(machine, kind, rows, dtype):
    values = {"0.weight": numbers(7, dtype, 1), "0.bias": numbers(7, dtype, 2)}
    kept = {"0.running_mean": numbers(7, dtype, 3), "0.running_var": abs(numbers(7, dtype, 4)) + 1}
    X, Delta = numbers((rows, 7), dtype), numbers((rows, 7), dtype, 5)
    results = []
    for used in (Backend("numpy", np), machine.fused):
        layer, there = Norm(0, 7, kind), lambda a, used=used: used.asarray(a.copy())
        gradients = {name: used.zeros((7,), dtype) for name in values}
        statistics = {name: there(array) for name, array in kept.items()}
        layer.allocate(used, np.dtype(dtype), rows + 3, True)
        layer.bind({name: there(array) for name, array in values.items()}, gradients, statistics)
        A = layer.forward(there(X), layers.Pass(True))
        arrays = [A, layer.backward(there(Delta)), *gradients.values(), *statistics.values()]
        arrays.append(layer.forward(there(X), layers.EVALUATE))
        results.append([used.to_host(array) for array in arrays])
    for expected, got in zip(*results, strict=True):
        bound = 50 * CLOSE[dtype]  # of Delta too: two rows that are normalised have next to no gradient
        np.testing.assert_allclose(got, expected, rtol=bound, atol=bound * max(abs(expected).max(), abs(Delta).max()))


@DTYPES
@pytest.mark.parametrize("words", [1, 3, 700])
def test_rows_of_words_are_added_up_in_order(machine, words, dtype):
    rng = np.random.default_rng(words)
    codes, wide = rng.integers(0, words, 90), numbers((90, 9), dtype)
    table, there = machine.xp.asarray(np.ones((words, 4), dtype)), machine.xp.asarray(wide)
    machine.fused.primitive(vectors.add_rows)(table, machine.xp.asarray(codes), there[:, 3:7])
    expected = np.zeros((words, 4), dtype)
    for code, row in zip(codes, wide[:, 3:7], strict=True):
        expected[code] += row
    assert table.get().tobytes() == expected.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=str)
def test_a_gradient_that_is_not_finite_stays_so_when_it_is_cut(machine, bad):
    grad = np.array([1.0, bad, 2.0])
    for generic, *limit in ((vectors.clip_norm, 0.5),):
        array = machine.xp.asarray(grad)
        machine.fused.primitive(generic)(array, *limit)
        assert not np.isfinite(array.get()).all()
    array = machine.xp.asarray(np.array([1.0, np.nan]))
    machine.fused.primitive(vectors.clip_value)(array, 0.5)
    assert array.get()[0] == 0.5
    assert np.isnan(array.get()[1])


@pytest.mark.parametrize("stored", ["uint8", "float32", "float64"])
@DTYPES
def test_rows_as_stored_are_scaled_as_on_the_host_bit_for_bit(machine, stored, dtype):
    rng, kernels = np.random.default_rng(0), machine.fused.recorder.kernels
    X = rng.integers(0, 256, (50, 7)).astype(stored) if stored == "uint8" else numbers((50, 7), stored)
    scaler = Scaler("standard").fit(X)
    order = rng.permutation(50)
    there = [machine.xp.asarray(array) for array in (X, order, scaler.shift, scaler.scale)]
    out = machine.xp.empty((20, 7), dtype)
    kernels.scale_from(there[0], there[1], 11, (there[2], there[3]), out)
    assert out.get().tobytes() == scaler.transform(X[order[11:31]], dtype=dtype).tobytes()


@pytest.mark.parametrize("kind", ["float32", "float64", "int64"])
@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 7)], ids=str)
def test_gathered_rows(machine, kind, shape):
    X, order = (10 * numbers(shape, "float64")).astype(kind), np.random.default_rng(0).permutation(50)
    out, there = machine.xp.empty((20, *shape[1:]), kind), machine.xp.asarray(order)
    machine.fused.recorder.kernels.gather_from(machine.xp.asarray(X), there, 5, out)
    np.testing.assert_array_equal(out.get(), X[order[5:25]])
    machine.fused.primitive(batches.gather)(machine.xp.asarray(X), there[30:], out)
    np.testing.assert_array_equal(out.get(), X[order[30:]])


def test_a_target_that_is_no_class_gives_no_number(machine):
    xp, loss = machine.xp, machine.fused.primitive(losses.loss_and_gradient)
    for wrong in (-1, 3):
        Y = xp.asarray(np.array([0, wrong]))
        assert np.isnan(float(loss(CrossEntropy(), xp.ones((2, 3)), Y, None, 2.0, None)))


def test_what_has_no_kernel_is_done_by_the_generic_primitive(machine):
    Z = numbers((8, 2), "float64")
    agree(machine.both(losses.loss_and_gradient, Mse(), Z, numbers((8, 2), "float64", 1), None, 8.0, Z * 0), "float64")
    soft = np.full((8, 2), 0.5)
    agree(machine.both(losses.loss_and_gradient, CrossEntropy(), Z, soft, None, 8.0, Z * 0), "float64")


@DTYPES
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("muon", "lbfgs")])
@pytest.mark.parametrize("decay", [0.0, 0.1], ids=["", "decay"])
def test_optimizers(machine, name, decay, dtype):
    kind = OPTIMIZERS[name]
    settings = {"mu": 0.9, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "rho": 0.9}
    chosen = {key: settings[key] for key in kind.constants}
    theta, grad = numbers(700, dtype), numbers(700, dtype, 1)
    slots = [abs(numbers(700, dtype, seed)) for seed, _ in enumerate(kind.slots, 2)]
    for t in (1, 7, 1000):
        counted = {"t": t} if kind.counts_steps else {}
        generic = getattr(optimizers, kind.rule.__name__)
        agree(machine.both(generic, theta, grad, *slots, 0.01, decay, **chosen, **counted), dtype)


@DTYPES
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 64), (1, 8), (7, 9)], ids=str)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_masks_are_numpys_bit_for_bit(machine, shape, p, dtype):
    for seed, step, index in ((0, 0, 0), (3, 1234, 4), (2**63 - 1, 10**6, 11)):
        mask, uniform = np.empty(shape, dtype), np.empty(shape, np.float32)
        layers.dropout_mask(np, mask, uniform, p, seed, step, index)
        array = machine.xp.empty(shape, dtype)
        machine.fused.primitive(layers.dropout_mask)(array, uniform, p, seed, step, index)
        assert array.get().tobytes() == mask.tobytes()
        shard = np.empty(shape, dtype)  # of a shard, whose rows are not the first of the batch
        layers.dropout_mask(np, shard, uniform, p, seed, step, index, 3)
        machine.fused.primitive(layers.dropout_mask)(array, uniform, p, seed, step, index, 3)
        assert array.get().tobytes() == shard.tobytes()
        drawn = generator(seed, "dropout", step, index).random(shape, dtype="float32")
        assert ((drawn >= np.float32(p)) == (mask > 0)).all()


def by_layers(backend: Backend) -> Backend:
    """The same device, whose steps cannot be written down."""
    return replace(backend, recorder=None)


TOGETHER = {name: job for name, job in JOBS.items() if name.startswith(("optimizer", "limits"))}
# not with adam, which makes a step of the rounding error that is the gradient of a bias before a batch norm
TOGETHER |= {name: replace(job, optimizer="nesterov") for name, job in JOBS.items() if name.startswith("layers")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("job", TOGETHER.values(), ids=TOGETHER.keys())
@pytest.mark.parametrize("way", ["eager", "fused"])
def test_training_follows_numpy(machine, job, dtype, way):
    job = replace(job, dtype=dtype, lr=0.003)
    host, there = job.trainer(Backend("numpy", np, block=WHOLE)), job.trainer(getattr(machine, way))
    expected = [event.metrics["train_loss"] for event in host.run() if isinstance(event, EpochDone)]
    got = [event.metrics["train_loss"] for event in there.run() if isinstance(event, EpochDone)]
    bound = 1e-5 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(got, expected, rtol=bound)
    wanted, found = state(host), state(there)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=100 * bound, atol=10 * bound, err_msg=name)


def test_two_trainings_on_a_device_are_equal_bit_for_bit(machine):
    job = Job(hidden=(Block(64, Relu(), norm="batch", dropout=0.2), Block(32, Relu())))
    states = []
    for _ in range(2):
        trainer = job.trainer(machine.fused)
        list(trainer.run())
        states.append(state(trainer))
    for name, array in states[0].items():
        assert array.tobytes() == states[1][name].tobytes(), name


@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
@pytest.mark.parametrize("name", ["dropout", "input dropout", "dropout in a residual block"])
def test_with_kernels_not_even_the_masks_are_transferred(name):
    device = equip(StrictDevice())
    trainer, counts = Job(**DROPOUT[name][0]).trainer(by_layers(backend(device))), device.counts
    before, steps = (counts.syncs, counts.uploads, counts.downloads), []
    for event in trainer.run():
        now = (counts.syncs, counts.uploads, counts.downloads)
        if isinstance(event, StepDone):
            steps.append(tuple(b - a for a, b in zip(before, now, strict=True)))
        before = now
    assert steps[1:4] == [(0, 0, 0)] * 3


@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
def test_a_kernel_is_compiled_once_for_a_dtype():
    made, device = [], equip(StrictDevice())
    device.xp.RawModule = lambda code, options: made.append((code, options)) or RawModule(code, options)
    fused = backend(device)
    for dtype in ("float32", "float32", "float64"):
        list(Job(dtype=dtype).trainer(fused).run())
    used = ("forward_relu", "forward_identity", "cross_entropy", "gradient_relu", "adam", "mean_loss", "gather_Int")
    made = [one for one in made if any(one[0] == source(name) for name in used)]
    assert len(made) == len(set(made)) == 2 * len(used) - 1  # rows of whole numbers are gathered by one kernel


def nvrtc() -> ctypes.CDLL | None:
    """NVIDIA's run-time compiler from its wheel; it needs neither driver nor GPU."""
    for package in ("nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc"):
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name.startswith("libnvrtc.so"):
                return ctypes.CDLL(str(Path(str(file.locate()))))
    return None


@DTYPES
@pytest.mark.parametrize("architecture", ["compute_75", "compute_80", "compute_90"])
def test_the_source_compiles_for_gpus(architecture, dtype):
    library = nvrtc()
    if library is None:
        pytest.skip("NVRTC is not installed (pip install nvidia-cuda-nvrtc-cu12)")
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source().encode(), b"kernels.cu", 0, None, None) == 0
    real = "float" if dtype == "float32" else "double"
    options = [f"--gpu-architecture={architecture}", "--std=c++17", f"-DREAL={real}"]
    packed = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = library.nvrtcCompileProgram(program, len(options), packed)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert not failed, log.value.decode()
    assert not log.value.strip(), log.value.decode()
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, ptx)
    text = ptx.value.decode()
    bodies = {part.partition("(")[0]: part for part in text.split(".entry ")[1:]}
    assert bodies.keys() == kernels().keys()
    if real == "float":  # what is computed in double by mistake takes 32 times as long
        double = {name for name, body in bodies.items() if re.search(r"\b(add|sub|mul|fma|div|sqrt|rcp)\S*\.f64", body)}
        meant = {"mean_loss", "square_sum", "shorten", "penalty", "prelu_gradient"}
        meant |= {"scaled_Byte", "scaled_float", "scaled_double"}
        assert double <= meant | {"forward_sin", "gradient_sin"}  # sines: CUDA's own way with large arguments
    library.nvrtcDestroyProgram(ctypes.byref(program))
