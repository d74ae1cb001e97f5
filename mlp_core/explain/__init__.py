"""Explanations: the formulas of one model, as data that can be shown, and run."""

from mlp_core.explain.formula import Equation, Explanation, Note
from mlp_core.explain.latex import document, markdown
from mlp_core.explain.step import explain
from mlp_core.explain.text import text

FORMATS = {"text": text, "markdown": markdown, "latex": document}

__all__ = ["FORMATS", "Equation", "Explanation", "Note", "explain"]
