"""Several workers from the command line: the same bytes, faults that are named, signals that save. Needs MPI."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from waiting import wait_until

from mlp_core.errors import UsageError
from mlp_core.runs.run_directory import RunDirectory
from mlp_core.workers import launch

TABLE = "a,b,y\n" + "".join(f"{i % 13},{(i * 7) % 11},{int((i % 13) + (i * 7) % 11 > 11)}\n" for i in range(60))
CONFIG = """
data: {train: table.csv, target: y, split: {val: 0.2}}
model: {hidden: [4, 3], norm: batch, dropout: 0.2}
optimizer: {name: adamw, ema: 0.9}
train: {epochs: 2, batch_size: 16, preflight: off, early_stopping: false}
eval: {baselines: false}
"""
LONG = 300
PROGRAM = (sys.executable, "-P", "-m", "mlpbp")


def _mpiexec() -> bool:
    try:
        launch.need_mpi()
        launch.find_mpiexec()
    except UsageError:
        return False
    return True


needs_mpi = pytest.mark.skipif(not _mpiexec(), reason="needs mpi4py and mpiexec")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text(TABLE)
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def begin(
    folder: Path, *words: str, under: Sequence[str] = (), program: Sequence[str] = PROGRAM
) -> subprocess.Popen[str]:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts tests in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for library in (launch.find_mpiexec().parent.parent / "lib").glob("libmpi.so.*"):
        environment.setdefault("MPI4PY_LIBMPI", str(library))
    command = [*under, *program, *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(folder: Path, *words: str, under: Sequence[str] = (), program: Sequence[str] = PROGRAM) -> tuple[int, str, str]:
    child = begin(folder, *words, under=under, program=program)
    out, err = child.communicate(timeout=LONG)
    return child.returncode, out, err


def files(place: Path) -> dict[str, bytes]:
    found = [*(place / "checkpoints").iterdir(), place / "metrics.jsonl", place / "config.resolved.yaml"]
    return {path.name: path.read_bytes() for path in sorted(found)}


def error_lines(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("mlpbp: error")]


@needs_mpi
def test_1_2_and_4_workers_leave_the_same_bytes(folder, monkeypatch):
    runs = {}
    for workers in ("1", "2", "4"):
        code, out, err = run(folder, "--json", "train", "c.yaml", "-o", f"r{workers}", "--workers", workers)
        assert code == 0, err
        assert json.loads(out)["metrics"]
        runs[workers] = files(folder / f"r{workers}")
    mpiexec = str(launch.find_mpiexec())
    code, _, err = run(folder, "train", "c.yaml", "-o", "plain", under=(mpiexec, "-n", "2"))
    assert code == 0, err
    assert err.count("epoch 2/2") == 1, "worker 0 alone speaks"
    monkeypatch.setenv("MPIR_CVAR_NUM_CLIQUES", "2")  # MPICH then makes believe that these are two machines
    code, _, err = run(folder, "train", "c.yaml", "-o", "far", under=(mpiexec, "-n", "4"))
    assert code == 0, err
    assert files(folder / "plain") == files(folder / "far")
    assert runs["1"] == runs["2"] == runs["4"] == files(folder / "plain")
    record = json.loads((folder / "r4" / "run.json").read_text())["workers"]
    assert record["count"] == sum(record["hosts"].values()) == 4
    assert record["shards"] == 8


NO_ROOM = """
import runpy
import mlp_core.workers.mpi as mpi
mpi._room = lambda: 0
runpy.run_module("mlpbp", run_name="__main__")
"""


@needs_mpi
def test_without_shared_memory_each_has_a_copy_and_it_is_said(folder):
    assert run(folder, "train", "c.yaml", "-o", "shared", "--workers", "2")[0] == 0
    command = [str(launch.find_mpiexec()), "-n", "2", sys.executable, "-P", "-c", NO_ROOM]
    code, _, err = run(folder, "train", "c.yaml", "-o", "copies", under=command, program=())
    assert code == 0, err
    assert "each has a copy: there is not as much shared memory" in err
    assert files(folder / "shared") == files(folder / "copies")


def training(folder: Path, workers: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A long training that has saved something, and the processes of its workers."""
    child = begin(folder, "train", "c.yaml", "-o", "r", "--workers", workers, "train.epochs=100000")
    log = folder / "r" / "metrics.jsonl"
    wait_until(lambda: child.poll() is not None or (log.exists() and log.read_text().count("\n") > 2))
    return child, json.loads((folder / "r" / "run.json").read_text())["workers"]["processes"]


