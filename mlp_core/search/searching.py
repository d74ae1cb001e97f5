"""A search as a command carries it out: its folder, its workers, what comes of it."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlp_core.atomic_files import remove_folder, write_atomically
from mlp_core.config import Config
from mlp_core.data.load import load
from mlp_core.documents import read_object
from mlp_core.errors import Problem, UsageError
from mlp_core.search.folder import LARGEST, SearchFolder, write_json
from mlp_core.search.folds import fold_config
from mlp_core.search.space import Space, usual_space
from mlp_core.search.study import JOURNAL, SAMPLERS, importances, without_password
from mlp_core.search.sweep import Sweep, TrialDone, config_of, dump_changed, real_trials, study_name, table, work
from mlp_core.search.watching import Position, Watch, now_and_then, position
from mlp_core.search.workers import Stop, at_once, carry_out
from mlp_core.training.recipe import aim_of, chosen
from mlp_core.training.unused import refuse_unused

FORMAT = 1
RESULT, BEST = "sweep.json", "best.yaml"
USUAL = 50


@dataclass(frozen=True)
class Found:
    """What a search came to: all trials, the best first, how many ended how, what decides, the best complete one."""

    trials: tuple[TrialDone, ...]
    counts: Mapping[str, int]
    importances: Mapping[str, float]
    best: TrialDone | None
    metric: str
    space: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The fields of `sweep.json`."""
        return {
            "metric": self.metric,
            "space": dict(self.space),
            "counts": dict(self.counts),
            "importances": dict(self.importances),
            "best": None if self.best is None else _fields(self.best),
            "trials": [_fields(one) for one in self.trials],
        }


def _fields(one: TrialDone) -> dict[str, Any]:
    value = one.value if one.value is not None and math.isfinite(one.value) else None
    told = {"trial": one.number, "state": one.state, "value": value, "epochs": one.epochs, "params": dict(one.params)}
    return told | ({"why": one.why} if one.why else {})


