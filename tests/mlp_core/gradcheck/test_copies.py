"""Stacked copies of a network, each perturbed within one layer, give what each would give by a pass of its own."""

from __future__ import annotations

import numpy as np
import pytest
from engine_models import random_case

from mlp_core.gradcheck.complex_step import STEP, ComplexStep, twin
from mlp_core.gradcheck.copies import CELLS, MOST, Copies, copies, stacking
from mlp_core.gradcheck.differences import Differences
from mlp_core.gradcheck.kinks import pieces
from mlp_core.nn.activations import Mish
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.layers import Pass
from mlp_core.nn.network import Architecture, Block, Network

SEEDS = range(300, 316)


def moved(values: np.ndarray, amounts: np.ndarray):
    """One entry after the other moved, and moved back."""
    for k, amount in enumerate(amounts):
        before = values[k]
        values[k] += amount
        yield
        values[k] = before


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_that_differ_in_one_layer(seed):
    case = random_case(seed)
    proof = twin(case.objective, len(case.X), np.float64)
    network = Network(
        proof.network.architecture, stacking(len(case.X)), np.float64, 5 * len(case.X), True, proof.network.parameters
    )
    network.statistics.theta[...] = proof.network.statistics.theta
    mode = Pass(case.mode.training, case.mode.seed, case.mode.step, record=False)
    many = Copies(network, case.X, mode)
    rng = np.random.default_rng(seed)
    for name, part in proof.network.parameters.slices.items():
        values = proof.network.parameters.theta[part]
        amounts = rng.standard_normal(min(5, len(values)))
        stacked = many.logits(many.place(name), moved(values, amounts)).copy()
        alone = [proof.network.forward(case.X, mode).copy() for _ in moved(values, amounts)]
        assert stacked.shape == (len(amounts), *alone[0].shape)
        np.testing.assert_allclose(stacked, alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_derivatives_of_stacked_copies_are_those_of_whole_passes(seed, halves, monkeypatch):
    if halves:
        monkeypatch.setattr("mlp_core.gradcheck.half_matrices.LARGE", 0)
    case = random_case(seed)
    mode = Pass(case.mode.training, case.mode.seed, case.mode.step, record=False)
    step = ComplexStep(twin(case.objective, len(case.X), np.float64), case.X, case.Y, case.w, mode)
    parameters = step.network.parameters
    for name, part in parameters.slices.items():
        directions = [((k, 1.0),) for k in range(part.stop - part.start)]
        stacked = step.parameters(name, directions)[0]
        imaginary, alone = parameters.open(name), []
        for k in range(len(directions)):
            imaginary[k] = STEP
            alone.append(step.losses(step.network.forward(step.X, mode)[None])[0])
            imaginary[k] = 0
        parameters.close(name)
        scale = max(1e-3, *np.abs(alone))
        np.testing.assert_allclose(stacked, alone, rtol=0, atol=1e-11 * scale)
        assert step.whole[0] == alone[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_differences_of_many_entries_are_those_of_one(seed):
    case = random_case(seed)
    mode = Pass(case.mode.training, case.mode.seed, case.mode.step, record=False)
    proof = twin(case.objective, len(case.X), np.float64)
    data = case.X, case.Y, case.w, mode
    differences, theta, h = Differences(proof, *data), proof.network.parameters.theta, 1e-2

    def at(values: np.ndarray, k: int, x: float) -> tuple[float, np.ndarray]:
        before, values[k] = values[k], x
        value = proof.value(*data)
        sides = pieces(proof.network, proof.loss, proof.penalty, proof.network.forward(case.X, mode), case.Y)
        values[k] = before
        return value, sides

    for name, part in [*proof.network.parameters.slices.items(), ("input", None)]:
        values = case.X.reshape(-1) if part is None else theta[part]
        here = at(values, 0, values[0])[1]
        for k, (slope, crossed) in differences.of(name, values, dict.fromkeys(range(min(7, len(values))), h)).items():
            up, down = at(values, k, values[k] + h), at(values, k, values[k] - h)
            assert slope == pytest.approx((up[0] - down[0]) / (2 * h), rel=1e-8, abs=1e-10)
            assert crossed == (not np.array_equal(up[1], here) or not np.array_equal(down[1], here))


def test_words_and_how_many_copies_there_are():
    """Learned vectors of words are a layer too; of wide networks few copies are made at once, but one at least."""
    block = Block(6, Mish(), dropout=0.5)
    architecture = Architecture(3, 2, (block, block), embeddings=((4, 2),))
    assert isinstance(architecture.layers()[0], Embedding)
    assert copies(architecture, 4) == MOST
    assert copies(Architecture(3, 2, (Block(CELLS // 8, Mish()),)), 4) == 2
    assert copies(Architecture(3, 2, (Block(CELLS, Mish()),)), 4) == 1
