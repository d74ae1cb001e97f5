"""How the first weights were made."""

from __future__ import annotations

from collections.abc import Iterator

from mlp_core.explain.formula import Line, Note
from mlp_core.nn.data_start import MIXED, ROWS
from mlp_core.nn.network import Architecture


def start(network: Architecture) -> Iterator[Line]:
    """How the first weights and biases were made from training rows; these are sentences, they happen but once."""
    if network.rescale:
        yield Note(
            f"Before the first step every row of W[l] was divided by the deviation of its column of Z[l] over (up to "
            f"{ROWS:,}) training rows, l = 1 .. L one after the other, biases of the layers before in place."
        )
    if network.bias_init == "data":
        yield Note(
            f"b[l] began at -(s_1 z_1 + .. + s_{MIXED} z_{MIXED}): for each hidden unit its own z of {MIXED} of these "
            "rows drawn at random, s_k exponential variables divided by their sum."
        )
    if network.bias_init == "normal":
        yield Note("b[l] of hidden layers was drawn from N(0, 1).")
