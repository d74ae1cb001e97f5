"""Imports of the engine go downward only, and only where they may; the floors are those of CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOT = REPOSITORY / "mlp_core"
TABLE = re.findall(r"^\| (\d) [^|]*\|([^|]*)\|$", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE)
FLOOR = {room: int(floor) for floor, rooms in TABLE for room in re.findall(r"`(\w+)`", rooms)}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path: Path) -> str:
    """The module or package right below mlp_core that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, as absolute names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "mlp_core" else {module}
    return names


def test_there_are_files_to_read():
    assert len(FILES) > 20


def test_every_room_has_a_floor():
    rooms = {room(path) for path in FILES}
    assert not rooms - set(FLOOR), "put them on a floor in the table of CONTRIBUTING.md"
    assert not set(FLOOR) - rooms, "CONTRIBUTING.md names rooms that are not there"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward_only(path):
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("mlp_core.")} - {room(path)}
    above = {name for name in rooms & set(FLOOR) if FLOOR[name] > FLOOR[room(path)]}
    assert not above, f"{room(path)} is on floor {FLOOR[room(path)]} and imports {above} from above"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_knows_nothing_of_the_command_line(path):
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & {"cli", "mlpbp", "typer", "rich", "click", "torch"}


def test_only_one_room_imports_cupy():
    assert len({room(path) for path in FILES if any(name.split(".")[0] == "cupy" for name in imported(path))}) <= 1


def test_no_two_rooms_need_each_other():
    needs: dict[str, set[str]] = {}
    for path in FILES:
        rooms = {name.split(".")[1] for name in imported(path) if name.startswith("mlp_core.")}
        needs.setdefault(room(path), set()).update(rooms - {room(path)})
    cycles = {(a, b) for a in needs for b in needs[a] if a in needs.get(b, set())}
    assert not cycles
