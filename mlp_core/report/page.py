"""From chapters to one HTML page that needs nothing else: no script, no request, nothing from data taken for markup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from mlp_core import __version__
from mlp_core.report.blocks import Block, Chapter, Picture
from mlp_core.report.charts import MINE

GENERATOR = "mlpbp"
"""What the page says that it was made by; so a report is known as one."""
POINT = 96 / 72  # pixels of a page for each of a picture's points
PADDING = 24


def page(title: str, chapters: Sequence[Chapter]) -> str:
    """The text of the page. Every value is escaped but the pictures, which are our own and escape what they write."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_readable)
    number = iter(range(1_000_000))

    def rows_of_a_kind(blocks: Sequence[Block]) -> Iterator[tuple[str, list[Any]]]:
        for kind, part in groupby(blocks, key=lambda block: type(block).__name__.lower()):
            yield kind, [_drawn(one, next(number)) if isinstance(one, Picture) else one for one in part]

    environment.filters["groupby_kind"] = rows_of_a_kind
    template = environment.from_string((files("mlp_core.report") / "page.html").read_text(encoding="utf-8"))
    return template.render(title=title, chapters=chapters, generator=f"{GENERATOR} {__version__}") + "\n"


def _drawn(picture: Picture, number: int) -> dict[str, Any]:
    """What a picture is in the page, where its drawing has names of its own."""
    match = re.search(r'viewBox="0 0 ([\d.]+)', picture.svg)
    width = round(float(match[1]) * POINT) + PADDING if match else 400
    return {**vars(picture), "drawing": Markup(picture.svg.replace(MINE, f"p{number}-")), "width": width}


def _readable(value: Any) -> Any:
    """A value without what HTML has no place for: control characters become a mark."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in value)
