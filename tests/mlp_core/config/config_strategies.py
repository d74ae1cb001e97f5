"""Random valid configs, drawn from the schema itself."""

import typing
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel

from mlp_core.config import Config
from mlp_core.config.data import BY_COLUMN, Csv, Data, Split
from mlp_core.config.model import WITH_ALPHA, Activation, Init
from mlp_core.config.section import Section
from mlp_core.config.text_kinds import Column, Duration, Encoding, Folder, Text, Word
from mlp_core.config.training import MOST_WAVES, Optimizer, Schedule, Train
from mlp_core.config.value_kinds import INT_MAX, Bool, Float, Int, Kind, ShareOrCount

OWN = {("normal", "std"), ("uniform", "scale")}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
TRICKY = st.sampled_from(
    [
        "no",
        "y",
        "null",
        "~",
        "1e-3",
        "010",
        "1:30",
        "- a",
        "a: b",
        "#x",
        "&a",
        "*a",
        "<<",
        "=",
        "'",
        '"',
        "\\",
        "\t",
        "é\u2028",
        "\x85",
        "\ufeff",
        "😀",
        " a ",
    ]
)


def number(kind: Int | Float) -> st.SearchStrategy[Any]:
    low = kind.ge if kind.gt is None else kind.gt
    high = kind.le if kind.lt is None else kind.lt
    if isinstance(kind, Int):
        return st.integers(-INT_MAX if low is None else int(low), INT_MAX if high is None else int(high))
    return st.floats(
        low,
        high,
        exclude_min=kind.gt is not None,
        exclude_max=kind.lt is not None,
        allow_nan=False,
        allow_infinity=False,
    )


def scalar(kind: Kind) -> st.SearchStrategy[Any]:
    words = st.sampled_from(kind.words) if kind.words else st.nothing()
    if isinstance(kind, Int | Float):
        own = number(kind)
    elif isinstance(kind, ShareOrCount):
        own = st.floats(0, 1, exclude_max=True) | st.integers(0, INT_MAX)
    elif isinstance(kind, Bool):
        own = st.booleans() if kind.only is None else st.just(kind.only)
    elif isinstance(kind, Duration):
        own = st.sampled_from(["2h30m", "90s", "1d", "1d2h3m4s", "45m"])
    elif isinstance(kind, Encoding):
        own = st.sampled_from(["utf-8", "latin-1", "cp1252"])
    elif isinstance(kind, Column):
        own = st.integers(-INT_MAX, INT_MAX) | TEXT | TRICKY
    elif isinstance(kind, Folder):
        own = st.just(False) | TEXT | TRICKY
    elif isinstance(kind, Text):
        own = TEXT | TRICKY if kind.pattern is None else st.from_regex(kind.pattern, fullmatch=True).filter(printable)
    else:
        assert isinstance(kind, Word)
        own = words if kind.pattern is None else words | st.from_regex(kind.pattern, fullmatch=True)
    return (own | words | st.none()) if kind.null else own | words


def printable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def value(annotation: Any, metadata: Any = ()) -> st.SearchStrategy[Any]:
    """Values of a type with its metadata, as plain JSON."""
    for part in metadata:
        if isinstance(part, Kind):
            return scalar(part)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return section(annotation)
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return value(parts[0], annotation.__metadata__)
    if origin is tuple:
        return st.lists(value(parts[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(TEXT | TRICKY, value(parts[1]), max_size=3)
    if annotation is type(None):
        return st.none()
    return st.one_of([value(part) for part in parts])


def section(model: type[Section]) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings with a valid value for any subset of the keys, mended where keys do not fit together."""
    required = {n: value(f.annotation, f.metadata) for n, f in model.model_fields.items() if f.is_required()}
    optional = {n: value(f.annotation, f.metadata) for n, f in model.model_fields.items() if not f.is_required()}
    optional.pop("extends", None)
    return st.fixed_dictionaries(required, optional=optional).map(lambda mapping: mended(model, mapping))


def mended(model: type[Section], mapping: dict[str, Any]) -> dict[str, Any]:
    """The mapping without what breaks a rule between keys."""
    for key, enough in {
        "milestones": 0,
        "quantiles": 1,
        "classes": 2,
        "probes": 1,
        "metrics": 1,
        "target": 1,
        "names": 0,
    }.items():
        if isinstance(mapping.get(key), list):
            mapping[key] = sorted(set(mapping[key]), key=lambda item: (str(type(item)), item))
            if len(mapping[key]) < enough:
                del mapping[key]
    if model is Data:
        for name in ("train", "val", "test"):
            if mapping.get(name) == []:
                del mapping[name]
        if mapping.get("train") is None:
            mapping["name"] = mapping.get("name") or "digits"
        else:
            mapping.pop("name", None)
        if mapping.get("classes") and mapping.get("positive") is not None:
            mapping["positive"] = mapping["classes"][0]
    if model is Activation and mapping["name"] not in WITH_ALPHA:
        mapping.pop("alpha", None)
    if model is Init:
        mapping = {key: found for key, found in mapping.items() if key == "name" or (mapping["name"], key) in OWN}
    if model is Optimizer and len(mapping.get("betas", "ab")) != 2:
        del mapping["betas"]
    if model is Schedule and mapping.get("name") == "multistep":
        mapping["milestones"] = mapping.get("milestones") or [3]
    if model is Schedule and mapping.get("name") == "coslog" and mapping.get("cycles", "auto") != "auto":
        mapping["cycles"] = min(mapping["cycles"], MOST_WAVES)
    if model is Train and mapping.get("shards", "auto") != "auto":
        mapping["shards"] = 1 << (mapping["shards"].bit_length() - 1)
    if model is Csv and mapping.get("delimiter") in (".", ",", '"', mapping.get("quote")):
        mapping.pop("delimiter", None)
    if model is Split:
        mapping.pop("column", None)
        if mapping.get("method") in BY_COLUMN:
            mapping["column"] = "c"
        if None in (mapping.get("folds"), mapping.get("fold")) or mapping.get("method") == "column":
            mapping = {key: found for key, found in mapping.items() if key not in ("folds", "fold", "repeat")}
        else:
            mapping["fold"] = min(mapping["fold"], mapping["folds"])
        if mapping.get("method") in ("ordered", "hash"):
            mapping.pop("repeat", None)
    if model is Split and mapping.get("val", 0.2) + mapping.get("test", 0) >= 1:
        mapping.pop("test", None)
    weights = mapping.get("class_weight")
    if isinstance(weights, dict) and not any(weights.values()):
        del mapping["class_weight"]
    return mapping


MAPPINGS = section(Config)
