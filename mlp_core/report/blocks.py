"""What a page is made of: sections of paragraphs, tables, pictures and texts, as plain values to be escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Paragraph:
    """Some words; `warning` if they should stand out."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """Cells under headings. The first `left` columns are text, the others numbers; `faint` rows count less."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    caption: str = ""
    faint: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """An SVG of `charts`, with a sentence under it; `text` says what is to be seen for those who cannot."""

    svg: str
    caption: str
    text: str = ""


@dataclass(frozen=True)
class Text:
    """Lines as they are, folded away until they are asked for."""

    caption: str
    lines: str


Block = Paragraph | Table | Picture | Text


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; pictures in a row stand side by side where there is room."""

    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Chapter:
    """One run, or the comparison of several: a title, a line under it, its sections."""

    title: str
    about: str
    sections: list[Section]
