"""What somebody sent writes and deletes nothing, and opens nothing else: every command, walked."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fork_server import ForkServer
from recorder import Deed, walk
from small_runs import TABLE, folder_with_config

from mlp_core.runs.run_directory import FILES
from mlp_core.training.checkpoint import Checkpoint, load, serialize

CONFIG = """
data: {train: table.csv, target: y, split: {val: 0.2}}
model: {hidden: [3]}
train: {epochs: 1, batch_size: 16, preflight: off}
kernels: numpy
threads: 1
"""
EVIL = "\x1b]0;owned\x07\x9b2J\u202e=1+1"


@dataclass(frozen=True)
class Scene:
    """`home` is the user's, and nobody's business; `sent` came by mail; commands are given in `work`."""

    home: Path
    sent: Path
    work: Path
    model: Checkpoint

    def forge(self, name: str, **data: object) -> Path:
        """A model whose config says something else about its data, with a digest that is right."""
        document = copy.deepcopy(dict(self.model.document))
        document["config"]["data"] |= data
        path = self.sent / f"{name}.safetensors"
        path.write_bytes(b"".join(serialize(Checkpoint(self.model.tensors, document))))
        return path

    def run(self, name: str) -> Path:
        """A run directory like the one that was made here."""
        return Path(shutil.copytree(self.work / "r", self.sent / name))


@pytest.fixture
def scene(server: ForkServer, room: Path) -> Scene:
    home, sent, work = (room / name for name in ("home", "sent", "work"))
    for folder in (home, sent):
        folder.mkdir()
    folder_with_config(work, CONFIG)
    assert server.run("train", "c.yaml", "-o", "r", cwd=work).code == 0
    (home / "secret.csv").write_text(TABLE.replace("12,", "11,"))
    (home / "precious.txt").write_text("line\n" * 9)
    (home / ".table.1.tmp").mkdir()  # what a cache would sweep away
    (home / ".table.1.tmp/values.npy").touch()
    (home / "checkpoints").mkdir()
    (home / "checkpoints/.x.1.tmp").touch()  # and a run
    return Scene(home, sent, work, load(work / "r/checkpoints/best.safetensors"))


def picture(*folders: Path) -> dict[str, str]:
    """Every name in some folders, with what it is or holds."""
    found = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = str(path.readlink())
        else:
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found


def all_commands() -> set[str]:
    from mlpbp.main import app

    return {str(command.name) for command in app.registered_commands}


def everything(sent: dict[str, list[Path]]) -> list[list[str]]:
    """Every command that there is, also one that this file has never heard of, with what was sent in every place."""
    model, run, other = str(sent["models"][0]), str(sent["runs"][-1]), str(sent["runs"][-3])
    table = str(sent["tables"][0])
    places = ([], [model], [run], [other], [table], [model, table], [run, "table.csv"], [model, run], ["c.yaml", model])
    return [[name, *words] for name in sorted(all_commands()) for words in places if not takes_long(name, words)]


def takes_long(name: str, words: list[str]) -> bool:
    return name in ("verify", "bench") and words[:1] != ["c.yaml"]  # of one config each, which has its own line


def hostile(scene: Scene) -> dict[str, list[Path]]:
    """Models, runs and tables that ask for more than to be read."""
    home, models = scene.home, []
    models += [scene.forge("cache", cache=str(home)), scene.forge("cache-below", cache=str(home / "new/folder"))]
    models += [scene.forge("mapped", cache=str(home), memory="memmap")]
    (scene.sent / "link.safetensors").symlink_to(models[0])
    for number, member in enumerate(("one", "../../home", "link", "..", "/", str(home))):
        folder = scene.sent / f"members{number}"
        shutil.copytree(scene.work / "r", folder / "one")
        (folder / "link").symlink_to(home)
        told = {"format": 1, "kind": "cv", "task": "binary", "members": ["one", member] if number else ["one"]}
        (folder / "members.json").write_text(json.dumps(told))
        models.append(folder)
    runs = []
    for name in (*FILES, "checkpoints"):
        for kind in ("link", "hard", "pipe"):
            if kind == "hard" and name in ("checkpoints", "config.resolved.yaml"):
                continue
            run = scene.run(f"{name}-{kind}")
            shutil.rmtree(run / name) if name == "checkpoints" else (run / name).unlink(missing_ok=True)
            prey = home / ("checkpoints" if name == "checkpoints" else "precious.txt")
            {"link": (run / name).symlink_to, "hard": (run / name).hardlink_to}.get(kind, lambda _: None)(prey)
            if kind == "pipe":
                os.mkfifo(run / name)
            runs.append(run)
    models += members(scene)
    run = scene.run("cache")
    text = (run / "config.resolved.yaml").read_text()
    (run / "config.resolved.yaml").write_text(re.sub("cache: null", f"cache: {home}", text))
    (scene.run("best-link") / "checkpoints/best.safetensors").unlink()
    (scene.sent / "best-link/checkpoints/best.safetensors").symlink_to(home / "precious.txt")
    runs += [run, scene.sent / "best-link"]
    tables = [scene.sent / "t.csv", scene.sent / "t.jsonl"]
    rows = [{"a": i % 13, "b": i % 11, "y": i % 2, EVIL: EVIL} for i in range(60)]
    tables[0].write_text(f"a,b,y,{EVIL}\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows))
    tables[1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.savez(scene.sent / "t.npz", x=np.ones((9, 2)), y=np.arange(9) % 2)
    return {"models": models, "runs": runs, "tables": [*tables, scene.sent / "t.npz"]}


def members(scene: Scene) -> list[Path]:
    """Folders of members that lead elsewhere."""
    told = {"format": 1, "kind": "cv", "task": "binary", "members": ["one"]}
    folders = []
    for name, runs in (
        ("out", ["../../home"]),
        ("whole", [str(scene.work / "r")]),
        ("link", ["one"]),
        ("deep", ["a/b"]),
    ):
        folder = scene.sent / f"members-{name}"
        folder.mkdir()
        (folder / "members.json").write_text(json.dumps({**told, "members": runs}))
        folders.append(folder)
    (folders[2] / "one").symlink_to(scene.home)
    (folders[3] / "a").symlink_to(scene.home)
    for name in ("listed-link", "listed-pipe"):
        folder = scene.sent / f"members-{name}"
        folder.mkdir()
        folders.append(folder)
    (folders[4] / "members.json").symlink_to(scene.home / "precious.txt")
    os.mkfifo(folders[5] / "members.json")
    good = scene.sent / "members-good"
    shutil.copytree(scene.work / "r", good / "one")
    (good / "members.json").write_text(json.dumps({**told, "kind": "ensemble"}))
    return [*folders, good]


def test_every_command_over_sent_files(scene: Scene) -> None:
    """Nothing outside the output is written, deleted or started, and no file read that was not named before."""
    sent = hostile(scene)
    used = [*sent["models"], *sent["runs"][-5:]]
    commands = [["train", "--resume", str(run), "train.epochs=2", "logging.every_steps=1"] for run in sent["runs"]]
    commands += [["train", "c.yaml", "-o", str(run)] for run in sent["runs"][::4]]
    commands += [[name, str(one)] for name in ("eval", "inspect", "gradcheck") for one in used]
    commands += [["predict", str(one), "table.csv"] for one in used]
    commands += [["predict", str(sent["models"][0]), str(t), "-o", f"out-{t.suffix[1:]}.csv"] for t in sent["tables"]]
    kinds = ("jsonl", "npz", "parquet")
    commands += [["predict", str(used[0]), "table.csv", "-o", f"o.{kind}"] for kind in kinds]
    commands += [["data", str(table)] for table in sent["tables"]]
    commands += [["init", str(sent["tables"][0]), "--target", "y", "-o", "new.yaml"]]
    commands += [["convert", str(sent["tables"][0]), "-o", "converted"], ["data", "converted"]]
    commands += [[name, "c.yaml"] for name in ("check", "explain", "trace", "bench", "verify")] + [["doctor"]]
    commands += [["train", "c.yaml", f"model.weights={one}", "-o", f"warm{i}"] for i, one in enumerate(used)]
    commands += [["importance", str(one), "table.csv", "--repeats", "2"] for one in used[::3]]
    commands += [["export", str(one), "-o", f"m{i}.py"] for i, one in enumerate(used[:3])]
    commands += [["config", "--diff", str(run), "--diff", "c.yaml"] for run in sent["runs"][-5:]]
    commands += [["runs", str(scene.sent), "--sort", "seed"], ["report", str(scene.sent), "-o", "all.html"]]
    commands += everything(sent)
    before = picture(scene.home, scene.sent)
    deeds = walk(commands, scene.work)
    after = picture(scene.home, scene.sent)
    for deed in deeds:
        assert deed.code in (0, 1, 2), deed
        assert "Traceback" not in deed.said, deed
        assert not [what for what in deed.started if deed.words[0] != "export" or sys.executable not in what], deed
        _check_places(scene, deed)
    changed = {path for path in {**before, **after} if before.get(path) != after.get(path)}
    own = {str(run) for run in sent["runs"]}
    assert not [path for path in changed if not any(path.startswith(f"{run}/") for run in own)]
    assert not [path for path in changed if Path(path).is_relative_to(scene.home)]


def _check_places(scene: Scene, deed: Deed) -> None:
    """What was changed lies where the command was given, in the temporary folder, or in the run that is worked in."""
    allowed = [str(scene.work), "/tmp/", "/dev/null"]
    if deed.words[0] == "train":
        allowed += [word for option, word in itertools.pairwise(deed.words) if option in ("--resume", "-o")]
    if deed.words[0] == "report" and len(deed.words) > 1:
        allowed += [f"{deed.words[1]}/report.html", f"{deed.words[1]}/.report.html."]
    outside = [path for path in deed.changed if not path.startswith(tuple(allowed))]
    assert not outside, deed
    inside = [path for path in deed.changed if path.startswith(str(scene.home))]
    assert not inside, deed
    read = [path for path in deed.read if path.startswith(str(scene.home)) and not Path(path).is_dir()]
    assert not read, deed


@pytest.mark.parametrize("command", ["eval", "gradcheck"])
def test_the_data_a_model_names_is_told_before_it_is_read(scene: Scene, command: str) -> None:
    secret = scene.home / "secret.csv"
    model = scene.forge("other", train=str(secret))
    (told,) = walk([[command, str(model)]], scene.work)
    assert told.code == (2 if command == "eval" else 0)  # it is not what the model was trained on
    assert str(secret) in told.read
    assert f"{secret}" in told.said
    assert command == "eval" or "not what the model was trained on" in " ".join(told.said.split())


def test_predicting_reads_no_data_of_the_model(scene: Scene) -> None:
    model = scene.forge("other", train=str(scene.home / "secret.csv"))
    deeds = walk([["predict", str(model), "table.csv"], ["inspect", str(model)]], scene.work)
    for deed in deeds:
        assert deed.code == 0
        assert not [path for path in deed.read if path.startswith(str(scene.home))]
