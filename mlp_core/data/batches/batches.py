"""Batches: the rows of a split in the order of an epoch, gathered into memory taken once."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.data.batches.inputs import Held, Rows, gather
from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.layers import Pass, head
from mlp_core.rng import generator


class Batches:
    """Batches of one split: inputs X [n, inputs] (an array or `Rows`), targets Y [n] or [n, k], weights w [n] or None.

    The order of an epoch is a function of (seed, epoch); a batch is valid until the next one is taken.
    """

    def __init__(
        self,
        backend: Backend,
        X: Array | Rows,
        Y: Array,
        w: Array | None,
        *,
        size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        self.backend, self.Y, self.w = backend, Y, w
        self.X = X if isinstance(X, Rows) else Held(backend, X)
        self.rows, self.size, self.seed, self.shuffle = len(X), min(size, len(X)), seed, shuffle
        self.count = self.rows // self.size if drop_last else -(-self.rows // self.size)
        self._gather = backend.primitive(gather)
        self._X = backend.empty((self.size, *X.shape[1:]), X.dtype)
        self._Y = backend.empty((self.size, *Y.shape[1:]), Y.dtype)
        self._w = None if w is None else backend.empty((self.size,), w.dtype)
        self._epoch = self._host_epoch = -1
        self._weights = None if w is None else backend.to_host(w)

    def batch(self, epoch: int, position: int, part: slice | None = None) -> tuple[Array, Array, Array | None]:
        """Batch `position` (from 0) of an epoch, or the rows `part` of it: X [b, inputs], Y, w; the last one may be
        shorter."""
        span = slice(*self.span(position, part))
        if not self.shuffle:
            return self.X.view(span, self._X), self.Y[span], None if self.w is None else self.w[span]
        rows = self._order(epoch)[span]
        X, Y, w = self.memory(len(rows))
        self.X.gather(rows, X)
        self._gather_targets(rows, Y, w)
        return X, Y, w

    def _gather_targets(self, rows: Array, Y: Array, w: Array | None) -> None:
        """The targets and weights of some rows into Y and w."""
        self._gather(self.Y, rows, Y)
        if w is not None:
            self._gather(self.w, rows, w)

    def span(self, position: int, part: slice | None = None) -> tuple[int, int]:
        """Where a batch, or the rows `part` of it, begins and ends in the order of an epoch."""
        start, stop = position * self.size, min((position + 1) * self.size, self.rows)
        return (start, stop) if part is None else (start + part.start, start + part.stop)

    def alike(self, position: int) -> int:
        """How many batches from `position` on in an epoch have the same number of rows."""
        whole = self.rows // self.size
        return whole - position if position < whole else 1

    def numbers(self, epoch: int, position: int, count: int) -> tuple[Any, int]:
        """The numbers of the rows of `count` batches alike, int64 [count * rows], on the host; and the rows of each."""
        part = slice(position * self.size, min((position + count) * self.size, self.rows))
        return self.dealt(epoch)[part], (part.stop - part.start) // count

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays a batch is gathered into, and of the order of an epoch."""
        gathered = int(sum(array.nbytes for array in (self._X, self._Y, self._w) if array is not None))
        return gathered + 16 * self.rows if self.shuffle or self.X.made else 0

    def weight(self, epoch: int, position: int) -> float:
        """The weight of all rows of a batch together, from what the host knows."""
        start, stop = self.span(position)
        if self._weights is None:
            return float(stop - start)
        return float(self._weights[self.numbers(epoch, position, 1)[0] if self.shuffle else slice(start, stop)].sum())

    def memory(self, rows: int) -> tuple[Array, Array, Array | None]:
        """The arrays that batches of so many rows are gathered into: X, Y, w."""
        return head(self._X, rows), head(self._Y, rows), None if self._w is None else head(self._w, rows)

    def dealt(self, epoch: int) -> Any:
        """The order of the rows in an epoch, on the host [rows]."""
        if epoch != self._host_epoch:
            order = generator(self.seed, "shuffle", epoch).permutation if self.shuffle else np.arange
            self._host_rows, self._host_epoch = order(self.rows), epoch
        return self._host_rows

    def _order(self, epoch: int) -> Array:
        if epoch != self._epoch:
            self._rows, self._epoch = self.backend.asarray(self.dealt(epoch)), epoch
        return self._rows


