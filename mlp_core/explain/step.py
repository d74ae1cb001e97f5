"""One training step of a model, from its rows to its new parameters, as equations in the order they are computed."""

from __future__ import annotations

from collections.abc import Iterator

from mlp_core.explain.formula import Equation, Explanation, Line, Note, Section, fill, matrices
from mlp_core.explain.layers import ONLY, Chain
from mlp_core.explain.losses import loss_formula
from mlp_core.explain.optimizers_schedules import fade, plateau, rate, update
from mlp_core.explain.start import start
from mlp_core.explain.use import use
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.layers import Dense, Dropout, Layer, PRelu, Residual
from mlp_core.nn.network import Network
from mlp_core.nn.norm import Norm
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.nn.parametric import Parametric
from mlp_core.nn.step_options import stages
from mlp_core.training.experiment import Experiment


def explain(experiment: Experiment, rows: int | None = None) -> Explanation:
    """The formulas of a model's training step with `rows` rows, by default those of a whole batch, and of its use."""
    sections = tuple(_Step(experiment, rows).sections())
    return Explanation(_title(experiment), (*sections, *use(experiment.model, sections)))


def _title(experiment: Experiment) -> str:
    network = experiment.model.network
    widths = [network.architecture.inputs, *(block.units for block in network.architecture.hidden)]
    shape = " -> ".join(map(str, [*widths, network.architecture.outputs]))
    return f"{experiment.config.name}: {shape}, {network.parameters.size:,} parameters"


def letters(layer: Layer, number: int) -> dict[str, str]:
    """The symbol of each trained tensor of a layer that belongs to the matrix product `number`, by its stored name."""
    kinds = {Dense: ("W", "b"), Norm: ("gamma", "beta"), PRelu: ("alpha",), Parametric: ("alpha",)}
    kinds |= {NumericEmbedding: ("F", "Q", "V", "K"), InputScale: ("I",)}
    names = [spec.name for spec in layer.specs()]
    if isinstance(layer, Embedding):
        return {name: f"E[{k}]" for k, name in enumerate(names, 1)}
    return {name: f"{letter}[{number}]" for letter, name in zip(kinds.get(type(layer), ()), names, strict=False)}


def groups(network: Network, rows: int, fading: bool = False) -> list[Chain]:
    """The layers of a network in groups: those before the first matrix product, if there are any, then each from one
    product to the next; symbols are filled in later."""
    found: list[Chain] = []
    known: set[str] = set()
    for layer in network.layers:
        group = list(layer.inner) if isinstance(layer, Residual) else [layer]
        product = isinstance(group[0], Dense)
        if product or not found:
            number = found[-1].l if found else 0
            found.append(
                Chain(number + 1 if product else number, rows, "", group, isinstance(layer, Residual), known, fading)
            )
        else:
            found[-1].layers += group
    return found


def _where(chain: Chain) -> str:
    """What a group of layers is called."""
    return f"Layer {chain.l}" if chain.l else "Inputs"


def chains(network: Network, rows: int) -> list[Chain]:
    """Those that belong to a matrix product."""
    return [group for group in groups(network, rows) if group.l]


def numbered(network: Network) -> list[tuple[Layer, int]]:
    """Every layer with the number of the matrix product that it belongs to, 0 before the first."""
    return [(layer, group.l) for group in groups(network, 1) for layer in group.layers]


def front(network: Network) -> list[Layer]:
    """The layers before the first matrix product."""
    return [layer for layer, number in numbered(network) if not number]


def symbols(network: Network) -> dict[str, str]:
    """The symbol of each trained tensor by its stored name: 0.weight is W[1]."""
    return {name: symbol for layer, number in numbered(network) for name, symbol in letters(layer, number).items()}