class Search:
    """A sweep, in its folder."""

    def __init__(self, sweep: Sweep, folder: SearchFolder, notes: Sequence[str]) -> None:
        self.sweep, self.folder, self.notes = sweep, folder, tuple(notes)

    @classmethod
    def open(
        cls,
        config: Config,
        text: bytes,
        words: Sequence[str],
        trials: int | None,
        folds: int,
        sampler: str,
        prune: bool,
        storage: str | None,
        until: float | None,
        path: Path | None,
        command: Sequence[str] = (),
    ) -> Search:
        """The search in the folder `path`, or in `output.dir`: a new one, or the one begun there. Raises ConfigError,
        UsageError."""
        if sampler not in SAMPLERS:
            raise UsageError(Problem("usage", "--sampler: unknown", "choose from " + ", ".join(SAMPLERS), got=sampler))
        if folds == 1:
            raise UsageError(Problem("usage", "--folds: one is none", "give 2 or more, or 0"))
        space = Space.of(config, words)
        if not space.dimensions:
            space = Space.of(config, [*words, *usual_space(space.config, words)])
        if space.finite and space.grid <= (USUAL if trials is None else trials):
            sampler = "grid"  # trials are functions of their values: to repeat one tells nothing
        grid = space.grid if sampler == "grid" else None
        count = trials if trials is not None else grid if grid is not None else USUAL
        count = count if grid is None else min(count, grid)
        space = _aimed(space)
        if space.config.threads == "auto":
            space = Space(space.config.replace(threads=1), space.dimensions)
        if folds:
            fold_config(space.config, folds, 1, 1)  # refused at once where it does not go with folds
        if not any(one.key.endswith(".name") for one in space.dimensions):  # else it decides which keys have an effect
            refuse_unused(space.config)
        name = study_name(space.config, space, folds)
        plan = {
            "format": FORMAT,
            "command": "sweep",
            "study": name,
            "sampler": sampler,
            "folds": folds,
            "prune": prune,
            "storage": None if storage is None else without_password(storage),
            "space": space.to_json(),
        }
        folder = SearchFolder.of(path, space.config, f"{config.name}-sweep", plan, lambda at: _ended(at) >= count)
        said = tuple(without_password(word) for word in command)
        place = hashlib.sha256(str(folder.path.resolve()).encode()).hexdigest()[:16]
        sweep = Sweep(
            folder.path,
            place,
            name,
            space,
            text,
            count,
            folds,
            sampler,
            prune,
            storage,
            math.inf if until is None else until,
            said,
        )
        return cls(sweep, folder, list(_notes(sweep, folder, words)))

    def workers(self, asked: int | None) -> int:
        """How many trials are trained at once by this command."""
        threads = int(self.sweep.space.config.threads)
        return at_once(asked, self.sweep.trials, threads, self.sweep.space.config.device)

    def run(self, count: int, stop: Stop, hear: Callable[[TrialDone, int], None], watch: Watch | None = None) -> None:
        """Take trials until there are enough, or `stop()` says so; `hear` gets each that ends meanwhile, wherever it
        was trained, and how many have ended, `watch` how far those are that are trained here. Raises what a training
        raises, and Failed."""
        sweep, told = self.sweep, set[int]()
        try:
            study = sweep.study()
        except BaseException:
            self._discard()
            raise
        told |= {one.number for one in table(sweep, study) if one.state in ENDED}

        def news() -> None:
            now = sorted(table(sweep, study), key=lambda one: one.number)
            ended = [one for one in now if one.state in ENDED]
            for one in ended:
                if one.number not in told:
                    told.add(one.number)
                    hear(one, len(ended))
            if watch is not None:
                running = (self._position(one) for one in now if one.state == RUNNING)
                watch([found for found in running if found is not None])

        try:
            for _ in carry_out(work, [sweep] * count, count, int(sweep.space.config.threads), now_and_then(news, stop)):
                pass
        except BaseException:
            if not real_trials(study) or not any(self.folder.path.glob("trial-*")):
                self._discard()
            raise
        news()

    def _position(self, trial: TrialDone) -> Position | None:
        """How far a trial is that is trained in this folder."""
        folder, folds = self.sweep.at(trial.number), self.sweep.folds
        epochs = int(trial.params.get("train.epochs", self.sweep.space.config.train.epochs))
        runs = [folder / f"fold-{fold}" for fold in range(1, folds + 1)] if folds else [folder]
        return position(f"trial {trial.number}", runs, epochs)

    def _discard(self) -> None:
        """Remove the folder where nothing was begun."""
        if self.folder.fresh:
            remove_folder(self.sweep.locks)
        self.folder.discard(JOURNAL, f".{JOURNAL}.lock")

    def finish(self) -> Found:
        """Write down what is known: `sweep.json`, and `best.yaml` where a trial is complete. Raises OSError."""
        sweep, study = self.sweep, self.sweep.study()
        trials = table(sweep, study)
        counts = Counter(one.state for one in trials)
        best = trials[0] if trials and trials[0].state == "complete" else None
        found = Found(tuple(trials), counts, importances(study), best, sweep.metric, sweep.space.to_json())
        write_json(self.folder.path / RESULT, {"format": FORMAT, **found.to_json()})
        if best is not None:
            count = f"{len(trials)} trial{'s' if len(trials) != 1 else ''}"
            head = f"# trial {best.number} of {count}: {sweep.metric} {best.value!r}\n"
            changed = dump_changed(config_of(sweep, study, best.number), self.folder.path)
            write_atomically(self.folder.path / BEST, (head + changed).encode())
        return found


ENDED, RUNNING = frozenset({"complete", "pruned", "failed"}), "running"


def _aimed(space: Space) -> Space:
    """The space judged by what its recipe aims at, unless it is said by what. Raises DataError."""
    if space.config.given("checkpoint.monitor") or chosen(space.first)[0] != "strong":
        return space
    aim = aim_of(space.config, load(space.config).task.kind)
    return Space(space.config.replace(**{"checkpoint.monitor": f"val_{aim}"}), space.dimensions)


def _ended(folder: Path) -> int:
    """How many trials of a search have ended, as it wrote down."""
    counts = read_object(folder / RESULT, LARGEST).get("counts", {})
    return sum(int(counts.get(state, 0)) for state in ENDED) if isinstance(counts, dict) else 0


def _notes(sweep: Sweep, folder: SearchFolder, words: Sequence[str]) -> Any:
    """What is said before the first trial."""
    if not folder.fresh:
        yield f"going on with {folder.path}"
    recipe, why = chosen(sweep.space.first)
    if sweep.space.config.recipe == "auto" and sweep.space.config.data.target is not None:
        yield f"recipe: {recipe} ({why})"
    if not any(one.key in word for word in words for one in sweep.space.dimensions):
        shown = ", ".join(one.key for one in sweep.space.dimensions)
        recipe = "strong" if sweep.space.config.recipe == "strong" else "plain"
        yield f"space of recipe: {recipe}: {shown}"
    changing = [one.key for one in sweep.space.dimensions if one.key.startswith(("loss.", "regularization."))]
    if changing and sweep.metric == "val_loss" and not sweep.folds:
        yield (
            f"note: {', '.join(changing)} changes what val_loss is, so its values are not comparable; "
            "set checkpoint.monitor, for example to val_log_loss or val_rmse"
        )
