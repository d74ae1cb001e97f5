"""A bug: a function of the engine, replaced for a while by a wrong one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

Wrong = Callable[..., Any]


@dataclass(frozen=True)
class Bug:
    """In place of `owner.attribute` stands `wrong`, which is given the right one, and then what that is given; of a
    number, another one. `model` names the specimen that must fail then; of a fault of the checker, the bug that it lets
    through.

    `family` sorts bugs, `slip` is the number of the slip in the article that this is, where it is one.
    """

    family: str
    name: str
    owner: Any
    attribute: str
    wrong: Wrong | float
    model: str = "plain"
    slip: int | None = None

    def planted(self) -> AbstractContextManager[None]:
        """The engine with this bug in it; as it was afterwards, whatever happens."""
        right, made = getattr(self.owner, self.attribute), self.wrong
        if not callable(made):
            return replaced(self.owner, self.attribute, made)

        @functools.wraps(right)
        def wrong(*arguments: Any, **more: Any) -> Any:
            return made(right, *arguments, **more)

        return replaced(self.owner, self.attribute, wrong)


@contextmanager
def replaced(owner: Any, attribute: str, value: Any) -> Iterator[None]:
    """Set an attribute of a class or module for a while; one that was inherited is inherited again afterwards."""
    own, before = attribute in vars(owner), getattr(owner, attribute)
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, attribute, before)
        else:
            delattr(owner, attribute)
