"""A search: nothing lost, nothing done twice, however many processes and kills; the best config trains to its value."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from waiting import wait_for, wait_until

from mlp_core.config import from_mapping, load
from mlp_core.errors import Failed, RunDirectoryError
from mlp_core.runs.run import Run

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of the search's own libraries

from mlp_core.search.searching import Found, Search  # noqa: E402
from mlp_core.search.study import open_study, without_password  # noqa: E402
from mlp_core.search.sweep import HOME, best_of, real_trials, work  # noqa: E402

SPACE = ["optimizer.lr=log(1e-4,1e-1)", "model.hidden=[[4],[8,4]]"]
CONFIG = "name: t\ndata: {train: t.csv, target: y}\ntrain: {epochs: 6, batch_size: 16, preflight: 'off'}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3)).round(3)
    rows = [",".join([*map(str, x), "yes" if x[0] * x[1] > 0 else "no"]) for x in X]
    (tmp_path / "t.csv").write_text("a,b,c,y\n" + "\n".join(rows) + "\n")
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def opened(folder: Path, name: str, trials: int = 6, words: list[str] | None = None, **more: object) -> Search:
    given = {"folds": 0, "sampler": "tpe", "prune": True, "storage": None, "until": None, **more}
    return Search.open(load(folder / "c.yaml"), b"", words or SPACE, trials, path=folder / name, **given)


def carried_out(search: Search, stop: object = lambda: 0) -> Found:
    search.run(1, stop, lambda done, ended: None)
    return search.finish()


def test_every_trial_is_a_run_and_the_best_config_trains_to_its_value(folder: Path) -> None:
    found = carried_out(opened(folder, "s"))
    assert [one.number for one in sorted(found.trials, key=lambda one: one.number)] == list(range(6))
    for one in found.trials:
        if one.state == "complete":
            assert one.value == best_of(folder / "s" / f"trial-{one.number:04d}", "val_loss", True)
    complete = [one for one in found.trials if one.state == "complete"]
    assert found.best == complete[0]
    assert found.best.value == min(one.value for one in complete)
    config = load(folder / "s" / "best.yaml")
    assert config.optimizer.lr == found.best.params["optimizer.lr"]
    run = Run.start(config, b"", folder / "again")
    for _ in run.execute():
        pass
    trial = folder / "s" / f"trial-{found.best.number:04d}"
    assert (folder / "again" / "metrics.jsonl").read_bytes() == (trial / "metrics.jsonl").read_bytes()
    told = json.loads((folder / "s" / "sweep.json").read_text())
    assert told["best"]["trial"] == found.best.number
    assert sum(told["importances"].values()) == pytest.approx(1) or len(complete) < 4


def test_stopped_at_any_step_it_ends_as_undisturbed(folder: Path) -> None:
    whole = carried_out(opened(folder, "whole", 4, prune=False))
    asked = 0

    def stop() -> int:
        nonlocal asked
        asked += 1
        return int(asked % 5 == 0)

    for _ in range(100):
        found = carried_out(opened(folder, "disturbed", 4, prune=False), stop)
        if sum(found.counts.get(state, 0) for state in ("complete", "pruned", "failed")) == 4:
            break
    assert asked > 12
    assert {(one.number, one.value) for one in found.trials} == {(one.number, one.value) for one in whole.trials}
    for one in whole.trials:
        name = f"trial-{one.number:04d}/metrics.jsonl"
        assert (folder / "disturbed" / name).read_bytes() == (folder / "whole" / name).read_bytes()


def test_a_grid_tries_every_combination_once(folder: Path) -> None:
    words = ["optimizer.lr=[1e-3,1e-2]", "model.hidden=[[4],[8]]", "train.epochs=1"]
    found = carried_out(opened(folder, "grid", 50, words, sampler="grid", prune=False))
    told = [(one.params["optimizer.lr"], tuple(one.params["model.hidden"])) for one in found.trials]
    assert sorted(told) == [(1e-3, (4,)), (1e-3, (8,)), (1e-2, (4,)), (1e-2, (8,))]


def study_of(folder: Path) -> object:
    """The study that the journal of a folder tells of."""
    return open_study(None, folder, "s", True, optuna.samplers.RandomSampler(), optuna.pruners.NopPruner())


@pytest.mark.parametrize("line", ["{}", '{"op_code": 99, "worker_id": "x"}'])
def test_a_journal_of_a_stranger_is_refused(tmp_path: Path, line: str) -> None:
    study_of(tmp_path)
    with (tmp_path / "journal.log").open("a") as journal:
        journal.write(line + "\n")
    with pytest.raises(Failed, match="this is no journal of a search"):
        study_of(tmp_path)


def test_a_journal_that_is_a_link_is_refused(tmp_path: Path) -> None:
    study_of(tmp_path)
    (tmp_path / "journal.log").rename(tmp_path / "precious")
    (tmp_path / "journal.log").symlink_to(tmp_path / "precious")
    before = (tmp_path / "precious").read_bytes()
    with pytest.raises(RunDirectoryError, match="this is a symbolic link"):
        study_of(tmp_path)
    assert (tmp_path / "precious").read_bytes() == before


def test_folds_judge_a_trial_by_what_they_held_out(folder: Path) -> None:
    words = ["optimizer.lr=[1e-3,1e-1]", "train.epochs=2"]
    found = carried_out(opened(folder, "folds", 2, words, folds=3, sampler="random", prune=False))
    for one in found.trials:
        runs = [folder / "folds" / f"trial-{one.number:04d}" / f"fold-{fold}" / "run.json" for fold in (1, 2, 3)]
        losses = [json.loads(run.read_text())["metrics"]["test"]["loss"] for run in runs]
        assert one.value == pytest.approx(np.mean(losses), rel=1e-12)


def test_values_that_do_not_go_together_fail_and_are_told(folder: Path) -> None:
    words = ["optimizer.name=[adam, sgd]", "optimizer.lr=[1e-3, 1e9]", "train.epochs=2"]
    found = carried_out(opened(folder, "wild", 4, words, sampler="grid", prune=False))
    failed = [one for one in found.trials if one.state == "failed"]
    assert failed
    assert all(one.why for one in failed)
    assert found.counts["complete"] + found.counts["failed"] == 4


def test_more_trials_go_on_with_the_same_folder(folder: Path) -> None:
    first = carried_out(opened(folder, "more", 3, prune=False))
    second = carried_out(opened(folder, "more", 5, prune=False))
    assert len(second.trials) == 5
    values = {one.number: one.value for one in second.trials}
    assert all(values[one.number] == one.value for one in first.trials)


def test_a_trial_of_another_folder_is_left_to_it(folder: Path) -> None:
    search = opened(folder, "mine", 2)
    (folder / "mine" / ".locks").mkdir()
    study = search.sweep.study()
    from mlp_core.search.study import distributions

    trial = study.ask(distributions(search.sweep.space.dimensions))
    trial.set_user_attr(HOME, "elsewhere")
    assert work(search.sweep, lambda: 0) == 1
    states = {one.number: one.state.name for one in real_trials(search.sweep.study())}
    assert states[0] == "RUNNING"
    assert states[1] in ("COMPLETE", "PRUNED")


def test_passwords_are_not_written_down(folder: Path) -> None:
    assert without_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    search = opened(folder, "quiet", 2, storage="sqlite:///" + str(folder / "x.db"))
    assert "sqlite" in (folder / "quiet" / "plan.json").read_text()
    assert carried_out(search).trials


def process(folder: Path, name: str, trials: int, *more: str) -> subprocess.Popen[bytes]:
    words = ["sweep", "c.yaml", *SPACE, "--trials", str(trials), "-o", name, "-j", "1", *more]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "mlpbp", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def judge(search: Search, folders: list[Path], trials: int) -> None:
    """Every trial ended once, in one of the folders, with the value that its run has."""
    found = real_trials(search.sweep.study())
    assert len(found) == trials
    assert [one.number for one in found] == list(range(len(found)))
    assert {one.state.name for one in found} <= {"COMPLETE", "PRUNED"}
    assert len({json.dumps(one.params, sort_keys=True) for one in found}) == trials
    for one in found:
        runs = [folder / f"trial-{one.number:04d}" for folder in folders]
        runs = [run for run in runs if run.exists()]
        assert len(runs) == 1
        lines = (runs[0] / "metrics.jsonl").read_text().splitlines()
        epochs = [json.loads(line)["epoch"] for line in lines]
        assert epochs == list(range(1, len(epochs) + 1))
        if one.state.name == "COMPLETE":
            assert one.value == best_of(runs[0], "val_loss", True)


def test_two_processes_share_a_folder_and_one_is_killed(folder: Path) -> None:
    more = ["train.epochs=30", "train.batch_size=2"]
    search = opened(folder, "shared", 6, [*SPACE, *more])
    first = process(folder, "shared", 6, *more)
    wait_for(folder / "shared" / "trial-0000" / "metrics.jsonl")
    second = process(folder, "shared", 6, *more)
    wait_for(folder / "shared" / "trial-0001" / "config.resolved.yaml")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert second.wait() == 0
    judge(search, [folder / "shared"], 6)


def _other_user() -> dict[str, object]:
    """Arguments to start a process as somebody whom PostgreSQL takes: never as root."""
    if os.getuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL does not run as root, and there is no other user")


def _answers(driver: object, port: int) -> bool:
    try:
        driver.connect(host="127.0.0.1", port=port, user="me", dbname="postgres").close()  # type: ignore[attr-defined]
    except driver.OperationalError:  # type: ignore[attr-defined]
        return False
    return True


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL of our own."""
    psycopg2 = pytest.importorskip("psycopg2", reason="no psycopg2, the driver of PostgreSQL")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        pytest.skip("no PostgreSQL here (initdb, postgres)")
    binaries, who = Path(initdb).parent, _other_user()
    home = Path(tempfile.mkdtemp(prefix="mlpbp-postgres-"))  # where the other user comes to, unlike pytest's own
    if who:
        os.chown(home, int(str(who["user"])), int(str(who["group"])))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/", **who}
    made = subprocess.run([initdb, "-D", home / "db", "-A", "trust", "-U", "me", "--no-sync"], check=False, **quiet)
    if made.returncode:
        pytest.skip("PostgreSQL cannot be set up here (initdb fails)")
    options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
    server = subprocess.Popen([binaries / "postgres", "-D", home / "db", "-p", str(port), *options.split()], **quiet)
    try:
        wait_until(lambda: server.poll() is not None or _answers(psycopg2, port))
        if server.poll() is not None:
            pytest.skip("PostgreSQL does not start here")
        yield f"postgresql+psycopg2://me@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        shutil.rmtree(home, ignore_errors=True)