@needs_mpi
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_other_workers_go_on(folder, number, code):
    child, _ = training(folder, "2")
    child.send_signal(number)
    _, err = child.communicate(timeout=LONG)
    assert child.returncode == code, err
    assert "saved; continue with: mlpbp train --resume r" in err
    if code == 130:
        return
    saved = RunDirectory(folder / "r").newest()
    assert saved is not None
    epochs = f"train.epochs={saved[1].document['progress']['epoch'] + 1}"
    assert run(folder, "train", "--resume", "r", epochs, "--workers", "4")[0] == 0
    assert run(folder, "train", "c.yaml", "-o", "whole", "train.shards=8", epochs)[0] == 0
    for name in ("metrics.jsonl", "checkpoints/last.safetensors"):  # the best one may say how long it was to be
        assert (folder / "r" / name).read_bytes() == (folder / "whole" / name).read_bytes()


@needs_mpi
@pytest.mark.parametrize("which", [0, 1])
def test_a_worker_that_is_killed_is_named_and_ends_the_run(folder, which):
    child, processes = training(folder, "2")
    os.kill(processes[which], signal.SIGKILL)
    _, err = child.communicate(timeout=LONG)
    assert child.returncode == 1
    (line,) = error_lines(err)
    assert f"worker {which} (process {processes[which]}) was killed by SIGKILL" in line
    assert "mlpbp train --resume r --workers 2" in line
    assert RunDirectory(folder / "r").newest() is not None


def with_another(folder: Path, config: str) -> tuple[int, list[str]]:
    """A run of which worker 1 has another config; its exit code and what went wrong."""
    first = (str(launch.find_mpiexec()), "-n", "1", *PROGRAM, "train", "c.yaml", "-o", "r")
    code, _, err = run(folder, "train", config, "-o", "r", under=(*first, ":", "-n", "1"))
    assert error_lines(err), err
    return code, error_lines(err)


@needs_mpi
@pytest.mark.parametrize(
    ("change", "machines", "said"),
    [
        (("y", "y"), 2, "has another data than worker 0"),
        (("table", "gone"), 2, "gone.csv: no such file"),
        (("table", "gone"), 1, "data.train: "),
        (("0.2", "0.3"), 1, "has another data in its config than worker 0"),
    ],
)
def test_what_one_worker_has_not_as_the_others_is_told_by_worker_0(folder, change, machines, said, monkeypatch):
    monkeypatch.setenv("MPIR_CVAR_NUM_CLIQUES", str(machines))  # MPICH then makes believe that there are several
    (folder / "other").mkdir()
    (folder / "other" / "table.csv").write_text(TABLE.replace("12,", "11,"))
    (folder / "other" / "c.yaml").write_text(CONFIG.replace(*change))
    code, (line,) = with_another(folder, "other/c.yaml")
    assert code == 2
    assert line.startswith("mlpbp: error: worker 1 (process ")
    assert said in line
    assert not (folder / "r").exists()


@needs_mpi
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workers", "3"), "workers are a power of two (got 3)"),
        (("--workers", "2", "train.batch_size=4"), "a batch of 4 rows cannot be cut into 8 shards"),
        (("--workers", "4", "train.shards=2"), "4 workers have nothing to do with 2 shards"),
        (("--workers", "2", "-d", "cuda:1"), "each of several workers takes a GPU of its own (got cuda:1)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, words, said):
    code, _, err = run(folder, "train", "c.yaml", "-o", "r", *words)
    assert code == 2
    (line,) = error_lines(err)
    assert said in line
    assert not (folder / "r").exists()


def test_without_mpi_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"mpi4py is not installed; pip install 'mlpbp\[mpi\]'"):
        launch.need_mpi()
    monkeypatch.setattr(launch.sys, "executable", "/nowhere/python")
    monkeypatch.setattr(launch.os, "get_exec_path", lambda: ["/nowhere"])
    with pytest.raises(UsageError, match="started by mpiexec, and there is none"):
        launch.find_mpiexec()


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, None),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, 1),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, None),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}, 3),
        ({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "2"}, 0),
        ({"SLURM_NTASKS": "4"}, None),
    ],
)
def test_who_started_this_process(environment, rank):
    assert launch.launched(environment) == rank


