"""What was decided about the training file, kept with the model: every further file is read in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mlp_core.data.notation import Notation
from mlp_core.data.readers.csv_options import Dialect


@dataclass(frozen=True)
class Kept:
    """How the training file is written. None, and nothing: not known, as in models of earlier versions.

    dialect: of a text table, but for its quotes. base: the number of the first input in a libsvm file. columns: how
    numbers, dates and times are written in columns where that is not plain.
    """

    dialect: Dialect | None = None
    base: int | None = None
    columns: Mapping[str, Notation] = field(default_factory=dict)

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint: what is known."""
        found: dict[str, Any] = {}
        if self.dialect is not None:
            found = {key: getattr(self.dialect, key) for key in ("delimiter", "decimal", "header")}
        if self.base is not None:
            found["base"] = self.base
        if self.columns:
            found["columns"] = {name: notation.to_state() for name, notation in self.columns.items()}
        return found

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """What a checkpoint keeps. Raises TypeError, ValueError, AttributeError when it is nothing of that kind."""
        base, header = state.get("base"), state.get("header")
        signs = [str(state[key]) for key in ("delimiter", "decimal") if state.get(key) is not None]
        if any(len(sign) != 1 for sign in signs):
            raise ValueError("a sign is one character")
        dialect = None if len(signs) < 2 or header is None else Dialect(signs[0], None, bool(header), signs[1])
        columns = {str(name): Notation.from_state(one) for name, one in state.get("columns", {}).items()}
        return cls(dialect, None if base is None else int(base), columns)
