"""What was proved of a run's steps, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from mlp_core.errors import counted
from mlp_core.gradcheck.report import FAIL, PASS, SKIP, Precondition
from mlp_core.proof.compare import Tally


def rows_of(walked: Sequence[Tally]) -> Iterator[Precondition]:
    """A row for each path that was walked: how far, how many numbers agree, or the worst that does not."""
    for one in walked:
        name, far = f"steps, {one.path}" if one.steps else one.path, f"{one.numbers:,} numbers"
        far = f"{counted(one.steps, 'step')}, {far}" if one.steps else far
        if one.wrong is not None:
            wrong = one.wrong
            detail = f"{wrong.where} is {wrong.here:.9g}, by the formulas {wrong.there:.9g}"
            if math.isnan(wrong.here) and math.isnan(wrong.there):  # no numbers
                detail = f"{wrong.where} not as it must be"
            yield Precondition(name, FAIL, f"{detail} (worst of {far})")
        elif not one.numbers:
            yield Precondition(name, SKIP, "no step could be compared")
        elif not one.steps:
            yield Precondition(name, PASS, f"{far} as they must be")
        else:
            yield Precondition(name, PASS, f"{far} as the formulas of mlpbp explain give them, worst {one.worst:.1e}")


def to_json(walked: Sequence[Tally]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {"path": one.path, "steps": one.steps, "numbers": one.numbers, "wrong": one.wrong and one.wrong.where}
        for one in walked
    ]
