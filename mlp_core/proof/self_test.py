"""The proof of training checked: slips in the program must be noticed, sound experiments must not be accused."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlp_core.proof.planted import CASES, SLIPS, Slip, config
from mlp_core.proof.saved import Answer
from mlp_core.proof.training import prove_training
from mlp_core.training.experiment import Experiment

SECONDS = 1.0  # that a stretch of steps may take


@dataclass(frozen=True)
class SlipReport:
    """What was noticed: names of slips that were not, of slips that broke the program before the proof could speak, of
    experiments that were accused, and how many there were."""

    planted: int
    survived: tuple[str, ...]
    broken: tuple[str, ...]
    clean: int
    accused: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return self.planted > 0 and not (self.survived or self.broken or self.accused)

    def lines(self) -> list[str]:
        caught = self.planted - len(self.survived) - len(self.broken)
        return [
            f"sound experiments passed: {self.clean - len(self.accused)}/{self.clean}",
            f"planted slips in training, kernels and use caught: {caught}/{self.planted}",
            *(f"not caught: {name}" for name in self.survived),
            *(f"broken slip, no proof of anything: {name}" for name in self.broken),
            *(f"accused: {name}" for name in self.accused),
        ]

    def to_json(self) -> dict[str, Any]:
        told = {"survived": self.survived, "broken": self.broken, "accused": self.accused}
        return {"planted": self.planted, "clean": self.clean, **told}


def self_test(
    slips: Sequence[Slip] = SLIPS, progress: Callable[[int, int], None] | None = None, answer: Answer | None = None
) -> SlipReport:
    """Prove every experiment that a slip is planted in, sound and with each of its slips."""
    survived, broken, accused = list[str](), list[str](), list[str]()
    cases = [case for case in CASES if any(slip.case == case for slip in slips)]
    count, tell = len(cases) + len(slips), progress or (lambda done, count: None)
    with tempfile.TemporaryDirectory() as folder:
        for done, case in enumerate(cases, 1):
            try:
                accused += [f"{case}: {where}" for where in wrong(case, Path(folder), answer)]
            except Exception as error:
                accused.append(f"{case}: {_said(error)}")
            tell(done, count)
        for done, slip in enumerate(slips, len(cases) + 1):
            name = f"{slip.name} ({slip.case})"
            try:
                with slip.planted():
                    survived += [] if wrong(slip.case, Path(folder), answer) else [name]
            except Exception as error:  # whatever it is: a program that falls down has not been found wrong
                broken.append(f"{name}: {_said(error)}")
            tell(done, count)
    return SlipReport(len(slips), tuple(survived), tuple(broken), len(cases), tuple(accused))


def wrong(case: str, folder: Path, answer: Answer | None = None) -> list[str]:
    """The first thing that the proof finds wrong on an experiment, if there is any."""
    given = config(case, folder)
    for walked in prove_training(Experiment.build(given), SECONDS, given, answer):
        if walked.wrong is not None:
            return [walked.wrong.where]
    return []


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:80]}"
