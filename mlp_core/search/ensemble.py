"""Several networks as one model: the same run with several seeds, in processes of their own, put into one folder.

Every member is a whole run with the same training and validation rows; `members.json` makes the folder one model, whose
probabilities or values are the members' average.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlp_core.config import Config
from mlp_core.machine import available_cpus
from mlp_core.runs.members import ENSEMBLE, Members
from mlp_core.runs.run_directory import RunDirectory
from mlp_core.search.training import Training
from mlp_core.search.watching import Watch, watched
from mlp_core.search.workers import Stop, at_once, carry_out


def member_configs(config: Config, count: int) -> list[Config]:
    """The config of every member, `count` of them at once: seeds that follow each other, the rows dealt as by the
    first, the processors shared out."""
    seed = config.seed if config.data.split.seed is None else config.data.split.seed
    threads = max(1, available_cpus() // count) if config.threads == "auto" else config.threads
    same = {"ensemble": 1, "data.split.seed": seed, "threads": threads, "eval.baselines": False}
    return [config.replace(seed=config.seed + k, **same) for k in range(config.ensemble)]


class Ensemble:
    """The members in their folder, to be trained. The folder is new or empty, or else the next free number."""

    def __init__(self, config: Config, directory: Path | None, command: Sequence[str] = ()) -> None:
        self.count = at_once(None, config.ensemble, 1 if config.threads == "auto" else config.threads, config.device)
        self.configs = member_configs(config, self.count)
        number = config.output.if_exists == "number"
        if directory is None:
            made = RunDirectory.create_numbered(Path(config.output.dir), config.name, number)
        else:
            made = RunDirectory.create(directory)
        self.folder = made.path
        made.discard()  # it is no run itself
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.yaml").write_bytes(config.content)
        self.names = [f"member-{k}" for k in range(1, config.ensemble + 1)]
        made_of = zip(self.names, self.configs, strict=True)
        self.members = [Training.of(one, self.folder / name, config.content, tuple(command)) for name, one in made_of]

    def train(self, stop: Stop = lambda: 0, watch: Watch | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Train them; yields the place and the record of each as it is done, and makes the folder one model once all
        are; `watch` hears now and then how far the others are. Raises what training raises; what was trained until
        then stays where it is."""
        done, waiting = 0, dict(enumerate(self.members))
        asked = watched(waiting, self.configs[0].train.epochs, watch, stop)
        threads = int(self.configs[0].threads)
        for place, record in carry_out(_train, self.members, self.count, threads, asked):
            waiting.pop(place)
            if record is not None:
                done += 1
                yield place, record
        if done == len(self.members):
            task = RunDirectory(self.folder / self.names[0]).load("best" if self._has_best else "last").document["task"]
            Members(self.folder, ENSEMBLE, tuple(self.names), str(task["kind"])).write()

    @property
    def _has_best(self) -> bool:
        return RunDirectory(self.folder / self.names[0]).has("best")


def _train(member: Training, stop: Stop) -> dict[str, Any] | None:
    """In a process of its own: the record of a member, None where it was stopped."""
    return member.carry_out(stop)
