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

    delimiter, decimal, header: of a text table, and whether its first line names the columns. base: the number of the
    first input in a libsvm file. columns: how numbers, dates and times are written in columns where that is not plain.
    """

    delimiter: str | None = None
    decimal: str | None = None
    header: bool | None = None
    base: int | None = None
    columns: Mapping[str, Notation] = field(default_factory=dict)

    @property
    def dialect(self) -> Dialect | None:
        """How the text table is written that the model was trained on, if it was one."""
        if self.delimiter is None or self.decimal is None or self.header is None:
            return None
        return Dialect(self.delimiter, None, self.header, self.decimal)

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint: what is known."""
        state = {key: getattr(self, key) for key in ("delimiter", "decimal", "header", "base")}
        found = {key: value for key, value in state.items() if value is not None}
        if self.columns:
            found["columns"] = {name: notation.to_state() for name, notation in self.columns.items()}
        return found

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """What a checkpoint keeps. Raises TypeError, ValueError, AttributeError when it is nothing of that kind."""
        base, header = state.get("base"), state.get("header")
        signs = {key: None if state.get(key) is None else str(state[key]) for key in ("delimiter", "decimal")}
        columns = {str(name): Notation.from_state(one) for name, one in state.get("columns", {}).items()}
        header = None if header is None else bool(header)
        if any(len(sign) != 1 for sign in signs.values() if sign is not None):
            raise ValueError("a sign is one character")
        return cls(**signs, header=header, base=None if base is None else int(base), columns=columns)
