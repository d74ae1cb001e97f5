"""Checkpoints of every released format load, give the metrics they always gave, and go on (V1)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlp_core.config import dump_yaml, from_mapping
from mlp_core.runs.evaluate import Wishes, evaluate_model, open_model
from mlp_core.runs.run import Run
from mlp_core.training.checkpoint import load
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
