"""`mlpbp train`: from a config to a trained model in a run directory, or on with a run that was left.

Not called `train.py`: `mlpbp.train` is the function, for Python.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import ConfigError, MlpbpError, Problem, UsageError, clean, counted, typed

from . import complete
from .console import Console
from .hints import searching
from .options import MEMBERS, RESOLVED, Device, Overrides, find_config, settings
from .signals import StopRequest
from .standard_input import refuse
from .workers import Workers, asked_for, by_workers, named

if TYPE_CHECKING:
    from mlp_core.config import Config
    from mlp_core.runs.run import Run
    from mlp_core.runs.summary import Summary
    from mlp_core.search.ensemble import Ensemble
    from mlp_core.workers.world import World

HELP = "Train a network from a config or a table, or go on with a run that was stopped."
CONFIGS = ("", ".yaml", ".yml")
"""How names of configs end; what ends otherwise is a table."""
SHORT = 0.5
"""Seconds that tell a pace; less is spent on what happens once."""


def train(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG or TABLE]",
            help="The config file, - for standard input; or a file of data, with --target.",
            autocompletion=complete.configs,
        ),
    ] = None,
    overrides: Overrides = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Column of the table to predict; several for several outputs.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Go on with this run.", autocompletion=complete.models),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The run directory: new or empty. [default: runs/NAME-NNN]")
    ] = None,
    device: Device = None,
    epochs: Annotated[int | None, typer.Option("-e", "--epochs", help="Short for train.epochs=...")] = None,
    batch_size: Annotated[str | None, typer.Option("-b", "--batch-size", help="Short for train.batch_size=...")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read config and data, show the plan, train nothing.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Write report.html into the run when it is done.")] = False,
    workers: Workers = None,
) -> int:
    short = {"device": device, "train.epochs": epochs, "train.batch_size": batch_size}
    changes = [*(overrides or []), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    if resume is not None and config is not None:
        changes.insert(0, str(config))  # what follows --resume RUN are overrides
    asked = Asked(config, tuple(changes), tuple(target or ()), resume, output, dry_run, report, workers)
    return by_workers(workers, partial(_train, asked), None if resume else config)


@dataclass(frozen=True)
class Asked:
    """What a call of `train` asks for; `changes` are overrides."""

    config: Path | None
    changes: tuple[str, ...]
    target: tuple[str, ...]
    resume: Path | None
    output: Path | None
    dry_run: bool
    report: bool
    workers: int | None


def _train(asked: Asked, world: World) -> int:
    config, changes = asked.config, list(asked.changes)
    if asked.resume is not None:
        if asked.target:
            raise UsageError(Problem("usage", "a resumed run has its target", "leave out --target"))
        if asked.dry_run:
            raise UsageError(Problem("usage", "a resumed run trains, there is no plan to show", "leave out --dry-run"))
        return _resume(asked.resume, changes, asked.output, asked.report, world)
    if config is None:
        raise UsageError(Problem("usage", "no config given", "for example: mlpbp train configs/digits.yaml"))
    if (config / RESOLVED).is_file():
        hint = f"to go on with it: mlpbp train --resume {typed(config)}"
        raise UsageError(Problem("usage", "this is a run, not a config", hint, file=str(config)))
    if (config / MEMBERS).is_file():
        hint = "train one of them with --resume, or give a config"
        raise UsageError(Problem("usage", "this is a folder of members, not a config", hint, file=str(config)))
    if asked.target:
        refuse(config, "eval and --resume read it again")
    table = str(config) != "-" and (bool(asked.target) or (config.suffix not in CONFIGS and config.is_file()))
    loaded, told = _of_table(config, list(asked.target), changes) if table else (_of_file(config, changes), [])
    if asked_for(world, asked.workers):
        from mlp_core.training.sharding import for_workers

        loaded = for_workers(loaded, world)
    console = Console("train", loaded.logging.progress)
    if not table and find_config(config) != config:
        console.note(f"{config}: not in this folder, using the installed example")
    for note in told:
        console.note(note)
    from mlp_core.runs.run import Run

    if asked.dry_run:
        return _plan(loaded, console)
    if loaded.ensemble > 1:
        from mlp_core.search.ensemble import Ensemble

        if asked.report:
            raise UsageError(
                Problem("usage", "a report is about runs, and an ensemble is several", "leave out --report")
            )
        return _ensemble(Ensemble.start(loaded, asked.output, sys.argv[1:]), console)
    run = Run.start(loaded, loaded.source.content, asked.output, sys.argv[1:], console.reading, world)
    return _execute(run, console, asked.report)


def _ensemble(made: Ensemble, console: Console) -> int:
    """Train what is left of several networks and measure them as the one model that they are."""
    from mlp_core.metrics import plain
    from mlp_core.runs.evaluate import evaluate_model, open_model

    from .render import metrics_table

    records, many = dict[int, dict[str, Any]](), len(made.members)
    ready = made.trained
    console.note(f"ensemble: {many} networks, {made.count} at a time" + (f"; {ready} are trained" if ready else ""))
    with StopRequest() as stop, console.working("networks") as progress:
        watch = None if progress is None else partial(progress.runs, total=many)
        for place, record in made.train(stop, watch):
            records[place] = record
            if progress is not None:
                progress(len(records), many)
            best, epochs = record["best"]["epoch"], record["epochs"]
            console.note(f"member {place + 1}: best epoch {best} of {epochs}, {record['seconds']:.1f} s")
        if len(records) < many:
            left = f"{len(records)} of {counted(many, 'member')} trained"
            console.say(f"mlpbp: interrupted, {left}; continue with: mlpbp train --resume {typed(made.folder)}")
            return console.result({"run": str(made.folder), "interrupted": True}, stop.exit_code or 1)
    model, file = open_model(made.folder)
    metrics = {name: one.metrics for name, one in evaluate_model(model).splits.items()}
    made.measured(metrics)
    console.show(metrics_table(metrics))
    beside = records[0].get("baselines")
    if beside is not None:
        from .render import beside_members

        for line in beside_members(beside, metrics):
            console.show(line)
    console.show(f"model {made.folder}\nnext  mlpbp eval {typed(made.folder)}")
    shown = {name: plain(values) for name, values in metrics.items()}
    fields = ("epochs", "steps", "seconds", "best")
    members = [{name: records[place][name] for name in fields} for place in sorted(records)]
    told = {name: sum(one[name] for one in members) for name in ("epochs", "steps")}
    told |= {"run": str(made.folder), "seconds": round(made.seconds, 3), "checkpoint": str(file)}
    told |= {"best": members[0]["best"], "metrics": shown, "members": members, "baselines": beside}
    return console.result(told)


def _of_file(file: Path, changes: list[str]) -> Config:
    from mlp_core.config import load

    path = find_config(file)
    try:
        return load(path, changes)
    except ConfigError as error:
        raise searching(error, path, changes) from None


def _of_table(table: Path, targets: list[str], changes: list[str]) -> tuple[Config, list[str]]:
    """The config that `init` would write for a table, with overrides, and a line for each column that it leaves out."""
    from mlp_core.config.loader import from_text, name_after
    from mlp_core.diagnostics.propose_config import SETTLED, propose

    reading = [one for one in changes if one.startswith("data.") and one.partition("=")[0].strip("+") not in SETTLED]
    proposal = propose(table, targets, Path("config.yaml"), reading)
    rest = [one for one in changes if one not in reading]
    keep = f"mlpbp init {typed(table)} writes a config to change"
    told = [f"left out: {clean(name)} ({reason}); {keep}" for name, reason in proposal.drops.items()]
    return from_text(proposal.text, name_after(Path(table.name.partition(".")[0])), rest), told


def _resume(path: Path, changes: list[str], output: Path | None, report: bool, world: World) -> int:
    if output is not None:
        raise UsageError(Problem("usage", "a resumed run stays in its directory", "leave out --output"))
    from mlp_core.config import load
    from mlp_core.runs.run_directory import RunDirectory

    RunDirectory(path).refuse_links()
    resolved = path / "config.resolved.yaml"
    if not resolved.is_file():
        from mlp_core.search.ensemble import Ensemble

        if Ensemble.begun(path):
            if world.size > 1:
                from mlp_core.training.sharding import no_ensemble

                raise no_ensemble()
            if changes:
                hint = "leave them out, or begin another"
                raise UsageError(Problem("usage", "an ensemble goes on with the keys it was begun with", hint))
            return _ensemble(Ensemble.resume(path, sys.argv[1:]), Console("train"))
        from mlp_core.training.misnamed import refuse_no_run

        refuse_no_run(path)
    config = load(resolved, changes)
    console = Console("train", config.logging.progress)
    from mlp_core.runs.run import Run

    return _execute(Run.resume(path, changes, sys.argv[1:], world), console, report)


def _plan(config: Config, console: Console) -> int:
    """Everything but the training: what would be done, and with what."""
    from mlp_core.config import defaults
    from mlp_core.config.keys import said
    from mlp_core.config.schema import differences
    from mlp_core.training.experiment import Experiment

    experiment = Experiment.build(config, console.reading)
    _describe(experiment, console)
    if not console.json:
        from .tables import grid

        told = differences(defaults(), experiment.config.model_dump(mode="json"))
        console.show(grid(("not as by default", "value "), ((key, clean(said(v[1]), 60)) for key, v in told.items())))
        console.show("every key: --dry-run --json; what a key means: mlpbp config KEY")
    parameters = experiment.model.network.parameters.size
    rows = {name: data.rows for name, data in experiment.data.splits.items()}
    resolved = experiment.config.model_dump(mode="json")
    return console.result({"dry_run": True, "parameters": parameters, "rows": rows, "config": resolved})


def _describe(experiment: Any, console: Console) -> None:
    """What was inferred, one line each, and what it will take."""
    from mlp_core.training.peak_memory import expected_peak

    for note in experiment.notes:
        console.note(note)
    network = experiment.model.network
    widths = [
        network.architecture.inputs,
        *(b.units for b in network.architecture.hidden),
        network.architecture.outputs,
    ]
    console.note(
        f"network: {'-'.join(map(str, widths))}, {counted(network.parameters.size, 'parameter')}, {network.dtype}"
    )
    peak = expected_peak(experiment)
    if peak is not None:
        console.note(f"memory: about {peak / 2**20:,.0f} MiB at the peak")


def _execute(run: Run, console: Console, report: bool) -> int:
    from mlp_core.training.events import Finished

    if run.resumed:
        progress = run.experiment.trainer.progress
        console.note(f"resuming {run.directory.path} after step {progress.step:,} (epoch {progress.epoch} complete)")
    else:
        _describe(run.experiment, console)
    if told := run.experiment.world.said():
        console.note(told)
    stopped = False
    named(run)
    with StopRequest() as stop:
        for event in _shown(run, console, stop):
            stopped = isinstance(event, Finished) and event.reason == "stopped"
        if stopped:
            step, where = run.experiment.trainer.progress.step, typed(run.directory.path)
            command = f"mlpbp train --resume {where}"
            console.say(f"mlpbp: interrupted at step {step:,}, saved; continue with: {command}")
            return console.result({"run": str(run.directory.path), "steps": step, "interrupted": True}, run.exit_code)
    if not run.directory.writes:
        return 0
    summary = run.summary
    assert summary is not None
    _summarize(summary, _reason(summary.reason, summary.best_epoch, run.experiment.config), console)
    if not report:
        return console.result(summary.to_json())
    page = _report(summary, console)
    return console.result({**summary.to_json(), "report": page}, 0 if page else 1)


def _report(summary: Summary, console: Console) -> str | None:
    """The run's report, as it was asked for; None, with a word, where it cannot be written: the run is good all the
    same."""
    from .report import write_report

    try:
        path, _ = write_report(console, [summary.run])
    except MlpbpError as error:
        console.warn(f"no report: {error.problems[0]}")
        return None
    console.show(f"report  {path}")
    return str(path)


def _shown(run: Run, console: Console, stop: StopRequest) -> Any:
    """The events of a run, drawn as they pass."""
    from mlp_core.training.events import EpochDone, Noticed, StepDone

    trainer = run.experiment.trainer
    events = _foretold(run, console, stop)
    if console.live:
        from .render import EpochTable

        with EpochTable(trainer.job.limits.epochs, trainer.steps_per_epoch) as table:
            for event in events:
                if isinstance(event, StepDone):
                    if event.step == trainer.progress.step:  # the last of those made in one go
                        table.step(event)
                elif isinstance(event, EpochDone):
                    table.epoch(event)
                elif isinstance(event, Noticed):
                    console.warn(event.message)
                yield event
        return
    for event in events:
        if isinstance(event, EpochDone) and not console.quiet:
            from .render import plain_epoch

            console.note(plain_epoch(event, trainer.job.limits.epochs, console.columns))
        elif isinstance(event, Noticed):
            console.warn(event.message)
        yield event


def _foretold(run: Run, console: Console, stop: StopRequest) -> Any:
    """The events of a run; as soon as an epoch or half a second has told the pace it is said what is to be expected."""
    from mlp_core.training.events import EpochDone

    last, first, told, seen = run.experiment.trainer.job.limits.epochs, None, console.quiet, time.monotonic()
    for event in run.execute(stop):
        now = time.monotonic()
        yield event
        if isinstance(event, EpochDone) and not told and event.epoch < last:
            pace, known = event.seconds + now - seen, event.seconds > SHORT
            if first is None:
                first = (event.epoch, now)
            elif now - first[1] > SHORT:
                pace, known = (now - first[1]) / (event.epoch - first[0]), True
            if known:
                from .render import expected

                told = True
                console.note(expected(pace, last - event.epoch, run.experiment.config))
        seen = time.monotonic()


REASONS = {
    "epochs": "all epochs done",
    "max_steps": "train.max_steps reached",
    "max_time": "train.max_time reached",
}


def _reason(reason: str, best: int, config: Config) -> str:
    """Why a run is at its end, in words."""
    early = config.train.early_stopping
    if reason == "early_stopping" and early:
        if early.monitor == config.checkpoint.monitor:
            return f"stopped early, no better {early.monitor} since epoch {best}"
        return f"stopped early, no better {early.monitor} for long"
    return REASONS.get(reason, reason)


def _summarize(summary: Summary, reason: str, console: Console) -> None:
    """The end of a run for people: what it came to, where it is, what to type next."""
    if settings.json:
        return
    from .render import baseline_lines, metrics_table, unbeaten

    console.note(
        f"{reason}: {counted(summary.epochs, 'epoch')}, {counted(summary.steps, 'step')} in {summary.seconds:.1f} s; "
        f"best epoch {summary.best_epoch}"
    )
    console.show(metrics_table(summary.metrics))
    if summary.baselines is not None:
        for line in baseline_lines(summary.baselines):
            console.show(line)
        if not console.quiet:
            for warning in unbeaten(summary.baselines):
                console.warn(warning)
    where = typed(summary.run)
    console.show(f"run   {summary.run}\nnext  mlpbp eval {where}\n      mlpbp report {where}")
