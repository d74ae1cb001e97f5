"""The network: names and layout as PyTorch's, replicas, dtypes, and how much a step allocates."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from engine_models import make_objective, targets

from mlp_core.nn.activations import ACTIVATIONS, Gelu, Relu, Tanh
from mlp_core.nn.layers import EVALUATE, Pass
from mlp_core.nn.losses import LOSSES, CrossEntropy, Mse
from mlp_core.nn.network import Architecture, Block, parameter_count
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.nn.optimizers import OPTIMIZERS

TRAIN = Pass(training=True)
SETTINGS = {"mu": 0.9, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "rho": 0.9}
VARIED = (
    Block(6, Relu(), norm="batch", dropout=0.3),
    Block(6, Gelu(), norm="layer", norm_first=False, residual=True),
    Block(4, None, norm="rms", bias=False),
)


def test_tensors_are_named_as_in_a_sequential_of_pytorch():
    network = make_objective(Architecture(5, 3, VARIED, input_dropout=0.1), CrossEntropy(), 2).network
    named = {spec.name: spec.shape for spec in network.parameters.specs}
    assert named == {
        **{"1.weight": (6, 5), "1.bias": (6,), "2.weight": (6,), "2.bias": (6,)},
        **{"5.weight": (6, 6), "5.bias": (6,), "7.weight": (6,), "7.bias": (6,)},
        **{"8.weight": (4, 6), "9.weight": (4,), "10.weight": (1,), "11.weight": (3, 4), "11.bias": (3,)},
    }
    assert set(network.statistics.values) == {"2.running_mean", "2.running_var"}


def test_pytorch_loads_our_tensors_and_gives_our_logits():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn = torch.nn
    blocks = (Block(6, Relu(), norm="batch", dropout=0.3), Block(4, None, norm="layer"), Block(4, Gelu()))
    network = make_objective(Architecture(5, 3, blocks), CrossEntropy(), 7).network
    X = np.random.default_rng(0).standard_normal((7, 5))
    network.forward(X, TRAIN)
    twin = nn.Sequential(
        *(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3)),
        *(nn.Linear(6, 4), nn.LayerNorm(4), nn.PReLU(), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 3)),
    ).double()
    state = {**network.parameters.values, **network.statistics.values}
    missing = twin.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in state.items()}, strict=False)
    assert not [name for name in missing.missing_keys if not name.endswith("num_batches_tracked")]
    assert not missing.unexpected_keys
    with torch.no_grad():
        expected = twin.eval()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(network.forward(X), expected, rtol=1e-12)


def test_parameters_are_counted_without_memory_for_them():
    architecture = Architecture(10**5, 10**5, (Block(10**6, Relu()),))
    assert parameter_count(architecture) == 2 * 10**11 + 10**6 + 10**5
    small = Architecture(5, 3, VARIED)
    assert parameter_count(small) == make_objective(small, CrossEntropy(), 1).network.parameters.size


def test_a_replica_of_the_same_dtype_shares_parameters_and_of_another_copies_them():
    network = make_objective(Architecture(5, 3, VARIED), CrossEntropy(), 4).network
    shared, copied = network.replica(9), network.replica(2, np.complex128)
    X = np.random.default_rng(0).standard_normal((4, 5))
    network.parameters.theta *= 1.5
    np.testing.assert_array_equal(shared.forward(X), network.forward(X))
    assert copied.parameters.theta.dtype == np.complex128
    assert not np.array_equal(copied.parameters.theta.real, network.parameters.theta)
    assert copied.forward(X[:2].astype(complex)).dtype == np.complex128


def test_initial_weights_do_not_depend_on_the_batch_size_and_runs_repeat_bit_for_bit():
    first, second = (make_objective(Architecture(5, 3, VARIED), CrossEntropy(), b).network for b in (2, 64))
    np.testing.assert_array_equal(first.parameters.theta, second.parameters.theta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, "prelu"])
def test_no_tensor_changes_its_dtype_in_a_step(activation, dtype):
    f = ACTIVATIONS[activation]() if activation in ACTIVATIONS else None
    norms = ("batch", "layer", "rms", "none")
    blocks = tuple(Block(4, f, norm=norm, dropout=0.2, residual=norm == "rms") for norm in norms)
    objective = make_objective(Architecture(4, 3, blocks), CrossEntropy(0.1), 5, dtype=dtype, penalty=Penalty(0.1, 0.1))
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((5, 4)).astype(dtype), rng.random(5).astype(dtype)
    value, dX = objective.value_and_gradient(X, rng.integers(0, 3, 5), w, TRAIN, input_gradient=True)
    parameters = objective.network.parameters
    optimizer = OPTIMIZERS["adam"](parameters, objective.network.backend, **SETTINGS)
    optimizer.step(parameters.theta, parameters.grad, 1e-3)
    arrays = [dX, parameters.theta, parameters.grad, objective.network.statistics.theta, objective.network.Delta]
    for layer in objective.network.layers:
        inner = getattr(layer, "inner", [layer])
        arrays += [v for one in inner for k, v in vars(one).items() if isinstance(v, np.ndarray) and k != "_uniform"]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}
    assert np.asarray(value).dtype == dtype


def step_bytes(rows: int, units: int, name: str, blocks: tuple[Block, ...], loss: str) -> int:
    """Peak memory taken by one training step after the first few."""
    blocks = tuple(Block(**{**vars(block), "units": units}) for block in blocks)
    kind = LOSSES[loss]()
    objective = make_objective(
        Architecture(20, 4 if kind.classifies else 2, blocks), kind, rows, dtype=np.float32, penalty=Penalty(l2=1e-3)
    )
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((rows, 20)).astype(np.float32), targets(kind, rows, rng)
    Y = Y.astype(np.float32) if Y.dtype.kind == "f" else Y
    parameters = objective.network.parameters
    optimizer = OPTIMIZERS[name](parameters, objective.network.backend, **SETTINGS)

    def step(number: int) -> None:
        objective.value_and_gradient(X, Y, None, Pass(training=True, step=number))
        optimizer.step(parameters.theta, parameters.grad, 1e-3)

    step(0)
    tracemalloc.start()
    try:
        step(1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


BLOCKS = {
    "dense": (Block(1, Relu()), Block(1, Tanh())),
    "gelu": (Block(1, Gelu()),),
    "dropout": (Block(1, Relu(), dropout=0.5),),
    "batch norm": (Block(1, Relu(), norm="batch"),),
    "layer norm": (Block(1, Relu(), norm="layer"),),
    "residual": (Block(1, Relu()), Block(1, Relu(), residual=True)),
}


@pytest.mark.parametrize("blocks", BLOCKS.values(), ids=BLOCKS.keys())
def test_a_step_allocates_nothing_proportional_to_batch_or_parameters(blocks):
    """Four times the rows and the width, so 16 times the elements, at no more than the blocks of the primitives."""
    small, large = (
        step_bytes(rows, units, "adam", blocks, "cross_entropy") for rows, units in ((500, 64), (2000, 256))
    )
    assert large < small + 300_000  # one [2000, 256] array has 2,048,000 bytes, one [256, 256] matrix 262,144


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam", "amsgrad", "lion"])
def test_an_optimizer_allocates_nothing_proportional_to_the_parameters(name):
    assert step_bytes(4, 1000, name, BLOCKS["dense"], "mse") < 800_000  # one vector of theta's length has 4,092,000


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce"])
def test_a_loss_allocates_nothing_proportional_to_the_batch(loss):
    small, large = (step_bytes(rows, 2, "sgd", BLOCKS["dense"], loss) for rows in (20_000, 100_000))
    assert large < small + 100_000


def test_the_golden_path():
    """Two hundred steps on a task with a curved border: the loss falls, accuracy rises, weights as stored.

    The sums were printed by this test when the gradients had been proved; they hold for float64 on any machine.
    """
    rng = np.random.Generator(np.random.Philox(0))
    X = rng.standard_normal((64, 2))
    Y = (np.square(X).sum(axis=1) > 1.4).astype(np.int64)
    objective = make_objective(
        Architecture(2, 2, (Block(16, Tanh()), Block(8, Relu()))), CrossEntropy(), 64, spread=0.0
    )
    parameters = objective.network.parameters
    optimizer = OPTIMIZERS["adam"](parameters, objective.network.backend, **SETTINGS)
    losses = []
    for step in range(200):
        value, _ = objective.value_and_gradient(X, Y, None, Pass(training=True, step=step))
        optimizer.step(parameters.theta, parameters.grad, 1e-2)
        losses.append(float(value))
    assert (objective.network.forward(X).argmax(axis=1) == Y).mean() >= 0.95
    golden = [losses[0], losses[9], losses[-1], float(np.abs(parameters.theta).sum())]
    assert golden == pytest.approx(GOLDEN, rel=1e-6)


GOLDEN = [0.8333636168808607, 0.6218463987160212, 0.029478857437964204, 132.89092322052147]


def test_a_network_for_evaluation_takes_no_memory_for_gradients_of_activations():
    network = make_objective(Architecture(5, 3, (Block(4, Gelu()),)), Mse(), 4).network
    twin = network.replica(4)
    assert twin.Delta is None
    np.testing.assert_array_equal(twin.forward(np.ones((4, 5))), network.forward(np.ones((4, 5)), EVALUATE))


def test_an_objective_on_a_replica_gives_the_same_value():
    objective = make_objective(Architecture(5, 3, VARIED), CrossEntropy(), 6)
    X, Y = np.random.default_rng(0).standard_normal((6, 5)), np.array([0, 1, 2, 0, 1, 2])
    twin = Objective(objective.network.replica(6), objective.loss)
    assert twin.value(X, Y) == objective.value(X, Y)
