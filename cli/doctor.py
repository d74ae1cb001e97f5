"""`mlpbp doctor`: what is installed, what this machine can do, and why a GPU is or is not used."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from mlp_core.errors import clean

from .console import Console

HELP = "Show versions, threads, extras and the GPU: text to paste into a bug report."
WIDTH = 80
INDENT = 18


def doctor() -> int:
    from mlp_core.diagnostics.doctor import examine

    console, report = Console("doctor"), examine()
    console.show("\n".join(lines(report)))
    return console.result(report)


def lines(report: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The report for people: a heading for each section, one fact per line, at most 80 columns."""
    for section, facts in report.items():
        if not facts:
            continue
        yield section
        for name, value in facts.items():
            text = f"  {name:<{INDENT - 3}} {_text(value)}"
            yield from textwrap.wrap(text, WIDTH, subsequent_indent=" " * INDENT, drop_whitespace=True)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(version)}" for name, version in value.items())
    if value is None:
        return "not there"
    return ("yes" if value else "no") if isinstance(value, bool) else clean(value, 300)
