"""The search as optuna keeps it: its storage, its samplers as functions of the trial's number, its pruner.

Draws of a sampler are a function of (seed, number of the trial, what is known of earlier ones): nothing is lost with a
process that is killed, and two processes never draw the same.
"""

from __future__ import annotations

import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast
from zlib import crc32

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial

from mlp_core.atomic_files import refuse_foreign
from mlp_core.errors import Failed, Problem, UsageError
from mlp_core.rng import generator
from mlp_core.search.locks import FileLock
from mlp_core.search.space import Choice, Dimension

SAMPLERS = ("tpe", "random", "grid")
JOURNAL = "journal.log"
TRIES = 4


def open_study(
    url: str | None, folder: Path, name: str, smaller: bool, sampler: BaseSampler, pruner: optuna.pruners.BasePruner
) -> Study:
    """The study of a search, made where it is new; url: None for a journal in the folder. Raises UsageError, Failed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    direction = "minimize" if smaller else "maximize"
    with warnings.catch_warnings(), _sound(folder / JOURNAL) if url is None else nullcontext():
        warnings.simplefilter("ignore")
        return optuna.create_study(
            storage=_storage(url, folder),
            sampler=sampler,
            pruner=pruner,
            study_name=name,
            direction=direction,
            load_if_exists=True,
        )


def _storage(url: str | None, folder: Path) -> BaseStorage:
    if url is None:
        refuse_foreign(folder / JOURNAL)
        lock = FileLock(folder / f".{JOURNAL}.lock")  # optuna's own would be waited for after a kill
        return JournalStorage(JournalFileBackend(str(folder / JOURNAL), cast(Any, lock)))
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    _need_driver(url)
    try:
        for left in reversed(range(TRIES)):
            try:
                return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
            except (IntegrityError, ProgrammingError):  # another process makes the same tables just now
                if not left:
                    raise
                time.sleep(0.3)
        raise AssertionError
    except Exception as error:  # whatever the database's driver raises
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        said = without_password(first.replace(url, without_password(url)))
        raise Failed(Problem("no_storage", f"--storage: cannot be opened: {said}", "check the address")) from None


@contextmanager
def _sound(journal: Path) -> Iterator[None]:
    """Whatever optuna makes of a journal, perhaps somebody else's, whose lines it did not write, is Failed."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        hint = "choose a new folder with -o, or remove the journal: the runs stay"
        message = f"this is no journal of a search ({type(error).__name__})"
        raise Failed(Problem("damaged", message, hint, file=str(journal))) from None


def _need_driver(url: str) -> None:
    """Raise UsageError for an address that is none, and where the package that speaks to such a database is missing."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        make_url(url).get_dialect().import_dbapi()
    except ImportError as error:
        kind, package = url.split(":")[0], error.name or "that speaks to it"
        hint = f"pip install {package}"
        raise UsageError(Problem("no_driver", f"--storage: {kind} needs the package {package}", hint)) from None
    except (ArgumentError, NoSuchModuleError):
        hint = "for example sqlite:///sweep.db, postgresql+psycopg2://USER:PASSWORD@HOST/DATABASE"
        raise UsageError(Problem("no_storage", "--storage: not the address of a database", hint)) from None


def without_password(text: str) -> str:
    """A text in which no address tells a password."""
    return re.sub(r"(://[^:/@\s]*):[^@/\s]*@", r"\1:***@", text)


class Numbered(BaseSampler):
    """A sampler made anew for every trial, seeded by its number."""

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed

    def _of(self, trial: FrozenTrial, parameter: str = "") -> BaseSampler:
        drawn = int(generator(self._seed, "sweep", trial.number).integers(2**31))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._make(drawn ^ (crc32(parameter.encode()) >> 1))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._of(trial).infer_relative_search_space(study, trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return dict(self._of(trial).sample_relative(study, trial, search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial, param_name).sample_independent(study, trial, param_name, param_distribution)


class Grid(RandomSampler):
    """Every combination of the listed values once, told by the trial's number: each parameter by itself, as one that
    draws at random takes them."""

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        super().__init__()
        self._lists = {one.key: one.values for one in dimensions if isinstance(one, Choice)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        place = trial.number
        for name, values in self._lists.items():
            if name == param_name:
                return values[place % len(values)]
            place //= len(values)
        raise KeyError(param_name)


def make_sampler(name: str, seed: int, dimensions: Sequence[Dimension]) -> BaseSampler:
    """One of `SAMPLERS`."""
    if name == "grid":
        return Grid(dimensions)
    if name == "random":
        return Numbered(lambda drawn: RandomSampler(seed=drawn), seed)
    return Numbered(lambda drawn: TPESampler(seed=drawn, multivariate=True, constant_liar=True), seed)


def make_pruner(prune: bool, warmup: int) -> optuna.pruners.BasePruner:
    """Trials that are worse than the median of the others at the same step end early, or none do."""
    if not prune:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)


def distributions(dimensions: Sequence[Dimension]) -> dict[str, BaseDistribution]:
    """The space in optuna's terms; values of a choice are JSON text."""
    found: dict[str, BaseDistribution] = {}
    for one in dimensions:
        if isinstance(one, Choice):
            found[one.key] = CategoricalDistribution(one.values)
        elif one.whole:
            found[one.key] = IntDistribution(int(one.low), int(one.high), log=one.log)
        else:
            found[one.key] = FloatDistribution(one.low, one.high, log=one.log)
    return found


@contextmanager
def _not_importing(name: str) -> Iterator[None]:
    """A package seems to be missing, unless it is loaded already."""
    loaded = name in sys.modules
    if not loaded:
        sys.modules[name] = cast(Any, None)
    try:
        yield
    finally:
        if not loaded:
            del sys.modules[name]


def importances(study: Study, minimum: int = 4) -> dict[str, float]:
    """How much each parameter decides about the value, in shares of 1 (PED-ANOVA, Watanabe et al., 2023); empty where
    too few trials are complete, or only one parameter is open."""
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < minimum or all(len(one.distributions) < 2 for one in complete):
        return {}
    with _not_importing("sklearn"):  # optuna looks for it there, seconds of work, for another method
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError, ZeroDivisionError):
        return {}
    return {name: float(value) for name, value in found.items()}
