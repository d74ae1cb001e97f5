"""What a gradient check found: one result per tensor, one row per precondition, one verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

PASS, FAIL, SKIP = "pass", "fail", "skip"


@dataclass(frozen=True)
class TensorResult:
    """The worst disagreement within one tensor, over all probes.

    `checked` is the number of entries compared (of directional derivatives in fast mode), `error` the relative error
    by the rule of `compare`, `index` the entry where it is, `analytic` and `numeric` what stands there. In a sweep
    these two belong to the direction of one row or column, in fast mode to a direction through the whole tensor.
    """

    name: str
    shape: tuple[int, ...]
    checked: int
    error: float
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    verdict: str
    probe: str = "init"

    def to_json(self) -> dict[str, Any]:
        """The fields that programs may rely on; a number that is not finite becomes null."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "checked": self.checked,
            "error": _finite(self.error),
            "index": None if self.index is None else list(self.index),
            "analytic": _finite(self.analytic),
            "numeric": _finite(self.numeric),
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Precondition:
    """Something that must hold for the comparison to mean anything, or that belongs to the proof beside the tensors."""

    name: str
    verdict: str
    detail: str


@dataclass(frozen=True)
class Report:
    """A whole check. `checked` counts the entries compared, `worst` is the largest relative error of any tensor."""

    checked: int
    parameters: int
    worst: float
    tolerance: float
    tensors: tuple[TensorResult, ...]
    preconditions: tuple[Precondition, ...]
    passed: bool
    seconds: float
    method: str
    probes: tuple[str, ...]
    hint: str | None = None
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields that programs may rely on; a number that is not finite becomes null."""
        return {
            "checked": self.checked,
            "parameters": self.parameters,
            "worst": _finite(self.worst),
            "tolerance": self.tolerance,
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }

    def failures(self) -> list[str]:
        """What failed, by name: tensors first, then preconditions."""
        rows: list[TensorResult | Precondition] = [*self.tensors, *self.preconditions]
        return [row.name for row in rows if row.verdict == FAIL]


def conclude(tensors: tuple[TensorResult, ...], preconditions: tuple[Precondition, ...], expected: int) -> bool:
    """Whether a check passed: everything was compared that should be, something was compared, and nothing failed."""
    checked = sum(tensor.checked for tensor in tensors)
    verdicts = {tensor.verdict for tensor in tensors} | {row.verdict for row in preconditions}
    return checked == expected and checked > 0 and FAIL not in verdicts


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
