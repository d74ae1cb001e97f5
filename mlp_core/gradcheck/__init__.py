"""The gradient check: proof, on the user's own model, that the backward pass differentiates the forward pass."""

from mlp_core.gradcheck.checker import TOLERANCE, check, fast_check
from mlp_core.gradcheck.combinations import matrix
from mlp_core.gradcheck.directions import miss_probability
from mlp_core.gradcheck.probe_points import PROBES
from mlp_core.gradcheck.report import Precondition, Report, TensorResult
from mlp_core.gradcheck.self_test import Outcome, SelfTestReport, self_test

__all__ = [
    "PROBES",
    "TOLERANCE",
    "Outcome",
    "Precondition",
    "Report",
    "SelfTestReport",
    "TensorResult",
    "check",
    "fast_check",
    "matrix",
    "miss_probability",
    "self_test",
]
