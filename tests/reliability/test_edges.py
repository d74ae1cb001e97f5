"""E1: every key of the schema with values at the edges of what YAML, Python, numpy and float64 can hold.

Each is refused in one line, or a run is made with it. MLPBP_EDGES sets the number of cases (40); 0 stands for all.
"""

from __future__ import annotations

import math
import os
import random
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from config_keys import KEYS, Key, name_beside, sections
from fork_server import ForkServer, Result
from pydantic import BaseModel

from mlp_core.config import Config, from_mapping
from mlp_core.errors import ConfigError
from mlp_core.training.unused import OF_LOSSES, OF_NORMS, OF_OPTIMIZERS, OF_SCHEDULES

COUNT = int(os.environ.get("MLPBP_EDGES", "40"))
PORTION, MEGABYTES, SECONDS = 20, 200, 20
CONFIG = """
data: {train: t.csv, target: y, split: {val: 0.2}}
model: {hidden: [3]}
train: {epochs: 2, max_steps: 9, batch_size: 16, preflight: 'off'}
threads: 1
"""
ROWS = "a,w,y\n" + "".join(f"{i % 13},{'pqr'[i % 3]},{(i * 7) % 11 / 4 if i % 2 else i % 5}\n" for i in range(60))
NUMBERS = (
    *("0", "-1", "1", "2", "-0.0", "0.5", "0.9999999999999999", "1e-17", "1e-308", "1e-320", "4.9e-324", "1e-400"),
    *("2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551616"),
    *("1e17", "1e38", "3.5e38", "1e154", "1e308", "1.7976931348623157e308", "-1e308", "1e400", "1" + "0" * 400),
    *("9" * 4301, "nan", ".nan", "inf", "-.inf", "0x10", "1_000", "010", "1e", "1e99999999999999999999"),
)
REST = (
    *('""', '" "', "[]", "{}", "null", "true", "false", "no", "[[]]", "[{}]", "{a: 1}", "[1e308, 1e308]", "[1, 1, 1]"),
    *("[1e-320]", "[0]", "['']", "{'': ''}", "{a: 1e308}", "x" * 300, "x" * 60_000, "[" * 30 + "]" * 30, "[" * 2_000),
    *("é", '"\\u202e\\u0007\\e[2J"', '"\\U0001F600"', '"\\ud800"', '"\\0"', '"\\n"', "[a, a]", "a", "/dev/zero"),
    *("/dev/full", ".", "..", "~", "c.yaml", "t.csv", "[t.csv, t.csv]", "'*'", "'[!'", "99999d", "999999d999999h"),
    "[" + ", ".join(map(str, range(1, 3000))) + "]",
)
REQUIRED = {"x": "t.csv", "y": "t.csv", "units": "3", "match": "'*'"}
FIXED = {
    **{"data.name": "data.train=null data.target=null", "data.csv.names": "data.csv.header=false data.target=-1"},
    **{"data.split.column": "data.split.method=hash", "data.labels": "data.target=w", "data.classes": "data.target=w"},
    **{"data.positive": "data.target=w data.labels={p:q}", "loss.class_weight": "data.target=w"},
    **{"eval.": "data.target=w data.labels={p:q}", "gradcheck.": "model.hidden=[2]"},
    **{"model.activation.alpha": "model.hidden=[3,3]", "regularization.bias": "regularization.l2=0.1"},
    **{"preprocess.numeric.log": "preprocess.numeric.scale=none"},
}
"""What must be set, too, so that a key acts; a name that ends with a dot stands for all below it."""
OWNERS = {"loss": OF_LOSSES, "optimizer": OF_OPTIMIZERS, "schedule": OF_SCHEDULES, "model": OF_NORMS}


class Case(NamedTuple):
    key: Key
    text: str

    @property
    def words(self) -> list[str]:
        """Overrides: the key with this text, and what makes it act."""
        first, second = [*map(str, self.key.path), ""][:2]
        words = next((w.split() for k, w in FIXED.items() if f"{self.key}".startswith(k)), [])
        if owner := OWNERS.get(first, {}).get(second):
            words.append(f"{first}.{'norm' if first == 'model' else 'name'}={owner[0]}")
            words += ["schedule.milestones=[1]"] if owner[0] == "multistep" and second != "milestones" else []
            words += ["data.target=w"] if owner[0] in ("cross_entropy", "bce", "focal") else []
        return [*words, self.override]

    @property
    def override(self) -> str:
        """`a.b=text`; what is below that is written in mappings and lists, with the keys that must be there."""
        path = self.key.path
        if len(path) < 3:
            return f"{self.key}={self.text}"
        section = _section(_section(Config, path[0]), path[1])
        return f"{path[0]}.{path[1]}={_around(section, path[2:], self.text)}"