class _Step:
    """The parts of one step's explanation."""

    def __init__(self, experiment: Experiment, rows: int | None) -> None:
        self.experiment, self.config = experiment, experiment.config
        self.trainer, self.model = experiment.trainer, experiment.model
        self.network, self.loss = experiment.model.network, experiment.model.objective.loss
        self.limits = self.trainer.job.limits
        self.rows = rows or self.trainer.job.batches.size
        self.fading = self.trainer.job.dropout.name != "constant"
        self.fades_decay = self.trainer.job.decay.name != "constant"
        self.groups = groups(self.network, self.rows, self.fading)
        self.products = self.groups[-1].l
        self.tables = len(self.network.architecture.embeddings)
        self.weighted = self.trainer.job.batches.w is not None

    def sections(self) -> Iterator[Section]:
        yield Section("Data", tuple(self._data()))
        symbol = "X"
        for chain in self.groups:
            chain.source = symbol
            lines = [*self._parameters(chain), *chain.forward()]
            symbol = chain.output
            more = f": {self._describe(chain)}" if chain.l else ""
            yield Section(f"{_where(chain)}, forward{more}", tuple(lines))
        yield Section(f"Loss: {self.loss.name}", tuple(self._loss(symbol)))
        error = f"Delta[{self.products}]"
        for chain in reversed(self.groups):
            lines, error = chain.backward(error)
            if chain.l and chain.source == "X":
                lines.append(Equation("dX", error, (self.rows, self.network.architecture.inputs), ONLY))
            yield Section(f"{_where(chain)}, backward", tuple(lines))
        yield Section("Gradient", tuple(self._gradient()))
        yield Section(f"Learning rate: {self.config.schedule.name}", tuple(self._rate()))
        yield Section(f"Update: {self.config.optimizer.name}", tuple(self._update()))
        after = tuple(self._after())
        if after:
            yield Section("After the update", after)
        if (drops := self.trainer.plateau) is not None:
            lines = plateau(drops.patience, drops.factor, drops.watch.smaller)
            yield Section("After an epoch: plateau", tuple(lines))

    def _data(self) -> Iterator[Line]:
        b, n, c = self.rows, self.network.architecture.inputs, self.network.architecture.outputs
        regular, task = self.config.regularization, self.model.task
        scale = self.config.preprocess.numeric.scale
        yield Note(f"Its stages: {', '.join(stages(self.limits, self.model.objective.penalty.counts))}.")
        yield Note(f"X [{b}, {n}] are {b} rows of inputs, prepared on the training rows (scale: {scale}).")
        if task.kind == "regression":
            scaled = ", scaled over the training rows" if self.model.target else ""
            yield Note(f"Y [{b}, {task.outputs}] are their targets{scaled}.")
        elif c == 1:
            yield Note(f"Y [{b}, 1] is 1 for class {task.classes[1]}, 0 for {task.classes[0]}.")
        else:
            what = "1 where a label holds" if task.kind == "multilabel" else "one-hot: 1 in the column of the class"
            yield Note(f"Y [{b}, {c}] is {what}, else 0.")
        if self.weighted:
            yield Note(f"w [{b}, 1] are the weights of the rows, those of their classes included.")
        yield from start(self.network.architecture)
        if self.fading:
            yield from fade("fade_p", self.trainer.job.dropout)
        if regular.mixup:
            yield Note(
                f"Mixup: share is drawn from Beta({regular.mixup:g}, {regular.mixup:g}), other is a permutation."
            )
            for name in ("X", "Y", "w") if self.weighted else ("X", "Y"):
                yield Equation(name, f"share * {name} + (1 - share) * {name}[other]")
        if regular.input_noise:
            but = ", but 0 in the columns of codes" if self.tables else ""
            yield Note(f"Input noise: every entry of noise is drawn from N(0, 1){but}.")
            yield Equation("X", fill("X + sigma * noise", sigma=regular.input_noise), (b, n))

    def _parameters(self, chain: Chain) -> Iterator[Line]:
        """Which stored tensor each letter stands for."""
        for layer in chain.layers:
            symbols = letters(layer, chain.l)
            words = [f"{symbols[s.name]} {list(s.shape)} is {s.name}" for s in layer.specs() if s.name in symbols]
            if words:
                yield Note(", ".join(words) + ".")

    def _describe(self, chain: Chain) -> str:
        dense = chain.layers[0]
        assert isinstance(dense, Dense)
        words = [f"{dense.inputs} -> {dense.units}"]
        for layer in chain.layers:
            match layer:
                case Norm():
                    words.append(f"{layer.kind} norm")
                case PRelu():
                    words.append("prelu")
                case Parametric():
                    words.append(f"parametric {layer.f.name}")
                case Dropout():
                    words.append(f"dropout {layer.p:g}")
                case _ if getattr(layer, "f", None) is not None:
                    words.append(layer.f.name)  # type: ignore[attr-defined]
        return ", ".join([*words, "residual"] if chain.residual else words)

    def _loss(self, Z: str) -> Iterator[Line]:
        formula, b = loss_formula(self.loss, self.network.architecture.outputs), self.rows
        if formula.note:
            yield Note(formula.note[:1].upper() + formula.note[1:] + ".")
        shapes = {"rows": (b, 1), "P": (b, self.network.architecture.outputs)}
        for target, value in formula.lines:
            yield Equation(target, fill(value, Z=Z), shapes.get(target))
        many = self.limits.accumulate
        rows = "w * rows" if self.weighted else "rows"
        total = "total" if self.weighted or many > 1 else str(b)
        if many > 1:
            counted = "the sum of w over" if self.weighted else "the number of rows in"
            yield Note(f"total is {counted} all {many} batches of a step.")
        elif self.weighted:
            yield Equation("total", "where(sum(w) > 0, sum(w), 1)", ())
        yield Equation("loss", fill("sum(rows) / total", rows=rows, total=total), ())
        if many == 1:
            yield from self._penalties()
        slope = fill(formula.slope, Z=Z)
        value = fill("w * slope / total" if self.weighted else "slope / total", slope=slope, total=total)
        yield Equation(f"Delta[{self.products}]", value, (b, self.network.architecture.outputs))

    def _penalties(self) -> Iterator[Line]:
        p = self.model.objective.penalty
        for strength, value in ((0.5 * p.l2, "sum(W[l]**2)"), (p.l1, "sum(abs(W[l]))")):
            if strength:
                if p.bias:
                    term = fill(f"loss + strength * {value.replace('W[l]', 'theta')}", strength=strength)
                    yield Equation("loss", term, (), "theta: all parameters")
                else:
                    term = fill(f"loss + strength * {value}", strength=strength)
                    yield from self._each_matrix("loss", term, ())

    def _each_matrix(self, target: str, value: str, shape: tuple[int, ...] | None = None, note: str = "") -> list[Line]:
        return matrices(self.products, self.tables, Equation(target, value, shape, note))

    def _gradient(self) -> Iterator[Line]:
        """From the gradients of the layers to the vector that the optimizer gets."""
        if self.limits.accumulate > 1:
            yield Note(f"The losses and the gradients of {self.limits.accumulate} batches are added up, then:")
            yield from self._penalties()
        p, size = self.model.objective.penalty, self.network.parameters.size
        if not p.bias:
            for strength, term in ((p.l2, "W[l]"), (p.l1, "sign(W[l])")):
                if strength:
                    value = fill(f"dW[l] + strength * {term}", strength=strength)
                    yield from self._each_matrix("dW[l]", value)
        yield Note(
            "All parameters are one vector theta, all gradients one vector g; W[l], dW[l], ... are parts of them."
        )
        names = symbols(self.network)
        yield Equation("g", f"vector({', '.join(f'd{names[s.name]}' for s in self.network.parameters.specs)})", (size,))
        if p.bias:
            for strength, term in ((p.l2, "theta"), (p.l1, "sign(theta)")):
                if strength:
                    yield Equation("g", fill(f"g + strength * {term}", strength=strength), (size,))
        if self.limits.clip_value is not None:
            yield Equation("g", fill("clip(g, -c, c)", c=self.limits.clip_value), (size,), "clip_value")
        if self.limits.clip_norm is not None:
            yield Equation("g", fill("g * minimum(1, c / norm(g))", c=self.limits.clip_norm), (size,), "clip_norm")

    def _rate(self) -> list[Line]:
        decay = self.trainer.job.decay
        lines = rate(self.config.schedule.name, self.trainer.schedule)
        return lines if decay.name == "constant" else [*lines, *fade("fade_w", decay)]

    def _update(self) -> Iterator[Line]:
        optimizer, values, size = self.trainer.job.optimizer, self.config.optimizer, self.network.parameters.size
        yield from self._groups()
        eta = "eta" if self._scaled() else "lr"
        if eta == "eta":
            yield Equation("eta", "lr * lr_scale", (size,))
        decay: tuple[Line, ...] = ()
        if self._own_decay():
            faded = "fade_w * decay" if self.fades_decay else "decay"
            decay = (Equation("theta", f"(1 - {eta} * {faded}) * theta", (size,), "weight decay"),)
        elif values.weight_decay and eta == "lr":  # else no matrix moves
            faded = fill("fade_w * share" if self.fades_decay else "share", share=values.weight_decay)
            decay = tuple(self._each_matrix("W[l]", fill("(1 - lr * decay) * W[l]", lr=eta, decay=faded)))
        hidden = self.products - 1
        yield from update(values.name, optimizer, eta, decay, size, hidden, self.tables, self.fades_decay)

    def _scaled(self) -> bool:
        """Whether parameter groups change the learning rate, or freeze something."""
        segments = self.trainer.job.optimizer.segments
        covered = sum(segment.part.stop - segment.part.start for segment in segments)
        return covered < self.network.parameters.size or any(segment.lr_scale != 1 for segment in segments)

    def _own_decay(self) -> bool:
        """Whether weight decay is anything but one number for all weight matrices."""
        values = self.config.optimizer
        grouped = self._scaled() or any(group.weight_decay is not None for group in values.groups)
        lbfgs = values.name == "lbfgs" and values.weight_decay > 0
        return (grouped or lbfgs) and any(segment.weight_decay for segment in self.trainer.job.optimizer.segments)

    def _groups(self) -> Iterator[Line]:
        """The settings of each parameter, where they are not the same for all."""
        if not (self._scaled() or self._own_decay()):
            return
        parameters = self.network.parameters
        for spec in parameters.specs:
            start = parameters.slices[spec.name].start
            inside = (s for s in self.trainer.job.optimizer.segments if s.part.start <= start < s.part.stop)
            segment = next(inside, None)
            if segment is None:
                yield Note(f"{spec.name} is frozen (lr_scale 0).")
            else:
                yield Note(f"{spec.name}: lr_scale {segment.lr_scale:g}, decay {segment.weight_decay:g}.")

    def _after(self) -> Iterator[Line]:
        if self.limits.max_norm is not None:
            value = fill("W[l] * minimum(1, c / sqrt(sum_cols(W[l]**2)))", c=self.limits.max_norm)
            yield from self._each_matrix("W[l]", value, None, "max_norm")
        if self.limits.ema is not None:
            yield Note("The average of theta, which is used for evaluation; t counts the steps from 1:")
            yield Equation("keep", fill("minimum(e, (1 + t) / (10 + t))", e=self.limits.ema), ())
            yield Equation("average", "average + (1 - keep) * (theta - average)", (self.network.parameters.size,))
