"""JSON that somebody may have sent: a model's description, a run's record and log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlp_core.descriptors import read_own

DIGITS = 20
"""Of a whole number with its sign, at most: none of 64 bits has more, and far longer ones fit into no float64."""


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError and RecursionError."""
    return json.loads(text, parse_int=_whole)


def read_object(path: Path, largest: int) -> dict[str, Any]:
    """The object in a JSON file of at most so many bytes, empty where there is none that can be read."""
    try:
        told = parsed(read_own(path, largest))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)