def _section(section: type[BaseModel], name: str | int) -> type[BaseModel]:
    return next(inner for inner, _ in sections(section.model_fields[str(name)].annotation))


def _around(section: type[BaseModel], path: tuple[str | int, ...], text: str) -> str:
    """A value below a section, in the mappings and lists that lead to it."""
    part, rest = path[0], path[1:]
    if part in (0, "any"):
        inside = _around(section, rest, text)
        return f"[{inside}]" if part == 0 else f"{{a: {inside}}}"
    needed = [name for name, field in section.model_fields.items() if field.is_required() and name != part]
    values = {**REQUIRED, "name": name_beside(section, part) if "name" in needed else ""}
    value = _around(_section(section, part), rest, text) if rest else text
    return "{" + ", ".join([f"{part}: {value}", *(f"{name}: {values[name]}" for name in needed)]) + "}"


def chosen() -> list[Case]:
    """All cases, or as many as asked for, half of them such that the schema admits them."""
    every = [Case(key, text) for key in KEYS for text in (*NUMBERS, *REST)]
    if not COUNT:
        return every
    random.Random(1).shuffle(every)
    room = {True: COUNT // 2, False: COUNT - COUNT // 2}
    found = []
    base = yaml.safe_load(CONFIG)
    for case in every:
        if any(room.values()) and room[admitted := _admitted(base, case)]:
            room[admitted] -= 1
            found.append(case)
    return found


def _admitted(base: dict[str, Any], case: Case) -> bool:
    try:
        from_mapping(base, case.words)
    except ConfigError:
        return False
    return True


def judge(case: Case, command: str, result: Result, folder: Path) -> None:
    """Done; or refused in lines of ours, one a problem; or stopped because numbers are no longer finite."""
    told = f"{command} {' '.join(case.words)[:300]}: {result.code}\n{result.stderr[:1500]}"
    assert result.code in (0, 1, 2), told
    assert not re.search(r"Traceback|Warning:", result.stdout + result.stderr), told
    assert not list(folder.glob("mlpbp-crash*")), told
    trackers = 2 if str(case.key).startswith("logging") else 1  # others' libraries: mlflow alone takes 150 MB
    assert result.megabytes < trackers * MEGABYTES, f"{result.megabytes:.0f} MB {told}"
    assert result.seconds < SECONDS, f"{result.seconds:.1f} s {told}"
    errors = result.errors()
    if result.code:
        assert 1 <= len(errors) <= (1 if result.code == 1 else 21), told
        assert all(len(line) < 1500 and line.isprintable() for line in errors), told
    else:
        assert not errors, told


CASES = chosen()


@pytest.mark.parametrize("portion", range(math.ceil(len(CASES) / PORTION)))
def test_a_value_at_the_edge_is_refused_or_works(server: ForkServer, room: Path, portion: int) -> None:
    for number, case in enumerate(CASES[portion * PORTION : (portion + 1) * PORTION]):
        folder = room / str(number) / "inner"  # a run may be wanted beside it
        folder.mkdir(parents=True)
        (folder / "t.csv").write_text(ROWS)
        (folder / "c.yaml").write_text(CONFIG)
        run = () if str(case.key).startswith("output") else ("-o", "r")
        result = server.run("train", "c.yaml", *run, *case.words, cwd=folder, cpu=2 * SECONDS)
        judge(case, "train", result, folder)
        if result.code == 0:
            found = [*folder.parent.rglob("members.json")] or [*folder.parent.rglob("run.json")]
            (made,) = [path.parent for path in found]
            judge(case, "eval", server.run("eval", made, cwd=folder, cpu=2 * SECONDS), folder)
        if str(case.key).startswith("gradcheck"):
            judge(case, "gradcheck", server.run("gradcheck", "c.yaml", *case.words, cwd=folder), folder)
        shutil.rmtree(folder.parent)
