"""Slips in what the kernels are told: numbers of update rules, lists of instructions, steps that are made together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlp_core.backends import numbers
from mlp_core.backends.cpu import row_pass, step_program
from mlp_core.backends.cpu.draws import Draws
from mlp_core.backends.cpu.row_pass import RowPass
from mlp_core.backends.cpu.step_program import StepProgram
from mlp_core.backends.cpu.steps import WholeSteps
from mlp_core.nn.lockstep import Lockstep
from mlp_core.proof.planted.slip import Slip
from mlp_core.training.sharded import ShardedSteps
from mlp_core.workers import tree


def _in(family: str, function: Callable[..., Any], case: str, *changes: tuple[str, str]) -> tuple[Slip, ...]:
    return tuple(Slip(family, function, before, after, case) for before, after in changes)


NUMBERS = (
    *_in(
        "numbers of rules",
        numbers.of_rule,
        "sgd",
        ("1 - lr * decay", "1 - decay"),
        ("1 - lr * decay", "1 + lr * decay"),
    ),
    *_in(
        "numbers of rules",
        numbers._adam,
        "adam",
        ("lr / (1 - beta1**t)", "lr"),
        ("1 / math.sqrt(1 - beta2**t)", "1.0"),
        ("1 - beta2, eps", "1 - beta1, eps"),
        ("eps, 1 /", "1e-4, 1 /"),
        ("beta1**t", "beta1**(t + 1)"),
    ),
    *_in(
        "numbers of rules",
        numbers._nadam,
        "nadam",
        ("beta1, t)", "beta1, t + 1)"),
        ("1 - beta1", "1"),
        ("1 / math.sqrt(1 - beta2**t)", "1.0"),
    ),
    *_in("numbers of rules", numbers._radam, "radam", ("float(rectified)", "1.0"), ("beta2, t)", "beta2, t + 1)")),
    *_in(
        "numbers of rules",
        numbers._amsgrad,
        "amsgrad",
        ("lr / (1 - beta1**t)", "lr"),
        ("1 - beta2, eps", "beta2, eps"),
        ("1 / math.sqrt(1 - beta2**t)", "1.0"),
    ),
    *_in("numbers of losses", numbers.of_loss, "binary", ('"pos_weight", ', "")),
    *_in("numbers of losses", numbers.of_loss, "smoothing", ('"label_smoothing", ', "")),
    *_in("numbers of activations", numbers.of_activation, "leaky", ('"alpha", 0.0', '"", 0.0')),
)

STEPS = (
    *_in(
        "steps together",
        WholeSteps.take,
        "adam",
        ("optimizer.t + 1 + i", "optimizer.t + 1"),
        ("optimizer.t += made", "optimizer.t += 1"),
    ),
    *_in("steps together", WholeSteps.take, "dropout", ("self._given(weight, step + i", "self._given(weight, step")),
    *_in("steps together", WholeSteps.take, "mixup", (".blocks(rows, step)", ".blocks(rows, 0)")),
    *_in("steps together", WholeSteps.take, "noise", (".blocks(rows, step)", ".blocks(rows, 0)")),
    *_in("steps together", WholeSteps._weights, "weights", ("weight(epoch, index)", "weight(epoch, parts[0])")),
    *_in("steps together", WholeSteps._given, "accumulate", ("step * limits.accumulate", "step")),
    *_in(
        "steps together",
        WholeSteps._given,
        "average",
        ("average_share(limits.ema, step)", "average_share(limits.ema, 0)"),
        ("average_share(limits.ema, step)", "1 - limits.ema"),
    ),
    *_in("steps together", WholeSteps._given, "plain", ("weight or 1.0", "float(self._rows)")),
    *_in("steps together", WholeSteps._weights, "accumulate", ("(position + count) * k", "(position + count) * k - 1")),
    *_in(
        "steps together",
        WholeSteps._numbers,
        "plain",
        ("[position * self._rows : last]", "[: last - position * self._rows]"),
        ("dealt(epoch)", "dealt(0)"),
    ),
)

UNIT = RowPass._unit, RowPass._unit_gradient
PROGRAM = (
    *_in("instructions", RowPass._draw, "dropout", ("self.seed, dropout.index", "self.seed, 0")),
    *_in("instructions", RowPass._draw, "dropout", ("self.seed, ", "self.seed + 1, ")),
    *_in("instructions", RowPass._draw, "dropout", ("numbers(dropout.p)", "numbers(1 - dropout.p)")),
    *_in("instructions", RowPass._draw, "accumulate", ("self.step, self.draw", "self.step, 0")),
    *_in("instructions", UNIT[0], "dropout", ("unit.factor, unit.p)", "unit.factor, 1 - unit.p)")),
    *_in("instructions", UNIT[1], "dropout", ("unit.factor, unit.p)", "unit.factor, 1 - unit.p)")),
    *_in("instructions", UNIT[1], "dropout", ("given, learned, drop)", "given, learned, None)")),
    *_in("instructions", UNIT[1], "plain", ('"bias", Delta, factor', '"bias", A, factor')),
    *_in("instructions", UNIT[1], "plain", ('"weight", Delta, X', '"weight", Z, X')),
    *_in("instructions", UNIT[0], "ntk", ("unit.factor, unit.p)", "1.0, unit.p)")),
    *_in("instructions", UNIT[1], "ntk", ("unit.factor, unit.p)", "1.0, unit.p)")),
    *_in("instructions", UNIT[1], "ntk", ("factor=1 / dense.scale", "factor=1.0")),
    *_in("instructions", UNIT[1], "parametric", ('.alpha", "bias", Z', '.alpha", "bias", Delta')),
    *_in("instructions", StepProgram._batch, "accumulate, noise", ("draws.normal(number)", "draws.normal(0)")),
    *_in(
        "instructions",
        StepProgram._batch,
        "accumulate",
        ("first = self._objective.network, number *", "first = self._objective.network, 0 *"),
    ),
    *_in(
        "instructions",
        StepProgram._batch,
        "noise",
        ("self._kept.numbers(self._augment.noise)", "self._kept.numbers(1.0)"),
    ),
    *_in("instructions", StepProgram._loss, "accumulate", ("self._crew.terms[first:]", "self._crew.terms")),
    *_in("instructions", StepProgram._penalties, "penalties", ("self._crew.terms[rows:]", "self._crew.terms")),
    *_in(
        "instructions",
        StepProgram._penalty_gradient,
        "penalties",
        ("not in self._penalised", "in self._penalised"),
        ("if name not in self._penalised:", "if name:"),
    ),
    *_in(
        "instructions",
        StepProgram._gradients,
        "accumulate",
        ("self._penalty_gradient(tensor.name, whole) if first", "self._penalty_gradient(tensor.name, whole) if True"),
        ("do.add(whole, grad, whole)", "do.add(grad, grad, whole)"),
    ),
    *_in("instructions", StepProgram.passes, "accumulate", ("number == 0), MEET", "True), MEET")),
    *_in(
        "instructions",
        StepProgram._lengths,
        "clip",
        ("found += self._cut(grad)", "pass"),
        ("where += count", "where += 0"),
    ),
    *_in(
        "instructions",
        StepProgram._clip,
        "clip",
        ("do.shorten(grad, self._factors)", "do.shorten(grad, self._factors * 0 + 1)"),
    ),
    *_in("instructions", StepProgram._cut, "clip", ("self._kept.numbers(largest)", "self._kept.numbers(2 * largest)")),
    *_in("instructions", StepProgram._update, "groups", ("self._moves[name] * self._slots", "0 * self._slots")),
    *_in(
        "instructions",
        StepProgram._average,
        "average",
        ("do.follow(others[-1], theta", "do.follow(others[-1], others[0]"),
    ),
    *_in(
        "instructions",
        StepProgram._max_norm,
        "max norm",
        ("if longest is None or", "if longest is not None or"),
        ("self._kept.numbers(longest)", "self._kept.numbers(2 * longest)"),
    ),
    *_in(
        "instructions", step_program.penalised, "penalties on all", ("spec.is_weight or penalty.bias", "spec.is_weight")
    ),
    *_in("instructions", StepProgram._gathers, "weights", ("(batches.w, w)", "(batches.Y.astype(w.dtype), w)")),
    *_in("instructions", StepProgram._mixed, "mixup", ("draws.share(number)", "draws.share(number) - 8")),
    *_in(
        "instructions",
        StepProgram._mixed,
        "mixup, weights",
        ("mixed[0], mixed[1], None if w is None else mixed[2][:, 0]", "mixed[0], mixed[1], w"),
    ),
    *_in("instructions", RowPass._residual, "residual", ("do.add(X, ", "do.add(A, ")),
    *_in("instructions", RowPass._residual_gradient, "residual", ("do.add(dX, skip, dX)", "do.add(dX, dX, dX)")),
    *_in(
        "instructions",
        RowPass._norm,
        "batch norm",
        ("(layer.mean, layer.var)", "(layer.var, layer.mean)"),
        ("layer.eps, layer.momentum", "layer.momentum, layer.eps"),
        ("if self.record else", "if not self.record else"),
    ),
    *_in("instructions", RowPass._norm_gradient, "norm behind", ("layer.shift if layer.centred else None", "None")),
    *_in(
        "instructions",
        RowPass._norm_gradient,
        "batch norm",
        ("do.sum_row_products(Delta, H, dgain)", "do.sum_row_products(Delta, Delta, dgain)"),
    ),
    *_in("instructions", RowPass._norm_gradient, "rms norm", ('"gain", Delta, H', '"gain", Delta, dX')),
    *_in("instructions", RowPass._embedding, "words", ("layer.numbers + k, A", "layer.numbers, A")),
    *_in("instructions", RowPass._embedding_gradient, "words", ("layer.numbers + k, start", "layer.numbers, start")),
    *_in("instructions", row_pass._starts, "words", ("sum(dims[:k])", "k")),
    *_in(
        "instructions",
        Draws.blocks,
        "accumulate, noise",
        ("(step + i) * self._per_step + number", "(step + i) + number"),
    ),
    *_in(
        "instructions",
        Draws._draw,
        "mixup",
        ("view(np.float64)[:] = share", "view(np.float64)[:] = 1 - share"),
        ("[:] = other", "[:] = other[::-1]"),
    ),
)

SHARDS = (
    *_in(
        "shards",
        ShardedSteps._evaluate,
        "shards",
        ("mode.dropout, part.start)", "mode.dropout, 0)"),
        ("Y[part]", "Y[: len(logits)]"),
        ("w[part]", "w[: len(logits)]"),
        ("if penalties and", "if"),
    ),
    *_in("shards", ShardedSteps._total_loss, "shards", ("add_pairs(losses)", "pass")),
    *_in("shards", tree.add_pairs, "shards", ("while distance < len(parts)", "if distance < len(parts)")),
    *_in(
        "shards",
        Lockstep.forward,
        "shards, batch norm",
        ("self._rows, self._record = rows,", "self._rows, self._record = rows // 4,"),
    ),
    *_in("shards", Lockstep._normalise, "shards, batch norm", ("mean, variance, self._rows)", "mean, variance, 4)")),
    *_in("shards", Lockstep._normalise_backward, "shards, batch norm", ("D -= mean", "pass")),
    *_in("shards", Lockstep._forward, "shards, batch norm", ("one._add(X, Y,", "one._add(Y, Y,")),
)

KERNEL_SLIPS = (*NUMBERS, *STEPS, *PROGRAM, *SHARDS)
