"""Every config that ships loads, says what it is for, and trains as far as its data is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlp_core.config import Config, load
from mlp_core.runs.run import Run

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SHARED = ROOT.parent / "shared" / "data"


def test_there_are_configs() -> None:
    assert len(CONFIGS) >= 13


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_loads_and_explains_itself(path: Path) -> None:
    config = load(path)
    assert config.name == path.stem
    comments = [line for line in path.read_text().splitlines() if "#" in line]
    assert len(comments) >= 3


def files(config: Config) -> list[str]:
    """Overrides that find the data of a config among the shared sets."""
    train = config.data.train
    if isinstance(train, str):
        return [f"data.train={SHARED / train}"]
    return [f"data.train.{part}={SHARED / getattr(train, part)}" for part in ("x", "y")]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_trains(path: Path, tmp_path: Path) -> None:
    overrides = ["train.max_steps=3", "data.limit=300", "train.preflight=off", "threads=1"]
    config = load(path, overrides)
    if config.data.name is None:
        if not SHARED.is_dir():
            pytest.skip("the data of this config is not here")
        split = ["~data.test"] if config.data.test else []
        config = load(path, [*overrides, *files(config), *split, "data.split.val=60", "data.split.test=0"])
    run = Run.start(config, path.read_bytes(), tmp_path / "run")
    list(run.execute())
    assert run.summary is not None
    assert run.summary.steps == 3
