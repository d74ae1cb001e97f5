"""Y2: whatever is in the file, the answer is a config or a ConfigError.

MLPBP_FUZZ_CASES sets the number of cases (3000), MLPBP_FUZZ_SEED the first seed (0); `make soak` runs more.
"""

import itertools
import os
import random
from pathlib import Path

import pytest
import yaml

from mlp_core.config import Config, dump_yaml, from_mapping, load, yaml_tree
from mlp_core.errors import ConfigError, Problem

CASES = int(os.environ.get("MLPBP_FUZZ_CASES", "3000"))
SEED = int(os.environ.get("MLPBP_FUZZ_SEED", "0"))
PORTION = 100
START = dump_yaml(from_mapping({"data": {"name": "digits"}}))
SHORT = "data:\n  name: digits\nmodel: {hidden: [8, {units: 4}]}\noptimizer: {lr: 1e-3}\ntrain:\n  epochs: 3\n"
TOKENS = [
    *("---", "...", "- ", "? ", ": ", ":", ", ", "[", "]", "{", "}", "&a", "*a", "!", "!!", "!!int", "%YAML 1.1\n"),
    *("|", ">", "|2-", "'", '"', "#", "\t", "\n", "\r", "\r\n", " ", "  ", "<<: ", "~", "null", "true", "no", "=", "@"),
    *("`", "010", "1:30", "1_000", ".nan", ".inf", "0x1F", "1e999", "1e-3", "-1", "9" * 30, '"\\ud800"', '"\\0"'),
    *(
        "\ufeff",
        "\u2028",
        "\x85",
        "\0",
        "\x07",
        "é",
        "😀",
        "2024-01-31",
        "data",
        "model",
        "hidden",
        "units",
        "lr",
        "{" * 40,
    ),
    *("name", "train", "seed", "extends", "digits", "config.yaml", "val_loss", "optimizer", "x" * 1100),
]


def bytes_case(rng: random.Random) -> bytes:
    """Random bytes, or a good file with some bytes changed."""
    if rng.random() < 0.3:
        return rng.randbytes(rng.randrange(200))
    content = bytearray(rng.choice([START, SHORT]).encode())
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(content) + 1)
        content[at : at + rng.choice([0, 1, 1, 5, 300])] = rng.randbytes(rng.choice([0, 1, 1, 2]))
    return bytes(content)


def tokens_case(rng: random.Random) -> bytes:
    """Tokens of YAML in any order, or thrown into a good file."""
    if rng.random() < 0.4:
        return "".join(rng.choices(TOKENS, k=rng.randrange(60))).encode()
    text = rng.choice([START, SHORT])
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(TOKENS) + text[at + rng.choice([0, 0, 1, 8]) :]
    return text.encode()


def values_case(rng: random.Random) -> bytes:
    """A good file in which some values, or none, are of another type."""
    lines = START.splitlines()
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(lines))
        lines[at] = f"{lines[at].split(':')[0]}: {rng.choice(TOKENS)}"
    return "\n".join(lines).encode()


def keys_case(rng: random.Random) -> bytes:
    """A good file in which some lines, or none, are misspelt, moved, doubled or indented."""
    lines = START.splitlines()
    for _ in range(rng.randint(0, 3)):
        at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
        line = lines[at]
        where = rng.randrange(len(line) + 1)
        change = rng.randrange(5)
        if change == 0:
            lines[at] = line[:where] + line[where + 1 :]
        elif change == 1:
            lines[at] = line[:where] + chr(rng.randrange(32, 0x250)) + line[where:]
        elif change == 2:
            lines.insert(to, line)
        elif change == 3:
            lines.insert(to, lines.pop(at))
        else:
            lines[at] = " " * rng.randrange(5) + line.lstrip()
    return "\n".join(lines).encode()


def override_case(rng: random.Random) -> list[str]:
    """Overrides of every form, right and wrong."""
    keys = ["optimizer.lr", "model.hidden", "model.hidden.0", "train", "data.csv.na", "extends", "a.b", "", ".", "data"]
    return [
        rng.choice(["", "~", "+"]) + rng.choice(keys) + rng.choice(["=", "+=", "", "=="]) + rng.choice(TOKENS)
        for _ in range(rng.randrange(3))
    ]


MAKERS = [bytes_case, tokens_case, values_case, keys_case]


@pytest.mark.parametrize("portion", range((CASES + PORTION - 1) // PORTION))
def test_any_file_gives_a_config_or_a_config_error(portion, folder, monkeypatch):
    path = Path("config.yaml")
    rng = random.Random(SEED * 1_000_003 + portion)
    # Every third portion runs on the parser that is there without libyaml.
    if portion % 3 == 0:
        monkeypatch.setattr(yaml_tree, "LOADER", yaml.SafeLoader)
    for maker in itertools.islice(itertools.cycle(MAKERS), PORTION):
        content, overrides = maker(rng), override_case(rng) if rng.random() < 0.3 else []
        path.write_bytes(content)
        case = (content, overrides)
        problems: tuple[Problem, ...] = ()
        try:
            config = load(path, overrides)
        except ConfigError as error:
            config, problems = None, error.problems
        assert (config is None) == (0 < len(problems) <= yaml_tree.MOST), case
        assert all(str(problem).isprintable() and len(str(problem)) < 1200 for problem in problems), case
        assert all(problem.file in ("config.yaml", "command line") for problem in problems), case
        if config:
            assert from_mapping(config.model_dump(mode="json")) == config, case
            path.write_text(dump_yaml(config), "utf-8")
            assert load(path) == config, case


def test_the_fuzzer_reaches_both_answers(folder):
    """A fuzzer that is always refused, or never, tests nothing."""
    path, rng, good = Path("config.yaml"), random.Random(1), 0
    for maker in itertools.islice(itertools.cycle(MAKERS), 200):
        path.write_bytes(maker(rng))
        try:
            good += isinstance(load(path), Config)
        except ConfigError:
            continue
    assert 5 < good < 150


HUGE = {
    "brackets": "[" * 65_000,
    "items": "data: {name: digits}\nmodel: {hidden: [" + "x," * 19_000 + "]}",
    "good items": "data: {name: digits}\nmodel: {hidden: [" + "1," * 19_000 + "]}",
    "keys": "".join(f"k{number}: 1\n" for number in range(6_000)),
    "near keys": "".join(f"optimizr{number}: 1\n" for number in range(3_500)),
    "equal keys": "seed: 1\n" * 7_000,
    "empty keys": "?\n" * 32_000,
    "merge keys": "a: &a {x: 1}\n" + "b:\n  <<: [*a, *a, *a]\n" * 2_000,
    "tags": "a: [" + "!a 1," * 9_000 + "]",
    "digits": "data: {name: digits}\nseed: " + "9" * 60_000,
    "long key": "? " + "k" * 60_000 + "\n: 1",
    "long text": "data: {name: digits}\nnotes: " + "x" * 65_000,
    "escapes": 'data: {name: digits}\nnotes: "' + r"\x01" * 16_000 + '"',
    "version": "%YAML 1." + "1" * 60_000 + "\n---\na",
    "too large": "#" * 65_537,
}


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml_tree.LOADER], ids=["Python parser", "C parser"])
@pytest.mark.parametrize("name", HUGE)
def test_large_files_are_answered(name, loader, complaints, read, monkeypatch):
    monkeypatch.setattr(yaml_tree, "LOADER", loader)
    if name == "good items":
        assert len(read(HUGE[name]).model.hidden) == 19_000
    else:
        assert 0 < len(complaints(HUGE[name])) <= yaml_tree.MOST
