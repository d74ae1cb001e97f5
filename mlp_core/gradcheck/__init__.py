"""The gradient check: proof, on the user's own model, that the backward pass differentiates the forward pass."""

from mlp_core.gradcheck.checker import check, fast_check
from mlp_core.gradcheck.combinations import matrix
from mlp_core.gradcheck.directions import miss_probability
from mlp_core.gradcheck.report import Report
from mlp_core.gradcheck.self_test import self_test

__all__ = ["Report", "check", "fast_check", "matrix", "miss_probability", "self_test"]
