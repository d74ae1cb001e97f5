"""Random models over the whole vocabulary, differentiated by PyTorch's autograd in float64.

MLPBP_PARITY_MODELS sets how many (40 if not set; `make soak` sets 200).
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from engine_models import Case, make_objective, random_case, targets

from mlp_core.nn.activations import ACTIVATIONS
from mlp_core.nn.layers import EVALUATE, Pass
from mlp_core.nn.losses import LOSSES, Bce, CrossEntropy, Focal, Quantile
from mlp_core.nn.network import Architecture, Block

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import torch_twin as twin  # noqa: E402  (needs torch)

MODELS = int(os.environ.get("MLPBP_PARITY_MODELS", "40"))


def close(ours: np.ndarray, theirs: object, scale: float | None = None) -> None:
    """Equal to 1e-10 of the larger of the tensor's largest entry and `scale`."""
    reference = theirs.detach().numpy()  # type: ignore[attr-defined]
    assert ours.shape == reference.shape
    largest = max(np.abs(reference).max(initial=0), scale or 0.0, 1e-12)
    assert np.abs(ours - reference).max(initial=0) <= 1e-10 * largest


def compare(case: Case) -> None:
    """Loss, every parameter's gradient, the input's gradient and the kept statistics."""
    network, parameters = case.network, case.network.parameters
    P = {name: twin.tensor(value).requires_grad_() for name, value in parameters.values.items()}
    S = {name: twin.tensor(value) for name, value in network.statistics.values.items()}
    X = twin.tensor(case.X).requires_grad_()
    value, dX = case.objective.value_and_gradient(case.X, case.Y, case.w, case.mode, input_gradient=True)
    Z = twin.run_network(network, X, P, S, case.mode)
    rows = twin.rows_of(case.objective.loss, Z, twin.tensor(case.Y))
    w = torch.ones(len(case.X), dtype=torch.float64) if case.w is None else twin.tensor(case.w)
    total = (rows * w).sum() / w.sum() + twin.penalty_of(case.objective.penalty, network, P)
    total.backward()
    assert float(value) == pytest.approx(total.item(), rel=1e-12, abs=1e-13)
    largest = float(np.abs(parameters.grad).max())
    for name, gradient in parameters.gradients.items():
        theirs = P[name].grad if P[name].grad is not None else torch.zeros_like(P[name])
        close(gradient, theirs, 1e-3 * largest)  # a bias before batch norm has no gradient but rounding
    close(dX, X.grad, 1e-3 * largest)
    for name, kept in network.statistics.values.items():
        close(kept, S[name])


@pytest.mark.parametrize("seed", range(MODELS))
def test_a_random_model_has_the_gradients_of_autograd(seed):
    compare(random_case(seed))


def test_the_random_models_reach_the_whole_vocabulary():
    seen: set[str] = set()
    for seed in range(max(MODELS, 200)):
        case = random_case(seed)
        seen |= {case.objective.loss.name, "training" if case.mode.training else "evaluation"}
        for block in case.network.architecture.hidden:
            seen |= {"prelu" if block.activation is None else block.activation.name, f"norm {block.norm}"}
    norms = {f"norm {kind}" for kind in ("none", "batch", "layer", "rms")}
    assert seen >= {*ACTIVATIONS, "prelu", *LOSSES, *norms, "training", "evaluation"}


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize(
    ("loss", "soft", "one"),
    [
        *((LOSSES[name](), False, False) for name in LOSSES),
        (CrossEntropy(0.2), False, False),
        (CrossEntropy(0.2), True, False),
        (Bce(3.0), False, True),
        (Focal(0.0), False, False),
        (Focal(1.5), False, True),
        (Quantile((0.05, 0.5, 0.95)), False, False),
    ],
    ids=str,
)
def test_every_loss_with_row_weights(loss, soft, one, weighted):
    rng = np.random.default_rng(0)
    Y = targets(loss, 6, rng, soft=soft, one=one)
    width = 1 if one else 4 if loss.classifies else loss.outputs(2)
    objective = make_objective(Architecture(3, width, (Block(5, ACTIVATIONS["tanh"]()),)), loss, 6)
    w = rng.random(6) + 0.1 if weighted else None
    compare(Case(objective, rng.standard_normal((6, 3)), Y, w, EVALUATE))


@pytest.mark.parametrize("norm_first", [True, False])
def test_batch_norm_over_steps_then_evaluated(norm_first):
    """Running statistics after five training passes, and gradients in evaluation mode with them."""
    block = Block(5, ACTIVATIONS["relu"](), norm="batch", norm_first=norm_first)
    objective = make_objective(Architecture(3, 4, (block, block)), CrossEntropy(), 7)
    rng = np.random.default_rng(1)
    for step in range(5):
        X, Y = rng.standard_normal((7, 3)) * (step + 1), rng.integers(0, 4, 7)
        compare(Case(objective, X, Y, None, Pass(training=True, step=step)))
    compare(Case(objective, X, Y, None, EVALUATE))
