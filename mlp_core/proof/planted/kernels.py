"""Slips in what the kernels are told: numbers of update rules, lists of instructions, steps that are made together."""

from __future__ import annotations

from mlp_core.backends import numbers
from mlp_core.backends.cpu import changes
from mlp_core.backends.cpu.changes import Changes
from mlp_core.backends.cpu.draws import Draws
from mlp_core.backends.cpu.row_pass import RowPass
from mlp_core.backends.cpu.step_program import StepProgram
from mlp_core.backends.cpu.steps import WholeSteps
from mlp_core.nn.embedding import Embedding
from mlp_core.proof.planted.slip import slips

NUMBERS = slips(
    (numbers.of_rule, "sgd", ("1 - lr * decay", "1 - decay"), ("1 - lr * decay", "1 + lr * decay")),
    (
        numbers._adam,
        "adam",
        ("lr / (1 - _power(beta1, t))", "lr"),
        ("1 / _root(1 - _power(beta2, t))", "1.0"),
        ("1 - beta2, eps", "1 - beta1, eps"),
        ("eps, 1 /", "1e-4, 1 /"),
        ("_power(beta1, t)", "_power(beta1, t + 1)"),
    ),
    (
        numbers._nadam,
        "nadam",
        ("beta1, t)", "beta1, t + 1)"),
        ("1 - beta1", "1"),
        ("1 / _root(1 - _power(beta2, t))", "1.0"),
    ),
    (numbers._radam, "radam", ("eps, rectified", "eps, 1.0"), ("beta2, t)", "beta2, t + 1)")),
    (
        numbers._adam,
        "amsgrad",
        ("lr / (1 - _power(beta1, t))", "lr"),
        ("1 / _root(1 - _power(beta2, t))", "1.0"),
        ("1 - beta2, eps", "beta2, eps"),
    ),
    (numbers._power, "adam", ("beta**step", "beta**t[0]")),
    (numbers.of_loss, "binary", ('"pos_weight", ', "")),
    (numbers.of_loss, "smoothing", ('"label_smoothing", ', "")),
    (numbers.of_activation, "leaky", ('"alpha", 0.0', '"", 0.0')),
)

STEPS = slips(
    (
        WholeSteps.take,
        "adam",
        ("1 + np.arange(count)", "1 + 0 * np.arange(count)"),
        ("optimizer.t += made", "optimizer.t += 1"),
    ),
    (WholeSteps._given, "dropout", ("range(step, step + ", "range(")),
    (WholeSteps.take, "mixup", (".blocks(rows, step)", ".blocks(rows, 0)")),
    (WholeSteps.take, "noise", (".blocks(rows, step)", ".blocks(rows, 0)")),
    (WholeSteps._weights, "weights", ("weight(epoch, index)", "weight(epoch, parts[0])")),
    (WholeSteps._given, "accumulate", ("i * limits.accumulate", "i")),
    (
        WholeSteps._given,
        "average",
        ("average_share(limits.ema, i)", "average_share(limits.ema, 0)"),
        ("average_share(limits.ema, i)", "1 - limits.ema"),
    ),
    (WholeSteps._given, "plain", ("weight or 1.0", "float(self._rows)")),
    (WholeSteps._weights, "accumulate", ("(position + count) * k", "(position + count) * k - 1")),
    (
        WholeSteps._numbers,
        "plain",
        ("[position * self._rows : last]", "[: last - position * self._rows]"),
        ("dealt(epoch)", "dealt(0)"),
    ),
)

