"""Limits: when training ends, and how a gradient is kept in bounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """When training ends, and how a gradient is kept in bounds. Times in seconds."""

    epochs: int
    max_steps: int | None = None
    max_seconds: float | None = None
    accumulate: int = 1
    clip_norm: float | None = None
    clip_value: float | None = None
    max_norm: float | None = None
    ema: float | None = None
    eval_every: int = 1
