"""Libraries of kernels from changed sources: only the instructions that a change is part of, compiled in a second."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from c_mutants import TYPES, Change, changes

from mlp_core.backends.cpu import compile as compiling
from mlp_core.backends.cpu.library import load

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
INCLUDED = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
MACRO = re.compile(r"#\s*define\s+(\w+)")
NAMED = re.compile(r"(FN\(\w+\))\s*[({]|\b(?!FN\b|__attribute__\b)(\w+)\s*\(")
CALL = re.compile(r"^[A-Z_]+\(.*\)\s*$")
SAY_ALL = '#undef EXPORT\n#define EXPORT __attribute__((visibility("default")))\n'
SAY_NONE = "#undef EXPORT\n#define EXPORT static __attribute__((unused))\n"


@dataclass(frozen=True)
class Piece:
    """Something that stands by itself in a source: a function, a macro, the call of one."""

    file: str
    start: int
    text: str

    @cached_property
    def bare(self) -> str:
        return COMMENT.sub("", self.text)

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(re.findall(r"FN\(\w+\)|\w+", self.bare))

    @cached_property
    def names(self) -> frozenset[str]:
        """What it is called in other pieces."""
        if self.macro:
            return frozenset(MACRO.findall(self.bare))
        if self.bare.lstrip().startswith(("enum", "typedef")):
            return frozenset(word for word in self.words if not word[0].isdigit() and word not in TYPES)
        found = NAMED.search(self.bare)
        return frozenset(name for name in found.groups() if name) if found else frozenset()

    @property
    def macro(self) -> bool:
        return self.bare.lstrip().startswith("#")

    def uses(self, names: set[str]) -> bool:
        """Whether one of the names is in it."""
        return not self.words.isdisjoint(names)

    def pastes(self, names: set[str], given: set[str]) -> bool:
        """Whether it calls a macro that makes one of the names of a word that it is `given`."""
        return bool(CALL.match(self.bare.strip())) and any(
            n == f"FN({w})" or n.startswith(f"FN({w}_") for w in given | self.words for n in names
        )


def pieces(file: str, source: str) -> Iterator[Piece]:
    """A source cut where nothing is open."""
    shown = COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), source)
    start, place, depth, goes_on = 0, 0, 0, False
    for line in shown.splitlines(keepends=True):
        directive = goes_on or line.startswith("#")
        if directive and not goes_on and depth == 0 and start < place:
            yield Piece(file, start, source[start:place])
            start = place
        goes_on = directive and line.endswith("\\\n")
        if not directive:
            depth += line.count("{") - line.count("}")
        place += len(line)
        ends = line.rstrip().endswith(("}", ";")) or bool(CALL.match(line)) or directive
        if depth == 0 and not goes_on and ends:
            yield Piece(file, start, source[start:place])
            start = place
    if start < place:
        yield Piece(file, start, source[start:])


class NoC(Exception):
    """The compiler does not take it."""


class Bench:
    """A copy of the sources, in which one place at a time is changed and compiled."""

    def __init__(self, folder: Path) -> None:
        self.folder, here = folder, compiling.HERE
        self.sources = {path.name: path.read_text() for path in compiling.sources()}
        (folder / "cpu").mkdir()
        for path in compiling.sources():
            shutil.copy(path, folder / "cpu" if path.parent == here else folder)
        self.pieces = [piece for name, text in self.sources.items() for piece in pieces(name, text)]
        self._makers = {name for one in self.pieces if one.macro and "EXPORT" in one.bare for name in one.names}
        level = load(compiling.BUILT).name
        flags = [*compiling.FLAGS, *compiling.LEVELS.get(compiling.machine(), {}).get(level, (1, ()))[1]]
        quick = ["-O1" if flag == "-O3" else flag for flag in flags]
        compiler = [*compiling.compilers(), compiling.ZIG][0]
        self._command = [*compiler, *quick, "-w", "-fPIC", '-DSTAMP="a mutant"', "-lm", "-lpthread"]
        self._sound: dict[frozenset[Piece], bytes] = {}

    def places(self) -> list[tuple[str, Change]]:
        """Every change of every source."""
        return [(name, one) for name in sorted(self.sources) for one in changes(self.sources[name])]

    def touched(self, file: str, change: Change) -> frozenset[Piece]:
        """The pieces that are compiled to something else after a change, as far as names tell."""
        found = {p for p in self.pieces if p.file == file and p.start <= change.start < p.start + len(p.text)}
        names = {name for piece in found if not self._exports(piece) for name in piece.names}
        while more := {one for one in self.pieces if one not in found and self._uses(one, names)}:
            found |= more
            names |= {name for piece in more if not self._exports(piece) for name in piece.names}
        return frozenset(found)

    def _uses(self, piece: Piece, names: set[str]) -> bool:
        lists = {word for one in self.pieces if one.names & piece.words and one.macro for word in one.words}
        return piece.uses(names) or piece.pastes(names, lists)

    def build(self, file: str, change: Change, out: Path, whole: bool = False) -> bool:
        """Compile what a change touches, or all; whether it became other machine code. Raises NoC."""
        touched = frozenset(self.pieces) if whole else self.touched(file, change)
        exported = frozenset(piece for piece in touched if self._exports(piece))
        if exported not in self._sound:
            self._sound[exported] = self._compile(exported, None, out)
        return self._compile(exported, (file, change), out) != self._sound[exported]

    def _exports(self, piece: Piece) -> bool:
        return not piece.macro and ("EXPORT" in piece.words or not piece.words.isdisjoint(self._makers))

    def _compile(self, exported: frozenset[Piece], changed: tuple[str, Change] | None, out: Path) -> bytes:
        """The machine code of the sources, with these pieces to be seen from outside."""
        for name in self.sources:
            path = self.folder / ("cpu" if (self.folder / "cpu" / name).exists() else ".") / name
            path.write_text(self._written(name, exported, changed))
        done = subprocess.run(
            [*self._command, str(self.folder / "cpu/kernels.c"), "-o", str(out)], capture_output=True, text=True
        )
        if done.returncode:
            raise NoC(done.stderr[:200])
        return out.read_bytes()

    def _written(self, name: str, exported: frozenset[Piece], changed: tuple[str, Change] | None) -> str:
        """A source, with a change, each of its exporting pieces behind a line that says whether it is exported."""
        text = []
        for piece in (one for one in self.pieces if one.file == name):
            body = piece.text
            if changed and changed[0] == name and piece.start <= changed[1].start < piece.start + len(piece.text):
                at = changed[1]
                body = Change(at.start - piece.start, at.stop - piece.start, at.text).made(body)
            if self._exports(piece):
                body = (SAY_ALL if piece in exported or name == "kernels.c" else SAY_NONE) + body
            text.append(body)
        return "".join(text)
