"""Y5: every key of the schema, taken from the schema: missing, of a wrong type, out of range, misspelt."""

from collections.abc import Iterator
from typing import Any

import pytest
from config_keys import KEYS, Key, name_beside, sections

from mlp_core.config import Config
from mlp_core.config.text_kinds import Word
from mlp_core.config.value_kinds import Float, Int, Kind, ShareOrCount
from mlp_core.errors import ConfigError

HERE = " # here"
# A valid value for every required key.
REQUIRED = {"x": "x.npy", "y": "y.npy", "units": "8", "match": "'*'", "data": {"name": "digits"}}


def document(key: Key, text: str | None, name: str | None = None) -> str:
    """A config in which the key has this text and all else is valid; None leaves the key out."""
    root: dict[Any, Any] = {} if key.path[0] == "data" else {"data": {"name": "digits"}}
    if key.path[:2] != ("data", "train") and key.path != ("data",):
        root.setdefault("data", {"name": "digits"})
    node, model = root, Config
    for part, following in zip(key.path, [*key.path[1:], None], strict=True):
        for field, info in model.model_fields.items():
            if info.is_required() and field not in node and field != "data":
                node[field] = name_beside(model, part) if field == "name" else REQUIRED[field]
        if following is None:
            node.pop(part, None)
            if text is not None:
                node[name or part] = f"{text}{HERE}"
        elif following == 0:
            node = node.setdefault(part, {0: {}})[0]
            model = next(section for section, _ in sections(model.model_fields[part].annotation))
        elif part == "any":
            node = node.setdefault(part, {})
        elif part != 0:
            node = node.setdefault(part, {})
            model = next(section for section, _ in sections(model.model_fields[part].annotation))
    return "\n".join(lines(root, ""))


def lines(node: dict[Any, Any], indent: str) -> Iterator[str]:
    for name, value in node.items():
        start = f"{indent}-" if name == 0 else f"{indent}{name}:"
        if isinstance(value, dict):
            yield start
            yield from lines(value, indent + "  ")
        else:
            yield f"{start} {value}"


def problems(read: Any, text: str) -> Any:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.problems


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(text.split("\n"), 1) if line.endswith(HERE))


def typos(name: str) -> list[str]:
    """The name with a letter doubled, left out, or two swapped, as far as that is still near it."""
    wrong = [name + name[-1]]
    if len(name) > 2:
        wrong += [name[:-1], name[1:]]
    if len(name) > 3 and name[1] != name[2]:
        wrong.append(name[0] + name[2] + name[1] + name[3:])
    return wrong


def out_of_range(kind: Kind) -> list[str]:
    if isinstance(kind, Int | Float):
        low = [kind.gt] if kind.gt is not None else [] if kind.ge is None else [kind.ge - 1]
        high = [kind.lt] if kind.lt is not None else [] if kind.le is None else [kind.le + 1]
        huge = ["9223372036854775808"] if isinstance(kind, Int) else ["1e999"]
        return [str(bound) for bound in low + high] + huge
    if isinstance(kind, ShareOrCount):
        return ["-1", "1.0", "-0.1", "1e999"]
    return ["zzqqzz"] if isinstance(kind, Word) else []


def test_the_schema_has_been_walked():
    assert len(KEYS) > 120
    assert {"data.split.val", "model.hidden.0.units", "optimizer.groups.0.match", "train.early_stopping.patience"} < {
        str(key) for key in KEYS
    }


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_every_key_says_what_it_means(key):
    assert key.field.description


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_misspelt_key_is_refused_with_the_nearest(key, read):
    siblings = {name.lower() for name in key.section.model_fields}
    for typo in typos(key.name):
        if typo in siblings:
            continue
        text = document(key, "1", name=typo)
        found = [problem for problem in problems(read, text) if problem.code == "unknown_key"]
        assert [problem.line for problem in found] == [line_of(text)]
        assert found[0].key == ".".join([*map(str, key.path[:-1]), typo])
        assert found[0].hint is not None
        assert found[0].hint.startswith(f'did you mean "{key.name}"')


WRONG = [(key, text) for key in KEYS for text in ("[[a]]", "[{zz: 1}]", "") if text or not key.nullable]


@pytest.mark.parametrize(("key", "text"), WRONG, ids=[f"{key}={text}" for key, text in WRONG])
def test_a_value_of_a_wrong_type_is_refused_at_its_place(key, text, read):
    config = document(key, text)
    first = problems(read, config)[0]
    assert first.key is not None
    assert first.key.startswith(str(key))
    assert first.line == line_of(config)
    assert first.column is not None
    assert first.code in ("wrong_type", "empty", "unknown_key", "missing")


RANGES = [(key, kind, value) for key in KEYS for kind in key.kinds for value in out_of_range(kind)]


@pytest.mark.parametrize(("key", "kind", "value"), RANGES, ids=[f"{key}={value}" for key, _, value in RANGES])
def test_a_value_out_of_range_is_refused_with_a_remedy(key, kind, value, read):
    config = document(key, value)
    found = problems(read, config)
    assert [(problem.key, problem.line) for problem in found] == [(str(key), line_of(config))]
    assert found[0].hint or kind.expected in found[0].message
    assert found[0].got in (value, f'"{value}"')


REQUIRED_KEYS = [key for key in KEYS if key.field.is_required()]


@pytest.mark.parametrize("key", REQUIRED_KEYS, ids=str)
def test_a_required_key_that_is_missing_is_named(key, read):
    text = document(key, None) if len(key.path) > 1 else "seed: 1"
    if len(key.section.model_fields) > 1 and text.rstrip().endswith((":", "-")):
        text += " {}"
    assert (str(key), "missing") in [(problem.key, problem.code) for problem in problems(read, text)]


def test_the_required_keys_are_these():
    assert {str(key) for key in REQUIRED_KEYS} >= {"data", "model.hidden.0.units", "optimizer.groups.0.match"}
