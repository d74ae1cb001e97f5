"""What a config offers to the rest of the program: places, replaced values, paths, layers."""

from pathlib import Path

import pydantic
import pytest

from mlp_core.config import Config, changed_keys, from_mapping, load
from mlp_core.errors import ConfigError

D = "data: {name: digits}\n"


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("data.name", ("config.yaml", 1, 14)),
        ("data.target", ("config.yaml", 1, 7)),
        ("model.hidden.1", ("config.yaml", 3, 15)),
        ("model.norm", ("config.yaml", 3, 3)),
        ("train.epochs", ("config.yaml", 1, 1)),
        ("seed", ("command line", None, None)),
        ("", ("config.yaml", 1, 1)),
    ],
)
def test_a_later_problem_is_placed_where_the_value_was_written(key, place, read):
    config = read(D + "model:\n  hidden: [8, 9]\n", "seed=4")
    problem = config.problem(key, "does not fit", code="misfit", hint="change it", got="x")
    assert (problem.file, problem.line, problem.column) == place
    assert (problem.key or "", problem.code, problem.hint, problem.got) == (key, "misfit", "change it", "x")


def test_a_config_without_a_file_has_no_places():
    problem = from_mapping({"data": {"name": "digits"}}).problem("seed", "bad", code="bad")
    assert str(problem) == "seed: bad"


def test_replaced_values_keep_their_places(read):
    config = read(D + "optimizer:\n  lr: auto\n")
    resolved = config.replace(**{"optimizer.lr": 1e-3, "train.batch_size": 32})
    assert (resolved.optimizer.lr, resolved.train.batch_size) == (0.001, 32)
    assert config.optimizer.lr == "auto"
    assert resolved.problem("optimizer.lr", "x", code="x").line == 3
    assert changed_keys(config, resolved) == {"optimizer.lr": ("auto", 0.001), "train.batch_size": ("auto", 32)}


def test_numbers_of_numpy_are_numbers(read):
    np = pytest.importorskip("numpy")
    config = read(D).replace(
        **{"optimizer.lr": np.float64(1e-3), "seed": np.int64(3), "model.dropout": np.float32(0.5)}
    )
    assert (config.optimizer.lr, config.seed, config.model.dropout) == (0.001, 3, 0.5)
    assert type(config.optimizer.lr) is float
    assert type(config.seed) is int


def test_overrides_change_a_mapping_and_all_problems_are_told():
    mapping = {"data": {"name": "digits"}}
    assert from_mapping(mapping, ["seed=3", "model.hidden+=8"]).model.hidden == (64, 64, 8)
    assert mapping == {"data": {"name": "digits"}}
    with pytest.raises(ConfigError) as caught:
        from_mapping({"sed": 1}, ["oops", "train.epochs=0"])
    assert [problem.key for problem in caught.value.problems] == ["data", "sed", None, "train.epochs"]


def test_a_replaced_value_is_validated(read):
    with pytest.raises(ConfigError, match=r"config.yaml:3:7: optimizer.lr: expected a number > 0 \(got -1\)"):
        read(D + "optimizer:\n  lr: auto\n").replace(**{"optimizer.lr": -1})
    with pytest.raises(ConfigError, match="there is no such key"):
        read(D).replace(**{"optimizr.lr": 1})
    with pytest.raises(ConfigError, match="unknown key"):
        read(D).replace(**{"optimizer.lrr": 1})


def test_changed_keys_name_every_difference():
    old = from_mapping({"data": {"name": "digits"}, "loss": {"class_weight": {"a": 1, "b": 2}}})
    new = from_mapping({"data": {"name": "diabetes"}, "train": {"early_stopping": False}})
    changed = changed_keys(old, new)
    assert changed["data.name"] == ("digits", "diabetes")
    assert changed["loss.class_weight"] == ({"a": 1.0, "b": 2.0}, "none")
    assert set(changed) == {"data.name", "loss.class_weight", "train.early_stopping"}


def test_places_do_not_count_for_equality(read):
    assert (
        read(D + "name: a")
        == read("# moved\n\n" + D + "name: a")
        == from_mapping({"data": {"name": "digits"}, "name": "a"})
    )
    assert read(D + "seed: 1") != read(D)


def test_values_cannot_be_changed(read):
    config = read(D)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.seed = 3
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.model.dropout = 0.5


@pytest.mark.parametrize(
    "mapping",
    [
        {"data": {"name": "digits"}, "optimizer": {"lr": float("nan")}},
        {"data": {"name": "digits"}, "optimizer": {"lr": "1e-3"}},
        {"data": {"name": "digits"}, "seed": True},
        {"data": {"name": "digits"}, "seed": 10**5000},
        {"data": {"name": "digits"}, "notes": "\ud800"},
        {"data": {"name": "digits"}, "extends": "base.yaml"},
        {"data": {"name": "digits"}, 5: 5},
        {"data": object()},
        {},
        [],
        None,
    ],
)
def test_a_mapping_that_is_no_config_is_refused(mapping):
    with pytest.raises(ConfigError):
        from_mapping(mapping)


def test_a_mapping_without_end_is_refused():
    mapping: dict = {"data": {"name": "digits"}}
    mapping["model"] = mapping
    with pytest.raises(ConfigError, match="nested deeper"):
        from_mapping(mapping)


def test_paths_are_looked_up_next_to_the_config_and_then_here(folder):
    for name in ("configs", "base"):
        (folder / name).mkdir()
    for name in ("configs/both.csv", "both.csv", "here.csv", "base/base.csv"):
        (folder / name).touch()
    Path("base/b.yaml").write_text("data: {train: base.csv}")
    Path("configs/c.yaml").write_text(
        "extends: ../base/b.yaml\ndata: {val: both.csv, test: {x: here.csv, y: none.csv}}"
    )
    config = load(Path("configs/c.yaml"))
    assert config.resolve_path("both.csv") == Path("configs/both.csv")
    assert config.resolve_path("here.csv") == Path("here.csv")
    assert config.resolve_path("none.csv") == Path("configs/none.csv")
    assert config.resolve_path("/a/b.csv") == Path("/a/b.csv")
    absolute = config.with_absolute_paths()
    assert Path(absolute.data.train).samefile("base/base.csv")
    assert absolute.data.val == str(folder / "configs/both.csv")
    assert absolute.data.test.model_dump() == {
        "x": str(folder / "here.csv"),
        "y": str(folder / "configs/none.csv"),
    }
    assert config.data.val == "both.csv"
    assert absolute.problem("data.val", "x", code="x").file == "configs/c.yaml"


def test_layers_take_from_the_model_what_they_do_not_say(read):
    config = read(D + "model: {hidden: [8, {units: 4, activation: tanh, dropout: 0}], dropout: 0.5, norm: batch}")
    first, second = config.model.layers()
    assert (first.units, first.activation, first.dropout, first.norm, first.bias) == (8, "relu", 0.5, "batch", True)
    assert (second.units, second.activation, second.dropout, second.norm) == (4, "tanh", 0.0, "batch")


@pytest.mark.parametrize(("text", "seconds"), [("2h30m", 9000), ("90s", 90), ("1d", 86400), ("null", None)])
def test_the_longest_time_is_given_in_seconds(text, seconds, read):
    assert read(D + f"train: {{max_time: {text}}}").train.max_seconds == seconds


def test_the_shortest_config_has_every_default():
    config = from_mapping({"data": {"name": "digits"}})
    assert isinstance(config, Config)
    assert config.model.hidden == (64, 64)
    assert config.train.early_stopping.patience == 20
    assert config.optimizer.betas == "auto"
