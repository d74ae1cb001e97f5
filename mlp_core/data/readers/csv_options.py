"""What the config says about text tables, how one of them is written, and what a plain number is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mlp_core.config.data import MARKERS

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Dialect:
    """The decisions for one file. A blank as delimiter stands for any run of white space."""

    delimiter: str
    quote: str | None
    header: bool
    decimal: str = "."


@dataclass(frozen=True)
class CsvOptions:
    """What the config says about text tables (section `data.csv`).

    kept: how the training file of a model is written, for a further file.
    """

    delimiter: str = "auto"
    header: bool | Literal["auto"] = "auto"
    names: tuple[str, ...] = ()
    encoding: str = "utf-8"
    decimal: str = "auto"
    quote: str | None = '"'
    comment: str | None = None
    na: tuple[str, ...] = MARKERS
    kept: Dialect | None = None

    @property
    def point(self) -> str:
        """The decimal sign where no first lines tell it."""
        return self.decimal if self.decimal != "auto" else "."


def number(text: str, decimal: str = ".") -> float | None:
    """The number a cell holds, or None. Plain decimal notation only: no `nan`, `inf`, `1_000` or other alphabets."""
    text = text.strip()
    if decimal != ".":
        text = "x" if "." in text else text.replace(decimal, ".")
    return float(text) if NUMBER.fullmatch(text) else None
