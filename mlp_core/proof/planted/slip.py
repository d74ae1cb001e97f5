"""A slip: one function of the program with a few characters changed, for a while."""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, cast


@dataclass(frozen=True)
class Slip:
    """`before` stands in the code of a function, under its docstring; where it does for the first time, it becomes
    `after`. `case` names the experiment on which that must be noticed."""

    function: Callable[..., Any]
    before: str
    after: str
    case: str

    @property
    def name(self) -> str:
        return f"{self.function.__qualname__}: {self.before} -> {self.after}"

    def plain(self) -> FunctionType:
        """The function itself, under what decorates or binds it."""
        function: Any = inspect.unwrap(self.function)
        return cast(FunctionType, getattr(function, "__func__", function))

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The program with this slip in it, wherever the function is referred to; as it was afterwards."""
        function = self.plain()
        sound = function.__code__
        function.__code__ = self._code(function)
        try:
            yield
        finally:
            function.__code__ = sound

    def _code(self, function: FunctionType) -> CodeType:
        """The code of the function as changed, inside another one that has its free variables."""
        source = textwrap.dedent(inspect.getsource(function))
        begin = source.find('"""', source.find('"""') + 3) + 3 if function.__doc__ else 0
        if self.before not in source[begin:]:
            raise ValueError(f"{self.before!r} is not in {function.__qualname__}")
        lines = (source[:begin] + source[begin:].replace(self.before, self.after, 1)).splitlines()
        while lines[0].startswith("@"):
            del lines[0]
        free = function.__code__.co_freevars
        body = textwrap.indent("\n".join(lines), " ")
        text = f"def _outer({', '.join(free)}):\n global {function.__name__}\n{body}\n"
        flags = __future__.annotations.compiler_flag
        outer = _inner(compile(text, f"<slip in {function.__qualname__}>", "exec", flags, True))
        code = _inner(outer, function.__name__)
        if code.co_freevars != free:
            raise ValueError(f"{function.__qualname__} would have other free variables")
        return code


Row = tuple[Callable[..., Any], str, *tuple[tuple[str, str], ...]]
"""A function, the experiment on which slips in it must be noticed, and for each slip what stands there and what becomes
of it."""


def slips(*rows: Row) -> tuple[Slip, ...]:
    """The slips of a table."""
    return tuple(Slip(function, before, after, case) for function, case, *changes in rows for before, after in changes)


def _inner(code: CodeType, name: str | None = None) -> CodeType:
    return next(c for c in code.co_consts if isinstance(c, CodeType) and name in (None, c.co_name))
