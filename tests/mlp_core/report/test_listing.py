"""The list of runs: what is read of a directory, what differs, what is damaged, which is best, seeds together."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import mean, stdev

import pytest

from mlp_core.config import dump_yaml, from_mapping
from mlp_core.errors import RunDirectoryError, UsageError
from mlp_core.report.listing import best, grouped, list_runs
from mlp_core.report.run_files import RunFiles, find_runs
from mlp_core.report.together import Together


def make(folder: Path, name: str, loss: float | None = 0.5, accuracy: float = 0.8, **keys: object) -> Path:
    """A finished run as it lies on the disk, without its checkpoints."""
    values = {"data.train": "t.csv", "data.target": "y", "data.task": "binary", **keys}
    config = from_mapping({"name": name, "data": {"train": "t.csv"}}).replace(**values)
    path = folder / name
    path.mkdir(parents=True)
    (path / "config.resolved.yaml").write_text(dump_yaml(config))
    metrics = {"val": {"loss": loss, "accuracy": accuracy}, "test": {"accuracy": accuracy - 0.1}}
    record = {"status": "finished", "seed": config.seed, "seconds": 1.5, "epochs": 7, "started": "2026-01-01T00:00:00"}
    (path / "run.json").write_text(json.dumps({**record, "best": {"epoch": 5}, "metrics": metrics}))
    return path


def test_what_differs_is_told_with_names_as_short_as_can_be(tmp_path: Path) -> None:
    make(tmp_path, "a", **{"optimizer.lr": 0.1, "optimizer.name": "sgd", "train.early_stopping": False})
    make(tmp_path, "b", **{"optimizer.lr": 0.2, "schedule.name": "cosine", "notes": "not of interest"})
    listing = list_runs(tmp_path)
    assert listing.differing == {
        "optimizer.name": "optimizer.name",
        "optimizer.lr": "lr",
        "schedule.name": "schedule.name",
        "train.early_stopping": "early_stopping",
    }
    assert [run.path.name for run in listing.runs] == ["a", "b"]
    assert listing.metrics == ["val_loss", "val_accuracy", "test_accuracy"]


def test_runs_lie_in_folders_too_and_are_not_searched_themselves(tmp_path: Path) -> None:
    outer = make(tmp_path / "deep" / "er", "a")
    make(outer / "checkpoints", "b")
    assert list(find_runs(tmp_path)) == [outer]
    assert list(find_runs(outer)) == [outer]


DAMAGE = {
    "run.json": [b"{", b"[1]", b'{"status": 3}', b"\xff\xfe", b"[" * 100_000, b" " * (2 << 20)],
    "config.resolved.yaml": [b"", b"a: [", b"- 1", b"\xff", b"&a [*a, *a]"],
    "metrics.jsonl": [b"{}\n", b"nonsense\n", b'{"epoch": 1}\n[]\n'],
}


@pytest.mark.parametrize(("name", "content"), [(name, text) for name, texts in DAMAGE.items() for text in texts])
def test_a_damaged_run_is_named_and_left_out(tmp_path: Path, name: str, content: bytes) -> None:
    make(tmp_path, "good")
    bad = make(tmp_path, "bad")
    if name == "metrics.jsonl":
        (bad / "run.json").write_text('{"status": "interrupted"}')  # so that the log is what is known
    (bad / name).write_bytes(content)
    listing = list_runs(tmp_path)
    assert [run.path.name for run in listing.runs] == ["good"]
    assert [problem.file for problem in listing.skipped] == [str(bad / name)]


def test_a_run_under_way_is_known_by_its_log(tmp_path: Path) -> None:
    path = make(tmp_path, "a")
    (path / "run.json").write_text('{"status": "running", "seed": 3}')
    lines = [{"epoch": k, "val_loss": abs(k - 2) + 0.5, "train_loss": None} for k in (1, 2, 3)]
    (path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"epoch": 4, "val_')
    run = RunFiles.read(path)
    assert (run.status, run.best_epoch, run.epochs) == ("killed", 2, 3)  # nobody holds it
    assert run.metrics == {"val_loss": 0.5}
    assert run.curve["epoch"] == [1, 2, 3]
    with pytest.raises(RunDirectoryError, match="there is no run here"):
        RunFiles.read(tmp_path)


def test_sorting_knows_which_way_is_better(tmp_path: Path) -> None:
    for name, loss, accuracy in (("a", 0.3, 0.7), ("b", 0.2, 0.9), ("c", 0.4, 0.8), ("d", None, 0.1)):
        make(tmp_path, name, loss, accuracy, **{"optimizer.lr": loss or 0.7})

    def order(sort: str) -> str:
        return "".join(run.path.name for run in list_runs(tmp_path, sort).runs)

    assert order("val_loss") == "bacd"  # without a value last
    assert order("val_accuracy") == "bcad"
    assert order("optimizer.lr") == "bacd"
    assert order("seconds") == "abcd"
    assert best(list_runs(tmp_path)).path.name == "b"
    with pytest.raises(UsageError, match='did you mean "val_accuracy"'):
        list_runs(tmp_path, "val_acuracy")
    with pytest.raises(UsageError, match="got test_loss"):
        best(list_runs(tmp_path), "test_loss")


def test_seeds_of_one_config_are_put_together(tmp_path: Path) -> None:
    losses = {0.1: [0.30, 0.34, 0.29], 0.2: [0.31, 0.33], 0.4: [0.71, 0.73, 0.70], 0.8: [0.9]}
    for lr, values in losses.items():
        for seed, loss in enumerate(values):
            make(tmp_path, f"{lr}-{seed}", loss, **{"optimizer.lr": lr, "seed": seed, "output.dir": f"d{seed}"})
    groups = grouped(list_runs(tmp_path))
    assert [len(group.runs) for group in groups] == [3, 2, 3, 1]
    for group, values in zip(groups, losses.values(), strict=True):
        assert group.metrics["val_loss"].mean == pytest.approx(mean(values))
        if len(values) > 1:
            assert group.metrics["val_loss"].deviation == pytest.approx(stdev(values))
    assert [group.within_noise for group in groups] == [False, True, False, False]
    assert groups[2].behind is not None
    assert groups[2].behind[0] == pytest.approx(mean(losses[0.4]) - mean(losses[0.1]))


def test_hundreds_of_runs_are_few(tmp_path: Path) -> None:
    """No time is asserted (it is about 2 ms a run), only that all are read, and what they say."""
    first = make(tmp_path, "r000")
    texts = {name: (first / name).read_text() for name in ("run.json", "config.resolved.yaml")}
    for number in range(1, 300):
        path = tmp_path / f"r{number:03d}"
        path.mkdir()
        for name, text in texts.items():
            (path / name).write_text(text.replace("seed: 0", f"seed: {number}"))
    begun = time.perf_counter()
    listing = list_runs(tmp_path)
    print(f"300 runs in {time.perf_counter() - begun:.2f} s")
    assert len(listing.runs) == 300
    assert listing.differing == {"seed": "seed"}
    assert len(grouped(listing)) == 1


def test_one_file_named_from_two_folders_is_no_difference(tmp_path: Path) -> None:
    for name in ("t.csv", "u.csv"):
        (tmp_path / name).write_text("x,y\n1,2\n")
    make(tmp_path / "runs", "a", **{"data.train": "../../t.csv"})
    make(tmp_path / "runs" / "deep", "b", **{"data.train": "../../../t.csv"})
    assert list_runs(tmp_path / "runs").differing == {}
    assert len(grouped(list_runs(tmp_path / "runs"))) == 1
    make(tmp_path / "runs", "c", **{"data.train": "../../u.csv"})
    assert list_runs(tmp_path / "runs").differing == {"data.train": "train"}


def fold(folder: Path, number: int, loss: float) -> Path:
    return make(folder, f"fold-{number}", loss, **{"data.split.folds": 3, "data.split.fold": number})


def test_folds_and_members_are_one_of_the_list_and_no_rivals(tmp_path: Path) -> None:
    """Also a fold and a member that would be best of all."""
    make(tmp_path, "whole", 0.3)
    for number, loss in enumerate((0.9, 0.1, 0.5), 1):
        fold(tmp_path / "a-cv-001", number, loss)
    for number, loss in enumerate((0.2, 0.8), 1):
        make(tmp_path / "many", f"member-{number}", loss, seed=number)
    (tmp_path / "many" / "plan.json").write_text('{"format": 1, "config": {"ensemble": 3}}')
    listing = list_runs(tmp_path, "val_loss")
    assert [run.path.name for run in listing.runs] == ["whole", "a-cv-001", "many"]
    assert best(listing).path.name == "whole"
    folds, members = listing.runs[1:]
    assert isinstance(folds, Together)
    assert isinstance(members, Together)
    assert (folds.status, folds.seconds, folds.epochs, folds.expected) == ("finished", 4.5, 21, 3)
    assert (members.status, members.metrics["val_loss"], members.expected) == ("interrupted", pytest.approx(0.5), 3)
    (tmp_path / "many" / "members.json").write_text("{}")
    (tmp_path / "many" / "ensemble.json").write_text('{"metrics": {"val": {"loss": 0.25}}}')
    again = list_runs(tmp_path, "val_loss")
    assert (again.runs[0].path.name, again.runs[0].status) == ("many", "finished")  # as the one model was measured
    inside = list_runs(tmp_path / "a-cv-001", "val_loss")
    assert [run.path.name for run in inside.runs] == ["fold-2", "fold-3", "fold-1"]
