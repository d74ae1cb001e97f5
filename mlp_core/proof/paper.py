"""Training on paper: the steps of a run, carried out by the equations that `explain` prints, in float64.

Nothing here calls the engine. From it come the state that a stretch of steps begins with, the rows of the data as they
are before anybody deals them, and the equations.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.explain import Explanation, Note, explain
from mlp_core.explain.step import numbered, symbols
from mlp_core.nn.layers import Dropout
from mlp_core.nn.network import Network
from mlp_core.nn.norm import Norm
from mlp_core.proof import draws
from mlp_core.proof.machine import Machine, Part
from mlp_core.proof.rows import Table
from mlp_core.proof.state import State
from mlp_core.training.experiment import Experiment

FORWARD = ("Data", "Inputs", "Layer", "Loss")
HISTORY = 10  # steps that L-BFGS remembers (Liu and Nocedal 1989 use 3 to 20)
CURVATURE = 1e-10  # the least y.s of a pair that it keeps, as PyTorch has it


@dataclass
class Noise:
    """Errors of rounding, on purpose: weights and inputs are multiplied by 1 + size * N(0, 1), and to a gradient, whose
    sums may cancel, so much of its largest entry is added, or of the largest term of the output bias' sum."""

    size: float
    rng: np.random.Generator

    def on(self, array: Any) -> Any:
        return array * (1 + self.size * self.rng.standard_normal(array.shape))

    def beside(self, gradient: Any, Delta: Any) -> Any:
        with np.errstate(all="ignore"):
            largest = max(np.abs(gradient).max(), np.abs(Delta).max())
            return gradient + self.size * largest * self.rng.standard_normal(gradient.shape)


@dataclass
class Paper:
    """The equations of an experiment, with the rows that it trains on."""

    experiment: Experiment
    _texts: dict[int, Explanation] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        return self.experiment.config

    @property
    def network(self) -> Network:
        return self.experiment.model.network

    @functools.cached_property
    def table(self) -> Table:
        return Table(self.experiment, self.experiment.splits["train"])

    def text(self, rows: int) -> Explanation:
        """The explanation of a step on batches of so many rows."""
        if rows not in self._texts:
            self._texts[rows] = explain(self.experiment, rows)
        return self._texts[rows]

    @functools.cached_property
    def symbols(self) -> dict[tuple[str, int], str]:
        """The tensor that a letter with its number stands for: (W, 1) is 0.weight."""
        found = {}
        for name, symbol in symbols(self.network).items():
            letter, index = symbol[:-1].split("[")
            found[letter, int(index)] = name
        return found

    @functools.cached_property
    def parts(self) -> list[Part]:
        """Where each letter is in the parameter vector."""
        parameters = self.network.parameters
        shapes = {spec.name: spec.shape for spec in parameters.specs}
        return [
            (letter, number, parameters.slices[name], shapes[name]) for (letter, number), name in self.symbols.items()
        ]

    @functools.cached_property
    def dropouts(self) -> dict[int, tuple[int, int, float]]:
        """For the mask M[l]: the layer's place in the network, its units, its p."""
        layers = numbered(self.network)
        return {number: (one.index, one.units, one.p) for one, number in layers if isinstance(one, Dropout)}

    @functools.cached_property
    def norms(self) -> dict[int, tuple[slice, slice]]:
        """For the running statistics of layer l: where the mean and the variance are among them."""
        slices = self.network.statistics.slices
        return {
            number: (slices[f"{layer.index}.running_mean"], slices[f"{layer.index}.running_var"])
            for layer, number in numbered(self.network)
            if isinstance(layer, Norm) and layer.kind == "batch"
        }

    def said(self, pattern: str) -> list[tuple[str, ...]]:
        """What the sentences of the explanation say, where they say it in these words."""
        sections = self.text(self.table.size).sections
        words = [line.words for section in sections for line in section.lines if isinstance(line, Note)]
        return [match.groups() for text in words for match in re.finditer(pattern, text)]

    @functools.cached_property
    def settings(self) -> tuple[Any, Any, Any]:
        """lr_scale, decay, and 0 where a parameter is frozen, for each parameter, as the explanation says."""
        parameters = self.network.parameters
        scale, decay, moving = np.ones(parameters.size), np.zeros(parameters.size), np.ones(parameters.size)
        for name, own_scale, own_decay in self.said(r"(\S+): lr_scale (\S+), decay (\S+)\."):
            scale[parameters.slices[name]], decay[parameters.slices[name]] = float(own_scale), float(own_decay)
        for (name,) in self.said(r"(\S+) is frozen \(lr_scale 0\)"):
            scale[parameters.slices[name]] = moving[parameters.slices[name]] = 0
        return scale, decay, moving


