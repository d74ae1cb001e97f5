"""The gradient check on user-like models: what it proves, what it refuses, and what it leaves untouched."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from engine_models import Case, make_objective, random_case

from mlp_core.errors import Failed
from mlp_core.gradcheck import check, fast_check, miss_probability
from mlp_core.gradcheck.compare import compare
from mlp_core.gradcheck.directions import FULL_LIMIT, cover
from mlp_core.gradcheck.half_matrices import Halves, product
from mlp_core.gradcheck.planted import BUGS
from mlp_core.gradcheck.planted.bug import replaced
from mlp_core.gradcheck.preconditions import folded
from mlp_core.gradcheck.probe_points import PROBES
from mlp_core.gradcheck.self_test import model
from mlp_core.gradcheck.suspects import hint
from mlp_core.nn.activations import ACTIVATIONS, HardTanh, Relu, Tanh
from mlp_core.nn.backend import BLOCK, numpy_backend
from mlp_core.nn.data_start import data_start
from mlp_core.nn.layers import Dense, Pass
from mlp_core.nn.losses import LOSSES, CrossEntropy, Mae
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.objective import Objective, Penalty

TRAIN = Pass(training=True, seed=0, step=3)


def digits_like(dtype: type = np.float32, rows: int = 4, hidden: tuple[int, ...] = (8, 6)) -> Case:
    """A classifier in float32 on rows with many exact zeros."""
    rng = np.random.default_rng(0)
    blocks = tuple(Block(units, Relu()) for units in hidden)
    objective = make_objective(Architecture(12, 5, blocks), CrossEntropy(), rows, dtype=dtype, spread=0.0, seed=1)
    X = np.maximum(rng.standard_normal((rows, 12)), 0).astype(dtype)
    return Case(objective, X, rng.integers(0, 5, rows), None, TRAIN)


def examine(case: Case, **more):
    return check(case.objective, case.X, case.Y, case.w, mode=case.mode, **more)


def bug(name: str):
    return next(bug for bug in BUGS if bug.name == name)


def verdicts(report) -> dict[str, str]:
    return {row.name: row.verdict for row in report.preconditions}


@pytest.mark.parametrize("seed", range(100, 108))
def test_random_models_of_the_whole_vocabulary_pass(seed):
    case = random_case(seed)
    report = examine(case)
    assert report.passed, (report.failures(), report.hint)
    assert report.checked == report.parameters + case.X.size
    assert report.parameters == case.network.parameters.size
    assert report.worst < 1e-9


def test_the_users_model_in_float32_is_proved_and_left_as_it_was():
    case = digits_like()
    network = case.network
    before = [network.parameters.theta.copy(), network.parameters.grad.copy(), case.X.copy(), case.Y.copy()]
    report = examine(case)
    assert report.passed
    after = [network.parameters.theta, network.parameters.grad, case.X, case.Y]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True))
    assert verdicts(report)["training precision"] == "pass"
    assert set(verdicts(report).values()) == {"pass"}, report.preconditions


def test_the_json_has_exactly_the_promised_fields():
    document = json.loads(json.dumps(examine(digits_like()).to_json(), allow_nan=False))
    assert list(document) == ["checked", "parameters", "worst", "tolerance", "tensors"]
    fields = ["name", "shape", "checked", "error", "index", "analytic", "numeric", "verdict"]
    assert all(list(tensor) == fields for tensor in document["tensors"])
    assert sum(tensor["checked"] for tensor in document["tensors"]) == document["checked"]
    assert document["tensors"][-1]["name"] == "input"


def test_a_number_that_is_not_finite_is_null_in_json():
    with bug("NaN in one entry").planted():
        report = examine(digits_like())
    assert not report.passed
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["worst"] is None


@pytest.mark.parametrize("method", ["full", "sweep", "fast"])
def test_each_method_passes_the_sound_model_and_reports_a_bug(method):
    case = digits_like()
    report = examine(case, method=method)
    assert report.passed
    assert report.method == method
    assert report.checked == (28 if method == "fast" else report.parameters + case.X.size)
    for name in ("bias gradient is a mean", "rows of the input swapped", "1/b twice"):
        with bug(name).planted():
            assert not examine(case, method=method, opinion=False).passed


def test_auto_sweeps_where_there_are_too_many_entries():
    case = digits_like(hidden=(FULL_LIMIT // 12,))
    report = examine(case, probes=("init",), opinion=False)
    assert report.method == "sweep"
    assert report.passed
    assert report.checked == report.parameters + case.X.size
    with bug("one entry off by 5e-8").planted():
        assert not examine(case, probes=("init",), opinion=False).passed


def test_a_sweep_points_at_the_row_and_the_column():
    def wrong(self, Delta, input_gradient=True, original=Dense.backward):
        dX = original(self, Delta, input_gradient)
        if self.index == 2:
            self.dW[3, 5] += 0.01
        return dX

    with replaced(Dense, "backward", wrong):
        report = examine(digits_like(), method="sweep", probes=("init",))
    failed = [tensor for tensor in report.tensors if tensor.verdict == "fail"]
    assert [(tensor.name, tensor.index) for tensor in failed] == [("2.weight", (3, 5))]


def test_the_fast_check_takes_few_rows_that_count():
    case = digits_like(rows=40)
    w = np.zeros(40, np.float32)
    w[[3, 17]] = 1
    report = fast_check(case.objective, case.X, case.Y, w, case.mode)
    assert report.passed
    assert dict((tensor.name, tensor.shape) for tensor in report.tensors)["input"] == (2, 12)
    with bug("class weights ignored in the gradient").planted():
        uneven = np.linspace(0.1, 2, 40)
        assert not fast_check(case.objective, case.X, case.Y, uneven, case.mode).passed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_fast_check_holds_weights_and_gradient_once(dtype):
    """In float64 16 bytes a parameter; afterwards that gradient beside weights and gradient as they are trained. The
    rest is rows: two copies of eight, complex."""
    case = digits_like(dtype, hidden=(700, 600))
    size = case.network.parameters.size
    tracemalloc.start()
    try:
        assert fast_check(case.objective, case.X, case.Y, None, case.mode).passed
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (16 if dtype is np.float32 else 24) * size + 2e6


@pytest.mark.parametrize(
    "name",
    [
        "bias gradient is a mean",
        "rows of the input swapped",
        "first layer's weights left out",
        "1/b twice",
        "weight gradient times 1 + 1e-4",
        "NaN in one entry",
        "parts divided by their own weight",
        "gradient added to the last one",
        "weights moved by the backward pass",
        "bfloat16 in float32 training only",
    ],
)
def test_the_fast_check_of_a_large_network_reports_a_bug(name):
    case = digits_like(hidden=(150, 130))
    assert case.network.parameters.size > BLOCK
    with bug(name).planted():
        assert not fast_check(case.objective, case.X, case.Y, None, case.mode).passed


@pytest.mark.parametrize("seed", range(100, 104))
def test_weights_in_halves_give_the_same_derivatives(seed, monkeypatch):
    whole = examine(random_case(seed), opinion=False)
    monkeypatch.setattr("mlp_core.gradcheck.half_matrices.LARGE", 0)
    halves = examine(random_case(seed), opinion=False)
    assert halves.passed, (halves.failures(), halves.hint)
    assert halves.checked == whole.checked
    assert halves.worst < 1e-9
    for one, other in zip(whole.tensors, halves.tensors, strict=True):
        assert one.name == other.name
        assert other.error < 1e-9


@pytest.mark.parametrize("planted", BUGS, ids=lambda planted: planted.name)
def test_a_bug_is_reported_with_weights_in_halves(planted, monkeypatch):
    monkeypatch.setattr("mlp_core.gradcheck.half_matrices.LARGE", 0)
    one = model(planted.model, 1)
    probes = ("init",) if planted.model == "prelu at zero" else PROBES
    with planted.planted():
        report = check(one.objective, one.X, one.Y, one.w, mode=one.mode, probes=probes, seed=1, method="fast")
    assert not report.passed


def test_a_product_with_a_matrix_in_halves():
    rng = np.random.default_rng(0)
    real, imaginary, A = (
        rng.standard_normal((5, 3)),
        rng.standard_normal((5, 3)),
        rng.standard_normal((4, 6)).view(complex),
    )
    W, out = Halves(real, np.empty_like(real)), np.empty((4, 5), complex)
    np.testing.assert_allclose(product(A, W.T, out), A @ real.T, rtol=1e-14)
    np.testing.assert_array_equal(W[np.array([4, 0])], real[[4, 0]])
    W.imaginary = imaginary
    np.testing.assert_allclose(product(A, W.T, out), A @ (real + 1j * imaginary).T, rtol=1e-14)
    np.testing.assert_array_equal(W[np.array([4, 0])], (real + 1j * imaginary)[[4, 0]])
    np.testing.assert_allclose(product(A, (real + 1j * imaginary).T, out), A @ (real + 1j * imaginary).T)


def test_a_sweep_takes_a_stack_of_matrices_as_one():
    """The weights of a numeric embedding are [k, m, f]: each row and each column still meets its entries."""
    shape = (4, 3, 5)
    coverage = cover("sweep", shape, np.random.default_rng(0))
    assert (len(coverage.directions), coverage.checked) == (4 * 3 + 5, 60)
    g = np.random.default_rng(1).standard_normal(shape)
    along = [sum(u @ g.ravel()[part] for part, u in one) for one in coverage.directions]
    np.testing.assert_allclose(coverage.project(g), along)
    wrong = with_entry(np.zeros(60), 37, 1.0).reshape(shape)
    error = np.abs(coverage.project(wrong))
    assert np.count_nonzero(error) == 2
    assert coverage.locate(error) == (2, 1, 2)


def test_a_numeric_embedding_is_swept():
    """More entries than `auto` takes one by one, with a tensor of three axes among them."""
    one = model("waves")
    report = check(one.objective, one.X, one.Y, one.w, mode=one.mode, method="sweep", probes=("init",))
    assert (report.passed, report.method) == (True, "sweep")


def test_a_gaussian_direction_is_the_same_whenever_it_is_drawn():
    coverage = cover("fast", (3, BLOCK), np.random.default_rng(0))
    drawn = [[np.concatenate([u for _, u in one]) for one in coverage.directions] for _ in range(2)]
    np.testing.assert_array_equal(*drawn)
    directions = np.array(drawn[0], np.float64)
    assert abs(np.corrcoef(directions) - np.eye(4)).max() < 0.03
    assert abs(directions.std() - 1) < 0.01
    g = np.random.default_rng(1).standard_normal((3, BLOCK))
    np.testing.assert_allclose(coverage.project(g), directions @ g.ravel())


@pytest.mark.parametrize("size", [7, BLOCK, BLOCK + 1, 3 * BLOCK, 4 * BLOCK - 3])
def test_a_folded_gradient_is_linear_and_shows_every_entry(size):
    one, other = np.random.default_rng(0).standard_normal((2, size))
    np.testing.assert_allclose(folded(one + other), folded(one) + folded(other), atol=1e-12)
    assert len(folded(one)) == min(size, BLOCK)
    for entry in {0, size // 2, size - 1}:
        assert np.count_nonzero(folded(with_entry(np.zeros(size), entry, 1.0))) == 1


def test_the_probability_that_fast_mode_misses_an_error():
    assert miss_probability(1e-8, 1e-6) == pytest.approx((1e-2 * np.sqrt(2 / np.pi)) ** 4)
    assert miss_probability(1e-8, 1e-10) == 1.0


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, "prelu"])
def test_units_that_stand_exactly_on_a_kink_are_no_false_alarm(activation, bias):
    f = None if activation == "prelu" else ACTIVATIONS[activation]()
    blocks = (Block(5, f, bias=bias), Block(5, f, norm="layer", bias=bias, residual=True))
    objective = make_objective(Architecture(3, 4, blocks), CrossEntropy(), 4, spread=0.0)
    X = np.zeros((4, 3))
    X[0] = [1.0, -1.0, 0.5]
    report = examine(Case(objective, X, np.array([0, 1, 2, 3]), None, TRAIN))
    assert report.passed, (report.failures(), report.hint, report.preconditions)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_a_rounding_away_from_a_kink_in_equal_rows_are_no_false_alarm(dtype):
    """What biases from the data are where most rows are equal: each unit is 0 there, but for how its sum is rounded."""
    blocks = tuple(Block(40, ACTIVATIONS["selu"](), parametric=True) for _ in range(2))
    architecture = Architecture(3, 2, blocks, ntk=True, bias_init="data", rescale=True)
    objective = make_objective(architecture, CrossEntropy(), 8, dtype=dtype, spread=0.0)
    X = np.full((8, 3), [0.3, -1.1, 0.7], dtype)
    X[5] = [1.0, -1.0, 0.5]
    data_start(objective.network, X, 1)
    report = examine(Case(objective, X, np.arange(8) % 2, None, TRAIN))
    assert report.passed, (report.failures(), report.preconditions)
    assert "off the kinks" in {row.name for row in report.preconditions}


def test_residuals_and_weights_of_exactly_zero_are_no_false_alarm():
    architecture = Architecture(3, 2, (Block(4, HardTanh(), init="zeros"),), output_init="zeros")
    objective = make_objective(architecture, Mae(), 4, penalty=Penalty(l1=0.1, bias=True), spread=0.0)
    X = np.random.default_rng(0).standard_normal((4, 3))
    report = examine(Case(objective, X, np.zeros((4, 2)), None, TRAIN))
    assert report.passed, (report.failures(), report.preconditions)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sure", [20.0, 200.0])
def test_a_model_trained_to_certainty_is_no_false_alarm(sure, dtype):
    case = digits_like(dtype)
    network = case.network
    network.parameters.values["4.weight"][:] = 0
    network.parameters.values["4.bias"][:] = np.eye(5)[0] * sure
    case.Y[:] = 0
    report = examine(case)
    assert report.passed, (report.failures(), report.worst, report.preconditions)


def test_a_forward_pass_that_lies_about_its_imaginary_part_is_found_by_the_second_opinion():
    """Forward and backward agree on a wrong derivative; only real differences can tell."""

    def forward(self, xp, z):
        return np.tanh(z.real) + 2j * z.imag / np.cosh(z.real) ** 2 if z.dtype.kind == "c" else np.tanh(z)

    objective = make_objective(Architecture(3, 4, (Block(5, Tanh()),)), CrossEntropy(), 4)
    X = np.random.default_rng(0).standard_normal((4, 3))
    case = Case(objective, X, np.arange(4), None, TRAIN)
    with replaced(Tanh, "forward", forward), replaced(Tanh, "slope", lambda self, xp, z, a: 2 * (1 - a * a)):
        report = examine(case)
    assert report.failures() == ["Richardson differences agree"]


def test_a_forward_pass_that_drops_the_imaginary_part_is_an_error():
    case = digits_like()
    real_only = replaced(Relu, "forward", lambda self, xp, z: np.maximum(z, 0).astype(np.float64).astype(z.dtype))
    with real_only, pytest.raises(Failed, match=r"drops imaginary parts.* in bias_activation: A\[rows\] = "):
        examine(case)


def test_a_loss_that_is_not_finite_fails():
    case = digits_like(np.float64)
    case.network.parameters.theta[0] = np.inf
    report = examine(case, probes=("init",), opinion=False)
    assert not report.passed
    assert verdicts(report)["finite loss"] == "fail"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.01, "fail")])
def test_kernels_of_the_users_backend_are_compared_with_the_proved_gradient(factor, verdict):
    def activation_gradient(Delta, f, Z, A, db):
        Delta *= f.slope(np, Z, A) * np.float32(factor)
        if db is not None:
            Delta.sum(axis=0, out=db)

    case = digits_like()
    backend = replace(numpy_backend(), name="fused", kernels={"activation_gradient": activation_gradient})
    network = Network(case.network.architecture, backend, np.float32, 4)
    network.initialize(1)
    report = check(Objective(network, CrossEntropy()), case.X, case.Y, None, mode=TRAIN, opinion=False)
    assert verdicts(report)["training precision"] == verdict
    assert all(tensor.verdict == "pass" for tensor in report.tensors)


def test_a_number_that_is_not_finite_in_one_tensor_of_the_users_backend_fails():
    def activation_gradient(Delta, f, Z, A, db):
        Delta *= f.slope(np, Z, A)
        Delta.sum(axis=0, out=db)
        if len(db) == 8:
            db[0] = np.nan

    case = digits_like()
    backend = replace(numpy_backend(), name="fused", kernels={"activation_gradient": activation_gradient})
    network = Network(case.network.architecture, backend, np.float32, 4)
    network.initialize(1)
    report = fast_check(Objective(network, CrossEntropy()), case.X, case.Y, None, TRAIN)
    assert report.failures() == ["training precision"]


def test_progress_is_told_up_to_the_end():
    calls: list[tuple[int, int]] = []
    examine(digits_like(), opinion=False, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1]
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_probes_are_all_visited_and_unknown_ones_refused():
    report = examine(digits_like(), opinion=False)
    assert report.probes == PROBES == ("init", "burn", "wild")
    with pytest.raises(ValueError, match="unknown probe"):
        examine(digits_like(), probes=("tame",))


def test_equal_seeds_give_equal_reports():
    first, second = (examine(digits_like(), method="sweep") for _ in range(2))
    assert first.tensors == second.tensors


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_at_one_row(name):
    loss = LOSSES[name]()
    width = 3 if loss.classifies else loss.outputs(2)
    objective = make_objective(Architecture(2, width, (Block(3, Tanh()),)), loss, 1)
    Y = np.array([[1.0, 0.0, 1.0]]) if loss.per_output else np.array([1]) if loss.classifies else np.array([[2.0, 1.0]])
    report = examine(Case(objective, np.array([[0.3, -0.7]]), Y, None, TRAIN))
    assert report.passed, (report.failures(), report.preconditions)


@pytest.mark.parametrize(
    ("analytic", "numeric", "largest", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, 0.0),
        ([1.0, 2.0], [1.0, 2.5], 0.0, 0.2),
        ([0.0, 0.0], [0.0, 0.0], 0.0, 0.0),
        ([1e-17, 0.0], [0.0, 0.0], 1.0, 1e-13),
        ([1e-20, 0.0], [0.0, 0.0], 0.0, 1.0),
        ([np.nan, 1.0], [np.nan, 1.0], 0.0, np.inf),
        ([np.inf, 1.0], [np.inf, 1.0], 0.0, np.inf),
        ([1.0, 1.0], [1.0, np.nan], 9.0, np.inf),
    ],
)
def test_the_acceptance_rule(analytic, numeric, largest, error):
    found = compare(np.array(analytic), np.array(numeric), largest)
    assert found.error == pytest.approx(error)
    assert found.within(1e-8) == (error <= 1e-8)


@pytest.mark.parametrize(
    ("a", "n"), [(np.zeros(2), np.zeros(3)), (np.zeros(0), np.zeros(0)), (np.zeros(1), np.zeros((1, 1)))]
)
def test_nothing_is_compared_that_does_not_fit(a, n):
    with pytest.raises(ValueError, match="cannot compare"):
        compare(a, n, 1.0)


FACTS = {"1/b": 0.2, "b": 5.0, "2": 2.0, "(b-1)/b": 0.8}
G = np.random.default_rng(0).standard_normal((4, 3))
S = np.random.default_rng(1).standard_normal((3, 3))


def with_entry(array: np.ndarray, place: object, value: float) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("analytic", "numeric", "words"),
    [
        (0.2 * G, G, "0.2 = 1/b times"),
        (0.8 * G, G, "(b-1)/b times"),
        (1.7 * G, G, "analytic = 1.7 times"),
        (-G, G, "the sign is wrong everywhere"),
        (0 * G, G, "all zero"),
        (G, 0 * G, "should be all zero"),
        (S.T.copy(), S, "transposed"),
        (with_entry(G, 2, 7.0), G, "only row 2 differs"),
        (with_entry(G, (slice(None), 1), 0.0), G, "only column 1 differs: it is zero"),
        (with_entry(G, (2, 1), 7.0), G, "one entry differs: (2, 1)"),
        (np.roll(G, 1, axis=0), G, "wrong places"),
        (G * np.array([[1], [2], [3], [4]]), G, "each row is off by a factor of its own"),
        (G * np.array([1, 2, 3]), G, "each column is off by a factor of its own"),
        (G + np.random.default_rng(2).standard_normal(G.shape), G, "scattered"),
        (G.astype(np.float32).astype(float), G, "a loss of precision"),
        (with_entry(G, (0, 0), np.nan), G, "NaN or Inf"),
    ],
)
def test_the_pattern_of_a_failure_is_named(analytic, numeric, words):
    coverage = cover("full", numeric.shape, np.random.default_rng(0))
    assert words in hint(analytic, numeric.ravel(), coverage, FACTS)


def test_the_report_names_the_pattern():
    with bug("weight gradient is a mean").planted():
        report = examine(digits_like(), opinion=False)
    assert report.hint is not None
    assert "= 0.25 = 1/b times numeric" in report.hint
