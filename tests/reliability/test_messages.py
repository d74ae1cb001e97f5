"""What is said when something goes wrong, word for word, with nothing in it that a terminal would obey."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest
from fork_server import ForkServer
from small_runs import TABLE, folder_with_config

CONFIG = """data: {train: table.csv, target: y}
model:
  hidden: [4]
train: {epochs: 2, preflight: off}
threads: 1
"""
CONFIGS = [
    (
        "data: {train: table.csv, target: y}\noptimizer:\n  lr: fast\n",
        'c.yaml:3:7: optimizer.lr: expected a number > 0 (got "fast"); for example lr: 1e-3',
    ),
    (
        "data: {train: table.csv, target: y}\nmodel:\n  hiden: [4]\n",
        'c.yaml:3:3: model.hiden: unknown key; did you mean "hidden"?',
    ),
    (
        "data: {train: table.csv, target: y}\ntrain: {epochs: 1}\nseed: 1\ntrain: {epochs: 2}\n",
        "c.yaml:4:1: train: key given twice (first at line 2); keep one",
    ),
    (
        "data: {train: table.csv, target: y}\nseed: &x 3\n",
        "c.yaml:2:7: anchors and aliases are not supported; write the value out",
    ),
]


@pytest.mark.parametrize(("text", "line"), CONFIGS, ids=[line.split(": ")[1] for _, line in CONFIGS])
def test_configs(server: ForkServer, room: Path, text: str, line: str) -> None:
    folder_with_config(room, text)
    result = server.run("train", "c.yaml", cwd=room)
    assert result.code == 2
    assert result.errors() == [f"mlpbp: error: {line}"]
    assert result.stdout == ""


def test_a_cell_that_is_no_number(server: ForkServer, room: Path) -> None:
    folder_with_config(room, CONFIG + "")
    (room / "table.csv").write_text(TABLE.replace("\n3,", "\noops,", 1))
    result = server.run("train", "c.yaml", "data.types={a: numeric}", cwd=room)
    assert result.code == 2
    assert result.errors() == [
        'mlpbp: error: table.csv:5:1: not a number ("oops"); '
        "fix the cell, or list it under data.csv.na if it means missing"
    ]


def test_a_web_page_instead_of_data(server: ForkServer, room: Path) -> None:
    folder_with_config(room, CONFIG)
    (room / "train-images.gz").write_text("<!DOCTYPE html><html><body>404</body></html>")
    with gzip.open(room / "labels.gz", "wb") as file:
        file.write(b"\0\0\x08\x01\0\0\0\x01\x01")
    words = ["~data.target", "data.train={x: train-images.gz, y: labels.gz}"]
    result = server.run("train", "c.yaml", *words, cwd=room)
    assert result.code == 2
    assert result.errors() == [
        'mlpbp: error: train-images.gz: this is an HTML page, not gzip (starts "<!DOCTYPE"); '
        "the download failed, fetch it again"
    ]


def test_a_damaged_checkpoint(server: ForkServer, room: Path) -> None:
    folder_with_config(room, CONFIG)
    assert server.run("train", "c.yaml", cwd=room).code == 0
    path = room / "runs/c-001/checkpoints/last.safetensors"
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(blob)
    result = server.run("eval", "runs/c-001/checkpoints/last.safetensors", cwd=room)
    assert result.code == 1
    assert result.errors() == [
        "mlpbp: error: runs/c-001/checkpoints/last.safetensors: digest mismatch, the file is damaged; "
        "newest good checkpoint: runs/c-001/checkpoints/best.safetensors"
    ]


def test_a_resumption_with_other_tools(server: ForkServer, room: Path) -> None:
    """Under another BLAS, number of threads or device the last bits may differ, and it is said."""
    folder_with_config(room, CONFIG.replace("threads: 1", "threads: 2"))
    result = server.run("train", "c.yaml", "-o", "r", cwd=room)
    assert result.code == 0
    made = json.loads((room / "r/run.json").read_text())["environment"]
    assert {"mlpbp", "python", "numpy", "blas", "threads", "machine", "device", "system"} <= set(made)
    result = server.run("train", "--resume", "r", "threads=1", "train.epochs=3", cwd=room)
    assert result.code == 0
    line = "mlpbp: note: made with other tools, so the last bits may differ: threads 2 then, 1 now"
    assert line in result.stderr.splitlines()


def test_a_log_that_was_shortened(server: ForkServer, room: Path) -> None:
    folder_with_config(room, CONFIG)
    assert server.run("train", "c.yaml", "-o", "r", cwd=room).code == 0
    (room / "r/metrics.jsonl").unlink()
    result = server.run("train", "--resume", "r", "train.epochs=3", cwd=room)
    assert result.code == 0
    assert "mlpbp: note: metrics.jsonl is shorter than it was, earlier epochs are missing from it" in result.stderr


BROKEN = {"patch": "mlp_core.training.experiment:Experiment.build"}


def test_an_internal_error_leaves_a_file_to_send(server: ForkServer, room: Path) -> None:
    folder_with_config(room, CONFIG)
    result = server.run("train", "c.yaml", cwd=room, **BROKEN)
    assert result.code == 3
    match = re.fullmatch(
        r"mlpbp: error: internal error, this is a fault of mlpbp: RuntimeError: broken on purpose\\x1b\[31m; "
        r"please report it with the file (mlpbp-crash-\d{8}-\d{6}-\d+\.txt)",
        result.errors()[0],
    )
    assert match, result.stderr
    text = (room / match[1]).read_text()
    assert "Traceback" in text
    assert "['train', 'c.yaml']" in text
    assert not (room / "runs").exists()
    document = json.loads(server.run("train", "c.yaml", "--json", cwd=room, **BROKEN).stdout)
    assert (document["exit_code"], document["errors"][0]["code"]) == (3, "internal")


def test_debug_shows_the_traceback(server: ForkServer, room: Path) -> None:
    folder_with_config(room, CONFIG)
    result = server.run("train", "c.yaml", "--debug", cwd=room, **BROKEN)
    assert result.code == 3
    assert "Traceback (most recent call last)" in result.stderr
    result = server.run("train", "c.yaml", "--debug", "model.hiden=3", cwd=room)
    assert result.code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("mlpbp: error: command line: model.hiden: unknown key")


EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e"


def is_harmless(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def test_values_from_files_cannot_steer_a_terminal(server: ForkServer, room: Path) -> None:
    """Class labels, column names, file names, notes and keys with control sequences, wherever they are shown."""
    rows = "".join(f"{i % 13},{i % 5},{(f'x{EVIL}', 'y', EVIL)[i % 3]}\n" for i in range(60))
    (room / f"t{EVIL}.csv").write_text(f"a{EVIL},b,y{EVIL}\n{rows}")
    quoted = json.dumps(f"t{EVIL}.csv"), json.dumps(f"y{EVIL}"), json.dumps(EVIL)
    (room / "c.yaml").write_text(
        f"data: {{train: {quoted[0]}, target: {quoted[1]}, split: {{val: 0.2}}}}\nnotes: {quoted[2]}\n"
        "model: {hidden: [3]}\ntrain: {epochs: 2, preflight: off}\nthreads: 1\n"
    )
    run = f"r{EVIL}"
    calls = [
        ("train", "c.yaml", "-o", run),
        ("train", "c.yaml", "-o", run),
        ("train", "c.yaml", "--dry-run"),
        ("train", "--resume", run, "seed=3"),
        ("train", "c.yaml", f"data.{EVIL}=3"),
        ("train", "c.yaml", f"data.target={EVIL}z"),
        ("train", f"{EVIL}.yaml"),
        ("eval", run),
        ("eval", run, f"{EVIL}.csv"),
        ("eval", run, "--require", f"{EVIL}>1"),
        ("inspect", run),
        ("nonsense" + EVIL,),
    ]
    for words in calls:
        for flags in ((), ("--json",)):
            result = server.run(*words, *flags, cwd=room)
            assert result.code in (0, 1, 2), f"{words}: {result.stderr}"
            assert is_harmless(result.stdout), words
            assert is_harmless(result.stderr), words
            if flags:
                json.loads(result.stdout)
            shutil.rmtree(room / "runs", ignore_errors=True)
