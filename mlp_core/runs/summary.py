"""What a run came to, in the fields that programs rely on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlp_core.metrics import plain
from mlp_core.training.baselines import Baselines


@dataclass(frozen=True)
class Summary:
    """What a run came to. `metrics` are those of the best epoch's weights, split by split."""

    run: Path
    reason: str
    epochs: int
    steps: int
    seconds: float
    best_epoch: int
    metrics: Mapping[str, Mapping[str, float]]
    checkpoint: Path
    baselines: Baselines | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields that programs may rely on."""
        watched = self.metrics.get("val") or self.metrics["train"]
        return {
            "run": str(self.run),
            "reason": self.reason,
            "epochs": self.epochs,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "best": {"epoch": self.best_epoch, **plain(watched)},
            "metrics": {split: plain(values) for split, values in self.metrics.items()},
            "checkpoint": str(self.checkpoint),
            "baselines": None if self.baselines is None else self.baselines.to_json(),
        }
