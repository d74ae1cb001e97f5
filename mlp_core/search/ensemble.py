"""Several networks as one model: the same run with several seeds, in processes of their own, put into one folder.

Every member is a whole run with the same training and validation rows; `members.json` makes the folder one model, whose
probabilities or values are the members' average.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlp_core.config import Config, from_mapping, sparse
from mlp_core.descriptors import read_own
from mlp_core.documents import read_object
from mlp_core.errors import Problem, RunDirectoryError, UsageError
from mlp_core.metrics import plain
from mlp_core.runs.members import ENSEMBLE, MEASURED, Members
from mlp_core.runs.run_directory import RunDirectory
from mlp_core.runs.run_record import Stopwatch, earlier_seconds
from mlp_core.search.folder import LARGEST, PLAN, write_json
from mlp_core.search.locks import FileLock
from mlp_core.search.training import Training
from mlp_core.search.watching import Watch, watched
from mlp_core.search.workers import Stop, at_once
from mlp_core.training.checkpoint import checkpoint_path, load
from mlp_core.training.ensemble import member_configs

FORMAT = 1


class Ensemble:
    """The members in their folder, to be trained: begun in a new one (`start`), or gone on with (`resume`)."""

    def __init__(self, folder: Path, config: Config, text: bytes, command: Sequence[str]) -> None:
        self.folder = folder
        self.count = at_once(None, config.ensemble, 1 if config.threads == "auto" else config.threads, config.device)
        configs = member_configs(config, self.count)
        self.threads, self.epochs = int(configs[0].threads), config.train.epochs
        self.seconds = earlier_seconds(read_object(folder / MEASURED, LARGEST))
        self.members = [Training.of(one, folder / f"member-{k}", text, command) for k, one in enumerate(configs, 1)]

    @classmethod
    def start(cls, config: Config, directory: Path | None, command: Sequence[str] = ()) -> Ensemble:
        """In `directory`, which is new or empty, or in the next free one under `output.dir`. Raises UsageError,
        RunDirectoryError."""
        made = RunDirectory.create(directory, config)
        folder = made.path
        made.discard()  # it is no run itself
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.yaml").write_bytes(config.source.content)
            write_json(folder / PLAN, {"format": FORMAT, "config": sparse(config.with_paths_from(folder))})
        except OSError as error:
            problem = Problem("not_writable", f"cannot be written: {error.strerror or error}", file=str(folder))
            raise RunDirectoryError(problem) from None
        return cls(folder, config, config.source.content, command)

    @classmethod
    def resume(cls, folder: Path, command: Sequence[str] = ()) -> Ensemble:
        """With what was begun there. Raises UsageError where nothing was, ConfigError."""
        plan = read_object(folder / PLAN, LARGEST)
        if plan.get("format") != FORMAT or not isinstance(plan.get("config"), dict):
            raise UsageError(Problem("no_run", "no ensemble was begun here", "give its folder", file=str(folder)))
        config = from_mapping(plan["config"], folders=(folder,)).as_sent()
        return cls(folder, config, read_own(folder / "config.yaml", LARGEST), command)

    @staticmethod
    def begun(folder: Path) -> bool:
        """Whether members were begun in a folder."""
        return (folder / PLAN).is_file() and read_object(folder / PLAN, LARGEST).get("command") is None

    @property
    def trained(self) -> int:
        """How many members are trained."""
        return sum(member.record() is not None for member in self.members)

    def train(self, stop: Stop = lambda: 0, watch: Watch | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Train what is not trained yet; yields the place and the record of each member as it is done, and makes the
        folder one model once all are; `watch` hears now and then how far the others are. Raises what training raises;
        what was trained until then stays where it is."""
        lock = FileLock(self.folder / ".lock")
        lock.claim()
        clock, done = Stopwatch(self.seconds), 0
        try:
            for member in watched(Training.carry_out, self.members, self.count, self.threads, self.epochs, stop, watch):
                done += 1
                yield member
            if done == len(self.members):
                task = load(checkpoint_path(self.members[0].folder)).document["task"]
                runs = tuple(one.folder.name for one in self.members)
                Members(self.folder, ENSEMBLE, runs, str(task["kind"])).write()
        finally:
            self.seconds = clock.seconds
            if done < len(self.members):
                self.measured({})
            lock.release()

    def measured(self, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Write down what the members come to together, split by split, and the seconds of all sessions: for lists
        of runs only, so that a disk that does not take it ends nothing."""
        told = {name: plain(values) for name, values in metrics.items()}
        with contextlib.suppress(OSError):
            write_json(self.folder / MEASURED, {"format": FORMAT, "seconds": round(self.seconds, 3), "metrics": told})