class Augment:
    """Input noise and mixup, on training batches only; pure functions of (seed, step).

    - input noise: X + sigma N(0, 1) (Bishop 1995)
    - mixup: lambda X + (1 - lambda) X[other], the same for Y and w, lambda ~ Beta(alpha, alpha), one per batch
      (Zhang et al., ICLR 2018); class indices become distributions over `classes`

    The last `codes` inputs are codes of words: they get no noise, and cannot be mixed.
    """

    def __init__(
        self, backend: Backend, noise: float = 0.0, mixup: float = 0.0, classes: int = 0, codes: int = 0
    ) -> None:
        self.backend, self.noise, self.mixup, self.classes, self.codes = backend, noise, mixup, classes, codes
        self._gather = backend.primitive(gather)
        self._memory: dict[str, Array] = {}
        self._drawn = np.empty((0, 0), np.float32)

    def __call__(self, X: Array, Y: Array, w: Array | None, mode: Pass) -> tuple[Array, Array, Array | None]:
        if self.mixup:
            X, Y, w = self._mixed(X, Y, w, mode)
        if self.noise:
            X = self._noisy(X, mode)
        return X, Y, w

    def draw_mix(self, rows: int, mode: Pass) -> tuple[float, Any]:
        """lambda, and the numbers of the rows that a batch is mixed with, int64 [rows] on the host."""
        rng = generator(mode.seed, "mixup", mode.step)
        return float(rng.beta(self.mixup, self.mixup)), rng.permutation(rows)

    def draw_noise(self, drawn: Any, mode: Pass) -> None:
        """N(0, 1), float32 [rows, inputs] on the host; 0 where there are codes."""
        generator(mode.seed, "noise", mode.step).standard_normal(out=drawn, dtype=np.float32)
        if self.codes:
            drawn[:, -self.codes :] = 0

    def _mixed(self, X: Array, Y: Array, w: Array | None, mode: Pass) -> tuple[Array, Array, Array | None]:
        share, drawn = self.draw_mix(len(X), mode)
        other = self.backend.asarray(drawn)
        if Y.ndim == 1 and self.classes > 1:
            one_hot = self._room("one hot", (len(Y), self.classes), X.dtype)
            self._gather(self.backend.xp.eye(self.classes, dtype=X.dtype), Y, one_hot)
            Y = one_hot
        return (
            self._mix("X", X, share, other),
            self._mix("Y", Y, share, other),
            None if w is None else self._mix("w", w, share, other),
        )

    def _mix(self, name: str, rows: Array, share: float, other: Array) -> Array:
        """share * rows + (1 - share) * rows[other]."""
        mixed, scaled = (self._room(f"{name} {part}", rows.shape, rows.dtype) for part in ("mixed", "scaled"))
        self._gather(rows, other, mixed)
        mixed *= 1 - share
        self.backend.xp.multiply(rows, share, out=scaled)
        mixed += scaled
        return mixed

    def _noisy(self, X: Array, mode: Pass) -> Array:
        """X + noise * N(0, 1), drawn in float32 on the host whatever the dtype and the device."""
        if len(self._drawn) < len(X):
            self._drawn = np.empty(X.shape, np.float32)
        drawn = head(self._drawn, len(X))
        self.draw_noise(drawn, mode)
        noisy = self._room("noisy", X.shape, X.dtype)
        noisy[...] = self.backend.asarray(drawn)
        noisy *= self.noise
        noisy += X
        return noisy

    def _room(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory for an array, taken once for the largest batch."""
        if name not in self._memory or len(self._memory[name]) < shape[0]:
            self._memory[name] = self.backend.empty(shape, dtype)
        return head(self._memory[name], shape[0])
