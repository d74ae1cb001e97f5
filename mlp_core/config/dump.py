"""A config as YAML with every key and value, readable by any YAML reader and by our own.

By hand, not with `yaml.safe_dump`: that leaves text such as 1e-3 bare, which readers of YAML 1.2 take for a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mlp_core.config.schema import Config

# Text that YAML readers of every version take for text, without quotes.
_SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_LONGEST_KEY = 1000


def dump_yaml(config: Config) -> str:
    """The text of a config file that gives an equal config."""
    return dump_values(config.model_dump(mode="json"))


def dump_values(values: dict[str, Any]) -> str:
    """The text of a config file that holds these plain values."""
    return "\n".join(_lines(values, "")) + "\n"


def _lines(mapping: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in mapping.items():
        name = _text(key)
        # YAML reads a key of more than 1024 characters only behind a question mark.
        start = f"{indent}{name}:" if len(name) < _LONGEST_KEY else f"{indent}? {name}\n{indent}:"
        if isinstance(value, dict) and value:
            yield start
            yield from _lines(value, indent + "  ")
        else:
            yield f"{start} {flow(value)}"


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return _number(value)
    return str(value) if isinstance(value, int) else _text(value)


def _number(value: float) -> str:
    """The shortest digits that give the number back, with the point that YAML 1.1 asks for: `1.0e-05`."""
    digits = repr(value)
    return digits if "." in digits else digits.replace("e", ".0e")


def _text(text: str) -> str:
    """Text bare where that is safe, else in double quotes with everything unprintable escaped."""
    if _SAFE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '\\"':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
