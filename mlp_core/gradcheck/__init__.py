"""The gradient check: proof, on the user's own model, that the backward pass differentiates the forward pass."""

from mlp_core.gradcheck.check import check, fast_check
from mlp_core.gradcheck.report import Precondition, Report, TensorResult

__all__ = ["Precondition", "Report", "TensorResult", "check", "fast_check"]
