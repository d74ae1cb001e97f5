"""The derivation stays true to the code: what it links to exists, what it quotes is there, its slips are planted."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mlp_core.gradcheck.planted import BUGS
from mlp_core.gradcheck.self_test import _plant
from mlp_core.nn.losses import LOSSES

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/derivation.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
REFERENCE = re.compile(r"\[`([\w/.]+\.py)` `([\w.]+)`\]\(\.\./([\w/.]+)\)")
QUOTE = re.compile(REFERENCE.pattern + r"[^`\[]*(?:\$[^$]*\$[^`\[]*)*?\n\n```python\n(.*?)```", re.S)
SLIP = re.compile(r"### Slip (\d+): ([^\n]+)\n(.*?)(?=\n### )", re.S)

REFERENCES = sorted(set(REFERENCE.findall(TEXT)))
QUOTES = [(file, symbol, line) for file, symbol, _, code in QUOTE.findall(TEXT) for line in code.splitlines() if line]
SLIPS = [(int(number), body) for number, _, body in SLIP.findall(TEXT)]


def source(file: str, symbol: str) -> str:
    """The text of a class, function or method."""
    text = (ROOT / file).read_text(encoding="utf-8")
    nodes: list[ast.AST] = [ast.parse(text)]
    for name in symbol.split("."):
        body = getattr(nodes[-1], "body", [])
        nodes.append(next(node for node in body if getattr(node, "name", None) == name))
    segment = ast.get_source_segment(text, nodes[-1])
    assert segment
    return segment


def test_there_is_something_to_check() -> None:
    assert len(REFERENCES) >= 15
    assert len(QUOTES) >= 20
    assert TEXT.count("```python") == len(QUOTE.findall(TEXT)), "a quote without a reference above it"


@pytest.mark.parametrize(("file", "symbol", "target"), REFERENCES, ids=lambda part: str(part))
def test_every_reference_names_a_file_and_a_symbol_in_it(file: str, symbol: str, target: str) -> None:
    assert file == target
    assert source(file, symbol)


@pytest.mark.parametrize(("file", "symbol", "line"), QUOTES, ids=lambda part: str(part)[:60])
def test_every_quoted_line_is_in_the_code(file: str, symbol: str, line: str) -> None:
    lines = [code.split("  # ")[0].strip() for code in source(file, symbol).splitlines()]
    assert line in lines


@pytest.mark.parametrize("target", sorted({target for _, target in LINK.findall(TEXT)}))
def test_every_link_leads_somewhere(target: str) -> None:
    if target.startswith("#"):
        titles = re.findall(r"^#+ (.*)$", TEXT, re.M)
        assert target[1:] in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    else:
        assert (ROOT / "docs" / target).is_file()


def test_the_ten_slips_are_told_in_order() -> None:
    assert [number for number, _ in SLIPS] == list(range(1, 11))


@pytest.mark.parametrize(("number", "body"), SLIPS, ids=[f"slip {number}" for number, _ in SLIPS])
def test_each_slip_is_planted_under_the_names_it_says(number: int, body: str) -> None:
    """That every planted bug is reported is tested with the self-test."""
    assert body.count("\n> ") == 1, "the wrong line is quoted"
    named = re.findall(r"`([^`]+)`", body.split("Planted as:")[1])
    assert set(named) == {bug.name for bug in BUGS if bug.slip == number}


@pytest.mark.parametrize(("number", "condition"), [(7, "one loss"), (9, "finite at logits of 1,000")])
def test_the_two_slips_of_the_loss_are_caught_by_the_conditions_it_says(number: int, condition: str) -> None:
    assert f"`{condition}`" in TEXT
    for bug in BUGS:
        if bug.slip == number:
            assert _plant(bug, seed=1).by == condition


def test_the_table_of_losses_is_complete() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(\w+)` \|$", TEXT, re.M)
    assert dict(rows) == {name: kind.__name__ for name, kind in LOSSES.items()}


def test_formulas_are_closed() -> None:
    without_code = re.sub(r"```.*?```|`[^`]*`", "", TEXT, flags=re.S)
    blocks = re.findall(r"\$\$(.*?)\$\$", without_code, re.S)
    assert without_code.count("$$") == 2 * len(blocks)
    rest = re.sub(r"\$\$.*?\$\$", "", without_code, flags=re.S)
    assert rest.count("$") % 2 == 0
    for formula in [*blocks, *re.findall(r"\$([^$]+)\$", rest)]:
        assert formula.count("{") == formula.count("}"), formula
        assert len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula)), formula
