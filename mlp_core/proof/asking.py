"""What was built beside what was asked for: values by name, equal or not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.proof.compare import Difference, Tally


@dataclass
class Asked:
    """Names of what was asked for, with what is there and what should be."""

    tally: Tally

    def same(self, name: str, here: Any, there: Any) -> None:
        """Two values, equal to the last bit where they are no numbers."""
        if isinstance(there, float) and isinstance(here, int | float):
            right = math.isclose(here, there, rel_tol=1e-9, abs_tol=1e-300)
        else:
            right = here == there
        here, there = (v if isinstance(v, int | float) else math.nan for v in (here, there))
        self.tally.add(1, 0.0, None if right else Difference(name, math.inf, float(here), float(there)))

    def close(self, name: str, here: Any, there: Any, within: float) -> None:
        """Arrays of the same shape, entry by entry, up to a share of the largest."""
        here, there = np.asarray(here, np.float64), np.asarray(there, np.float64)
        if here.shape != there.shape:
            self.same(f"the shape of {name}", here.size, there.size)
            return
        error = np.abs(here - there).max(initial=0) / max(float(np.abs(there).max(initial=0)), 1e-300)
        worst = int(np.abs(here - there).argmax()) if here.size else 0
        wrong = None
        if not error <= within:
            wrong = Difference(name, float(error), float(here.flat[worst]), float(there.flat[worst]))
        self.tally.add(here.size, 0.0, wrong)
