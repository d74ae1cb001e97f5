"""The report of one or several runs: what their files tell, and what is measured now on their data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mlp_core.diagnostics.data_summary import overview
from mlp_core.diagnostics.importance import importance
from mlp_core.errors import CheckpointError, DataError, UsageError, clean
from mlp_core.report import data_sections, run_sections
from mlp_core.report.blocks import Chapter, Paragraph, Section
from mlp_core.report.compare import comparison
from mlp_core.report.page import page
from mlp_core.report.run_files import RunFiles
from mlp_core.runs.evaluate import Report, Wishes, evaluate_model, open_model
from mlp_core.training.ensemble import Saved

WORST = 10
MOST_MEASURED = 10  # of more runs than this only the comparison is made
SHUFFLED_ROWS = 2000
SHUFFLED_COLUMNS = 100  # a report is not made to wait for more; `mlpbp importance` takes them all
REPEATS = 5
Progress = Callable[[str], None]


def report(paths: Sequence[Path], progress: Progress | None = None, overrides: Sequence[str] = ()) -> str:
    """The page about these runs, as text; `overrides` say where their data is now.

    Raises RunDirectoryError where one is none or damaged.
    """
    runs = [RunFiles.read(path) for path in paths]
    for run in runs:
        run.config, run.curve, run.metrics  # noqa: B018 - damage shows here, before any work
    chapters = [] if len(runs) == 1 else [Chapter("Comparison", _compared(runs), comparison(runs))]
    for run in runs if len(runs) <= MOST_MEASURED else []:
        if progress is not None:
            progress(f"measuring {run.path}")
        chapters.append(Chapter(_title(run), run_sections.about(run), _sections(run, overrides)))
    names = ", ".join(_title(run) for run in runs)
    return page(f"mlpbp: {clean(names, 120)}", chapters)


def _compared(runs: Sequence[RunFiles]) -> str:
    """How many runs there are, and what is left out where they are many."""
    many = f"; with more than {MOST_MEASURED}, each of them has a report of its own only"
    return f"{len(runs)} runs{many if len(runs) > MOST_MEASURED else ''}"


def _title(run: RunFiles) -> str:
    return clean(run.path.resolve().name, 80)


def _sections(run: RunFiles, overrides: Sequence[str]) -> list[Section]:
    """What is known of a run; what needs its data or its weights is left out, with the reason, where they are gone."""
    first = [run_sections.summary(run), run_sections.training(run)]
    last = [run_sections.config(run), run_sections.made(run)]
    try:
        return [*first, *_measured(run.path, overrides), *last]
    except (CheckpointError, DataError, UsageError) as error:
        words = f"Not measured: {error.problems[0]}"
        return [*first, Section("Predictions", [Paragraph(words, warning=True)]), *last]


def _measured(path: Path, overrides: Sequence[str]) -> list[Section]:
    """The sections that need the run's weights and data."""
    model, _ = open_model(path, overrides)
    measured = evaluate_model(model, Wishes(worst=WORST, keep=True))
    task, chosen = model.task, measured.chosen
    outcome = measured.splits[chosen].outcome
    sections: list[Section | None] = [
        data_sections.predictions(task, outcome, chosen),
        data_sections.classes(task, outcome),
        data_sections.worst(measured.worst, task, chosen),
        _importance(model, measured),
        data_sections.data(overview(model.config)),
    ]
    return [section for section in sections if section is not None]


def _importance(model: Saved, measured: Report) -> Section:
    """The importance of the columns, where there are few enough to wait for."""
    count = len(model.task.features)
    if count > SHUFFLED_COLUMNS:
        words = f"Not measured here for {count:,} columns: mlpbp importance does it."
        return Section("Importance", [Paragraph(words)])
    assert measured.split is not None
    found = importance(model, measured.split, REPEATS, most=SHUFFLED_ROWS)
    return data_sections.importances(found)
