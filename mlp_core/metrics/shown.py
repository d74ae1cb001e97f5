"""Metrics as people read them: about five characters that mean something, shares in percent."""

from __future__ import annotations

import math

PERCENT = ("accuracy", "balanced_accuracy", "subset_accuracy", "hamming", "mape")


def number(value: float) -> str:
    """A metric in about five characters that mean something; n.a. for one that is not defined."""
    if math.isnan(value):
        return "n.a."
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.2e}"
    return f"{value:.4f}"


def is_share(name: str) -> bool:
    """Whether a metric, with or without its split before it, is said in percent."""
    share = name.split("_", 1)[1] if name.startswith(("val_", "train_", "test_")) else name
    return share in PERCENT or share.startswith("top_k")


def metric(name: str, value: float) -> str:
    """A metric as people say it: shares in percent."""
    return f"{100 * value:.2f} %" if is_share(name) and not math.isnan(value) else number(value)
