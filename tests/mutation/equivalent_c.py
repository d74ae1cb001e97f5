"""Mutants of the kernels' C that compute the same: each listed by hand, with the reason."""

from __future__ import annotations

REASONS: dict[tuple[str, str, str], str] = {}
"""Of a source, the line before and after: why."""
