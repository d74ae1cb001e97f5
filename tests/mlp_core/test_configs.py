"""Every config that ships loads, says what it is for, and trains as far as its data is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlp_core.config import load
from mlp_core.run import Run

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SHARED = ROOT.parent / "shared" / "data"


def test_there_are_configs() -> None:
    assert len(CONFIGS) >= 4


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_loads_and_explains_itself(path: Path) -> None:
    config = load(path)
    assert config.name == path.stem
    comments = [line for line in path.read_text().splitlines() if "#" in line]
    assert len(comments) >= 3


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_trains(path: Path, tmp_path: Path) -> None:
    overrides = ["train.max_steps=3", "data.limit=300", "train.preflight=off", "threads=1"]
    config = load(path, overrides)
    if config.data.name is None:
        if not (SHARED / "mnist").is_dir():
            pytest.skip("the data of this config is not here")
        folder = str(SHARED) + "/"
        split = ["~data.test"] if config.data.test else []
        files = [f"data.train.{part}={folder}{getattr(config.data.train, part)}" for part in ("x", "y")]
        config = load(path, [*overrides, *files, *split, "data.split.val=100"])
    run = Run.start(config, path.read_bytes(), tmp_path / "run")
    list(run.execute())
    assert run.summary is not None
    assert run.summary.steps == 3