@needs_mpi
def test_an_mpiexec_that_is_killed_is_named_and_its_workers_end(folder):
    child, processes = training(folder, "2")
    (mpiexec,) = psutil.Process(child.pid).children()
    mpiexec.kill()
    _, err = child.communicate(timeout=LONG)
    assert child.returncode == 1
    (line,) = error_lines(err)
    assert "mpiexec was killed by SIGKILL" in line
    assert "mlpbp train --resume r --workers 2" in line
    wait_until(lambda: not any(psutil.pid_exists(process) for process in processes))
    assert RunDirectory(folder / "r").newest() is not None


@needs_mpi
def test_a_worker_that_is_stopped_is_waited_for(folder):
    child, processes = training(folder, "2")
    log = folder / "r" / "metrics.jsonl"
    os.kill(processes[1], signal.SIGSTOP)
    wait_until(lambda: psutil.Process(processes[1]).status() == psutil.STATUS_STOPPED)
    child.send_signal(signal.SIGTERM)
    before = log.stat().st_size
    assert child.poll() is None
    os.kill(processes[1], signal.SIGCONT)
    _, err = child.communicate(timeout=LONG)
    assert child.returncode == 143, err
    assert log.stat().st_size >= before
    assert "saved; continue with: mlpbp train --resume r" in err


@needs_mpi
def test_a_run_that_is_under_way_is_left_alone(folder):
    child, _ = training(folder, "2")
    code, _, err = run(folder, "train", "--resume", "r", "--workers", "2")
    assert code == 1
    (line,) = error_lines(err)
    assert "r: in use by process" in line
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=LONG)
    assert child.returncode == 143


@needs_mpi
def test_workers_end_with_the_one_that_started_them(folder):
    child, processes = training(folder, "2")
    child.kill()
    child.communicate(timeout=LONG)
    wait_until(lambda: not any(psutil.pid_exists(process) for process in processes))
    assert RunDirectory(folder / "r").newest() is not None


@pytest.fixture
def model(folder: Path) -> str:
    code, _, err = run(folder, "train", "c.yaml", "-o", "m", "train.epochs=1", "train.eval_batch_size=7")
    assert code == 0, err
    return "m"


@needs_mpi
def test_several_workers_measure_and_predict_as_one(folder, model):
    for words in (("eval", model, "--calibrate", "--worst", "3", "--by", "a"), ("eval", model, "table.csv")):
        code, alone, err = run(folder, "--json", *words)
        assert code == 0, err
        code, together, err = run(folder, "--json", *words, "--workers", "2")
        assert code == 0, err
        assert together == alone
    code, _, err = run(folder, "predict", model, "table.csv", "-o", "one.csv", "--proba", "--keep", "a")
    assert code == 0, err
    mpiexec = (str(launch.find_mpiexec()), "-n", "2")
    code, out, err = run(folder, "predict", model, "table.csv", "--proba", "--keep", "a", under=mpiexec)
    assert code == 0, err
    assert out == (folder / "one.csv").read_text()
    code, _, err = run(folder, "eval", model, "--require", "accuracy>=2", "--workers", "2")
    assert code == 1
    (line,) = error_lines(err)
    assert "required >= 2" in line


@needs_mpi
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("predict", "m", "-"), "several workers cannot read standard input"),
        (("eval", "m", "-"), "several workers cannot read standard input"),
        (("train", "-"), "several workers cannot read standard input"),
        (("predict", "m", "table.csv"), "m: no such file"),
    ],
)
def test_what_several_workers_cannot_read_is_refused(folder, words, said):
    code, _, err = run(folder, *words, "--workers", "2")
    assert code == 2
    (line,) = error_lines(err)
    assert said in line


@pytest.mark.parametrize(
    ("said", "handed_on"),
    [
        (b"a table\n\n", "a table\n\n"),
        (b"one\n\n\ntwo\n", "one\n\n\ntwo\n"),
        (b"one\n\n" + 40 * b"=" + b"\n=   BAD TERMINATION\n\n", "one\n"),
        (b"cut off", "cut off\n"),
    ],
)
def test_empty_lines_are_handed_on_but_those_around_chatter(capfd, said, handed_on):
    out, into = os.pipe()
    os.write(into, said)
    os.close(into)
    lines = launch._Lines(1, lambda *_: None)
    while lines.read(out):
        pass
    os.close(out)
    assert capfd.readouterr().out == handed_on
