"""What the config asks to be done to every input column: its section `preprocess`, column by column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mlp_core.data.preprocess.categories import CategoryPlan
from mlp_core.data.preprocess.cycles import WEEK, YEAR
from mlp_core.data.preprocess.far import stray_line
from mlp_core.data.preprocess.preprocessor import NumericPlan, Preprocessor, plan_with
from mlp_core.data.preprocess.scaling import Target
from mlp_core.data.readers.source import place_of
from mlp_core.data.warnings import Part
from mlp_core.errors import DataError, Problem, clean, counted
from mlp_core.nn.losses import LOSSES

if TYPE_CHECKING:
    from mlp_core.config import Config
    from mlp_core.data.task import Task

CYCLES = {"date": (YEAR, WEEK, 1.0), "time": (24.0,)}
"""The periods of what comes again, in days for dates and in hours for times."""

Plan: TypeAlias = NumericPlan | CategoryPlan


def default_plan(config: Config) -> NumericPlan:
    """What is done to a column of numbers that nothing is said about."""
    numeric = config.preprocess.numeric
    return NumericPlan(numeric.scale, numeric.impute, numeric.indicator, numeric.clip)


def plans(config: Config, names: Sequence[str], kinds: Sequence[str]) -> dict[int, Plan]:
    """The plan of every column, by its place, that is not simply the default."""
    numbers = default_plan(config)
    words = CategoryPlan(**config.preprocess.categorical.model_dump(), scale=numbers.scale)
    log, own = set(config.preprocess.numeric.log), config.preprocess.columns
    found: dict[int, Plan] = {}
    for place, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        plan: Plan = words if kind == "categorical" else numbers
        if kind in CYCLES:
            plan = plan_with(plan, {"cycles": CYCLES[kind]})
        if name in log:
            plan = plan_with(plan, {"log": True})
        if name in own:
            plan = plan_with(plan, own[name].model_dump())
        if plan != numbers:
            found[place] = plan
    return found


def gapless(config: Config, task: Task) -> list[int]:
    """The places of the columns in which a missing cell is an error."""
    default, found = default_plan(config), plans(config, task.features, task.input_kinds)
    asked = [found.get(place, default) for place in range(len(task.features))]
    return [
        place
        for place, plan in enumerate(asked)
        if (plan.impute if isinstance(plan, NumericPlan) else plan.missing) == "error"
    ]


def make_preprocessor(config: Config, names: Sequence[str], kinds: Sequence[str]) -> Preprocessor:
    """The preprocessing of inputs with these names and kinds, not yet fitted."""
    return Preprocessor(default_plan(config), plans(config, names, kinds), names)


def make_target(config: Config, kind: str) -> Target | None:
    """What is done to the targets of a task of this kind, not yet fitted; None for nothing. Raises ConfigError."""
    wish = config.preprocess.target
    if kind != "regression":
        if wish != type(wish)():
            message, hint = f"a {kind} task has no numbers to scale", "remove the key"
            raise config.refusal("preprocess.target", message, code="unused", hint=hint)
        return None
    if config.loss.name != "auto" and LOSSES[config.loss.name].counts:
        if wish.scale not in ("auto", "none") or wish.transform != "none" or wish.clamp:
            message, hint = f"the {config.loss.name} loss predicts counts as they are", "remove the key"
            raise config.refusal("preprocess.target", message, code="inconsistent", hint=hint)
        return None
    return Target("standard" if wish.scale == "auto" else wish.scale, wish.transform == "log1p", wish.clamp)


def check_fits(config: Config, inputs: Preprocessor) -> None:
    """Raise ConfigError for what cannot be done to codes of words."""
    if config.regularization.mixup and inputs.embeddings:
        message, hint = "codes of learned embeddings cannot be mixed", "use preprocess.categorical.encode: onehot"
        raise config.refusal("regularization.mixup", message, code="inconsistent", hint=hint)


def lost_notes(inputs: Preprocessor) -> tuple[str, ...]:
    """A line about columns of words none of which is frequent enough to be told apart. Raises DataError where there
    are no other inputs."""
    lost = [column for column, one in inputs.categories.items() if not one.words and one.plan.encode != "hash"]
    if not lost:
        return ()
    names = ", ".join(clean(inputs.name(column)) for column in lost[:8]) + (", ..." if len(lost) > 8 else "")
    least = min(inputs.categories[column].plan.min_count for column in lost)
    told = f"{names}: no word stands in {counted(least, 'training row')} or more"
    if len(lost) == inputs.columns:
        message, hint = f"{told}, and there are no other inputs", "add columns that rows have in common"
        raise DataError([Problem("no_inputs", message, hint, key="preprocess.categorical.min_count")])
    return (f"note: {told}: without effect (preprocess.categorical.min_count)",)


SOME = 2000  # rows on the disk that are looked at once more


def unseen(inputs: Any, name: str, rows: Any) -> dict[str, tuple[int, str]]:
    """The words of a split that training did not keep, counted before where the rows are on the disk."""
    counts = None if rows.survey is None else rows.survey.words[name]
    found: dict[str, tuple[int, str]] = inputs.unseen(rows.X, rows.words, counts)
    return found


def unseen_notes(inputs: Preprocessor, splits: Mapping[str, Part]) -> list[str]:
    """A line for every split with words that training did not keep, and with numbers far from its own."""
    notes = []
    for name, rows in splits.items():
        if name != "train" and (found := unseen(inputs, name, rows)):
            parts = [f'{column} {count:,} ("{word}")' for column, (count, word) in list(found.items())[:4]]
            notes.append(f"note: {name} rows with words that are rare or unseen in training: {', '.join(parts)}")
        if name != "train":
            notes += [f"note: {name} rows: {line}" for line in inputs.far_lines(_some(rows))]
    return notes


def further_lines(inputs: Any, rows: Any) -> list[str]:
    """Lines about a further file: words that training did not keep, and numbers far from its own."""

    def where(row: int) -> str:
        number = row if rows.places is None else int(rows.places[row])
        return f"row {number + 1:,}" if rows.source is None else place_of(rows.source, number)

    return [*unseen_lines(unseen(inputs, "data", rows)), *distant_lines(inputs, _some(rows), where).values()]


def distant_lines(inputs: Any, X: Any, where: Callable[[int], str]) -> dict[tuple[str, str], str]:
    """What is to be said of further rows X: of columns far from those of training, and of single numbers far outside
    of them, of which `where` tells the place of a row; as `unlike` has it."""
    far = inputs.far_lines(X)
    stray = stray_line([] if far else inputs.strays(X), where)
    return {(what, ""): line for what, lines in (("far", far), ("stray", stray)) for line in lines}


def _some(rows: Any) -> Any:
    """Rows that stand for all of a split: those in memory, the first of those on the disk."""
    return rows.X if rows.survey is None else rows.X[:SOME]


def unseen_lines(found: Mapping[str, tuple[int, str]]) -> list[str]:
    """A line for every column of a further file with words that training did not keep."""
    return [
        f'column "{clean(name)}": {counted(count, "row")} with a word that is rare or unseen in training '
        f'("{clean(word)}")'
        for name, (count, word) in found.items()
    ]
