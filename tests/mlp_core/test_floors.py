"""Imports of the engine go downward only, between its rooms and inside them, and only where they may."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOT = REPOSITORY / "mlp_core"
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()
TABLE = re.findall(r"^\| (\d+) \|([^|]*)\|", PAGE, re.MULTILINE)
FLOOR = {room: int(floor) for floor, rooms in TABLE for room in re.findall(r"`(\w+)(?:\.py|/)`", rooms)}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path: Path) -> str:
    """The module or package right below mlp_core that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def module(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path) for path in FILES}


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, as absolute names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            given = node.module or ""
            below = {f"{given}.{alias.name}" for alias in node.names}
            names |= (below & MODULES) | ({given} if not below <= MODULES else set())
    return names


def test_there_are_files_to_read():
    assert len(FILES) > 100


def test_every_room_has_a_floor():
    rooms = {room(path) for path in FILES}
    assert not rooms - set(FLOOR), "put them on a floor in the table of docs/architecture.md"
    assert not set(FLOOR) - rooms, "docs/architecture.md names rooms that are not there"


def test_nothing_lies_loose_but_the_ground():
    loose = {path.stem for path in FILES if path.parent == ROOT}
    assert loose == {name for name, floor in FLOOR.items() if floor == min(FLOOR.values())}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward_only(path):
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("mlp_core.")} - {room(path)}
    floor = max(FLOOR[room(path)], 2)  # the files of the ground may use each other
    above = {name for name in rooms & set(FLOOR) if FLOOR[name] >= floor}
    assert not above, f"{room(path)} is on floor {FLOOR[room(path)]} and imports {above} from the same floor or above"


def test_inside_a_room_no_two_files_need_each_other():
    needs = {module(path): {name for name in imported(path) if name in MODULES} for path in FILES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name not in done:
            for below in sorted(needs[name] - {name}):
                visit(below, (*way, name))
            done.add(name)

    for name in sorted(needs):
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_knows_nothing_of_the_command_line(path):
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & {"cli", "mlpbp", "typer", "rich", "click", "torch"}


def test_only_one_room_imports_cupy():
    assert len({room(path) for path in FILES if any(name.split(".")[0] == "cupy" for name in imported(path))}) <= 1
