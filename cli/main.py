"""The table of contents of the command line: every command is a plain function in a file of its own."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

from . import (
    bench,
    check,
    config,
    convert,
    cv,
    data,
    doctor,
    evaluate,
    explain,
    export,
    gradcheck,
    importance,
    init,
    inspect,
    lr_find,
    predict,
    report,
    runs,
    sweep,
    trace,
    training,
    verify,
)
from .errors import run_safely, settle_streams
from .options import GLOBAL_FLAGS, settings
from .usage import Command


class Program(typer.Typer):
    """A Typer whose commands show what they take in the words of this program."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        return super().command(name, cls=Command, **options)


app = Program(
    name="mlpbp",
    help="Train multilayer perceptrons from one YAML file, with every gradient derived by hand and proved.",
    epilog="Start here: mlpbp train configs/digits.yaml",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("init", help=init.HELP, short_help="Look at a data file, write a config that trains well.")(init.init)
app.command("train", help=training.HELP, short_help="Train from a config, or resume a run.")(training.train)
app.command("eval", help=evaluate.HELP, short_help="Measure a trained model.")(evaluate.evaluate)
app.command("predict", help=predict.HELP, short_help="Predict new rows.")(predict.predict)
app.command("export", help=export.HELP, short_help="Take a model away: ONNX, C, numpy, PyTorch.")(export.export)
app.command("cv", help=cv.HELP, short_help="Cross-validate: every fold a run, all one model.")(cv.cv)
app.command("sweep", help=sweep.HELP, short_help="Search for good values of config keys.")(sweep.sweep)
app.command("lr-find", help=lr_find.HELP, short_help="A learning rate, from one short run.")(lr_find.lr_find)
app.command("runs", help=runs.HELP, short_help="List runs, or find the best.")(runs.runs)
app.command("report", help=report.HELP, short_help="One page about a run, or about several.")(report.report)
app.command("importance", help=importance.HELP, short_help="Which columns a model needs.")(importance.importance)
app.command("gradcheck", help=gradcheck.HELP, short_help="Prove every gradient of a model.")(gradcheck.gradcheck)
app.command("check", help=check.HELP, short_help="Check a config before hours are spent.")(check.check)
app.command("config", help=config.HELP, short_help="What a key means; what differs from the defaults.")(config.config)
app.command("data", help=data.HELP, short_help="Look at data: types, missing, classes, leaks.")(data.data)
app.command("convert", help=convert.HELP, short_help="Make tables ready to be read from the disk.")(convert.convert)
app.command("explain", help=explain.HELP, short_help="The formulas of a model's training step.")(explain.explain)
app.command("trace", help=trace.HELP, short_help="The numbers of a training step.")(trace.trace)
app.command("inspect", help=inspect.HELP, short_help="What a checkpoint holds, or how two differ.")(inspect.inspect)
app.command("verify", help=verify.HELP, short_help="See that an interrupted run ends with the same bytes.")(
    verify.verify
)
app.command("doctor", help=doctor.HELP, short_help="Versions, threads, GPU: for a bug report.")(doctor.doctor)
app.command("bench", help=bench.HELP, short_help="How fast a config trains here, and why.")(bench.bench)


def _version(asked: bool) -> None:
    if asked:
        from mlp_core import __version__

        typer.echo(f"mlpbp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_version, is_eager=True)
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print the result only, no progress.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="One plain line per epoch.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that go with every command, before or after its name."""
    settings.json, settings.quiet, settings.no_progress, settings.debug = json, quiet, no_progress, debug


def hoist(arguments: list[str]) -> list[str]:
    """Global flags moved to the front, so that they may stand anywhere before a `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [word for word in arguments[:end] if word in GLOBAL_FLAGS]
    return flags + [word for word in arguments[:end] if word not in GLOBAL_FLAGS] + arguments[end:]


def main() -> None:
    """Run the command line and leave with the documented exit code."""
    arguments = hoist(sys.argv[1:]) or ["--help"]
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what a user should know is said in words of ours
    try:
        sys.exit(run_safely(lambda: app(args=arguments, prog_name="mlpbp", standalone_mode=False), arguments))
    finally:
        settle_streams()
