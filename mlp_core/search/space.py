"""What a search may try: `KEY=log(1e-4,1e-1)`, `KEY=int(1,8)`, `KEY=uniform(0,0.5)`, or a list of values.

Everything is checked against the schema before the first trial: both ends of a range, and every value of a list.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mlp_core.config import Config, with_overrides
from mlp_core.errors import ConfigError, Problem, UsageError
from mlp_core.training.recipe import chosen

_RANGE = re.compile(r"\s*(log|uniform|int|logint)\s*\(([^(),]*),([^(),]*)\)\s*")
_LIST = re.compile(r"[^\[\]{}(),]+(,[^\[\]{}(),]+)+")


@dataclass(frozen=True)
class Choice:
    """One of some values, each as JSON text."""

    key: str
    values: tuple[str, ...]

    def ends(self) -> tuple[str, ...]:
        """What is checked before the first trial."""
        return self.values

    def to_json(self) -> list[Any]:
        return [json.loads(value) for value in self.values]


@dataclass(frozen=True)
class Range:
    """A number between two, both among them. kind: `uniform`, or `int` for whole numbers; `log` and `logint`: the same,
    evenly on a logarithmic scale."""

    key: str
    kind: str
    low: float
    high: float

    def ends(self) -> tuple[str, ...]:
        return json.dumps(self.low), json.dumps(self.high)

    @property
    def whole(self) -> bool:
        return self.kind in ("int", "logint")

    @property
    def log(self) -> bool:
        return self.kind in ("log", "logint")

    def to_json(self) -> str:
        return f"{self.kind}({json.dumps(self.low)},{json.dumps(self.high)})"


Dimension = Choice | Range


def is_search(text: str) -> bool:
    """Whether the value of an override is a range, or several values with commas between them: `1e-2,1e-3`."""
    return bool(_RANGE.fullmatch(text) or _LIST.fullmatch(text.strip()))


def dimension(key: str, text: str) -> Dimension | None:
    """What an override leaves open; None for a single value, which is settled. Raises UsageError."""
    found = _RANGE.fullmatch(text)
    if found is not None:
        return _range(key, found[1], found[2], found[3])
    if re.fullmatch(r"\s*[a-z_]+\s*\(.*\)\s*", text):
        raise _wrong(key, "not a range", text)
    listed = f"[{text}]" if _LIST.fullmatch(text.strip()) else text
    try:
        value = yaml.safe_load(listed)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None  # the config's own reader says what is wrong
    if not isinstance(value, list):
        return None
    if not value:
        raise _wrong(key, "there is nothing to choose from", text)
    return Choice(key, tuple(dict.fromkeys(json.dumps(_number(one)) for one in value)))


def _number(value: Any) -> Any:
    """YAML reads 1e-3 as text."""
    if isinstance(value, list):
        return [_number(one) for one in value]
    if isinstance(value, str):
        try:
            return float(value) if math.isfinite(float(value)) else value
        except ValueError:
            return value
    return value


def _range(key: str, kind: str, low: str, high: str) -> Range:
    try:
        ends = [int(text) if kind.endswith("int") else float(text) for text in (low, high)]
    except ValueError:
        raise _wrong(key, f"{kind} takes two numbers", f"{kind}({low},{high})") from None
    if not (all(map(math.isfinite, ends)) and ends[0] < ends[1]):
        raise _wrong(key, "the first number has to be the smaller one", f"{kind}({low},{high})")
    if kind.startswith("log") and ends[0] <= 0:
        raise _wrong(key, "a logarithmic range begins above 0", f"{kind}({low},{high})")
    return Range(key, kind, *ends)


def _wrong(key: str, message: str, got: str) -> UsageError:
    return UsageError(Problem("not_a_space", message, "for example log(1e-4,1e-1), int(1,8), [a, b]", got, key=key))


@dataclass(frozen=True)
class Space:
    """Everything that is left open, and the config with everything that is settled."""

    config: Config
    dimensions: tuple[Dimension, ...]

    @classmethod
    def of(cls, config: Config, words: Sequence[str]) -> Space:
        """The space that overrides leave open over a config. Raises ConfigError for a key or a value that the schema
        does not know, with the nearest one; UsageError."""
        open_, settled = list[Dimension](), list[str]()
        for word in words:
            key, sign, text = word.partition("=")
            found = dimension(key, text) if sign and not key.endswith("+") and not word.startswith("~") else None
            if found is None:
                settled.append(word)
            else:
                open_.append(found)
        names = [one.key for one in open_]
        for key in names:
            if names.count(key) > 1:
                raise _wrong(key, "given twice", key)
        fixed = with_overrides(config, settled) if settled else config
        problems: list[Problem] = []
        for one in open_:
            for value in one.ends():
                try:
                    with_overrides(fixed, [f"{one.key}={value}"])
                except ConfigError as error:
                    problems += [problem for problem in error.problems if problem not in problems]
        if problems:
            raise ConfigError(problems)
        return cls(fixed, tuple(open_))

    def at(self, values: Mapping[str, Any]) -> Config:
        """The config with values in the place of what is open; those of a choice as JSON text. Raises ConfigError."""
        listed = {one.key for one in self.dimensions if isinstance(one, Choice)}
        words = [f"{key}={value if key in listed else json.dumps(value)}" for key, value in values.items()]
        return with_overrides(self.config, words)

    @property
    def first(self) -> Config:
        """The config at the first end of everything that is open."""
        return with_overrides(self.config, [f"{one.key}={one.ends()[0]}" for one in self.dimensions])

    def to_json(self) -> dict[str, Any]:
        return {one.key: one.to_json() for one in self.dimensions}

    @property
    def finite(self) -> bool:
        """Whether all dimensions are lists of values."""
        return all(isinstance(one, Choice) for one in self.dimensions)

    @property
    def grid(self) -> int:
        """How many trials a grid has. Raises UsageError where a range has no end of values."""
        for one in self.dimensions:
            if not isinstance(one, Choice):
                hint = "list values: [1e-3, 1e-2]"
                raise UsageError(Problem("not_a_space", "a grid takes lists of values only", hint, key=one.key))
        return math.prod(len(one.values) for one in self.dimensions if isinstance(one, Choice))


PLAIN_SPACE = (
    "optimizer.lr=log(3e-4,3e-2)",
    "train.batch_size=[64, 128, 256]",
    "model.hidden=[[64], [128], [256], [128, 128], [256, 256], [256, 256, 256]]",
    "model.dropout=[0, 0.1, 0.2, 0.3]",
    "optimizer.weight_decay=log(1e-6,1e-1)",
    "model.activation=[relu, gelu, silu, selu]",
)
STRONG_SPACE = (
    "optimizer.lr=log(0.02,0.3)",
    "model.hidden=[[256, 256], [256, 256, 256], [256, 256, 256, 256], [384, 384, 384], [512, 512, 512]]",
    "model.dropout=[0, 0.15, 0.3, 0.5]",
    "optimizer.weight_decay=log(1e-3,5e-2)",
)
"""What is searched where nothing is said: what most often decides how well a network does on a table (ranges after
Gorishniy et al., 2021 and 2022, and Holzmueller et al., 2024, narrowed to what trains on a CPU)."""


def usual_space(config: Config, words: Sequence[str]) -> tuple[str, ...]:
    """The space of a config's recipe, without what the overrides settle."""
    recipe, _ = chosen(config)
    space = ("recipe=strong", *STRONG_SPACE) if recipe == "strong" else PLAIN_SPACE
    settled = {word.partition("=")[0] for word in words}
    return tuple(one for one in space if one.partition("=")[0] not in settled)
