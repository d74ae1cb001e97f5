"""The part of YAML a config may use: text in, a tree of raw scalars with their places out.

Anchors, aliases, merge keys, tags and second documents are refused, because they let a few bytes expand
without bound or a scalar mean something other than what is written (YAML 1.1 reads `no` as False, `010`
as 8, `1:30` as 90). The events of the parser are walked with limits, so no input takes long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from mlp_core.config.nodes import COMMAND_LINE, MAX_DEPTH, Node, Place, Scalar, check_text
from mlp_core.errors import ConfigError, Problem

MAX_BYTES = 64 * 1024
MAX_EVENTS = 20_000
# More problems than this are neither read nor worth the time; the command line prints far fewer.
MOST = 200
# The C parser is ten times faster and is in every wheel of PyYAML; without it the Python one does the same.
LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A part of the parser's complaint, what it means, and how to mend it.
_MISTAKES = (
    (
        "mapping values are not allowed",
        "a key cannot stand here",
        "quote a value with ': ' in it, or mend the indentation",
    ),
    ("expected <block end>", "does not fit the lines above", "mend the indentation"),
    ("expected key", "does not fit the lines above", "mend the indentation"),
    ("'-' indicator", "does not fit the lines above", "mend the indentation"),
    ("could not find expected ':'", "a key without a colon", "write key: value, with a space after the colon"),
    ("expected ',' or", "a comma or a closing bracket is missing", "write [a, b] or {a: 1, b: 2}"),
    ("cannot start any token", "a value cannot start with {!r}", "put it in quotes"),
    ("node content", "a value cannot start with {!r}", "put it in quotes"),
    ("end of stream", "quotes are opened and never closed", "close them"),
    ("unknown escape", "unknown escape in double quotes", "use single quotes, or two backslashes for one"),
)


def parse(text: str, file: str | None) -> tuple[Node, list[Problem]]:
    """The tree of one YAML document, and a problem for every key given twice (of which the first stays).

    Nothing but white space and comments gives an empty plain scalar. Raises ConfigError with every
    unsupported construct, or with the first place where the text is not YAML at all.
    """
    bad = _FORBIDDEN.search(text)
    if bad:
        place = _place(file, *_position(text, bad.start()))
        raise ConfigError(place.problem("control_character", "control characters are not allowed", got=f'"{bad[0]}"'))
    builder = _Builder(_events(text, file), file)
    root = builder.document()
    if any(problem.code != "duplicate_key" for problem in builder.problems):
        raise ConfigError(builder.problems[:MOST])
    return root, builder.problems


class _Builder:
    """Builds nodes from parser events and collects what is not supported on the way."""

    def __init__(self, events: Iterator[yaml.Event], file: str | None) -> None:
        self.events = events
        self.file = file
        self.problems: list[Problem] = []

    def document(self) -> Node:
        """The first document of the stream, which must be the only one."""
        next(self.events)  # start of the stream
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            return Node(Scalar(""), Place(self.file))
        root = self.node(next(self.events), ())
        next(self.events)  # end of the document
        event = next(self.events)
        if not isinstance(event, yaml.StreamEndEvent):
            self.complain(event, "second_document", "a second document starts here", "keep one, without ---")
        return root

    def node(self, event: yaml.Event, path: tuple[str, ...]) -> Node:
        """The node that begins with this event at this path of keys, read up to its end."""
        place = _start(event, self.file)
        if len(path) >= MAX_DEPTH:
            raise ConfigError([*self.problems, place.problem("too_deep", f"nested deeper than {MAX_DEPTH} levels")])
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            self.complain(event, "anchor", "anchors and aliases are not supported", "write the value out")
        elif getattr(event, "tag", None) is not None:
            self.complain(event, "tag", "tags are not supported", "remove it; the key decides the type")
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
                items.append(self.node(inner, (*path, str(len(items)))))
            return Node(items, place)
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self.mapping(path), place)
        if isinstance(event, yaml.ScalarEvent):
            check_text(event.value, place)
            return Node(Scalar(event.value, plain=event.style is None or event.style == ""), place)
        return Node(Scalar(""), place)

    def mapping(self, path: tuple[str, ...]) -> dict[str, Node]:
        """The entries up to the end of the mapping; of a key given twice the first stays."""
        entries: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, (*path, "?"))
            inner = (*path, key.value.text if isinstance(key.value, Scalar) else "?")
            node = self.node(next(self.events), inner)
            node.key_place = key.place
            if not isinstance(key.value, Scalar):
                self.complain(event, "key_not_text", f"a key must be text, not {key}", "write key: value")
            elif key.value == Scalar("<<"):
                self.complain(event, "merge_key", "merge keys are not supported", "write the keys out")
            elif (name := key.value.text) in entries:
                first = entries[name].key_place.line
                message = "key given twice" + (f" (first at line {first})" if first else "")
                self.complain(event, "duplicate_key", message, "keep one", ".".join(inner))
            else:
                entries[name] = node
        return entries

    def complain(self, event: yaml.Event, code: str, message: str, hint: str, key: str | None = None) -> None:
        self.problems.append(_start(event, self.file).problem(code, message, hint, key=key))


def _events(text: str, file: str | None) -> Iterator[yaml.Event]:
    """The parser's events, at most `MAX_EVENTS`; whatever the parser raises becomes a ConfigError."""
    try:
        for count, event in enumerate(yaml.parse(text, Loader=LOADER)):
            if count >= MAX_EVENTS:
                message = f"more than {MAX_EVENTS:,} values and keys"
                raise ConfigError(_start(event, file).problem("too_large", message))
            yield event
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax(text, file, error)) from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        # PyYAML lets these escape on malformed input; none of them says more than that it is malformed.
        got = f'"{error}"' if str(error) else None
        raise ConfigError(Place(file).problem("not_yaml", "not valid YAML", got=got)) from None


def _syntax(text: str, file: str | None, error: yaml.MarkedYAMLError) -> Problem:
    """What the parser stumbled over, in words that are the same for both parsers."""
    problem = error.problem or "malformed"
    mark = error.problem_mark or error.context_mark
    if "end of stream" in problem:
        mark = error.context_mark or mark  # the opening quote says more than the end of the file
    place = _place(file, mark.line, mark.column) if mark else Place(file)
    here = text[mark.index : mark.index + 1] if mark else ""
    if here == "\t" and "token" in problem:
        return place.problem("not_yaml", "a tab where a value or key should be", "indent with spaces")
    for sign, message, hint in _MISTAKES:
        if sign in problem:
            return place.problem("not_yaml", message.format(here), hint)
    return place.problem("not_yaml", f"not valid YAML: {problem}")


def _position(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 0, of a character."""
    before = re.split("\r\n|[\n\r\x85\u2028\u2029]", text[:index])
    return len(before) - 1, len(before[-1])


def _start(event: yaml.Event, file: str | None) -> Place:
    mark = event.start_mark
    return _place(file, mark.line, mark.column) if mark else Place(file)


def _place(file: str | None, line: int, column: int) -> Place:
    return Place(file) if file == COMMAND_LINE else Place(file, line + 1, column + 1)
