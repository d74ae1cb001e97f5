"""The keys as people look them up are those of the schema, and the page of all keys is made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlp_core.config import defaults, from_mapping
from mlp_core.config.keys import all_keys, find_keys, markdown
from mlp_core.config.schema import differences
from mlp_core.errors import UsageError

ROOT = Path(__file__).parents[3]


def test_the_page_is_made_from_the_schema() -> None:
    told = "run: python -m mlp_core.config docs > docs/config.md"
    assert (ROOT / "docs" / "config.md").read_text(encoding="utf-8") == markdown(), told


def test_every_key_has_a_meaning_and_says_what_it_takes() -> None:
    for key in all_keys():
        assert key.meaning, key.name
        assert key.forms, key.name


def test_the_keys_are_all_there_once() -> None:
    names = [key.name for key in all_keys()]
    assert len(names) == len(set(names))

    def leaves(tree: object, above: str) -> list[str]:
        if not isinstance(tree, dict) or not tree:
            return [above]
        return [name for key, inner in tree.items() for name in leaves(inner, f"{above}.{key}" if above else key)]

    assert set(leaves(defaults(), "")) <= set(names)


def test_the_default_that_is_told_is_the_one_that_is_used() -> None:
    config = from_mapping({"data": {"name": "digits"}}).model_dump(mode="json")
    assert set(differences(defaults(), config)) == {"data.name"}
    for key in all_keys():
        if "[]" in key.name or "NAME" in key.name or key.required or key.name.startswith("data"):
            continue
        value, parts = config, key.name.split(".")
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        if parts[0] in config and value is not None:
            assert value == key.default, key.name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("optimizer.ler", "optimizer.lr"),
        ("epochs", "train.epochs"),
        ("batch_size", "train.batch_size"),
        ("model.hiden", "model.hidden"),
        ("random_state", "seed"),
    ],
)
def test_a_name_that_is_none_leads_to_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean .*{meant}"):
        find_keys(name)


def test_a_section_brings_its_keys_and_nothing_that_only_begins_alike() -> None:
    assert [key.name for key in find_keys("model.hidden")][:2] == ["model.hidden", "model.hidden[].units"]
    assert all(key.name.split(".")[0] == "train" for key in find_keys("train"))
