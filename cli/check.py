"""`mlpbp check`: is this config right, does its data fit, and would a careful engineer start training with it?"""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Failed, Problem, counted, typed

from .console import Console
from .options import ConfigFile, Overrides, find_config

if TYPE_CHECKING:
    from mlp_core.config import Config
    from mlp_core.training.experiment import Experiment

HELP = (
    "Check a config: every error at once; its data too, where that is quick to read or --data asks for it; with --deep "
    "whether training can work."
)
CHECKS = 8  # of --deep
QUICK = 4 << 20  # bytes of data files that are read without being asked to


def check(
    config: ConfigFile,
    overrides: Overrides = None,
    data: Annotated[
        bool | None, typer.Option("--data/--no-data", help="Read the data too. [default: if it is small]")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Try it out: loss at the start, gradients, eight rows, first steps.")
    ] = False,
) -> int:
    from mlp_core.config import load

    path = find_config(config)
    loaded = load(path, list(overrides or []))
    console = Console("check")
    from mlp_core.training.unused import refuse_unused

    _check_files(loaded)
    refuse_unused(loaded)
    if data is None:
        data = _size(loaded) <= QUICK
    if not (data or deep):
        rest = "not looked at: the data (--data), so nothing is inferred yet, and whether it can learn (--deep)"
        console.show(f"{path}: the config is fine; {rest}")
        return console.result({"config": str(path), "data": None, "checks": []})
    from mlp_core.training.experiment import Experiment

    experiment = Experiment.build(loaded)
    fields = _show_data(experiment, config, console)
    if not deep:
        console.show(f"{path}: config and data are fine; not looked at: whether it can learn (--deep)")
        return console.result({**fields, "checks": []})
    return _examine(experiment, config, fields, console)


def _size(config: Config) -> int:
    """Bytes of all data files together; packed ones count tenfold."""
    from mlp_core.data.config_sources import data_files

    sizes = [(path.stat().st_size * (10 if path.suffix == ".gz" else 1)) for path in data_files(config)]
    return sum(sizes)


def _check_files(config: Config) -> None:
    """Raise ConfigError for every data file that is not there."""
    from glob import has_magic

    from mlp_core.data.readers.open_file import url_hint
    from mlp_core.errors import ConfigError

    problems = []
    for part in ("train", "val", "test"):
        value = getattr(config.data, part)
        files = [value] if isinstance(value, str) else list(value) if isinstance(value, tuple) else []
        files += [value.x, value.y] if hasattr(value, "x") else []
        for file in files:
            path = config.resolve_path(file)
            if not path.exists() and not has_magic(str(path)):
                hint = url_hint(path)
                problem = config.problem(f"data.{part}", "no such file", code="no_such_file", got=str(path), hint=hint)
                problems.append(problem)
    if problems:
        raise ConfigError(problems)


def _show_data(experiment: Experiment, path: Path, console: Console) -> dict[str, Any]:
    """What was inferred from the data, on stdout: here it is the result."""
    network, data = experiment.model.network, experiment.data
    for note in experiment.notes:
        console.show(textwrap.fill(note, 80, subsequent_indent="  "))
    architecture = network.architecture
    widths = [architecture.inputs, *(block.units for block in architecture.hidden), architecture.outputs]
    console.show(
        f"network: {'-'.join(map(str, widths))}, {counted(network.parameters.size, 'parameter')}, {network.dtype}"
    )
    return {
        "config": str(path),
        "data": {"task": data.task.kind, "rows": {name: part.rows for name, part in data.splits.items()}},
        "parameters": network.parameters.size,
        "notes": list(experiment.notes),
    }


def _examine(experiment: Experiment, path: Path, fields: dict[str, Any], console: Console) -> int:
    """The checkup, one row after another; exit code 1 when something is wrong."""
    from mlp_core.diagnostics.pretrain_check import examine

    found = []
    with console.working("checking") as progress:
        for finding in examine(experiment):
            found.append(finding)
            if progress is not None:
                progress(len(found), max(CHECKS, len(found)))
    wrong = [finding for finding in found if finding.verdict == "wrong"]
    result = {**fields, "checks": [asdict(finding) for finding in found]}
    if not console.json:
        from .tables import findings_table

        console.show(findings_table(found))
    if not wrong:
        console.show(f"ready; next  mlpbp train {typed(path)}")
        return console.result(result)
    problem = Problem("check_failed", f"wrong: {', '.join(finding.name for finding in wrong)}", wrong[0].advice or None)
    if console.json:
        errors = [{"code": problem.code, "message": problem.message, "hint": problem.hint}]
        return console.result({**result, "errors": errors}, 1)
    raise Failed(problem)
