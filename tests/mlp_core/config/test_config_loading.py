"""Files that cannot be read, files that extend others, and changes on the command line."""

import os
from pathlib import Path

import pytest

from mlp_core.config import from_mapping, load
from mlp_core.config.data import MARKERS
from mlp_core.errors import ConfigError

D = "data: {name: digits}\n"


def refusal(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(Path(path))
    return str(caught.value)


def test_a_missing_file_is_named_with_its_neighbour(folder):
    (folder / "digits.yaml").touch()
    assert refusal("digit.yaml") == 'digit.yaml: no such file; did you mean "digits.yaml"?'
    assert refusal("nowhere/config.yaml") == "nowhere/config.yaml: no such file"


def test_a_folder_is_not_a_config(folder):
    (folder / "runs").mkdir()
    assert refusal("runs") == "runs: this is a folder, not a config file"
    (folder / "runs" / "a.yaml").touch()
    assert refusal("runs") == 'runs: this is a folder, not a config file; for example "runs/a.yaml"'


def test_a_fifo_is_refused_without_waiting(folder):
    os.mkfifo("pipe")
    assert refusal("pipe") == "pipe: not a regular file"
    assert refusal("/dev/null") == "/dev/null: not a regular file"


def test_an_unreadable_file_says_why(folder, monkeypatch):
    def denied(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mlp_core.config.files.os.open", denied)
    assert refusal("config.yaml") == "config.yaml: cannot be read: permission denied"


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "config.yaml/below"])
def test_impossible_paths_are_refused(path, folder):
    (folder / "config.yaml").touch()
    assert "cannot be read" in refusal(path)


def test_text_that_is_not_utf8_is_refused_at_its_place(complaints):
    assert complaints("data: {name: é}\nnotes: ".encode() + b"caf\xe9") == [
        "config.yaml:2:11: not UTF-8 text (got 0xe9); save it as UTF-8"
    ]
    assert complaints("data:".encode("utf-16"))[0].startswith("config.yaml:1:1: not UTF-8 text")


def test_a_byte_order_mark_and_windows_line_ends_are_fine(read):
    assert read(b"\xef\xbb\xbfdata: {name: digits}\r\nseed: 3\r\n").seed == 3


def test_all_problems_are_told_at_once_in_the_order_of_the_file(complaints):
    lines = complaints("sed: 1\nmodel: {dropout: 2}\ndata: {name: digit}\nseed: x\nseed: 2\n", "train.epochs=0", "oops")
    assert [line.split(": ")[0] for line in lines] == [
        "config.yaml:1:1",
        "config.yaml:2:18",
        "config.yaml:3:14",
        "config.yaml:4:7",
        "config.yaml:5:1",
        "command line",
        "command line",
    ]


def test_the_name_is_the_stem_of_the_file(folder):
    Path("digits best!.yaml").write_text(D)
    assert load(Path("digits best!.yaml")).name == "digits best-"
    Path(".yaml").write_text(D)
    assert load(Path(".yaml")).name == "yaml"
    Path("日本.yaml").write_text(D)
    assert load(Path("日本.yaml")).name == "日本"


# extends


def test_a_config_extends_others_from_left_to_right(folder):
    (folder / "base").mkdir()
    Path("base/a.yaml").write_text(D + "seed: 1\ntrain: {epochs: 1, batch_size: 8}\nmodel: {hidden: [1, 2]}\n")
    Path("base/b.yaml").write_text("extends: c.yaml\nseed: 2\ntrain: {epochs: 2}\n")
    Path("base/c.yaml").write_text("seed: 3\nthreads: 3\n")
    Path("config.yaml").write_text("extends: [base/a.yaml, base/b.yaml]\nmodel: {hidden: [3]}\n")
    config = load(Path("config.yaml"))
    assert (config.seed, config.threads, config.train.epochs, config.train.batch_size) == (2, 3, 2, 8)
    assert config.model.hidden == (3,)
    assert config.extends is None
    assert config.name == "config"


def test_a_problem_in_a_base_is_told_there(folder):
    Path("base.yaml").write_text("data:\n  nam: digits\n")
    Path("config.yaml").write_text("extends: base.yaml\ndata: {name: digits}\n")
    assert refusal("config.yaml") == 'base.yaml:2:3: data.nam: unknown key; did you mean "name"?'


@pytest.mark.parametrize(
    ("extends", "line"),
    [
        (
            "config.yaml",
            'extends: a config cannot extend itself (got "config.yaml"); remove one of the files from extends',
        ),
        ("bass.yaml", 'extends: no such file (got "bass.yaml"); did you mean "base.yaml"?'),
        ("{a: b}", "extends: expected a config file or a list of them (got a mapping); for example extends: base.yaml"),
        ("", "extends: expected a config file or a list of them (got nothing); for example extends: base.yaml"),
        (r'"\0"', 'extends: cannot be read: embedded null byte (got "\\x00")'),
    ],
)
def test_extends_that_leads_nowhere_is_refused(extends, line, complaints, folder):
    Path("base.yaml").write_text(D)
    assert complaints(f"extends: {extends}\n{D}") == [f"config.yaml:1:{10 if extends else 9}: {line}"]


