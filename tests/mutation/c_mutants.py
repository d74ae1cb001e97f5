"""Mutants of C sources: the text with one operator, sign, constant, index, condition or statement changed.

Nothing here knows the grammar of C: what a token means is told from those beside it, and a mutant that is no C is left
to the compiler.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TOKEN = re.compile(
    r"""(?P<blank>\s+|\\\n|/\*.*?\*/|//[^\n]*)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?)[uUlLfF]*)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\#\#|.)""",
    re.VERBOSE | re.DOTALL,
)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*", re.MULTILINE | re.DOTALL)
DEFINED = re.compile(r"\s*#\s*define\s+\w+(?:\([^)]*\))?")
ASIDE = {"_Pragma", "__attribute__", "__asm__", "__declspec", "sizeof", "vector_size", "aligned"}
"""Words whose brackets hold nothing that is computed."""
TYPES = {
    *("REAL", "VEC", "BITS", "LANE_NUMBERS", "word", "double", "float", "int", "char", "void", "bool", "unsigned"),
    *("float_mode", "instruction", "size_t", "int64_t", "int32_t", "uint64_t", "uint32_t", "intptr_t", "target_type"),
    *("const", "static", "inline", "INLINE", "EXPORT", "struct", "volatile", "extern", "typedef", "enum"),
}
BINARY = {
    **{"+": ("-",), "-": ("+",), "*": ("/",), "/": ("*",), "%": ("/",), "<<": (">>",), ">>": ("<<",)},
    **{"&": ("|",), "|": ("&",), "^": ("&",)},
}
SIGNS = {
    **{"<": ("<=", ">"), "<=": ("<", ">="), ">": (">=", "<"), ">=": (">", "<="), "==": ("!=",), "!=": ("==",)},
    **{"&&": ("||",), "||": ("&&",), "+=": ("-=", "="), "-=": ("+=", "="), "*=": ("/=", "="), "/=": ("*=", "=")},
    "!": ("",),
}
WORDS = {"true": "false", "false": "true", "SQRT": "ABS", "SIN": "COS", "COS": "SIN", "first": "last", "last": "first"}
FLOW = {*("for", "if", "while", "do", "else", "return", "switch", "case", "default", "break", "continue", "goto")}


@dataclass(frozen=True)
class Change:
    """A piece of a text, and what stands there instead."""

    start: int
    stop: int
    text: str

    def made(self, source: str) -> str:
        return source[: self.start] + self.text + source[self.stop :]

    def told(self, source: str) -> tuple[str, str]:
        """The line in which it begins, before and after."""
        begin = source.rfind("\n", 0, self.start) + 1
        end = source.find("\n", self.stop)
        line, rest = source[begin:end], source[self.stop : end]
        return " ".join(line.split()), " ".join((source[begin : self.start] + self.text + rest).split())


@dataclass(frozen=True)
class Token:
    """A piece of C: what kind, its text, where it stands."""

    kind: str
    text: str
    start: int

    @property
    def stop(self) -> int:
        return self.start + len(self.text)


def changes(source: str) -> Iterator[Change]:
    """Every change, each place in turn."""
    seen = set()
    for tokens in _runs(source):
        pairs = _pairs(tokens)
        for i in range(len(tokens)):
            for change in _changes(source, tokens, pairs, i):
                if change not in seen and source[change.start : change.stop] != change.text:
                    seen.add(change)
                    yield change


def _runs(source: str) -> Iterator[list[Token]]:
    """The code, and of each macro its body, as tokens."""
    code, end = list[Token](), 0
    for found in DIRECTIVE.finditer(source):
        code += _tokens(source, end, found.start())
        end = found.end()
        if head := DEFINED.match(found.group()):
            yield _tokens(source, found.start() + head.end(), end)
    yield [*code, *_tokens(source, end, len(source))]


def _tokens(source: str, start: int, stop: int) -> list[Token]:
    found = (match for match in TOKEN.finditer(source, start, stop) if match.lastgroup != "blank")
    return [Token(str(match.lastgroup), match.group(), match.start()) for match in found]


def _pairs(tokens: Sequence[Token]) -> dict[int, int]:
    """Of each bracket the other one."""
    pairs, waiting = dict[int, int](), list[int]()
    for i, token in enumerate(tokens):
        if token.text in ("(", "[", "{"):
            waiting.append(i)
        elif token.text in (")", "]", "}") and waiting:
            first = waiting.pop()
            pairs |= {first: i, i: first}
    return pairs


