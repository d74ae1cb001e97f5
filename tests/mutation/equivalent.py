"""Mutants that compute the same: each listed by hand, with the reason. An entry that is no longer true is an error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ANYTHING = "..."
"""What may stand for a line that is not gone through."""


@dataclass(frozen=True)
class Equivalent:
    """A difference in one or more functions, and why nothing that is computed changes."""

    functions: tuple[str, ...]
    before: str
    after: str
    reason: str

    def matches(self, function: str, before: str, after: str) -> bool:
        return function in self.functions and before == self.before and self.after in (after, ANYTHING)


def alike(functions: str, reason: str, *changes: tuple[str, str]) -> Iterable[Equivalent]:
    """Several changes of the same functions, equivalent for the same reason."""
    return (Equivalent(tuple(functions.split()), before, after, reason) for before, after in changes)


def of_statement(before: str, *parts: tuple[str, str]) -> list[tuple[str, str]]:
    """Changes of one statement: a part of it, and what stands there instead."""
    return [(before, before.replace(old, new, 1)) for old, new in parts]


_LOOP = "for s in blocks(len(vectors[0]), 1, block):"
_WHERE = "return xp.where(a > 0, "
_HARD = "return (a > -1) & (a < 1)"
_QUANTILE = "return xp.where(e > 0, -q, xp.where(e < 0, 1 - q, 0 * q)) / e.shape[1]"
_SWISH = "return xp.where(z >= 3, 1, xp.where(z <= -3, 0, (2 * z + 3) / 6))"
_PAIRS = "pairs = [(s, y) for s, y in pairs if xp.dot(s, y) > 0]"
_RATE = "rate = lr if self.t > 1 else lr * min(1.0, 1 / max(float(xp.abs(g).sum()), 1e-30))"
_QUINTIC = "X = a * X + (b * A + c * (A @ A)) @ X"
_CURVED = "if not float(xp.dot(y, state['step'])) > LEAST_CURVATURE:"

EQUIVALENT: tuple[Equivalent, ...] = (
    # sizes of blocks
    *alike("in_blocks", "only the size of the blocks", *of_statement(_LOOP, (", 1,", ", 2,"), (", 1,", ", 0,"))),
    *alike(
        "activation_gradient loss_and_gradient",
        "only the size of the blocks",
        *of_statement("for rows in blocks(len(Z), Z.shape[1], block):", ("[1]", "[0]")),
    ),
    *alike(
        "InputScale.backward",
        "0 is the axis of reduce anyway",
        ("self.xp.add.reduce(T, axis=0, out=self.ds)", "self.xp.add.reduce(T, out=self.ds)"),
    ),
    *alike(
        "Parametric.backward",
        "0 is the axis of reduce anyway",
        ("self.xp.add.reduce(T, axis=0, out=self.dalpha)", "self.xp.add.reduce(T, out=self.dalpha)"),
    ),
    # conditions that only save work
    *alike("Dense.backward", "without the parametrisation the scale is 1", ("if self.ntk:", "if True:")),
    *alike("in_blocks", "a decay of 0 multiplies by exactly 1", ("if decay:", "if True:")),
    *alike("activation_gradient", "the slope of identity is 1", ("if f.name != 'identity':", "if True:")),
    *alike("activation_gradient", "a sum that nobody takes", ("if db is not None:", "if True:")),
    *alike(
        "activation_gradient",
        "0 is the axis of reduce anyway",
        ("xp.add.reduce(Delta, axis=0, out=db)", "xp.add.reduce(Delta, out=db)"),
    ),
    *alike(
        "CrossEntropy.backward",
        "without smoothing 0 is subtracted, which also makes a copy",
        ("dZ = cache - s / cache.shape[1] if s else cache.copy()", "dZ = cache - s / cache.shape[1]"),
    ),
    *alike("Focal.backward", "gamma 0 adds 0 times a finite number", ("if self.gamma:", "if True:")),
    *alike("Penalty.add_gradient", "a penalty of 0 adds 0", ("if self.l2:", "if True:"), ("if self.l1:", "if True:")),
    *alike(
        "Muon.__init__",
        "an empty stretch of parameters is a step of nothing",
        *of_statement("if start < stop:", ("start < stop", "True"), ("<", "<=")),
        *of_statement("if start < part.start:", ("start < part.start", "True"), ("<", "<=")),
    ),
    # the same number by another way
    *alike("Relu.slope", "a > 0 exactly where z > 0", ("return a > 0", "return z > 0")),
    *alike(
        "LeakyRelu.slope",
        "a > 0 exactly where z > 0",
        *of_statement(_WHERE + "a.dtype.type(1), a.dtype.type(self.alpha))", ("a > 0", "z > 0")),
    ),
    *alike("Elu.slope", "a > 0 exactly where z > 0", *of_statement(_WHERE + "1, a + self.alpha)", ("a > 0", "z > 0"))),
    *alike(
        "Selu.slope",
        "a > 0 exactly where z > 0",
        *of_statement(_WHERE + "_SELU_SCALE, a + _SELU_SCALE * _SELU_ALPHA)", ("a > 0", "z > 0")),
    ),
    *alike("HardTanh.slope", "a = z inside", *of_statement(_HARD, ("a > -1", "z > -1"), ("a < 1", "z < 1"))),
    *alike("HardSwish.slope", "a >= 3 exactly where z >= 3", *of_statement(_SWISH, ("z >= 3", "a >= 3"))),
    *alike(
        "Softsign.slope",
        "a square has no sign",
        ("return xp.square(1 - xp.abs(a))", "return xp.square(xp.abs(a) - 1)"),
    ),
    *alike(
        "Focal.backward",
        "a floor that only keeps a power finite where a factor is 0",
        ("sure = xp.maximum(miss, 1e-30)", "sure = xp.maximum(miss, 1.5000000000000001e-30)"),
    ),
    *alike(
        "Quantile.backward",
        "another way to write an array of zeros",
        *of_statement(_QUANTILE, ("0 * q", "0 / q"), ("0 * q", "0"), ("0 * q", "0 * e")),
    ),
    *alike(
        "_sigmoid",
        "both ways give the same but for the last bits while exp does not overflow",
        ("positive = Z.real >= 0", "positive = Z.real > 0"),
        ("positive = Z.real >= 0", "positive = Z.real >= 1"),
    ),
    *alike(
        "Dense.backward",
        "Z and A are the same memory where f' is taken from the output, and A is not read elsewhere",
        (
            "self._differentiate(Delta, self._f, self.Z, self.A, self.db)",
            "self._differentiate(Delta, self._f, self.Z, self.Z, self.db)",
        ),
    ),
    *alike(
        "Network.backward",
        "the truth of a number does not depend on its sign",
        (
            "needed = input_gradient or layer is not self.first",
            "needed = -(input_gradient or layer is not self.first)",
        ),
    ),
    # memory that is written before it is read
    *alike("Embedding.backward", "-0 is 0", ("dE[...] = 0", "dE[...] = -0")),
    *alike(
        "Embedding.backward",
        "memory that is filled before it is read",
        ("one = chosen[:, :len(Delta)]", "one = -chosen[:, :len(Delta)]"),
    ),
    *alike(
        "Norm.backward",
        "memory that is filled before it is read",
        ("T = head(self._T, len(Delta))", "T = -head(self._T, len(Delta))"),
    ),
    *alike(
        "Parametric.backward",
        "memory that is filled before it is read",
        ("T = head(self._T, len(Delta))", "T = -head(self._T, len(Delta))"),
    ),
    *alike(
        "Residual.backward",
        "memory that is filled before it is read",
        ("skip = head(self._skip, len(Delta))", "skip = -head(self._skip, len(Delta))"),
    ),
    # optimizers
    *alike(
        "nadam_product",
        "the product is 0 a little earlier or later, after 100,000 steps",
        *of_statement("if product < 1e-300:", ("<", "<="), ("1e-300", "1.5e-300")),
        ("return 0.0", "return -0.0"),
        ("return 0.0", "pass"),
        ("if product < 1e-300:; return 0.0", "pass"),
    ),
    *alike("radam_rate", "rho is never exactly 5", ("if rho <= 5:", "if rho < 5:")),
    *alike(
        "newton_schulz",
        "a square matrix may be turned twice or not at all",
        ("X = G.T if G.shape[0] > G.shape[1] else G", "X = G.T if G.shape[0] >= G.shape[1] else G"),
        ("return X.T if G.shape[0] > G.shape[1] else X", "return X.T if G.shape[0] >= G.shape[1] else X"),
    ),
    *alike(
        "newton_schulz",
        "X X^T is symmetric",
        (_QUINTIC, "X = a * X + (b * A + c * (A @ A)).T @ X"),
        (_QUINTIC, "X = a * X + (b * A + c * (A.T @ A)) @ X"),
        (_QUINTIC, "X = a * X + (b * A + c * (A @ A.T)) @ X"),
    ),
    *alike(
        "Lbfgs.step",
        "before the first step the pair is (0, g), which shows no curvature and is not kept",
        *of_statement("if self.t > 1:", ("self.t > 1", "True"), (">", ">="), ("1", "0")),
    ),
    *alike(
        "Lbfgs.step",
        "zeros of the same length",
        ("g = xp.zeros_like(grad)", "g = xp.zeros_like(theta)"),
        ("g = xp.zeros_like(grad)", "g = -xp.zeros_like(grad)"),
        ("g[segment.part] = grad[segment.part]", "g[segment.part] += grad[segment.part]"),
    ),
    *alike(
        "Lbfgs.step",
        "pairs that are kept have s.y > 0, so neither is 0; the others are both 0",
        *of_statement(_PAIRS, ("dot(s, y)", "dot(y, y)"), ("dot(s, y)", "dot(s, s)")),
    ),
    *alike("Lbfgs.step", "only for a gradient of 0", *of_statement(_RATE, ("1e-30", "1.5000000000000001e-30"))),
    *alike("Lbfgs.step", "the first direction is -g", *of_statement(_RATE, ("xp.abs(g)", "xp.abs(d)"))),
    *alike("Lbfgs._remember", "a curvature is never exactly the least", *of_statement(_CURVED, (">", ">="))),
    *alike(
        "Lbfgs._remember",
        "the signs of s and y change together, and both occur twice",
        (
            "state[f'{name}{self.history - 1}'][...] = newest",
            "state[f'{name}{self.history - 1}'][...] = -newest",
        ),
        ("state[f'{name}{i}'][...] = state[f'{name}{i + 1}']", "state[f'{name}{i}'][...] = -state[f'{name}{i + 1}']"),
    ),
    *alike("two_loop", "as many s as y", ("if not S:", "if not Y:")),
)
