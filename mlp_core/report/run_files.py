"""What the files of a run say, without its data and its weights: its record, its config, its curves."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from mlp_core.atomic_files import refuse_foreign
from mlp_core.descriptors import read_own
from mlp_core.documents import parsed
from mlp_core.errors import Problem, RunDirectoryError
from mlp_core.runs.run_directory import MARK, RunDirectory

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LARGEST_FILE = 1 << 20  # of a record or a config
LARGEST_LOG = 64 << 20
MOST_KEYS = 5000
DEEPEST = 16


@dataclass(frozen=True)
class RunFiles:
    """One run as its directory tells it.

    status: finished, interrupted, failed, running, killed (it said running, and no process has it), or not begun.
    """

    path: Path
    status: str
    record: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> RunFiles:
        """The run in a directory. Raises RunDirectoryError, naming the file, where it is damaged or there is none."""
        record = _record(path)
        status = str(record.get("status", "not begun"))
        if status == "running" and not RunDirectory.in_use(path):
            status = "killed"
        return cls(path, status, record)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Every key of the resolved config by its dotted name, lists as they are. Raises RunDirectoryError."""
        file = self.path / MARK
        try:
            sections = re.split(r"^(?=[A-Za-z_\"])", _text(file), flags=re.MULTILINE)
            keys = dict(pair for section in sections for pair in _keys(section))
        except (yaml.YAMLError, ValueError, RecursionError):
            raise _damaged(file, "is no config") from None
        if not keys:
            raise _damaged(file, "is no config")
        return keys

    @property
    def home(self) -> Path:
        """The folder from which its config names files."""
        return self.path

    @property
    def seed(self) -> Any:
        return self.record.get("seed", self.config.get("seed"))

    @property
    def epochs(self) -> int | None:
        """Epochs that are complete."""
        number = self.record.get("epochs", self.curve.get("epoch", [None])[-1])
        return None if number is None else int(number)

    @property
    def seconds(self) -> float | None:
        return _number(self.record.get("seconds"))

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights are for use: as the record says, or by the log for a run that is not finished."""
        best = self.record.get("best")
        if isinstance(best, Mapping) and isinstance(best.get("epoch"), int):
            return int(best["epoch"])
        place = self._best_place
        return None if place is None else int(self.curve["epoch"][place])

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Metrics of the best epoch by split, as `val_loss`; of a run that is not finished those that it logged."""
        measured = self.record.get("metrics")
        if isinstance(measured, Mapping):
            return by_split(measured)
        place = self._best_place
        if place is None:
            return {}
        found = {name: values[place] for name, values in self.curve.items() if name.startswith(("val_", "train_"))}
        return {name: value for name, value in found.items() if value is not None}

    @cached_property
    def _best_place(self) -> int | None:
        """The line of the log with the best value of `checkpoint.monitor`."""
        from mlp_core.metrics import smaller_is_better

        monitor, mode = self.config.get("checkpoint.monitor"), self.config.get("checkpoint.mode")
        values = self.curve.get(str(monitor), [])
        places = [place for place, value in enumerate(values) if value is not None]
        if not places:
            return None
        smaller = smaller_is_better(str(monitor).split("_", 1)[-1]) if mode == "auto" else mode == "min"
        return (min if smaller else max)(places, key=lambda place: values[place])

    @cached_property
    def curve(self) -> dict[str, list[Any]]:
        """Every column of `metrics.jsonl` (`epoch`, `train_loss`, ...), None where an epoch has no number.

        A last line that is not complete is being written. Raises RunDirectoryError for one that is no JSON.
        """
        file = self.path / "metrics.jsonl"
        if not file.exists():
            return {}
        whole, _, _ = _text(file, LARGEST_LOG).rpartition("\n")
        rows = []
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = parsed(line)
                rows.append({"epoch": int(row["epoch"]), **{str(name): _number(row[name]) for name in row}})
            except (ValueError, TypeError, KeyError, RecursionError):
                raise _damaged(file, "is no line of a log", number) from None
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}


def by_split(measured: Mapping[Any, Any]) -> dict[str, float]:
    """Metrics of every split as one mapping, `val_loss` and so on; what is no number is left out."""
    pairs = {
        f"{split}_{name}": _number(value)
        for split, values in measured.items()
        if isinstance(values, Mapping)
        for name, value in values.items()
    }
    return {name: value for name, value in pairs.items() if value is not None}


def is_run(path: Path) -> bool:
    """Whether a directory is a run, or was one."""
    return (path / MARK).is_file() or (path / "run.json").is_file()


def find_runs(folder: Path, depth: int = 4) -> Iterator[Path]:
    """The runs in a folder and the folders in it, in the order of their names; a run is not searched for others."""
    if is_run(folder):
        yield folder
        return
    try:
        inside = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return
    for entry in inside if depth else []:
        yield from find_runs(entry, depth - 1)


def _record(path: Path) -> dict[str, Any]:
    """What `run.json` says, {} where the run had not begun."""
    file = path / "run.json"
    if not is_run(path):
        hint = "give the directory of a run"
        raise RunDirectoryError(Problem("no_run", "there is no run here", hint, file=str(path)))
    if not file.exists():
        return {}
    try:
        record = parsed(_text(file))
    except (ValueError, RecursionError):
        raise _damaged(file, "is no JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("status"), str):
        raise _damaged(file, "is no record of a run")
    return record


def _text(file: Path, largest: int = LARGEST_FILE) -> str:
    """The text of a file of a run. Raises RunDirectoryError."""
    refuse_foreign(file)
    try:
        content = read_own(file, largest + 1)
        if len(content) > largest:
            raise _damaged(file, "is too large")
        return content.decode()
    except FileNotFoundError:
        raise _damaged(file, "is missing") from None
    except UnicodeDecodeError:
        raise _damaged(file, "is no text") from None
    except OSError as error:
        raise _damaged(file, f"cannot be read: {error.strerror or error}") from None


def _damaged(file: Path, why: str, line: int | None = None) -> RunDirectoryError:
    return RunDirectoryError(Problem("damaged", why, file=str(file), line=line))


@lru_cache(maxsize=4096)
def _keys(section: str) -> tuple[tuple[str, Any], ...]:
    """The leaves of one section of a config as written; in a folder of runs most sections are the same text. Raises
    yaml.YAMLError, ValueError."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(section, _Loader)):
        raise ValueError("aliases can make much of little")
    tree = _Loader(section).get_single_data()  # as yaml.safe_load does, in a tenth of its time
    if tree is not None and not isinstance(tree, dict):
        raise ValueError("not a config")
    return tuple(flat(tree or {}).items())


def flat(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """The leaves of a config by their dotted names. Raises ValueError beyond what a config can hold."""
    return dict(_flat(tree, "", 0))


def _flat(tree: Mapping[Any, Any], above: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > DEEPEST or len(tree) > MOST_KEYS:
        raise ValueError("not a config")
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.", depth + 1)
        else:
            yield f"{above}{name}", value


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
