"""What an optimizer is: an update rule with its state and its settings; the optimizers themselves are in `optimizers`.

They know flat vectors, not layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar

from mlp_core.nn.backend import BLOCK, Array, Backend, blocks
from mlp_core.nn.parameters import Parameters

Change = Callable[..., None]
"""Moves entries of theta: (theta, g, *state), all of one length, in place."""


@dataclass(frozen=True)
class Segment:
    """A stretch of the parameter vector that is treated alike; frozen stretches belong to no segment."""

    part: slice
    lr_scale: float = 1.0
    weight_decay: float = 0.0


class Optimizer:
    """One update rule over the segments of a parameter vector, with its state as flat vectors.

    `state` holds the vectors of the rule by name (each as long as theta) and `t`, the number of steps taken: exactly
    what a checkpoint must keep.
    """

    rule: ClassVar[Any]
    slots: ClassVar[tuple[str, ...]] = ()
    constants: ClassVar[tuple[str, ...]] = ()
    counts_steps: ClassVar[bool] = False
    default_lr: ClassVar[float] = 1e-3
    default_momentum: ClassVar[float] = 0.9
    default_betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    default_eps: ClassVar[float] = 1e-8
    default_rho: ClassVar[float] = 0.9

    def __init__(
        self,
        parameters: Parameters,
        backend: Backend,
        segments: Sequence[Segment] | None = None,
        **settings: Any,
    ) -> None:
        self.backend, self.parameters = backend, parameters
        self.segments = list(segments) if segments is not None else [Segment(slice(0, parameters.size))]
        self.settings = {name: settings[name] for name in self.constants}
        self.state = {slot: backend.zeros((parameters.size,), parameters.theta.dtype) for slot in self.slots}
        self.t = 0
        self._rule = backend.primitive(type(self).rule)
        self._slots = [[vector[segment.part] for vector in self.state.values()] for segment in self.segments]

    def settings_at(self, t: Any) -> dict[str, Any]:
        """What the rule takes by name in step t, counted from 1."""
        return {**self.settings, "t": t} if self.counts_steps else self.settings

    def step(self, theta: Array, grad: Array, lr: float, decay: float = 1.0) -> None:
        """Move theta by one step along grad, in place; both [parameters]. decay: the share of the weight decay that is
        left."""
        self.t += 1
        settings = self.settings_at(self.t)
        for segment, slots in zip(self.segments, self._slots, strict=True):
            part = segment.part
            own = segment.weight_decay * decay
            self._rule(theta[part], grad[part], *slots, lr * segment.lr_scale, own, **settings)


def by_entries(rule: Callable[..., Change]) -> Change:
    """A rule that goes entry by entry as a primitive for whole vectors, with weight decay.

    `rule(xp, lr, **settings)` is what it does to some entries in a step. The primitive takes xp, theta, grad, the
    vectors of the state, lr, decay, and the settings by name.
    """

    @wraps(rule)
    def whole(xp: Any, theta: Array, grad: Array, *rest: Any, block: int = BLOCK, **settings: Any) -> None:
        *state, lr, decay = rest
        in_blocks(rule(xp, lr, **settings), (theta, grad, *state), lr, decay, block)

    return whole


def in_blocks(change: Change, vectors: Sequence[Array], lr: float, decay: float, block: int) -> None:
    """Weight decay and then the change, a block of the vectors after the other; theta is the first of them."""
    for s in blocks(len(vectors[0]), 1, block):
        theta, *others = (vector[s] for vector in vectors)
        if decay:
            theta *= 1 - lr * decay
        change(theta, *others)
