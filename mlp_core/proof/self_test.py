"""The proof of training checked: slips in the program must be noticed, sound experiments must not be accused."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlp_core.errors import MlpbpError
from mlp_core.proof.planted import CASES, SLIPS, Slip, config
from mlp_core.proof.training import prove_training
from mlp_core.training.experiment import Experiment

SECONDS = 1.0  # that a stretch of steps may take


@dataclass(frozen=True)
class SlipReport:
    """What was noticed: names of slips that were not, of experiments that were accused, and how many there were."""

    planted: int
    survived: tuple[str, ...]
    clean: int
    accused: tuple[str, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        return self.planted > 0 and not self.survived and not self.accused

    def lines(self) -> list[str]:
        caught = self.planted - len(self.survived)
        return [
            f"sound experiments passed: {self.clean - len(self.accused)}/{self.clean}",
            f"planted slips in training, kernels and use caught: {caught}/{self.planted}",
            *(f"not caught: {name}" for name in self.survived),
            *(f"accused: {name}" for name in self.accused),
        ]

    def to_json(self) -> dict[str, Any]:
        return {"planted": self.planted, "survived": self.survived, "clean": self.clean, "accused": self.accused}


def self_test(slips: Sequence[Slip] = SLIPS, progress: Callable[[int, int], None] | None = None) -> SlipReport:
    """Prove every experiment that a slip is planted in, sound and with each of its slips."""
    begun, survived, accused = time.perf_counter(), list[str](), list[str]()
    cases = [case for case in CASES if any(slip.case == case for slip in slips)]
    done, count = 0, len(cases) + len(slips)
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            accused += [f"{case}: {where}" for where in _wrong(case, Path(folder))]
            done += 1
            if progress:
                progress(done, count)
        for slip in slips:
            with slip.planted():
                survived += [] if _wrong(slip.case, Path(folder)) else [f"{slip.name} ({slip.case})"]
            done += 1
            if progress:
                progress(done, count)
    return SlipReport(len(slips), tuple(survived), len(cases), tuple(accused), time.perf_counter() - begun)


def _wrong(case: str, folder: Path) -> list[str]:
    """What is wrong on an experiment: the first thing that is noticed, or that it breaks down."""
    given = config(case, folder)
    try:
        for walked in prove_training(Experiment.build(given), SECONDS, given):
            if walked.wrong is not None:
                return [walked.wrong.where]
    except (MlpbpError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        return [f"{type(error).__name__}: {error}"]
    return []