def test_two_processes_share_a_search_in_postgresql(folder: Path, postgres: str) -> None:
    search = opened(folder, "one", 6, storage=postgres)
    ours = [process(folder, name, 6, "--storage", postgres) for name in ("one", "two")]
    assert [one.wait() for one in ours] == [0, 0]
    judge(search, [folder / "one", folder / "two"], 6)


def test_an_address_that_leads_nowhere_is_one_line(folder: Path) -> None:
    from mlp_core.errors import MlpbpError

    with pytest.raises(MlpbpError) as refused:
        open_study("postgresql+psycopg2://me:secret@127.0.0.1:9/x", folder, "n", True, None, None)  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)
    assert len(refused.value.problems) == 1


def test_a_strong_space_is_taken_where_none_is_given(folder: Path) -> None:
    search = Search.open(
        from_mapping({"data": {"train": str(folder / "t.csv"), "target": "y"}}),
        *(b"", [], 1, 0, "tpe", True, None, None),
        folder / "strong",
    )
    assert {"optimizer.lr", "model.hidden"} < {one.key for one in search.sweep.space.dimensions}
    assert any("recipe: strong" in note for note in search.notes)
    assert search.sweep.metric in ("val_accuracy", "val_rmse")  # what the recipe aims at
    own = Search.open(
        from_mapping({"data": {"train": str(folder / "t.csv"), "target": "y"}}),
        *(b"", ["optimizer.lr=[0.1, 0.2]"], 1, 0, "tpe", True, None, None),
        folder / "plain",
    )
    assert own.sweep.metric == "val_loss"
    assert any("recipe: plain (the config has its own optimizer.lr" in note for note in own.notes)
