"""The kernels in C for tests: those that this processor can run, and a reason to skip where there are none."""

from __future__ import annotations

import pytest

from mlp_core.backends.cpu.compile import BUILT
from mlp_core.backends.cpu.library import Library, NoKernels, load, names


def _found() -> tuple[list[Library], str]:
    try:
        return [load(BUILT, name) for name in names()], ""
    except NoKernels as error:
        return [], f"no compiled kernels: {error}"


LIBRARIES, REASON = _found()
"""One for each set of instructions, the best one last."""

needs_kernels = pytest.mark.skipif(bool(REASON), reason=REASON)
every_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda one: one.name)


def skip_without_kernels() -> None:
    """Skip the test that calls this where there are none."""
    if REASON:
        pytest.skip(REASON)
