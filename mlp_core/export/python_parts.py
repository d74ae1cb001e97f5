"""Functions of exported Python files: written here to be read, tested and typed, copied there without their types."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.preprocess.quantile_scores import normal_quantile


def numbers(cells: Any, name: str, gaps: Sequence[str]) -> Any:
    """A column of numbers, NaN where a cell is missing."""
    column = np.asarray(cells)
    if column.dtype.kind not in "fiub":
        column = np.array([np.nan if is_gap(cell, gaps) else float(cell) for cell in column.tolist()])
    if np.isinf(column).any():
        raise ValueError(f"column {name}: not a finite number")
    return column.astype(np.float64)


def truths(cells: Any, name: str, gaps: Sequence[str]) -> Any:
    """A column of yes and no, true and false, t and f or 1 and 0, as 1 and 0, NaN where a cell is missing."""
    meaning = {"true": 1, "yes": 1, "y": 1, "t": 1, "1": 1, "1.0": 1}
    meaning |= {"false": 0, "no": 0, "n": 0, "f": 0, "0": 0, "0.0": 0}
    column = [np.nan if is_gap(cell, gaps) else meaning.get(str(cell).strip().casefold()) for cell in cells]
    if None in column:
        raise ValueError(f"column {name}: neither yes nor no")
    return np.array(column, np.float64)


def is_gap(cell: Any, gaps: Sequence[str]) -> bool:
    """Whether a cell is missing: None, NaN, or a text that stands for it."""
    return cell is None or cell != cell or (isinstance(cell, str) and cell.strip() in gaps)


def present(cells: Any, name: str, gaps: Sequence[str]) -> Any:
    """The cells, unless one is missing."""
    if any(is_gap(cell, gaps) for cell in cells):
        raise ValueError(f"column {name}: a cell is missing")
    return cells


def written(cells: Any, name: str, meaning: str, gaps: Sequence[str]) -> Any:
    """The cells, unless one is a text: in the training file, these numbers are written in a way of their own."""
    if any(isinstance(cell, str) and not is_gap(cell, gaps) for cell in cells):
        raise ValueError(f"column {name}: texts are not read here, give numbers ({meaning})")
    return cells


def on_circles(X: Any, periods: Sequence[float]) -> Any:
    """sin and cos of 2 pi X / period of each column, side by side, 0 where a value is missing. [rows, 2 columns]"""
    angle = 2 * np.pi * np.remainder(X, periods) / periods
    return np.nan_to_num(np.stack([np.sin(angle), np.cos(angle)], axis=2)).reshape(len(X), -1)


def places(cells: Any, words: Sequence[str], gaps: Sequence[str], unknown: int, missing: int) -> Any:
    """The place of every word, `unknown` for one that is not among `words`, `missing` where there is none."""
    index = {word: place for place, word in enumerate(words)}
    found = [missing if is_gap(cell, gaps) else index.get(str(cell).strip(), unknown) for cell in cells]
    return np.array(found, np.int64)


def hashed(cells: Any, gaps: Sequence[str], count: int, missing: int) -> Any:
    """The place of every word by its checksum, `missing` where there is none."""
    found = [
        missing if is_gap(cell, gaps) else zlib.crc32(str(cell).strip().encode("utf-8", "surrogatepass")) % count
        for cell in cells
    ]
    return np.array(found, np.int64)


def known(cells: Any, name: str, words: Sequence[str], gaps: Sequence[str]) -> Any:
    """The cells, unless one is a word that training did not keep."""
    kept = set(words)
    for cell in cells:
        if not is_gap(cell, gaps) and str(cell).strip() not in kept:
            raise ValueError(f'column {name}: "{cell}" was never seen in training')
    return cells


def one_hot(place: Any, count: int) -> Any:
    """A row of zeros with a 1 at the place of each word; none where the place is negative. [rows, count]"""
    return (place[:, None] == np.arange(count)).astype(np.float64)


def normal_scores(values: Any, quantiles: Any) -> Any:
    """Values as normal scores: the share of training rows below each, as a quantile of the normal distribution."""
    knots, shares = np.array(quantiles), np.linspace(0, 1, len(quantiles))
    up = np.interp(values, knots, shares)
    down = -np.interp(-values, -knots[::-1], -shares[::-1])  # differs where many rows have the same value
    return np.clip(normal_quantile(np.clip((up + down) / 2, 1e-7, 1 - 1e-7)), -5.199337582605575, 5.199337582605575)


def sigmoid(z: Any) -> Any:
    """1 / (1 + exp(-z)), which cannot overflow."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, small) / (1 + small)


def softmax(V: Any) -> Any:
    """exp(V) / sum(exp(V)) of every row."""
    E = np.exp(V - V.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def log(P: Any) -> Any:
    """The logarithm of probabilities, which may be 0."""
    return np.log(np.maximum(P, 1e-300))


def finite(X: Any) -> Any:
    """The inputs, unless one is too large for the network's numbers."""
    if not np.isfinite(X).all():
        raise ValueError("a scaled value is too large")
    return X


def largest_difference(
    given: Mapping[str, Any],
    numbers: Mapping[str, Sequence[float]],
    units: Mapping[str, float],
    labels: Mapping[str, Sequence[Any]],
) -> float:
    """The largest difference of any number from what is expected, in its unit; raises ValueError for another label."""
    for name, expected in labels.items():
        if list(given[name]) != list(expected):
            raise ValueError(f"{name}: another label than expected")
    worst = 0.0
    for name, values in numbers.items():
        difference = float(np.abs(np.asarray(given[name], np.float64) - values).max()) / units[name]
        worst = difference if not difference <= worst else worst  # a difference that is no number stays
    return worst


def intact(path: Path, mark: bytes = b"\n# sha256 ") -> None:
    """Raise ValueError unless a file is as it was written: its last line has the digest of all lines before."""
    body, _, digest = path.read_bytes().replace(b"\r\n", b"\n").rpartition(mark)
    if digest[:64].decode("ascii", "replace") != hashlib.sha256(body).hexdigest():
        raise ValueError(f"{path.name}: not as it was written")
