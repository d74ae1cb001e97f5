"""A first config for a file of data: short, with a reason in every line, and made to train well."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.config import Config, defaults, from_mapping, sparse
from mlp_core.config.dump import flow
from mlp_core.data.column_types import Column, infer_types
from mlp_core.data.config_sources import read_part
from mlp_core.data.identifiers import MOST, names_rows
from mlp_core.data.load import Data, load
from mlp_core.data.readers.source import Source
from mlp_core.data.scan import some_rows
from mlp_core.data.warnings import Part, says_it_all, suspects
from mlp_core.errors import Problem, UsageError, typed

LIKELY = ("target", "label", "labels", "class", "y")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_WORDS_OF_YAML = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
SETTLED = ("data.train", "data.name", "data.target")  # are what a proposal is about
SHARE = 0.15  # of the rows, for validation and again for the test
WIDTH = 80
TAIL = 3.0  # skewness of a positive target that speaks for its logarithm


@dataclass(frozen=True)
class Proposal:
    """The text of a config, and what was decided, for people. drops: what it leaves out, with the reasons."""

    text: str
    task: str
    rows: int
    notes: tuple[str, ...]
    drops: Mapping[str, str]


def propose(file: Path, targets: list[str], written: Path, given: Sequence[str] = ()) -> Proposal:
    """A config for `file`, to be written to `written`; it was loaded once and its data read with it. given: keys and
    values (data.csv.decimal=,) that it shall have.

    Raises DataError for data that cannot be trained on, UsageError without a target.
    """
    _refuse_others(given)
    base: dict[str, Any] = {"data": {"train": str(file.absolute()), "split": {"val": SHARE, "test": SHARE}}}
    if targets:
        base["data"]["target"] = targets if len(targets) > 1 else targets[0]
    config = from_mapping(base, given)
    source = read_part(config, "train")
    if not targets and source.targets is None:
        raise _no_target(source)
    targets = [_name(source, target) for target in targets]
    if targets:
        base["data"]["target"] = targets if len(targets) > 1 else targets[0]
    types = infer_types(source, config.data.types, config.data.date_order)
    own = {*targets, *config.data.drop, *config.data.id, config.data.split.column, config.data.weight}
    drops = {name: "names the rows" for name in _row_names(source, types) if name not in own}
    data = _load(base, drops, given)
    counting, leaking, seen = _suspects(data)
    found = {name: "counts the rows" for name in counting if name not in drops}
    known = "if it is known when predicting"
    sure = [name for name in leaking if says_it_all(seen, data.task, data.task.features.index(name))]
    found |= {name: f"tells the target almost by itself; keep it only {known}" for name in sure}
    if found and len(found) < len(data.task.features):
        drops |= found
        data = _load(base, drops, given)
    kept = [f"{name} tells the target almost by itself: right only {known}" for name in leaking if name not in drops]
    text = _text(data, base["data"].get("target"), _relative(file, written), drops, types, kept, _given(config))
    head = f"# {data.task.kind}, {source.rows:,} rows, {len(data.task.features):,} inputs"
    look = f"look again with: mlpbp check {typed(written)} --deep"  # a command stays in one line
    head += f"; {look}" if len(head) + len(look) + 2 <= WIDTH else f"\n# {look}"
    return Proposal(f"{head}\n{text}", data.task.kind, data.splits["train"].rows, data.notes, drops)


def _load(base: dict[str, Any], drops: dict[str, str], given: Sequence[str]) -> Data:
    config = from_mapping(base, given)
    return load(config.replace(**{"data.drop": [*config.data.drop, *drops]}))


def _refuse_others(given: Sequence[str]) -> None:
    """Raise UsageError for what is no key and value of the data, or what a proposal is about."""
    for one in given:
        key, sign, _ = one.partition("=")
        if not sign or not key.startswith("data.") or key.removesuffix("+") in SETTLED:
            hint = "init takes keys of the section data, such as data.csv.decimal=,"
            raise UsageError(Problem("usage", f'not a key and value of the data ("{one}")', hint))


def _given(config: Config) -> dict[str, Any]:
    """The keys of the data that are to stand in the config besides those that a proposal is about."""
    kept = {key: value for key, value in sparse(config)["data"].items() if key not in ("train", "target")}
    usual, words = defaults()["data"]["csv"]["na"], config.data.csv.na
    if len(words) > len(usual) and {*usual} <= {*words}:
        kept["csv"]["na"] = [word for word in words if word not in usual]  # which are added
    split = config.data.split
    shares = {name: getattr(split, name) for name in ("val", "test") if getattr(config.data, name) is None}
    kept["split"] = {**shares, **kept.pop("split", {})}
    for name in {"val", "test"} - shares.keys():
        kept["split"].pop(name, None)  # of a file of its own
    return {name: value for name, value in kept.items() if value != {}}


def _suspects(data: Data) -> tuple[list[str], list[str], Part]:
    """The inputs that count the rows, those that tell the target, and the rows by which they do."""
    train = data.splits["train"]
    first, spread = (train, train) if train.survey is None else some_rows(train.survey, train.y, train.words)
    return *suspects(first, spread, data.task), spread


def _name(source: Source, target: str) -> str:
    """The column's name, where its position was given."""
    known = target in source.names or not re.fullmatch("[0-9]{1,6}", target) or int(target) >= len(source.names)
    return target if known else source.names[int(target)]


