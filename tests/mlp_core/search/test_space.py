"""What a search may try: ranges and lists, checked against the schema before anything is trained."""

from __future__ import annotations

import pytest

from mlp_core.config import from_mapping
from mlp_core.errors import MlpbpError
from mlp_core.search.space import PLAIN_SPACE, STRONG_SPACE, Choice, Range, Space, is_search, usual_space

CONFIG = from_mapping({"data": {"name": "digits"}})


def test_ranges_and_lists_are_read() -> None:
    words = ["optimizer.lr=log(1e-4, 1e-1)", "model.hidden=[[64],[128,64]]", "model.dropout=uniform(0,0.5)"]
    words += ["train.batch_size=16,32", "model.activation=[relu, gelu]", "train.epochs=7", "optimizer.name=adamw"]
    space = Space.of(CONFIG, words)
    assert space.dimensions == (
        Range("optimizer.lr", "log", 1e-4, 1e-1),
        Choice("model.hidden", ("[64]", "[128, 64]")),
        Range("model.dropout", "uniform", 0, 0.5),
        Choice("train.batch_size", ("16", "32")),
        Choice("model.activation", ('"relu"', '"gelu"')),
    )
    assert (space.config.train.epochs, space.config.optimizer.name) == (7, "adamw")
    values = {"optimizer.lr": 0.01, "model.hidden": "[128, 64]", "model.dropout": 0.25, "train.batch_size": "32"}
    made = space.at({**values, "model.activation": '"gelu"'})
    assert [layer.units for layer in made.model.layers()] == [128, 64]
    assert (made.optimizer.lr, made.train.batch_size, made.model.activation) == (0.01, 32, "gelu")


def test_numbers_are_whole_where_they_are_meant_to_be() -> None:
    (one,) = Space.of(CONFIG, ["train.batch_size=logint(8,256)"]).dimensions
    assert (one.whole, one.log, one.ends()) == (True, True, ("8", "256"))
    assert Space.of(CONFIG, ["optimizer.lr=1e-2,1e-3"]).dimensions == (Choice("optimizer.lr", ("0.01", "0.001")),)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("optimizer.lrr=log(1e-4,1e-1)", 'did you mean "lr"'),
        ("optimiser.lr=log(1e-4,1e-1)", 'did you mean "optimizer"'),
        ("optimizer.lr=log(0,1)", "begins above 0"),
        ("optimizer.lr=log(1,0.1)", "smaller one"),
        ("optimizer.lr=log(1,x)", "two numbers"),
        ("optimizer.lr=log(1e-4)", "not a range"),
        ("optimizer.lr=lgo(1e-4,1)", "not a range"),
        ("optimizer.lr=uniform(-1,1)", "optimizer.lr"),
        ("model.dropout=uniform(0,1.5)", "model.dropout"),
        ("model.activation=[relu, rleu]", 'did you mean "relu"'),
        ("train.epochs=[]", "nothing to choose from"),
        ("train.epochs=fast", "train.epochs"),
        ("model.depth=int(1,3)", "model.depth"),
    ],
)
def test_what_the_schema_does_not_know_is_refused(word: str, told: str) -> None:
    with pytest.raises(MlpbpError) as refused:
        Space.of(CONFIG, [word])
    assert told in str(refused.value), refused.value
    assert refused.value.exit_code == 2


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(MlpbpError, match="given twice"):
        Space.of(CONFIG, ["optimizer.lr=[1e-3,1e-2]", "optimizer.lr=log(1e-3,1e-2)"])


def test_the_strong_space_is_one() -> None:
    for space in (PLAIN_SPACE, STRONG_SPACE):
        assert len(Space.of(CONFIG, space).dimensions) == len(space)
    table = from_mapping({"data": {"train": "t.csv", "target": "y"}})
    strong = Space.of(table, usual_space(table, ["model.dropout=0"]))
    assert strong.config.recipe == "strong"
    assert [one.key for one in strong.dimensions] == ["optimizer.lr", "model.hidden", "optimizer.weight_decay"]
    assert usual_space(table.replace(recipe="plain"), []) == PLAIN_SPACE


def test_a_grid_has_an_end() -> None:
    assert Space.of(CONFIG, ["optimizer.lr=[1e-3,1e-2,1e-1]", "train.batch_size=16,32"]).grid == 6
    with pytest.raises(MlpbpError, match="lists of values only"):
        _ = Space.of(CONFIG, ["optimizer.lr=log(1e-3,1)"]).grid


@pytest.mark.parametrize("text", ["1e-2,1e-3", "log(1e-4,1)", "relu,gelu", "int(1,3)"])
def test_what_looks_like_a_search_is_seen(text: str) -> None:
    assert is_search(text)


@pytest.mark.parametrize("text", ["1e-3", "[64, 32]", "{name: relu, alpha: 0.1}", "relu", "0.1"])
def test_a_value_is_no_search(text: str) -> None:
    assert not is_search(text)
