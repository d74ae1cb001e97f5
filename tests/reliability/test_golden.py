"""Checkpoints of every released format load, give the metrics they always gave, and go on (V1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mlp_core.config import dump_yaml, from_mapping
from mlp_core.config.dump import dump_values
from mlp_core.runs.evaluate import Wishes, evaluate_model, open_model
from mlp_core.runs.run import Run
from mlp_core.runs.run_directory import RunDirectory
from mlp_core.training.checkpoint import Checkpoint, load
from mlp_core.training.events import EpochDone

GOLDEN = sorted((Path(__file__).parent / "golden").glob("format-*.safetensors"))


def test_there_is_one_of_every_format() -> None:
    from mlp_core.training.checkpoint import FORMAT

    assert [load(path).document["format"] for path in GOLDEN] == list(range(1, FORMAT + 1))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_it_gives_the_metrics_it_always_gave(path: Path) -> None:
    model, _ = open_model(path)
    report = evaluate_model(model, Wishes(data=path.with_suffix(".csv")))
    expected = json.loads(path.with_suffix(".json").read_text())
    (found,) = report.splits.values()
    assert {name: found.metrics[name] for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_run_goes_on_from_it(path: Path, room: Path) -> None:
    """On another machine, with the data in another place: what is in it is the same."""
    config = from_mapping(dict(load(path).document["config"]))
    (room / "r/checkpoints").mkdir(parents=True)
    (room / "r/checkpoints/best.safetensors").write_bytes(path.read_bytes())
    moved = config.replace(**{"data.train": str(path.with_suffix(".csv"))})
    (room / "r/config.resolved.yaml").write_text(dump_yaml(moved))
    epoch = load(path).document["progress"]["epoch"]
    run = Run.resume(room / "r", [f"train.epochs={epoch + 3}"])
    done = [event.epoch for event in run.execute() if isinstance(event, EpochDone)]
    assert done == [epoch + 1, epoch + 2, epoch + 3]
    assert run.summary is not None
    assert run.summary.metrics["val"]["accuracy"] > 0.7


def test_a_run_of_before_there_were_recipes_goes_on_to_the_same_bits(room: Path) -> None:
    """Three lines, half trained, in files that say no more than those of the first format: now they would be strong."""
    known = load(GOLDEN[0]).document["config"]
    table = GOLDEN[0].with_suffix(".csv")
    keys = {"data": {"train": str(table), "target": "kind"}, "train": {"epochs": 4}, "threads": 1, "device": "cpu"}
    plain = from_mapping({**keys, "version": 1})
    whole, half = (Run.start(plain, b"", room / name) for name in ("whole", "half"))
    for run, end in ((whole, 4), (half, 2)):
        done: list[int] = []
        for event in run.execute(lambda done=done, end=end: 2 * (len(done) >= end and end < 4)):  # type: ignore[misc]
            done += [event.epoch] if isinstance(event, EpochDone) else []
    directory = RunDirectory(room / "half")
    for name in ("best", "last"):
        found = directory.load(name)
        document = {**found.document, "config": {**only(found.document["config"], known), "version": 1}}
        directory.save(Checkpoint(found.tensors, document), name)
    resolved = {**only(found.document["config"], known), "version": 1}
    resolved["data"] = {**resolved["data"], "train": str(table)}
    (room / "half/config.resolved.yaml").write_text(dump_values(resolved))
    again = Run.resume(room / "half")
    assert 0 < again.experiment.trainer.progress.epoch < 4
    assert again.experiment.config.recipe == "plain"
    for _ in again.execute():
        pass
    one, other = (RunDirectory(room / name).load("last").tensors for name in ("whole", "half"))
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)
    assert again.summary is not None
    assert whole.summary is not None
    assert again.summary.metrics == whole.summary.metrics


def only(values: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The values under keys that were known then."""
    return {
        name: only(value, known[name]) if isinstance(value, dict) and isinstance(known[name], dict) else value
        for name, value in values.items()
        if name in known
    }