class Walk:
    """Steps on paper, one after the other, from a state on. `losses` are those that training must report, with the
    weight of their rows; `noise` makes it a walk beside the right one, to see how much rounding matters. `doubt` says
    that rounding may decide what L-BFGS remembers."""

    def __init__(self, paper: Paper, state: State, noise: Noise | None = None, dtype: Any = np.float64) -> None:
        self.paper, self.noise, self.dtype = paper, noise, np.dtype(dtype)
        self.losses: list[tuple[float, float]] = []
        self.doubt = False
        theta = self._rounded(state.theta)
        self.machine = machine = Machine(theta, paper.parts)
        self._start = state
        rule = paper.config.optimizer.name
        scale, decay, moving = paper.settings
        machine |= {"lr_scale": scale, "decay": decay, "moving": moving, "t": state.t}
        machine["average"] = None if state.average is None else state.average.astype(self.dtype)
        for number, (mean, variance) in paper.norms.items():
            for name, place in (("running_mean", mean), ("running_var", variance)):
                machine.setdefault(name, {})[number] = state.statistics[place].astype(self.dtype)[None]
        self._take_slots(rule, state)

    def _rounded(self, array: Any) -> Any:
        array = np.array(array, np.float64)
        return (array if self.noise is None else self.noise.on(array)).astype(self.dtype)

    def _take_slots(self, rule: str, state: State) -> None:
        machine, slots = self.machine, {name: vector.astype(self.dtype) for name, vector in state.slots.items()}
        if rule == "lbfgs":
            self._take_pairs(slots)
            return
        if rule == "muon":
            momentum, machine["B"], machine["S"] = slots["m"], {}, {}
            for letter, number, place, shape in self.paper.parts:
                if letter in ("W", "E"):
                    machine["B" if letter == "W" else "S"][number] = momentum[place].reshape(shape)
            slots = {name: vector[machine.free] for name, vector in slots.items()}
        if rule == "nadam":
            machine["product"] = self._nadam_product(state.t)
        for name, vector in slots.items():
            machine[name] = vector

    def _nadam_product(self, t: int) -> float:
        """The product of mu(1) .. mu(t), by the equation of mu."""
        lines = self.paper.text(self.paper.table.size).lines("Update")
        self.machine.run(line for line in lines if line.target in ("beta1", "mu(i)"))
        product = 1.0
        for i in range(1, t + 1):
            product *= float(self.machine["mu"](i))
            if product == 0:
                break
        return product

    def _take_pairs(self, slots: dict[str, Any]) -> None:
        pairs = [(slots[f"s{i}"], slots[f"y{i}"]) for i in range(HISTORY)]
        pairs = [(s, y) for s, y in pairs if s @ y > 0]
        self.machine |= {"s": [s for s, _ in pairs], "y": [y for _, y in pairs], "curvature": 1.0}
        if pairs:
            s, y = pairs[-1]
            self.machine["curvature"] = (s @ y) / (y @ y)
        self._moved, self._before = slots["step"], slots["previous"]

    def step(self, epoch: int, position: int, step: int, plateau: float = 1.0) -> float:
        """Step `step` of the run (from 0), number `position` of its epoch; gives its learning rate."""
        machine, table, many = self.machine, self.paper.table, self.paper.table.many
        batches = table.step(epoch, position)
        weights = [table.weight(rows) for rows in batches]
        total = sum(weights)
        machine |= {"step": step, "t": machine["t"] + 1, "total": total or 1.0, "plateau": plateau}
        sums: dict[tuple[str, int], Any] = {}
        machine["losses"] = 0.0
        for i, rows in enumerate(batches):
            text = self.paper.text(len(rows))
            self._load(rows, step * many + i)
            self._run(text, *FORWARD)
            machine["losses"] = machine["losses"] + machine["loss"]
            for letter, number, *_ in self.paper.parts if many > 1 else ():
                sums[letter, number] = sums.get((letter, number), 0.0) + machine[f"d{letter}"][number]
        for (letter, number), value in sums.items():
            machine[f"d{letter}"][number] = value
        machine["loss"] = machine["losses"]
        optimizer = self.paper.config.optimizer
        if self.noise is not None and (optimizer.clip_value or optimizer.clip_norm):
            self._disturb(self.noise)
        self._run(text, "Gradient", "Learning")
        if self.noise is not None:
            machine["g"] = self.noise.beside(machine["g"], machine["Delta"][max(machine["Delta"])])
        self.losses.append((float(machine["loss"]), float(total)))
        if optimizer.name == "lbfgs":
            self._run_lbfgs(text)
        else:
            self._run(text, "Update")
        self._run(text, "After the update")
        return float(machine["lr"])

    def _disturb(self, noise: Noise) -> None:
        """Noise beside the gradient before it is cut: what cancels was as large as the largest entry then."""
        places = [(f"d{letter}", number) for letter, number, *_ in self.paper.parts]
        most = max(float(np.abs(self.machine[letter][number]).max(initial=0)) for letter, number in places)
        for letter, number in places:
            d = self.machine[letter][number]
            self.machine[letter][number] = d + noise.size * most * noise.rng.standard_normal(np.shape(d))

    def _run(self, text: Explanation, *titles: str) -> None:
        for line in text.lines(*titles):
            self.machine.run([line])
            if self.noise is not None and line.target.startswith(("Z[", "H[")):
                # of H errors are made; and f(Z) near 1 keeps few digits of 1 - f(Z) where it is rounded
                self.machine.store(line.target, self._rounded(self.machine.value(line.target)))

    def _run_lbfgs(self, text: Explanation) -> None:
        """The update of L-BFGS, which remembers the step before and what it did to the gradient."""
        machine = self.machine
        g = machine["g"] * machine["moving"]
        if machine["t"] > 1:
            s, y = self._moved, g - self._before
            self.doubt = True  # from here on directions are quotients of differences, of which float32 keeps few digits
            if s @ y > CURVATURE:
                machine["s"], machine["y"] = [*machine["s"], s][-HISTORY:], [*machine["y"], y][-HISTORY:]
                machine["curvature"] = (s @ y) / (y @ y)
        self._run(text, "Update")
        self._moved, self._before = machine["move"], g

    def _load(self, rows: Any, draw: int) -> None:
        """A batch, and the random numbers of a step on it."""
        paper, machine, config = self.paper, self.machine, self.paper.config
        X, Y, w = paper.table.batch(rows)
        machine |= {"X": self._rounded(X), "Y": Y, "w": w}
        if config.regularization.mixup:
            share, other = draws.mixup(config.seed, draw, config.regularization.mixup, len(rows))
            machine |= {"share": share, "other": other}
        if config.regularization.input_noise:
            codes = len(paper.network.architecture.embeddings)
            machine["noise"] = draws.noise(config.seed, draw, X.shape, codes).astype(self.dtype)
        left = 1.0 if config.schedule.dropout == "constant" else self._left()
        for number, (index, units, p) in paper.dropouts.items():
            p *= left
            mask = draws.mask(config.seed, draw, index, (len(rows), units), p).astype(self.dtype)
            machine.setdefault("M", {})[number] = mask

    def _left(self) -> float:
        """The share of dropout that its schedule leaves at this step, by its equations."""
        lines = self.paper.text(self.paper.table.size).lines("Data")
        self.machine.run(line for line in lines if line.target in ("x", "fade_p"))
        return float(self.machine["fade_p"])

    def state(self) -> State:
        """What training must have come to."""
        machine, paper = self.machine, self.paper
        statistics = np.zeros(paper.network.statistics.size)
        for number, (mean, variance) in paper.norms.items():
            statistics[mean] = np.ravel(machine["running_mean"][number])
            statistics[variance] = np.ravel(machine["running_var"][number])
        moving, start = machine["moving"] > 0, self._start.slots  # what belongs to frozen parameters stays as it was
        slots = {name: np.where(moving, vector, start[name]) for name, vector in self._slots().items()}
        return State(machine["theta"].copy(), statistics, slots, machine["average"], int(machine["t"]))

    def _slots(self) -> dict[str, Any]:
        """What the optimizer must keep."""
        machine, rule = self.machine, self.paper.config.optimizer.name
        if rule == "lbfgs":
            zero = np.zeros_like(machine["theta"])
            missing = [zero] * (HISTORY - len(machine["s"]))
            pairs = {"s": [*missing, *machine["s"]], "y": [*missing, *machine["y"]]}
            found = {f"{name}{i}": pairs[name][i] for name in pairs for i in range(HISTORY)}
            return found | {"step": self._moved, "previous": self._before}
        if rule != "muon":
            return {name: machine[name] for name in self._start.slots}
        found = {name: np.zeros(machine["theta"].size) for name in self._start.slots}
        for name in found:
            found[name][machine.free] = machine[name]
        for letter, number, place, _ in self.paper.parts:
            own = machine["B" if letter == "W" else "S"] if letter in ("W", "E") else {}
            if number in own and not np.isin(place.start, machine.free):  # hidden matrices
                found["m"][place] = np.ravel(own[number])
        return found
