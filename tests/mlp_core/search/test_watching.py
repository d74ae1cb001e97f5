"""Who waits for runs sees how far they are, whatever they just write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.search import watching
from mlp_core.search.folds import CrossValidation
from mlp_core.search.watching import Position, last_epoch, position


def test_the_last_whole_line_of_a_log_tells(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    assert last_epoch(log) is None
    for text, epoch in (("", None), ('{"epoch": 1, "val_loss": 0.5}', None), ("\n", 1), ('{"epoch": 2', 1), ("}\n", 2)):
        with log.open("a") as file:
            file.write(text)
        assert last_epoch(log) == epoch
    log.write_text("".join(f'{{"epoch": {k}, "val_loss": {k}.25}}\n' for k in range(1, 5001)))
    assert last_epoch(log) == 5000
    log.write_bytes(b"\xff\x00\n")
    assert last_epoch(log) is None


def test_the_folds_of_a_trial_are_one_position(tmp_path: Path) -> None:
    folders = [tmp_path / f"fold-{k}" for k in (1, 2, 3)]
    assert position("trial 4", folders, 10) is None
    for folder, epochs in zip(folders, (10, 4), strict=False):
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(f'{{"epoch": {epochs}}}\n')
    assert position("trial 4", folders, 10) == Position("trial 4", 14, 30)


def test_folds_are_seen_on_their_way_in_this_process_and_in_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "EVERY", 0.0)
    rng = np.random.default_rng(0)
    lines = [f"{a:.3f},{b:.3f},{'yes' if a > b else 'no'}" for a, b in rng.normal(size=(60, 2))]
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join(lines) + "\n")
    told = {"data": {"train": str(tmp_path / "t.csv"), "target": "y"}, "model": {"hidden": [4]}, "threads": 1}
    config = from_mapping({**told, "train": {"epochs": 4, "preflight": "off"}})
    for jobs in (1, 2):
        seen: list[Sequence[Position]] = []
        work = CrossValidation.open(config, b"", 2, 1, tmp_path / f"cv{jobs}")
        assert len(list(work.run(jobs, watch=seen.append))) == 2
        met = {one.name for some in seen for one in some}
        assert met <= {"fold-1", "fold-2"}
        assert all(0 < one.epoch <= one.epochs == 4 for some in seen for one in some)
        if jobs == 1:
            assert met == {"fold-1", "fold-2"}
