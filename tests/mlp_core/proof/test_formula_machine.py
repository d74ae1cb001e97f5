"""The machine carries out arithmetic and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from mlp_core.proof.machine import Machine


@pytest.mark.parametrize(
    "text",
    [
        "().__class__",
        "theta.dtype",
        "theta.tofile(1)",
        "'a'",
        "open",
        "__import__(1)",
        "exp.__self__",
        "a := 1",
        "a; b",
    ],
)
def test_what_is_no_arithmetic_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, NameError, SyntaxError)):
        Machine(np.ones(4), []).value(text)


def test_arithmetic_is_carried_out() -> None:
    assert Machine(np.ones((2, 2)), []).value("sum(theta.T * 2)") == 8
