"""The gradient check: proof, on the user's own model, that the backward pass differentiates the forward pass."""

from mlp_core.gradcheck.coverage import miss_probability
from mlp_core.gradcheck.examination import TOLERANCE, check, fast_check
from mlp_core.gradcheck.matrix import matrix
from mlp_core.gradcheck.probes import PROBES
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
