"""The published JSON Schema is the schema that the program uses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from config_strategies import MAPPINGS
from hypothesis import HealthCheck, given, settings

import mlp_core.config
from mlp_core.config import from_mapping
from mlp_core.config.schema import json_schema

PUBLISHED = Path(mlp_core.config.__file__).with_name("schema.json")
REMEDY = "run: python -m mlp_core.config > mlp_core/config/schema.json"


def test_the_published_schema_is_up_to_date():
    assert json.loads(PUBLISHED.read_text("utf-8")) == json_schema(), REMEDY


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="needs the package jsonschema")
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


ACCEPTED = [
    {"data": {"name": "digits"}},
    {"data": {"train": {"x": "a", "y": "b"}, "target": [0, "b"], "drop": [1]}},
    {"data": {"train": "a.csv"}, "model": {"hidden": [8, {"units": 4, "init": {"name": "normal", "std": 0.1}}]}},
    {"data": {"name": "digits"}, "train": {"early_stopping": False, "batch_size": "full"}, "device": "cuda:1"},
    {"data": {"name": "digits"}, "loss": {"class_weight": {"a": 2.0}}, "metrics": ["top_k(3)"]},
    {"data": {"name": "digits"}, "extends": ["a.yaml"], "notes": 5, "name": 7, "threads": 2},
]
REFUSED = [
    {},
    {"data": {"name": "digit"}},
    {"data": {"name": "digits"}, "model": {"hiden": [1]}},
    {"data": {"name": "digits"}, "optimizer": {"lr": 0}},
    {"data": {"name": "digits"}, "optimizer": {"lr": "fast"}},
    {"data": {"name": "digits"}, "model": {"dropout": 1}},
    {"data": {"name": "digits"}, "train": {"early_stopping": True}},
    {"data": {"name": "digits"}, "train": {"max_time": "1:30"}},
    {"data": {"name": "digits"}, "metrics": ["top_k(x)"]},
    {"data": {"name": "digits"}, "device": "cuda:x"},
]


@pytest.mark.parametrize("config", ACCEPTED, ids=str)
def test_editors_accept_what_the_program_accepts(config, validator):
    validator.validate(config)
    if "extends" not in config:
        validator.validate(from_mapping(config).model_dump(mode="json"))


@pytest.mark.parametrize("config", REFUSED, ids=str)
def test_editors_refuse_what_the_program_refuses(config, validator):
    assert not validator.is_valid(config)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mapping=MAPPINGS)
def test_editors_accept_every_valid_config(mapping, validator):
    validator.validate(mapping)
    validator.validate(from_mapping(mapping).model_dump(mode="json"))


def test_the_config_is_read_without_numpy():
    code = "import mlp_core.config, sys; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PUBLISHED.parents[2]).returncode == 0
