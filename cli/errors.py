"""From an exception to one line on stderr and the documented exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import mmap
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from mlp_core import __version__
from mlp_core.errors import MlpbpError, Problem, printable
from mlp_core.machine import available_cpus, system

from .hints import for_command, for_option
from .options import settings
from .signals import Interrupted, say_interrupted
from .usage import wrapped

AT_MOST = 20
INTERNAL = 3
HELP = frozenset({"--help", "-h", "--version"})
NEEDED, PER_THREAD = 112 << 20, 40 << 20  # address space that numpy and its linear algebra take when they are loaded
SCARCE = 32 << 20


def run_safely(command: Callable[[], Any], arguments: Sequence[str]) -> int:
    """Run a command; report what goes wrong. Returns the exit code."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError):  # it asks the system where the stream is
                stream.reconfigure(errors="backslashreplace")  # a terminal of another encoding is no reason to stop
    try:
        if not HELP.intersection(arguments):
            take_room()
        code = command()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except MlpbpError as error:
        _traceback()
        return report(error.problems, error.exit_code, arguments)
    except Interrupted as interrupted:
        with contextlib.suppress(OSError):
            say_interrupted()
        return interrupted.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as leaving:  # typer's, and rich's, answer to a broken pipe
        if isinstance(leaving.__context__, BrokenPipeError):
            return _nobody_reads()
        raise
    except OSError as error:
        _traceback()
        _silence()
        where = None if error.filename is None else str(error.filename)
        if error.errno == errno.ENAMETOOLONG:  # a name that someone typed, and nothing was done yet
            return report([Problem("long_name", "this name is too long for a file", file=where)], 2, arguments)
        return report([Problem("system", error.strerror or str(error), file=where)], 1, arguments)
    except MemoryError:
        return _no_memory(arguments)
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is not None:
            _traceback()
            return report([_usage(error, usage(), arguments)], int(getattr(error, "exit_code", 2)), arguments)
        if not _has_room(SCARCE):  # numpy, for one, then cannot be imported, and says so in other words
            return _no_memory(arguments)
        return report([internal(error, arguments)], INTERNAL, arguments)


def take_room() -> None:
    """Raise MemoryError where what is loaded next would not fit: its libraries end a process with their own words."""
    if not _has_room(NEEDED + PER_THREAD * min(available_cpus(), 8)):
        raise MemoryError


def _has_room(size: int) -> bool:
    """Whether so many bytes can be had; they are given back untouched."""
    try:
        mmap.mmap(-1, size).close()
    except (OSError, ValueError, MemoryError, OverflowError):
        return False
    return True


def _no_memory(arguments: Sequence[str]) -> int:
    _traceback()
    hint = "use a smaller train.batch_size, fewer units in model.hidden, or data.memory: memmap"
    return report([Problem("memory", "not enough memory", hint)], 1, arguments)


def _open_streams() -> None:
    """Give a stream that the shell closed (`>&-`) to the null device, lest the first file opened gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _nobody_reads() -> int:
    """The reader of a pipe has left, as `head` does: the exit code of SIGPIPE, and not a word."""
    _silence()
    return 141


def settle_streams() -> None:
    """Bring out what was said; what a stream does not take is forgotten, or Python's end would change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _silence(stream)


def _silence(stream: TextIO | None = None) -> None:
    """Forget what stdout could not take, so that Python does not try again, and complain, when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, (stream or sys.stdout).fileno())
        os.close(nowhere)


def report(problems: Sequence[Problem], exit_code: int, arguments: Sequence[str]) -> int:
    """Print problems, one line each, or all in one JSON document; returns the exit code."""
    with contextlib.suppress(OSError):
        if settings.json or "--json" in arguments:
            command = next((word for word in arguments if not word.startswith("-")), "")
            fields = ("code", "key", "file", "line", "column", "message", "hint")
            errors = [{name: getattr(problem, name) for name in fields} for problem in problems]
            document = {"schema": 1, "command": command, "ok": False, "exit_code": exit_code, "errors": errors}
            print(json.dumps(document), flush=True)
    with contextlib.suppress(OSError):
        for line in lines(problems):
            print(wrapped(line, sys.stderr.isatty()), file=sys.stderr, flush=True)
    return exit_code


def lines(problems: Sequence[Problem]) -> Iterable[str]:
    """`mlpbp: error: WHERE: WHAT (got VALUE); HOW TO MEND`, at most 20 of them."""
    yield from (f"mlpbp: error: {problem}" for problem in problems[:AT_MOST])
    if len(problems) > AT_MOST:
        yield f"mlpbp: error: and {len(problems) - AT_MOST} more"


def _usage(error: Exception, message: str, arguments: Sequence[str]) -> Problem:
    """What the command line is told about words that it does not know, with what was probably meant."""
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "mlpbp")
    text, hint = " ".join(message.split()).rstrip(".").replace(": Input should", ": it should"), None
    option = getattr(error, "option_name", None)
    unknown = re.match(r"No such command '([^']*)'", text)
    if option is not None:
        known = [name for one in getattr(getattr(context, "command", None), "params", []) for name in one.opts]
        hint, text = for_option(option, arguments, known), f"no such option: {option}"
    elif unknown is not None and (hint := for_command(unknown[1])) is not None:
        text = f"no such command: {unknown[1]}"
    return Problem("usage", text[:1].lower() + text[1:], hint or f"see {command} --help")


def internal(error: BaseException, arguments: Sequence[str]) -> Problem:
    """An error of ours: keep the details in a file that can be sent to us."""
    _traceback()
    path = Path(f"mlpbp-crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt")
    what = f"internal error, this is a fault of mlpbp: {type(error).__name__}: {error}"
    facts = f"mlpbp {__version__}, Python {platform.python_version()}, {' '.join(system())}\n{list(arguments)}\n\n"
    try:
        with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(facts + "".join(traceback.format_exception(error)))
    except OSError:
        return Problem("internal", what, "please report it with the output of --debug")
    return Problem("internal", what, f"please report it with the file {path}")


def _traceback() -> None:
    if settings.debug:
        print(printable(traceback.format_exc().rstrip()), file=sys.stderr)
