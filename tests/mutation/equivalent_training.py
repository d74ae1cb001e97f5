"""Mutants outside the engine that compute the same: each listed by hand, with the reason."""

from __future__ import annotations

from equivalent import Equivalent

EQUIVALENT_TRAINING: tuple[Equivalent, ...] = ()
