"""What is written is what was read: YAML, JSON and replaced values give an equal config."""

import json
from pathlib import Path

import pytest
from config_strategies import MAPPINGS
from hypothesis import HealthCheck, given, settings

from mlp_core.config import Config, changed_keys, dump_yaml, from_mapping, load

SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round_trip") / "config.yaml"


@SETTINGS
@given(mapping=MAPPINGS)
def test_a_config_survives_yaml_and_json(mapping, file):
    config = from_mapping(mapping)
    file.write_text(dump_yaml(config), "utf-8")
    again = load(file)
    assert again == config
    assert changed_keys(config, again) == {}
    plain = json.loads(json.dumps(config.model_dump(mode="json"), allow_nan=False))
    assert changed_keys(config, from_mapping(plain)) == {}
    assert dump_yaml(again) == dump_yaml(config)


@SETTINGS
@given(mapping=MAPPINGS, other=MAPPINGS)
def test_the_changed_keys_turn_one_config_into_the_other(mapping, other):
    old, new = from_mapping(mapping), from_mapping(other)
    assert (changed_keys(old, new) == {}) == (dump_yaml(old) == dump_yaml(new))
    for key, (before, after) in changed_keys(old, new).items():
        assert before != after or type(before) is not type(after)
        assert key.split(".")[0] in Config.model_fields
    assert changed_keys(new, old) == {key: (b, a) for key, (a, b) in changed_keys(old, new).items()}


def test_every_key_is_written():
    text = dump_yaml(from_mapping({"data": {"name": "digits"}}))
    for key in ("lr: auto", "weight_decay: 0.0", "patience: 20", "decimal: auto", "probes: [init, burn, wild]"):
        assert key in text


@pytest.mark.parametrize(
    ("lr", "written"), [(1e-5, "1.0e-05"), (0.1, "0.1"), (3.0, "3.0"), (1e22, "1.0e+22"), (1.5e-7, "1.5e-07")]
)
def test_numbers_are_written_as_every_yaml_reader_reads_numbers(lr, written):
    yaml = pytest.importorskip("yaml")
    text = dump_yaml(from_mapping({"data": {"name": "digits"}, "optimizer": {"lr": lr}}))
    assert f"lr: {written}\n" in text
    assert yaml.safe_load(text)["optimizer"]["lr"] == lr
