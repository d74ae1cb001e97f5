"""JSON that somebody may have sent: a model's description, a run's record and log."""

from __future__ import annotations

import json
from typing import Any

DIGITS = 20
"""Of a whole number with its sign, at most: none of 64 bits has more, and far longer ones fit into no float64."""


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError and RecursionError."""
    return json.loads(text, parse_int=_whole)


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)
