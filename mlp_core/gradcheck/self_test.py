"""The check checked: bugs planted in the shipped backward pass must be reported, broken checkers must be noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mlp_core.gradcheck.cases import CLASSES, LossCase, Specimen, loss_cases, specimen
from mlp_core.gradcheck.checker import Progress, check
from mlp_core.gradcheck.planted import BUGS, CHECKERS, Bug
from mlp_core.gradcheck.planted.checkers import CLEAN
from mlp_core.gradcheck.report import FAIL, Report
from mlp_core.nn.activations import ACTIVATIONS, Activation, Elu, Relu, Tanh
from mlp_core.nn.layers import Pass
from mlp_core.nn.losses import CrossEntropy
from mlp_core.nn.network import Architecture, Block
from mlp_core.nn.numeric_embedding import Periodic
from mlp_core.nn.objective import Penalty


@dataclass(frozen=True)
class Outcome:
    """What became of one planted bug, one broken checker or one clean model.

    `caught`: the bug was reported, the broken checker noticed, the clean model passed. `by` names what reported it.
    """

    name: str
    caught: bool
    by: str


@dataclass(frozen=True)
class SelfTestReport:
    """The whole self-test; `passed` only if every bug and every broken checker was caught and no clean model failed."""

    bugs: tuple[Outcome, ...]
    checkers: tuple[Outcome, ...]
    clean: tuple[Outcome, ...]

    @property
    def caught(self) -> int:
        return sum(outcome.caught for outcome in self.bugs)

    @property
    def passed(self) -> bool:
        everything = (*self.bugs, *self.checkers, *self.clean)
        return bool(self.bugs and self.checkers and self.clean) and all(outcome.caught for outcome in everything)

    def lines(self) -> list[str]:
        """The verdict in three lines."""
        clean, checkers = (sum(o.caught for o in outcomes) for outcomes in (self.clean, self.checkers))
        return [
            f"clean models passed: {clean}/{len(self.clean)}",
            f"planted bugs caught: {self.caught}/{len(self.bugs)}",
            f"broken checkers caught: {checkers}/{len(self.checkers)}",
        ]

    def to_json(self) -> dict[str, Any]:
        """Counts, and the names of what survived."""
        return {
            "planted": len(self.bugs),
            "caught": self.caught,
            "survived": [outcome.name for outcome in self.bugs if not outcome.caught],
            "checkers": len(self.checkers),
            "checkers_caught": sum(outcome.caught for outcome in self.checkers),
            "checkers_survived": [outcome.name for outcome in self.checkers if not outcome.caught],
            "clean": len(self.clean),
            "clean_failed": [outcome.name for outcome in self.clean if not outcome.caught],
        }


def self_test(*, seed: int = 0, progress: Progress | None = None) -> SelfTestReport:
    """Check clean models, plant every bug in turn, break the checker in every way, and tell what was noticed."""
    models = dict.fromkeys(bug.model for bug in BUGS)
    todo = [partial(_clean, name, seed) for name in models]
    todo += [partial(_plant, bug, seed) for bug in BUGS] + [partial(_break, checker, seed) for checker in CHECKERS]
    outcomes = []
    for done, one in enumerate(todo, start=1):
        outcomes.append(one())
        if progress:
            progress(done, len(todo))
    bugs = len(models) + len(BUGS)
    return SelfTestReport(
        bugs=tuple(outcomes[len(models) : bugs]), checkers=tuple(outcomes[bugs:]), clean=tuple(outcomes[: len(models)])
    )


def _check(name: str, seed: int) -> Report:
    one = model(name, seed)
    probes = ("init",) if name == "prelu at zero" else ("init", "burn", "wild")
    return check(one.objective, one.X, one.Y, one.w, mode=one.mode, probes=probes, seed=seed, opinion=False)


def _clean(name: str, seed: int) -> Outcome:
    report = _check(name, seed)
    return Outcome(name, report.passed, ", ".join(report.failures()))


def _plant(bug: Bug, seed: int) -> Outcome:
    with bug.planted():
        report = _check(bug.model, seed)
    return Outcome(bug.name, not report.passed, ", ".join(report.failures()))


def _break(checker: Bug, seed: int) -> Outcome:
    """A broken checker is caught when it does not say of a bug (or a clean model) what the sound one says."""
    lets = checker.model
    sound = _verdict(lets, seed)
    try:
        with checker.planted():
            broken = _verdict(lets, seed)
    except Exception as error:  # a checker that breaks down has not passed anything
        return Outcome(checker.name, True, f"{type(error).__name__}")
    return Outcome(checker.name, broken != sound, lets)


def _verdict(lets: str, seed: int) -> tuple[bool, bool]:
    """Whether the check passed with a bug that a checker lets through, and whether it blamed a tensor."""
    if lets == CLEAN:
        report = _check("plain", seed)
    else:
        bug = next(bug for bug in BUGS if bug.name == lets)
        with bug.planted():
            report = _check(bug.model, seed)
    return report.passed, any(tensor.verdict == FAIL for tensor in report.tensors)


_WIDTHS, _SQUARE = (6, 2), (CLASSES, CLASSES)


def model(name: str, seed: int = 0) -> Specimen:
    """The specimen of this name: what a planted bug is looked for in."""
    cases = {case.name: case for case in loss_cases()}
    plain = LossCase("cross_entropy", CrossEntropy())
    if name in ACTIVATIONS:
        f = Elu(0.7) if name == "elu" else ACTIVATIONS[name]()
        return specimen(_network(f), plain, 5, seed=seed, spread=1.0)
    if name in cases:
        return specimen(_network(Tanh()), cases[name], 5, seed=seed)
    still = Pass(training=False)
    special: dict[str, Callable[[], Specimen]] = {
        "plain": lambda: specimen(_network(Tanh()), plain, 5, seed=seed),
        "weighted": lambda: specimen(_network(Tanh()), plain, 5, seed=seed, weighted=True),
        "float32": lambda: specimen(_network(Tanh()), plain, 5, seed=seed, dtype=np.float32),
        "square": lambda: specimen(_network(Tanh(), _SQUARE, CLASSES), plain, CLASSES, seed=seed),
        "residual": lambda: specimen(_network(Tanh(), _SQUARE, CLASSES, residual=True), plain, 5, seed=seed),
        "dropout": lambda: specimen(_network(Tanh(), dropout=0.4), plain, 5, seed=seed),
        "prelu": lambda: specimen(_network(None), plain, 5, seed=seed),
        "prelu at zero": lambda: _with_a_zero_row(plain, seed),
        "batch": lambda: specimen(_network(Relu(), norm="batch"), plain, 5, seed=seed),
        "batch, evaluating": lambda: specimen(_network(Tanh(), norm="batch"), plain, 5, seed=seed, mode=still),
        "layer": lambda: specimen(_network(Tanh(), norm="layer"), plain, 5, seed=seed),
        "rms": lambda: specimen(_network(Tanh(), norm="rms"), plain, 5, seed=seed),
        "ntk": lambda: specimen(_network(Tanh(), ntk=True), plain, 5, seed=seed),
        "parametric": lambda: specimen(_network(Tanh(), parametric=True), plain, 5, seed=seed),
        "waves": lambda: specimen(_network(Tanh(), periodic=Periodic(2, 3, 3, 0.2)), plain, 5, seed=seed),
        "factors": lambda: specimen(_network(Tanh(), input_scale=True), plain, 5, seed=seed),
        "penalties": lambda: specimen(_network(Tanh()), plain, 5, seed=seed, penalty=Penalty(0.1, 0.05)),
    }
    return special[name]()


def _network(
    f: Activation | None, widths: tuple[int, ...] = _WIDTHS, inputs: int = 3, dropout: float = 0.0, **more: Any
) -> Architecture:
    whole = {name: more.pop(name) for name in ("ntk", "periodic", "input_scale") if name in more}
    blocks = tuple(Block(units, f, dropout=dropout, **more) for units in widths)
    return Architecture(inputs, CLASSES, blocks, input_dropout=dropout / 2, **whole)


def _with_a_zero_row(case: LossCase, seed: int) -> Specimen:
    """An all-zero row through layers without bias: every unit stands exactly on its kink."""
    one = specimen(_network(None, bias=False), case, 5, seed=seed)
    one.X[0] = 0
    return one
