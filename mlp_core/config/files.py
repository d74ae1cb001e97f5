"""Reading a config file: never more than it may hold, never waiting, one clear line when it cannot be read."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from mlp_core.config.nearest import nearest
from mlp_core.config.nodes import Place
from mlp_core.config.yaml_tree import MAX_BYTES
from mlp_core.descriptors import READ_AT_ONCE
from mlp_core.errors import ConfigError, Problem

STDIN = Path("-")


def content(path: Path, asked: Place | None = None) -> bytes:
    """The bytes of a config file, at most `MAX_BYTES` from a regular one, or from standard input for `-`; `asked` is
    where another file names it.

    Raises ConfigError in one line for whatever stands in the way.
    """
    found = sys.stdin.buffer.read(MAX_BYTES + 1) if path == STDIN and asked is None else _from_file(path, asked)
    if len(found) > MAX_BYTES:
        raise _refuse(path, asked, "too_large", f"larger than {MAX_BYTES // 1024} KiB, so hardly a config")
    return found


def _from_file(path: Path, asked: Place | None) -> bytes:
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, READ_AT_ONCE)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _refuse(path, asked, "not_a_file", "not a regular file")
            return file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise _refuse(path, asked, "not_a_file", "this is a folder, not a config file", _inside(path)) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, asked) from None


def decoded(content: bytes, path: Path) -> str:
    """The text of a config file; raises ConfigError at the first byte that is none."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8-sig")) + 1
        got = f"0x{content[error.start]:02x}"
        problem = Problem("not_text", "not UTF-8 text", "save it as UTF-8", got, str(path), line, column)
        raise ConfigError(problem) from None


def _unreadable(path: Path, error: OSError | ValueError, asked: Place | None) -> ConfigError:
    if isinstance(error, FileNotFoundError):
        return _refuse(path, asked, "no_such_file", "no such file", _similar(path))
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _refuse(path, asked, "unreadable", f"cannot be read: {reason[:1].lower()}{reason[1:]}")


def _refuse(path: Path, asked: Place | None, code: str, message: str, hint: str | None = None) -> ConfigError:
    if asked is None:
        return ConfigError(Problem(code, message, hint, file=str(path)))
    return ConfigError(asked.problem(code, message, hint, f'"{path}"', "extends"))


def _configs(folder: Path) -> list[str]:
    """The names of the YAML files in a folder, as many as one would want to choose from."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(1000), strict=False)]
    except OSError:
        return []
    return sorted(name for name in names if name.endswith((".yaml", ".yml")))


def _similar(path: Path) -> str | None:
    """The file in the same folder that was probably meant."""
    known = _configs(path.parent)
    near = next((name for name in known if name.rpartition(".")[0] == path.name), None) or nearest(path.name, known)
    return f'did you mean "{path.parent / near}"?' if near else None


def _inside(path: Path) -> str | None:
    """A config file in a folder that was given in place of one."""
    names = _configs(path)
    return f'for example "{path / names[0]}"' if names else None
