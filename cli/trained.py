"""What is said about rows that a model has already learned from."""

from __future__ import annotations

from mlp_core.errors import counted

from .console import Console


def tell_trained(console: Console, trained: int | None, rows: int) -> None:
    """A note, even when quiet, that some of the rows measured or predicted are no test of a model."""
    if trained:
        share = f"all {rows:,}" if trained == rows else f"{trained:,} of {counted(rows, 'row')}"
        console.warn(f"{share} were trained on (the same inputs): what is said of them is no test of the model")