PROGRAM = slips(
    (
        RowPass._draw,
        "dropout",
        ("self.seed, dropout.index", "self.seed, 0"),
        ("self.seed, ", "self.seed + 1, "),
        ("numbers(dropout.p)", "numbers(1 - dropout.p)"),
    ),
    (RowPass._draw, "accumulate", ("self.step, self.draw", "self.step, 0")),
    (RowPass._unit, "dropout", ("unit.factor, unit.p)", "unit.factor, 1 - unit.p)")),
    (
        RowPass._unit_gradient,
        "dropout",
        ("unit.factor, unit.p)", "unit.factor, 1 - unit.p)"),
        ("given, learned, drop)", "given, learned, None)"),
    ),
    (
        RowPass._unit_gradient,
        "plain",
        ('"bias", Delta, factor', '"bias", A, factor'),
        ('"weight", Delta, X', '"weight", Z, X'),
    ),
    (RowPass._unit, "ntk", ("unit.factor, unit.p)", "1.0, unit.p)")),
    (RowPass._unit_gradient, "ntk", ("unit.factor, unit.p)", "1.0, unit.p)"), ("factor=1 / dense.scale", "factor=1.0")),
    (RowPass._unit_gradient, "parametric", ('.alpha", "bias", Z', '.alpha", "bias", Delta')),
    (StepProgram._batch, "accumulate, noise", ("draws.normal[number]", "draws.normal[0]")),
    (
        StepProgram._batch,
        "accumulate",
        ("first = self._objective.network, number *", "first = self._objective.network, 0 *"),
    ),
    (StepProgram._batch, "noise", ("self._kept.numbers(self._augment.noise)", "self._kept.numbers(1.0)")),
    (StepProgram._batch, "accumulate", ("self._crew.terms[first:]", "self._crew.terms")),
    (Changes.penalties, "penalties", ("self._crew.terms[rows:]", "self._crew.terms")),
    (
        Changes.penalty_gradient,
        "penalties",
        ("not in self.penalised", "in self.penalised"),
        ("if name not in self.penalised:", "if name:"),
    ),
    (
        StepProgram._sums,
        "accumulate",
        (".penalty_gradient(tensor.name, whole) if first", ".penalty_gradient(tensor.name, whole) if True"),
        ("whole, grad, whole)", "grad, grad, whole)"),
    ),
    (StepProgram.passes, "accumulate", ("number == 0), MEET", "True), MEET")),
    (Changes.lengths, "clip", ("found += self._cut(grad)", "pass"), ("where += count", "where += 0")),
    (Changes._clip, "clip", ("grad, self._factors, 0", "grad, self._factors * 0 + 1, 0")),
    (Changes._cut, "clip", ("self._kept.numbers(largest)", "self._kept.numbers(2 * largest)")),
    (Changes._update, "groups", ("self.moves[name] * self._slots", "0 * self._slots")),
    (Changes._average, "average", ("others[-1], theta", "others[-1], others[0]")),
    (
        Changes._max_norm,
        "max norm",
        ("if longest is None or", "if longest is not None or"),
        ("self._kept.numbers(longest)", "self._kept.numbers(2 * longest)"),
    ),
    (changes.penalised, "penalties on all", ("spec.is_weight or penalty.bias", "spec.is_weight")),
    (StepProgram._gathers, "weights", ("(batches.w, w)", "(batches.Y.astype(w.dtype), w)")),
    (StepProgram._mixed, "mixup", ("draws.share[number]", "draws.share[number] - 8")),
    (
        StepProgram._mixed,
        "mixup, weights",
        ("mixed[0], mixed[1], None if w is None else mixed[2][:, 0]", "mixed[0], mixed[1], w"),
    ),
    (RowPass._residual, "residual", ('"add", X, ', '"add", A, ')),
    (RowPass._residual_gradient, "residual", ("dX, skip, dX)", "dX, dX, dX)")),
    (
        RowPass._norm,
        "batch norm",
        ("(layer.mean, layer.var)", "(layer.var, layer.mean)"),
        ("layer.eps, layer.momentum", "layer.momentum, layer.eps"),
        ("if self.record else", "if not self.record else"),
    ),
    (RowPass._norm_gradient, "norm behind", ("layer.shift if layer.centred else None", "None")),
    (
        RowPass._norm_gradient,
        "batch norm",
        ("Delta, dgain, H)", "Delta, dgain, Delta)"),
    ),
    (RowPass._norm_gradient, "rms norm", ('"gain", Delta, H', '"gain", Delta, dX')),
    (RowPass._embedding, "words", ("layer.numbers + k :", "layer.numbers :")),
    (RowPass._embedding_gradient, "words", ("layer.numbers + k, part", "layer.numbers, part")),
    (Embedding._parts, "words", ("initial=self.numbers", "initial=self.numbers - 1")),
    (Draws.blocks, "accumulate, noise", ("(step + i) * self._per_step + number", "(step + i) + number")),
    (
        Draws._draw,
        "mixup",
        ("view(np.float64)[:] = share", "view(np.float64)[:] = 1 - share"),
        ("[:] = other", "[:] = other[::-1]"),
    ),
)

KERNEL_SLIPS = (*NUMBERS, *STEPS, *PROGRAM)