def _changes(source: str, tokens: Sequence[Token], pairs: dict[int, int], i: int) -> Iterator[Change]:
    """What may stand in place of a token, or of what begins with it."""
    token, before = tokens[i], tokens[i - 1] if i else None
    if _aside(tokens, pairs, i):
        return
    if token.kind == "number":
        yield from (Change(token.start, token.stop, other) for other in _numbers(token.text))
    elif token.kind == "word" and token.text in WORDS and not (before and before.text in TYPES):
        yield Change(token.start, token.stop, WORDS[token.text])
    elif token.text in SIGNS:
        yield from (Change(token.start, token.stop, other) for other in SIGNS[token.text])
    elif token.text in BINARY and _operand(tokens, pairs, i - 1):
        yield from (Change(token.start, token.stop, other) for other in BINARY[token.text])
    elif token.text == "-" and i + 1 < len(tokens):
        yield Change(token.start, token.stop, "")
    elif token.text == "[" and i in pairs and before is not None and _operand(tokens, pairs, i - 1):
        inner = tokens[i + 1 : pairs[i]]
        if len(inner) > 1 or (inner and inner[0].kind == "word"):
            yield Change(inner[-1].stop, inner[-1].stop, " + 1")
    if token.text in ("if", "while") and i + 1 in pairs:
        first, last = tokens[i + 1], tokens[pairs[i + 1]]
        condition = source[first.start : last.stop]
        yield Change(first.start, last.stop, f"(!{condition})")
        if token.text == "if":
            yield Change(first.start, last.stop, "(1)")
            yield Change(first.start, last.stop, "(0)")
    if (stop := _statement(tokens, pairs, i)) is not None:
        yield Change(token.start, tokens[stop].start, "")


def _aside(tokens: Sequence[Token], pairs: dict[int, int], i: int) -> bool:
    """Whether a token says nothing that is computed."""
    if tokens[i].text in ASIDE or tokens[i].kind == "text":
        return True
    return any(
        tokens[k].text in ASIDE and k + 1 in pairs and k + 1 < i <= pairs[k + 1] for k in range(max(0, i - 12), i)
    )


def _operand(tokens: Sequence[Token], pairs: dict[int, int], i: int) -> bool:
    """Whether the token is the end of something that has a value: no type, no cast."""
    if i < 0:
        return False
    token = tokens[i]
    if token.text == ")" and i in pairs:
        return not all(one.text in TYPES or one.text == "*" for one in tokens[pairs[i] + 1 : i])
    if token.kind == "word":
        return token.text not in TYPES and token.text not in FLOW and not _declared(tokens, i)
    return token.kind == "number" or token.text == "]"


def _declared(tokens: Sequence[Token], i: int) -> bool:
    """Whether a name is that of an array or a pointer which begins to be here."""
    return tokens[i - 1].text in TYPES if i else False


def _numbers(text: str) -> Iterator[str]:
    bare = text.rstrip("uUlLfF") if not text.startswith(("0x", "0X")) else text.rstrip("uUlL")
    tail = text[len(bare) :]
    if re.fullmatch(r"\d+|0[xX][0-9a-fA-F]+", bare):
        value = int(bare, 0)
        yield f"{value + 1}{tail}"
        if value:
            yield f"{value - 1}{tail}"
    else:
        yield f"{float(bare) * 1.5 or 1.0!r}{tail}"


def _statement(tokens: Sequence[Token], pairs: dict[int, int], i: int) -> int | None:
    """The semicolon of the statement that begins with a token, if it may be left out."""
    token = tokens[i]
    if token.kind != "word" and token.text not in ("*", "(", "++", "--"):
        return None
    if token.text in TYPES or token.text in FLOW or not (i == 0 or _begins(tokens, pairs, i)):
        return None
    k = i
    while k < len(tokens) and tokens[k].text != ";":
        if tokens[k].text in ("{", "}", ":", ")"):
            return None
        k = pairs[k] + 1 if tokens[k].text in ("(", "[") and k in pairs else k + 1
    return k if i < k < len(tokens) else None


def _begins(tokens: Sequence[Token], pairs: dict[int, int], i: int) -> bool:
    """Whether a statement begins here."""
    before = tokens[i - 1].text
    if before in (";", "{", "}", "else", "do"):
        return True
    head = pairs.get(i - 1) if before == ")" else None
    return bool(head) and tokens[head - 1].text in ("for", "if", "while")  # type: ignore[operator]
