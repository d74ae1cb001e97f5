"""The commands as a user runs them: in a process of their own, screen, exit code and files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

SMALL = """
data: {name: digits, limit: 300, split: {val: 0.2, test: 0.1}}
model: {hidden: [12]}
train: {epochs: 3, batch_size: 32}
threads: 1
"""


def mlpbp(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and a finished run."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.yaml").write_text(SMALL)
    (folder / "a.csv").write_text("x,y\n1,2\n")
    result = mlpbp("train", "small.yaml", "-o", "run", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def one_line(result: subprocess.CompletedProcess[str], code: int) -> str:
    """The single line of an error, which is no traceback."""
    assert result.returncode == code, result.stderr
    lines = result.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("mlpbp: error: ")]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return errors[0].removeprefix("mlpbp: error: ")


def test_help_is_quick_to_load(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['mlpbp', '--help']\nfrom mlpbp.main import main\n"
    code += "try: main()\nexcept SystemExit as e: code = e.code\n"
    code += "print(sorted({'numpy', 'cupy', 'rich', 'pydantic', 'yaml'} & set(sys.modules)), code)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout.splitlines()[-1] == "[] 0"
    for command in ("train", "eval", "gradcheck"):
        assert command in result.stdout


def test_train_shows_a_line_per_epoch_and_a_summary(trained: Path) -> None:
    result = mlpbp("train", "small.yaml", cwd=trained)
    assert result.returncode == 0
    assert len(re.findall(r"^epoch \d/3  train_loss [\d.]+  val_loss", result.stderr, re.M)) == 3
    assert "task: multiclass" in result.stderr
    assert "learning rate: 0.001 (adam)" in result.stderr
    assert re.search(r"accuracy +\d+\.\d\d % +\d+\.\d\d % +\d+\.\d\d %", result.stdout)
    assert result.stdout.splitlines()[-2:] == [
        "next  mlpbp eval runs/small-001",
        "      mlpbp report runs/small-001",
    ]
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert "\x1b" not in result.stdout + result.stderr


def test_json_is_one_document(trained: Path) -> None:
    result = mlpbp("train", "small.yaml", "--json", cwd=trained)
    document = json.loads(result.stdout)
    assert {"schema": 1, "command": "train", "ok": True, "exit_code": 0}.items() <= document.items()
    assert document["epochs"] == 3
    assert document["steps"] == 21
    assert set(document["metrics"]) == {"train", "val", "test"}
    assert {"epoch", "loss", "accuracy"} <= set(document["best"])
    assert (trained / document["checkpoint"]).is_file()
    assert (trained / document["run"]).is_dir()


def test_quiet_says_nothing_but_the_result(trained: Path) -> None:
    result = mlpbp("-q", "train", "small.yaml", cwd=trained)
    assert result.stderr == ""
    assert "accuracy" in result.stdout


def test_short_options_and_overrides(trained: Path) -> None:
    result = mlpbp(
        "train", "small.yaml", "-e", 1, "-b", 100, "-d", "cpu", "model.activation=tanh", "--json", cwd=trained
    )
    document = json.loads(result.stdout)
    assert (document["epochs"], document["steps"]) == (1, 3)
    resolved = (trained / document["run"] / "config.resolved.yaml").read_text()
    assert "activation: tanh" in resolved


def test_dry_run_writes_nothing(trained: Path) -> None:
    before = sorted(path.name for path in trained.iterdir())
    result = mlpbp("train", "small.yaml", "--dry-run", "-o", "never", cwd=trained)
    assert result.returncode == 0
    assert re.search(r"train\.batch_size +32", result.stdout)
    assert result.stdout.count("\n") < 30  # a screen, with what is inferred above it
    full = json.loads(mlpbp("train", "small.yaml", "--dry-run", "--json", cwd=trained).stdout)
    assert full["config"]["train"]["batch_size"] == 32
    assert "network: 64-12-10" in result.stderr
    assert sorted(path.name for path in trained.iterdir()) == before


def test_eval_shows_every_split_and_the_confusion_matrix(trained: Path) -> None:
    result = mlpbp("eval", "run", cwd=trained)
    assert result.returncode == 0
    assert re.search(r"metric +train +val +test", result.stdout)
    assert "rows: true class, columns: predicted" in result.stdout
    document = json.loads(mlpbp("eval", "run", "--split", "val", "--json", cwd=trained).stdout)
    assert document["split"] == "val"
    assert document["rows"] == 60
    train = json.loads(mlpbp("train", "small.yaml", "--json", cwd=trained).stdout)
    assert document["metrics"] == train["metrics"]["val"]


def test_eval_requires(trained: Path) -> None:
    assert mlpbp("eval", "run", "--require", "accuracy>=0.0", cwd=trained).returncode == 0
    line = one_line(mlpbp("eval", "run", "--require", "accuracy>=1.01", cwd=trained), 1)
    assert re.fullmatch(r"test accuracy is 0\.\d+, required >= 1\.01", line)
    assert "no such metric" in one_line(mlpbp("eval", "run", "--require", "beauty>1", cwd=trained), 2)
    assert "not a condition" in one_line(mlpbp("eval", "run", "--require", "accuracy", cwd=trained), 2)


def test_gradcheck_of_config_and_checkpoint(trained: Path) -> None:
    result = mlpbp("gradcheck", "small.yaml", cwd=trained)
    assert result.returncode == 0, result.stderr
    assert re.search(r"0\.weight +12×64 +768 ", result.stdout)
    assert re.search(r"gradients verified: small\.yaml, [\d,]+ entries compared", result.stdout)
    assert max(len(line) for line in result.stdout.splitlines() if "│" in line or "─" in line) <= 80
    document = json.loads(mlpbp("gradcheck", "run", "--json", cwd=trained).stdout)
    assert document["ok"]
    assert document["parameters"] == 64 * 12 + 12 + 12 * 10 + 10
    assert document["worst"] < 1e-8
    names = {"name", "shape", "checked", "error", "index", "analytic", "numeric", "verdict"}
    assert set(document["tensors"][0]) == names


LONG = 300 * "x"
TAKE_A_NAME = (
    *(("train",), ("check",), ("data",), ("explain",), ("trace",), ("bench",), ("verify",), ("gradcheck",)),
    *(("eval",), ("inspect",), ("train", "--resume"), ("train", "small.yaml", "-o"), ("eval", "run")),
    *(("init", "--target", "y"), ("init", "small.yaml", "--target", "y", "-o")),
)
BAD = [
    (("train", "missing.yaml"), 2, r"missing\.yaml: no such file.*"),
    (
        ("train", "small.yaml", "model.hiden=[3]"),
        2,
        r'command line: model\.hiden: unknown key; did you mean "hidden"\?',
    ),
    (
        ("train", "small.yaml", "optimizer.lr=fast"),
        2,
        r'command line: optimizer\.lr: expected a number > 0 \(got "fast"\).*',
    ),
    (("train",), 2, "no config given; .*"),
    (("train", "small.yaml", "--no-such"), 2, "no such option: --no-such; see mlpbp train --help"),
    (("train", "small.yaml", "-o", "run"), 2, "run: the directory is not empty; .*"),
    (("train", "--resume", "nowhere"), 2, "nowhere: there is no run here; .*"),
    (("train", "--resume", "run", "--dry-run", "-e", "9"), 2, "a resumed run trains, .*; leave out --dry-run"),
    (
        ("train", "small.yaml", "loss.name=mse"),
        2,
        r"(command line: )?loss\.name: does not fit a multiclass task \(got mse\).*",
    ),
    (("train", "small.yaml", "data.target=7", "data.train=no.csv", "~data.name"), 2, r".*no\.csv.*"),
    (("eval", "nowhere"), 2, "nowhere: no such file or directory.*"),
    (("eval", "rum"), 2, 'rum: no such file or directory; did you mean "run"\\?'),
    (("train", "--resume", "rum"), 2, 'rum: there is no run here; did you mean "run"\\?'),
    (("eval", "small.yaml"), 2, r"small\.yaml: this is a config, not a trained model; train it: mlpbp train .*"),
    (("predict", "a.csv", "run"), 2, r"a\.csv: this is data, not a trained model; name the run first, .*"),
    (("eval", "."), 2, r"\.: this is a folder of runs, not a run; name one of them, such as run; .*"),
    (("eval", "run/config.yaml"), 2, r"run/config\.yaml: a file of a run, not a model; name the run: run"),
    (("eval", "run/checkpoints"), 2, r"run/checkpoints: a folder inside a run, not a model; name the run: run"),
    (("check", "a.csv"), 2, r"a\.csv: this is data, not a config; this writes a config for it: mlpbp init a\.csv .*"),
    (("check", "small"), 2, r'small: no such file; did you mean "small\.yaml"\?'),
    (("gradcheck", "small.yaml", "--full", "--fast"), 2, "--full and --fast exclude each other; keep one of them"),
    (("inspect", "nowhere"), 2, "nowhere: no such file or directory.*"),
    *(((*words, LONG), 2, f"{LONG[:100]}.*too long.*") for words in TAKE_A_NAME),
    (("nonsense",), 2, r"no such command 'nonsense'.*"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD, ids=[" ".join(case[0]) for case in BAD])
def test_bad_input_gets_one_line(trained: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    before = sorted(str(path) for path in trained.rglob("*"))
    line = one_line(mlpbp(*arguments, cwd=trained), code)
    assert re.fullmatch(message, line), line
    assert sorted(str(path) for path in trained.rglob("*")) == before


def test_a_failure_is_a_json_document_too(trained: Path) -> None:
    result = mlpbp("train", "small.yaml", "model.hiden=3", "--json", cwd=trained)
    document = json.loads(result.stdout)
    assert (document["ok"], document["exit_code"], document["command"]) == (False, 2, "train")
    assert document["errors"][0]["key"] == "model.hiden"
    assert set(document["errors"][0]) == {"code", "key", "file", "line", "column", "message", "hint"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_to_write(trained: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written: Permission denied" in one_line(mlpbp("train", trained / "small.yaml", cwd=tmp_path), 1)


def test_divergence_exits_1(trained: Path) -> None:
    line = one_line(mlpbp("train", "small.yaml", "optimizer.lr=1e30", "optimizer.name=sgd", cwd=trained), 1)
    assert re.match(r"step \d+: loss became (nan|inf) \(lr 1e\+30", line)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_says_how_to_go_on(trained: Path, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "mlpbp", "train", str(trained / "small.yaml"), "train.epochs=100000"]
    command += ["train.early_stopping=false", "-o", "r"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    usual = partial(signal.signal, number, signal.SIG_DFL)  # nohup, and shells in the background, have them ignored
    pipes: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": usual}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        log = tmp_path / "r/metrics.jsonl"
        wait_until(lambda: log.exists() and log.read_text().count("\n") > 2)  # it trains, and is not about to begin
        process.send_signal(number)
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + number, errors
    last = errors.strip().splitlines()[-1]
    match = re.fullmatch(r"mlpbp: interrupted at step ([\d,]+), saved; continue with: mlpbp train --resume r", last)
    assert match, last
    steps = int(match[1].replace(",", ""))
    resumed = mlpbp("train", "--resume", "r", f"train.max_steps={steps + 7}", "--json", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["steps"] == steps + 7
    record = json.loads((tmp_path / "r/run.json").read_text())
    assert record["resumed_from"][0]["status"] == "interrupted"


def test_the_installed_example_is_found_from_anywhere(tmp_path: Path) -> None:
    result = mlpbp("train", "configs/digits.yaml", "-e", 1, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["run"] == "runs/digits-001"


def test_no_arguments_at_all_show_the_help(tmp_path: Path) -> None:
    result = mlpbp(cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == mlpbp("--help", cwd=tmp_path).stdout


STREAMS = [(">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0), ("| true; exit ${PIPESTATUS[0]}", 141)]


@pytest.mark.parametrize("command", ["inspect run", "explain small.yaml", "--json inspect run"])
@pytest.mark.parametrize(("redirection", "code"), STREAMS, ids=[case[0] for case in STREAMS])
def test_a_stream_that_nobody_reads_is_no_fault_of_ours(
    trained: Path, command: str, redirection: str, code: int
) -> None:
    script = f"{sys.executable} -m mlpbp {command} {redirection}"
    result = subprocess.run(["bash", "-c", script], cwd=trained, capture_output=True, text=True, timeout=600)
    assert (result.returncode, result.stderr) == (code, "")
    assert not list(trained.glob("mlpbp-crash-*"))


def test_a_config_may_come_on_standard_input(trained: Path, tmp_path: Path) -> None:
    text = (trained / "small.yaml").read_text()
    command = [sys.executable, "-P", "-m", "mlpbp", "train", "-", "-o", str(tmp_path / "run"), "train.epochs=1"]
    done = subprocess.run(command, cwd=trained, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "config.yaml").read_text() == text
    done = subprocess.run(command, cwd=trained, input="data: {name: digit}", capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("mlpbp: error: -:1:14: data.name: ")
