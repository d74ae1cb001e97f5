"""Several networks as one model: the same run with several seeds, in processes of their own, put into one folder.

Every member is a whole run with the same training and validation rows; `members.json` makes the folder one model, whose
probabilities or values are the members' average.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlp_core.config import Config
from mlp_core.errors import Failed, MlpbpError, Problem
from mlp_core.machine import available_cpus
from mlp_core.runs.members import ENSEMBLE, Members
from mlp_core.runs.run import Run
from mlp_core.runs.run_directory import RunDirectory
from mlp_core.runs.summary import Summary


@dataclass(frozen=True)
class Member:
    """One of them: its number from 1, its config and where it is trained."""

    number: int
    config: Config
    folder: Path
    command: tuple[str, ...]


def member_configs(config: Config) -> list[Config]:
    """The config of every member: seeds that follow each other, the rows dealt as by the first, threads shared out."""
    seed = config.seed if config.data.split.seed is None else config.data.split.seed
    threads = max(1, available_cpus() // _at_once(config)) if config.threads == "auto" else config.threads
    same = {"ensemble": 1, "data.split.seed": seed, "threads": threads, "eval.baselines": False}
    return [config.replace(seed=config.seed + k, **same) for k in range(config.ensemble)]


def train_members(
    config: Config, directory: Path | None, command: Sequence[str] = ()
) -> Iterator[tuple[Member, Summary] | Path]:
    """Train every member; yields each with its summary as it is done, and last the folder, which is one model.

    Raises what training raises; what was trained until then stays where it is.
    """
    number = config.output.if_exists == "number"
    made = (
        RunDirectory.create_numbered(Path(config.output.dir), config.name, number)
        if directory is None
        else RunDirectory.create(directory)
    )
    folder = made.path
    made.discard()
    folder.mkdir(parents=True, exist_ok=True)
    members = [
        Member(k, one, folder / f"member-{k}", tuple(command)) for k, one in enumerate(member_configs(config), start=1)
    ]
    kind = ""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_at_once(config), context) as pool:
        waiting = {pool.submit(_train, member): member for member in members}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda one: waiting[one].number):
                    result = future.result()
                    if isinstance(result, str):
                        raise Failed(Problem("member", f"member {waiting[future].number}: {result}"))
                    kind, summary = result
                    yield waiting.pop(future), summary
        finally:
            pool.shutdown(cancel_futures=True)
    Members(folder, ENSEMBLE, tuple(member.folder.name for member in members), kind).write()
    yield folder


def _at_once(config: Config) -> int:
    """Processes at a time: one for every processor, on a GPU one by one."""
    if config.device not in ("auto", "cpu"):
        return 1
    threads = 1 if config.threads == "auto" else config.threads
    return max(1, min(config.ensemble, available_cpus() // threads))


def _train(member: Member) -> Any:
    """In a process of its own: the kind of task and the summary, or what went wrong in words."""
    os.environ["OMP_NUM_THREADS"] = str(member.config.threads)
    try:
        run = Run.start(member.config, member.config.content, member.folder, member.command)
        for _ in run.execute():
            pass
    except MlpbpError as error:
        return str(error.problems[0])
    assert run.summary is not None
    return run.experiment.model.task.kind, run.summary
