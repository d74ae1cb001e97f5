"""The first weights on paper: drawn by the seed as the papers and the documentation say, and moved by training rows
where the config asks for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.explain.formula import Equation, Line, Section
from mlp_core.explain.use import MASKED
from mlp_core.proof import draws
from mlp_core.proof.asked import activation
from mlp_core.proof.compare import Tally
from mlp_core.proof.machine import Machine
from mlp_core.proof.paper import Paper, Walk
from mlp_core.proof.state import State

HE = ("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "mish", "softplus", "hard_swish", "prelu")
LECUN = ("selu",)
"""Activations by the variance that keeps signals alive behind them; glorot for all others."""
VARIANCES = {"he": lambda n, m: 2 / n, "glorot": lambda n, m: 2 / (n + m), "lecun": lambda n, m: 1 / n}
"""He et al. 2015; Glorot and Bengio 2010; LeCun et al. 1998: by the inputs n and the units m."""
ROWS, MIXED, STILL = 1024, 5, 1e-6
"""Training rows that are looked at; rows that a bias is made of; what counts as no deviation of a unit."""
WITHIN = {"float64": 1e-9, "float32": 2e-5}


def prove_start(tally: Tally, paper: Paper) -> None:
    """Every weight before the first step, against those drawn here."""
    experiment, network = paper.experiment, paper.network
    dtype = np.dtype(network.dtype)
    found = State.of(experiment.trainer.job)
    first = found.theta.astype(np.float64)
    for letter, number, place, shape in paper.parts:
        first[place] = np.ravel(_Start(paper).tensor(letter, number, shape))
    machine = Walk(paper, replace(found, theta=first.astype(dtype))).machine
    model = experiment.config.model
    if model.init_rescale or model.bias_init == "data":
        with np.errstate(all="ignore"):
            _look_at_rows(paper, machine)
    there = machine["theta"]
    for letter, number, place, _ in paper.parts:
        name = paper.symbols[letter, number]
        here, right = found.theta[place], there[place]
        least = 1.0 if letter == "b" else 1e-6  # biases are means of numbers of about 1
        scale = max(float(np.abs(right).max(initial=0)), least)
        if np.isfinite(right).all():
            tally.entries(f"{name} at first", here, right, WITHIN[dtype.name], scale)
        else:
            tally.add(len(here), 0.0)


class _Start:
    """The tensors as they are drawn."""

    def __init__(self, paper: Paper) -> None:
        self.paper, self.config = paper, paper.config
        self.model, self.seed = paper.config.model, paper.config.seed
        self.last = len(self.model.layers()) + 1

    def tensor(self, letter: str, number: int, shape: tuple[int, ...]) -> Any:
        """The first values of a tensor by its letter and the number of its layer."""
        index = int(self.paper.symbols[letter, number].split(".")[0])
        if letter in "FQVK":
            return self._waves(index)[letter]
        match letter:
            case "W":
                return self._weights(number, index, (shape[0], shape[1]))
            case "b" if number == self.last:
                return self._output_bias(shape[0]) if self.model.output_bias == "prior" else np.zeros(shape)
            case "b":
                draw = draws.philox(self.seed, "init", index, 1)
                return draw.standard_normal(shape) if self.model.bias_init == "normal" else np.zeros(shape)
            case "E":
                draw = draws.philox(self.seed, "init", index, number - 1)
                return 0.1 * draw.standard_normal(shape)
            case "alpha":
                name, alpha = activation(self.model.layers()[number - 1])
                return np.full(shape, alpha if name == "prelu" else 1.0)
            case "beta":
                return np.zeros(shape)
        return np.ones(shape)  # gamma, I

    def _weights(self, number: int, index: int, shape: tuple[int, int]) -> Any:
        f: str = "identity"
        choice: Any = self.model.output_init
        if number < self.last:
            layer = self.model.layers()[number - 1]
            f, choice = activation(layer)[0], layer.init
        name = choice if isinstance(choice, str) else choice.name
        scale = None if isinstance(choice, str) else choice.std if choice.std is not None else choice.scale
        if name == "auto":
            name = "he_normal" if f in HE else "lecun_normal" if f in LECUN else "glorot_uniform"
        draw, ntk = draws.philox(self.seed, "init", index), self.model.parametrization == "ntk"
        return _drawn(name, shape, draw, scale, ntk)

    def _waves(self, index: int) -> dict[str, Any]:
        """u ~ N(0, sigma^2), c ~ U(-pi, pi), V and d ~ U(-1 / sqrt(f), 1 / sqrt(f)), one after the other."""
        draw, plan = draws.philox(self.seed, "init", index), self.model.periodic
        assert plan is not None
        shapes = {letter: shape for letter, _, _, shape in self.paper.parts if letter in "FQVK"}
        found = {"F": plan.sigma * draw.standard_normal(shapes["F"])}
        for letter, reach in (("Q", math.pi), ("V", plan.frequencies**-0.5), ("K", plan.frequencies**-0.5)):
            found[letter] = reach * (2 * draw.random(shapes[letter]) - 1)
        return found

    def _output_bias(self, outputs: int) -> Any:
        """What all training rows have in common, as logits."""
        table, loss = self.paper.table, self.config.loss.name
        Y = np.asarray(table.Y, np.float64)
        w = np.ones(len(Y)) if table.w is None else table.w
        if self.paper.experiment.model.task.kind != "regression":
            if Y.ndim == 1:
                Y = np.eye(outputs)[table.Y] if outputs > 1 else Y[:, None]
                if outputs > 1 and loss in ("cross_entropy", "focal"):
                    counts = w @ Y + 0.5
                    return np.log(counts / counts.sum())
            yes, no = w @ Y + 0.5, w @ (1 - Y) + 0.5
            return np.log(yes / no)
        mean = (w @ Y) / w.sum() if w.sum() else Y.mean(axis=0)
        match loss:
            case "mae":
                return np.median(Y, axis=0)
            case "quantile":
                levels = self.config.loss.quantiles
                return np.array([np.quantile(Y[:, j], level) for j in range(Y.shape[1]) for level in levels])
            case "poisson":
                return np.log(np.maximum(mean, 1e-6))
            case "gaussian_nll":
                return np.concatenate([mean, np.log(np.maximum((w @ (Y - mean) ** 2) / w.sum(), 1e-12))])
        return mean


def _drawn(name: str, shape: tuple[int, int], draw: np.random.Generator, scale: float | None, ntk: bool) -> Any:
    """Weights [units, inputs] by the name of how they are drawn; a uniform on [-r, r] has the variance r^2 / 3."""
    units, inputs = shape
    factor = math.sqrt(inputs) if ntk and name not in ("normal", "uniform") else 1.0
    if name == "zeros":
        return np.zeros(shape)
    if name == "normal":
        return (scale or (1.0 if ntk else 0.01)) * draw.standard_normal(shape)
    if name == "uniform":
        return (scale or (1.0 if ntk else 0.05)) * (2 * draw.random(shape) - 1)
    if name == "orthogonal":
        Q, R = np.linalg.qr(draw.standard_normal((max(shape), min(shape))))
        Q = Q * np.sign(np.diag(R))
        return factor * (scale or 1.0) * (Q if units >= inputs else Q.T)
    family, _, distribution = name.partition("_")
    variance = VARIANCES[family](inputs, units)
    if distribution == "normal":
        return factor * math.sqrt(variance) * draw.standard_normal(shape)
    return factor * math.sqrt(3 * variance) * (2 * draw.random(shape) - 1)


def _look_at_rows(paper: Paper, machine: Machine) -> None:
    """Layer by layer from the inputs: rows of W over the deviation of their z, biases minus a mean of z."""
    split, backend, seed = paper.experiment.splits["train"], paper.network.backend, paper.config.seed
    count = len(split.X)
    chosen = draws.philox(seed, "start").choice(count, min(count, ROWS), replace=False, shuffle=False)
    rows = np.sort(chosen)
    machine["X"] = np.array(backend.to_host(split.X[backend.asarray(rows)]), np.float64)
    sections = [s for s in paper.text(len(rows)).sections if ", forward" in s.title]
    last = sum(section.title.startswith("Layer") for section in sections)
    for section in sections:
        lines = list(_whole(section))
        if section.title.startswith("Layer"):
            number = int(section.title.split()[1].rstrip(","))
            at = next(i for i, line in enumerate(lines) if line.target == f"Z[{number}]")
            machine.run(lines[: at + 1])
            _layer(paper, machine, number, number == last)
            lines = lines[at:]
        machine.run(lines)


def _whole(section: Section) -> Iterator[Line]:
    """The lines of a section with nothing left out at random, and no statistics kept."""
    for line in section.lines:
        if isinstance(line, Equation) and not line.target.startswith("running_"):
            masked = MASKED.match(line.value)
            yield replace(line, value=masked[1]) if masked else line


def _layer(paper: Paper, machine: Machine, number: int, last: bool) -> None:
    model, W = paper.config.model, machine["W"][number]
    b = machine["b"].get(number) if "b" in machine else None
    Z = np.array(machine["Z"][number]) - (0 if b is None else b)
    if model.init_rescale:
        deviation = Z.std(axis=0)
        moves = deviation > STILL * np.maximum(np.abs(Z).max(axis=0), 1.0 if number > 1 else 0.0)
        W[moves] /= deviation[moves, None]
        Z[:, moves] /= deviation[moves]
    if model.bias_init == "data" and b is not None and not last:
        index = int(paper.symbols["W", number].split(".")[0])
        draw = draws.philox(paper.config.seed, "start", index)
        rows = draw.integers(0, len(Z), (len(W), MIXED))
        shares = draw.exponential(size=rows.shape)
        for unit in range(len(W)):
            b[unit] = -math.fsum(shares[unit] * Z[rows[unit], unit]) / math.fsum(shares[unit])
