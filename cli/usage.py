"""How a command shows what it takes: arguments and options as their metavars say, whatever Typer makes of types."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose usage line and help show `[CONFIG] [KEY=VALUE]...`, as they were written here."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        words = [_metavar(parameter) for parameter in self.get_params(ctx) if parameter.param_type_name == "argument"]
        return ["[OPTIONS]", *words]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        arguments, options = [], []
        for parameter in self.get_params(ctx):
            if parameter.param_type_name == "argument":
                arguments.append((_metavar(parameter), str(getattr(parameter, "help", None) or "")))
            elif not getattr(parameter, "hidden", False):
                options.append((_written(parameter), _help(parameter)))
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _written(parameter: Any) -> str:
    """An option as it is typed: `-o, --output FILE`, or `-e, --epochs EPOCHS` where there is no word for its value."""
    names = ", ".join(sorted(parameter.opts, key=len))
    names += "".join(f" / {name}" for name in parameter.secondary_opts)
    if getattr(parameter, "is_flag", False) or getattr(parameter, "count", False):
        return names
    own = max(parameter.opts, key=len).lstrip("-").replace("-", "_").upper()
    return f"{names} {parameter.metavar or own}"


def _help(parameter: Any) -> str:
    text, default = str(parameter.help or ""), parameter.default
    plain = isinstance(default, int | float | str) and not isinstance(default, bool) and default != ""
    return f"{text} [default: {default}]" if plain and "default" not in text else text


def wrapped(text: str, terminal: bool) -> str:
    """Lines broken between words for a terminal; elsewhere as they are, one for each thing that is said."""
    if not terminal:
        return text
    width = max(40, shutil.get_terminal_size((80, 24)).columns)
    parts = (
        textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        if len(line) > width
        else line
        for line in text.split("\n")
    )
    return "\n".join(parts)
