"""Going through a list of operations in one format, which refuses what it has nothing for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from mlp_core.errors import Problem, UsageError
from mlp_core.export import operations as op


class Walk:
    """A format's way through operations: a method `visit_NAME` for each kind of them, as in `ast.NodeVisitor`.

    to: the format as people call it. activations: what it writes for each, by its name in the config.
    """

    to: ClassVar[str]
    activations: ClassVar[Mapping[str, str]] = {}

    def visit(self, one: Any) -> Any:
        """What the method for an operation gives. Raises UsageError where there is none."""
        kind = type(one).__name__
        if not hasattr(self, f"visit_{kind}"):
            raise self._refusal(f"an operation of this kind ({kind})")
        return getattr(self, f"visit_{kind}")(one)

    def walk(self, operations: Iterable[Any]) -> None:
        """Visit one after another."""
        for one in operations:
            self.visit(one)

    def formula(self, one: op.Activation) -> str:
        """What the format writes for an activation. Raises UsageError where that is nothing."""
        if one.name not in self.activations:
            raise self._refusal(f"the activation {one.name}")
        return self.activations[one.name]

    def _refusal(self, what: str) -> UsageError:
        return UsageError(Problem("not_exportable", f"{what} cannot be exported to {self.to} yet"))


class Lines(Walk):
    """A walk that writes lines of a function as it goes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, *text: str) -> None:
        self.lines += [f"    {line}" for line in text]
