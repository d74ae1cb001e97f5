"""Central differences of an objective along many single entries of a tensor, by stacked copies of its network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mlp_core.gradcheck.copies import Copies, copies, stacking
from mlp_core.gradcheck.kinks import sides
from mlp_core.nn.layers import Pass
from mlp_core.nn.network import Network
from mlp_core.nn.objective import Objective


class Differences:
    """Differences at the weights and inputs as they are when it is made. It has no weights of its own: to perturb those
    of `proof` and X is to perturb it."""

    def __init__(self, proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass) -> None:
        source, b = proof.network, len(X)
        rows = b * copies(source.architecture, b)
        network = Network(source.architecture, stacking(b), np.float64, rows, True, source.parameters)
        network.statistics.theta[...] = source.statistics.theta
        self.objective, self.copies = Objective(network, proof.loss, proof.penalty), Copies(network, X, mode)
        self.weights = np.full(b, 1 / b) if w is None else np.asarray(w, np.float64) / np.sum(w)
        self.Y = np.concatenate([Y] * self.copies.most)
        self.sides = [sides([layer]) for layer in network.layers]
        self.of_loss = proof.loss.kinks(self.copies.below[-1], Y).ravel()

    def of(self, name: str, values: np.ndarray, steps: Mapping[int, float]) -> dict[int, tuple[float, bool]]:
        """For entries k of a tensor, as one vector, with steps h: (f(x + h) - f(x - h)) / 2h, and whether any unit
        stands at x + h or x - h on another side of a kink than at x."""
        points = [(k, sign * h) for k, h in steps.items() for sign in (1, -1)]
        starts = range(0, len(points), self.copies.most)
        parts = [self._at(name, values, points[start : start + self.copies.most]) for start in starts]
        reached, crossed = (np.concatenate(part).reshape(-1, 2) for part in zip(*parts, strict=True))
        slopes = (reached[:, 0] - reached[:, 1]) / (2 * np.array(list(steps.values())))
        return {k: (float(slopes[i]), bool(crossed[i].any())) for i, k in enumerate(steps)}

    def _at(self, name: str, values: np.ndarray, points: Sequence[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
        """The objective with each of these changes to an entry, and whether it takes a unit across a kink."""
        place, network = self.copies.place(name), self.objective.network
        penalties, crossed = np.zeros(len(points)), np.zeros(len(points), bool)

        def perturbed() -> Iterator[None]:
            for i, (k, h) in enumerate(points):
                centre = values[k]
                values[k] = centre + h
                penalties[i] = self.objective.penalty.value(network)
                yield
                crossed[i] = self._crosses_zero(name, centre, centre + h)
                crossed[i] |= any(
                    (here != there).any()
                    for here, there in zip(self.sides[place], sides([network.layers[place]]), strict=True)
                )
                values[k] = centre

        Z = self.copies.logits(place, perturbed())
        rows, Z = len(points), Z.reshape(-1, Z.shape[2])
        Y = self.Y[: len(Z)]
        for here, layer in zip(self.sides[place + 1 :], self.copies.above(place), strict=True):
            for one, stack in zip(here, sides([layer]), strict=True):
                stacked = stack.reshape(len(one), rows, *one.shape[1:])
                crossed |= (stacked != one[:, None]).any(axis=(0, 2, 3))
        loss = self.objective.loss
        crossed |= (loss.kinks(Z, Y).reshape(rows, -1) != self.of_loss).any(axis=1)
        return loss.forward(np, Z, Y)[0].reshape(rows, -1) @ self.weights + penalties, crossed

    def _crosses_zero(self, name: str, one: float, other: float) -> bool:
        """Whether the penalty has a kink between two values of an entry."""
        penalty, parameters = self.objective.penalty, self.objective.network.parameters
        penalised = penalty.l1 and name in parameters.slices
        if not penalised or not (penalty.bias or parameters.slices[name].stop <= parameters.weights.stop):
            return False
        return bool(np.sign(one) != np.sign(other))