def _no_target(source: Source) -> UsageError:
    """Which columns there are, and which one is probably meant."""
    lower = {name.lower(): name for name in source.names}
    likely = next((lower[name] for name in LIKELY if name in lower), source.names[-1])
    shown = ", ".join(source.names[:40]) + (", ..." if len(source.names) > 40 else "")
    message = f"which column is to be predicted? columns are {shown}"
    return UsageError(Problem("usage", message, f"for example --target {likely}"))


def _row_names(source: Source, types: list[Column]) -> list[str]:
    """Columns that are called like identifiers: whole numbers that differ in most rows, or in nearly all where the name
    may mean something else, and words in many."""
    return [column.name for place, column in enumerate(types) if names_rows(source, place, column, MOST)]


def _relative(file: Path, written: Path) -> str:
    """The path of the data as the config names it: relative to the config, unless it was given as absolute."""
    here, whole = written.parent.absolute(), file.absolute()
    return str(whole.relative_to(here) if not file.is_absolute() and whole.is_relative_to(here) else whole)


def _text(
    data: Data,
    target: Any,
    file: str,
    drops: dict[str, str],
    types: list[Column],
    kept: list[str],
    given: dict[str, Any],
) -> str:
    """The config, line by line; given: keys of the data besides."""
    lines = ["data:", f"  train: {_scalar(file)}"] + ([] if target is None else [f"  target: {_value(target)}"])
    if drops or "drop" in given:
        lines += ["  drop:", *(f"    - {flow(name)}" for name in given.get("drop", ()))]
        lines += [line for name, reason in drops.items() for line in _noted(f"    - {_scalar(name)}", reason)]
    ignored = [column.name for column in types if column.kind == "ignore"]
    lines += _remark(f"left out by itself: {', '.join(ignored[:6])}", "  ") if ignored else []
    lines += [part for line in kept[:4] for part in _remark(line, "  ")]
    read = [name for name, notation in data.task.kept.columns.items() if not notation.plain]
    told = f"an exported model takes numbers for these, not texts: {', '.join(read[:6])}"
    lines += _remark(told, "  ") if read else []
    lines += [f"  {name}: {flow(value)}" for name, value in given.items() if name not in ("split", "drop")]
    if "split" in given:
        lines += _noted(f"  split: {flow(given['split'])}", "shares of the rows; the rest is trained on")
    if target is not None:
        lines.append("recipe: strong  # serves tables best; its keys: mlpbp train --dry-run")
    if data.task.kind == "regression" and _tailed(data.splits["train"].y):
        lines.append("# preprocess: {target: {transform: log1p}}  # if errors count in percent")
    return "\n".join([*lines, *_loss(data)]) + "\n"


def _noted(line: str, remark: str) -> list[str]:
    """A line of the config with a remark behind it, or above it where they are too long together."""
    whole = f"{line}  # {remark}"
    return [whole] if len(whole) <= WIDTH else [*_remark(remark, line[: len(line) - len(line.lstrip())]), line]


def _remark(text: str, indent: str = "") -> list[str]:
    """A remark in as many lines as it needs."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
    )


def _tailed(y: Any) -> bool:
    spread = y.std(axis=0)
    skew = ((y - y.mean(axis=0)) ** 3).mean(axis=0) / np.where(spread > 0, spread, 1) ** 3
    return bool((y >= 0).all() and (skew > TAIL).all())


def _loss(data: Data) -> list[str]:
    """A word about rare classes."""
    if not data.task.classifies:
        return []
    counts = np.bincount(data.splits["train"].y, minlength=len(data.task.classes))
    if counts.min() * len(counts) * 4 >= counts.sum():
        return []
    rare = data.task.classes[int(counts.argmin())]
    return _noted("# loss: {class_weight: balanced}", f"if {_scalar(rare)} matters as much as others")


def _value(target: Any) -> str:
    return "[" + ", ".join(_scalar(name) for name in target) + "]" if isinstance(target, list) else _scalar(target)


def _scalar(text: str) -> str:
    """A text as YAML takes it, quoted where it could be read as something else."""
    plain = _PLAIN.fullmatch(text.replace("/", "")) and text.lower() not in _WORDS_OF_YAML
    return text if plain else json.dumps(text, ensure_ascii=False)
