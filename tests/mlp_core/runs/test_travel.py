"""A run moves with its data: no path from the root in it, data found again, asked for where it is gone, and checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import load
from mlp_core.errors import ConfigError, DataError
from mlp_core.runs.evaluate import evaluate_model, open_model
from mlp_core.runs.run import Run

CONFIG = """
data: {train: ../data/t.csv, target: y, split: {val: 0.2, test: 0.1}}
model: {hidden: [4]}
train: {epochs: 2}
threads: 1
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with data, a config and a run, each in a folder of its own."""
    project = tmp_path / "home" / "project"
    (project / "data").mkdir(parents=True)
    (project / "conf").mkdir()
    rng = np.random.default_rng(0)
    lines = [f"{a:.4f},{b:.4f},{'yes' if a > b else 'no'}" for a, b in rng.normal(size=(80, 2))]
    (project / "data" / "t.csv").write_text("a,b,y\n" + "\n".join(lines) + "\n")
    (project / "conf" / "c.yaml").write_text(CONFIG)
    run = Run.start(load(project / "conf" / "c.yaml"), b"", project / "runs" / "first")
    for _ in run.execute():
        pass
    return project


def test_nothing_in_a_run_says_where_it_was(project: Path) -> None:
    for file in (project / "runs" / "first").rglob("*"):
        assert not file.is_file() or str(project.parent).encode() not in file.read_bytes(), file
    assert 'train: "../../data/t.csv"' in (project / "runs/first/config.resolved.yaml").read_text()


def test_a_run_that_moves_with_its_data_is_measured_and_resumed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = evaluate_model(open_model(project / "runs/first")[0]).splits["test"].metrics
    moved = project.rename(project.parent.parent / "elsewhere")
    monkeypatch.chdir(moved / "runs")
    assert evaluate_model(open_model(Path("first"))[0]).splits["test"].metrics == before
    run = Run.resume(Path("first"), ["train.epochs=3"])
    assert run.experiment.trainer.progress.epoch == 2
    for _ in run.execute():
        pass
    assert load(Path("first/config.resolved.yaml")).resolve_path("../../data/t.csv").samefile(moved / "data/t.csv")


def test_data_that_is_gone_is_asked_for_and_found_by_an_override(project: Path) -> None:
    before = evaluate_model(open_model(project / "runs/first")[0]).splits["test"].metrics
    (project / "data").rename(project / "store")
    with pytest.raises(DataError) as gone:
        evaluate_model(open_model(project / "runs/first")[0])
    (problem,) = gone.value.problems
    assert problem.hint == "if it has moved, say where it is now: add data.train=FILE to the command"
    with pytest.raises(DataError, match=r"add data\.train=FILE"):
        Run.resume(project / "runs/first", ["train.epochs=3"])
    where = f"data.train={project / 'store/t.csv'}"
    assert evaluate_model(open_model(project / "runs/first", [where])[0]).splits["test"].metrics == before
    run = Run.resume(project / "runs/first", ["train.epochs=3", where])
    run.directory.close()
    assert 'train: "../../store/t.csv"' in (project / "runs/first/config.resolved.yaml").read_text()


def test_other_data_is_refused_because_other_rows_would_be_held_out(project: Path) -> None:
    with (project / "data/t.csv").open("a") as file:
        file.write("1,2,no\n")
    with pytest.raises(DataError, match="not what this model was trained on"):
        evaluate_model(open_model(project / "runs/first")[0])


def test_overrides_that_would_make_it_another_model_are_refused(project: Path) -> None:
    for override in ("model.hidden=[3]", "preprocess.numeric.scale=none", "seed=1", "data.target=a"):
        with pytest.raises(ConfigError, match="belongs to the model as it was trained"):
            open_model(project / "runs/first", [override])
    assert open_model(project / "runs/first", ["eval.bins=7"])[0].config.eval.bins == 7


def test_a_copied_checkpoint_names_its_data_from_where_it_is(project: Path, tmp_path: Path) -> None:
    (project / "a/b").mkdir(parents=True)
    copy = shutil.copy(project / "runs/first/checkpoints/best.safetensors", project / "a/b/model.safetensors")
    assert set(evaluate_model(open_model(Path(copy))[0]).splits) == {"train", "val", "test"}


def test_runs_in_two_places_have_the_same_bytes(project: Path) -> None:
    """What is saved depends on where the data is from the run, and on nothing else."""
    other = shutil.copytree(project, project.parent / "other", ignore=shutil.ignore_patterns("runs"))
    for _ in Run.start(load(other / "conf/c.yaml"), b"", other / "runs/first").execute():
        pass
    for name in ("checkpoints/best.safetensors", "checkpoints/last.safetensors", "config.resolved.yaml"):
        assert (project / "runs/first" / name).read_bytes() == (other / "runs/first" / name).read_bytes()
    digests = [json.loads((one / "runs/first/run.json").read_bytes())["data_sha256"] for one in (project, other)]
    assert digests[0] == digests[1]
