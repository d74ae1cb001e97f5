"""Waiting for what a test needs, however long a busy machine takes, and never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

LIMIT = 600
"""Seconds after which something will not come any more."""


def wait_until(condition: Callable[[], object]) -> None:
    """Until it holds."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < LIMIT, "what was waited for has not come"
        time.sleep(0.002)


def wait_for(path: Path) -> None:
    """Until there is such a file."""
    wait_until(path.exists)