def test_a_circle_of_files_is_refused(folder):
    Path("a.yaml").write_text("extends: b.yaml\n" + D)
    Path("b.yaml").write_text("extends: a.yaml\n")
    assert refusal("a.yaml").startswith("b.yaml:1:10: extends: a config cannot extend itself")


def test_the_number_of_files_is_bounded(folder):
    Path("base.yaml").write_text(D)
    Path("config.yaml").write_text("extends: [" + "base.yaml, " * 100 + "]\n")
    assert "more than 32 files extend each other" in refusal("config.yaml")


# overrides


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("optimizer.lr=1e-2", "optimizer.lr", 0.01),
        ("optimizer={name: sgd}", "optimizer.name", "sgd"),
        ("model.hidden=[3, 4]", "model.hidden", (3, 4)),
        ("model.hidden.1=5", "model.hidden", (8, 5)),
        ("model.hidden+=16", "model.hidden", (8, 4, 16)),
        ("model.hidden+=[1, 2]", "model.hidden", (8, 4, 1, 2)),
        ("schedule.milestones+=7", "schedule.milestones", (7,)),
        ("gradcheck.probes+=init", None, None),
        ("data.csv.na+=missing", "data.csv.na", (*MARKERS, "missing")),
        ("~model", "model.hidden", (64, 64)),
        ("~model.hidden.0", "model.hidden", (4,)),
        ("notes=a=b", "notes", "a=b"),
        ("notes=", "notes", None),
        ("notes='x: y'", "notes", "x: y"),
        ("name=no", "name", "no"),
        ("train.early_stopping.patience=3", "train.early_stopping.patience", 3),
        ("data.name=diabetes", "data.name", "diabetes"),
    ],
)
def test_an_override_changes_one_key(override, key, value, read):
    if key is None:
        with pytest.raises(ConfigError, match="each once"):
            read(D, override)
        return
    found = read(D + "model: {hidden: [8, 4]}\n", override)
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


def test_the_last_override_wins(read):
    assert read(D, "seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optimizer.lrr=1", 'optimizer.lrr: unknown key; did you mean "lr"?'),
        ("optimizer.lr=fast", 'optimizer.lr: expected a number > 0 (got "fast"); for example lr: 1e-3'),
        ("seed", 'expected key=value, key+=value or ~key (got "seed")'),
        ("=1", 'expected key=value, key+=value or ~key (got "=1")'),
        ("a..b=1", 'expected key=value, key+=value or ~key (got "a..b=1")'),
        ("~sed", 'sed: not given, so it cannot be removed; did you mean "seed"?'),
        ("~train.epochs", "train.epochs: not given, so it cannot be removed"),
        ("seed+=1", "seed: not a list, so nothing can be appended (got 1); use seed=[...]"),
        ("seed.x=1", "seed: not a mapping, so it has no keys (got 1)"),
        ("model.hidden.7=1", "model.hidden.7: the list has no such position; positions go from 0 to 0"),
        ("notes=*x", 'notes: anchors and aliases are not supported (got "*x"); write the value out'),
        ("notes={a: 1, a: 2}", 'notes.a: key given twice (got "{a: 1, a: 2}"); keep one'),
        (
            "data.csv.delimiter=,;",
            "data.csv.delimiter: a value cannot start with ',' (got \",;\"); "
            "quote it, for the shell too: 'data.csv.delimiter=\",;\"'",
        ),
        ("extends=x.yaml", "extends: cannot be given on the command line; write it in the config file"),
        ("notes=\udcff", 'contains a character that is not valid Unicode (got "notes=\\udcff")'),
    ],
)
def test_an_override_that_does_not_fit_is_refused(override, line, complaints):
    found = complaints(D + "seed: 1\nmodel: {hidden: [8]}\n", override)
    assert found == [f"command line: {line}"]


@pytest.mark.parametrize("sign", [",", ";", "|", "#", "%"])
def test_a_single_sign_on_the_command_line_is_that_sign(sign: str) -> None:
    made = from_mapping({"data": {"train": "t.csv", "target": "y"}}, [f"data.csv.comment={sign}"])
    assert made.data.csv.comment == sign


@pytest.mark.parametrize("text", ["64,32", "64 32", "(64, 32)"])
def test_a_list_without_brackets_is_told_how_to_be_written(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a list .*; write it as a list: hidden: \[64, 32\]"):
        from_mapping({"data": {"name": "digits"}}, [f"model.hidden={text}"])
