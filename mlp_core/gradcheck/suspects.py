"""What a wrong gradient looks like, in words: the pattern often names the bug."""

from __future__ import annotations

import numpy as np

from mlp_core.gradcheck.directions import Coverage

_SPREAD = 1e-4


def hint(analytic: np.ndarray, numeric: np.ndarray, coverage: Coverage, facts: dict[str, float]) -> str:
    """The pattern in a tensor that failed; `analytic` and `numeric` have one number per direction.

    `facts` are named numbers of the model that a factor may be, such as {"1/b": 0.25}.
    """
    projected = analytic.ravel()
    if not np.isfinite(projected).all():
        return "the analytic gradient holds NaN or Inf"
    if not np.isfinite(numeric).all():
        return "the forward pass holds NaN or Inf"
    if not projected.any():
        return "the analytic gradient is all zero: the term is missing, or never written"
    if not numeric.any():
        return "the analytic gradient should be all zero: a term too many"
    ratio = _constant_ratio(projected, numeric)
    if ratio is not None:
        return _named(ratio, facts)
    error = float(np.abs(projected - numeric).max() / np.abs(numeric).max())
    if error < 1e-5:
        return f"differences of at most {error:.1e}: a loss of precision, or a small term"
    wrong = np.abs(projected - numeric) > 1e-8 * max(np.abs(numeric).max(), np.abs(projected).max())
    if coverage.entrywise:
        shape = coverage.shape
        return _layout(projected.reshape(shape), numeric.reshape(shape), wrong.reshape(shape), facts)
    return f"{int(wrong.sum())} of {numeric.size} directions differ, scattered"


def _constant_ratio(a: np.ndarray, n: np.ndarray) -> float | None:
    """The factor between two gradients if it is one number everywhere."""
    solid = np.abs(n) > 1e-3 * np.abs(n).max()
    if solid.sum() < 2:
        return None
    ratios = a[solid] / n[solid]
    middle = float(np.median(ratios))
    spread = float(np.abs(ratios - middle).max())
    if spread > _SPREAD * abs(middle) or spread > 1e-3 * abs(middle - 1):
        return None
    rest = np.abs(a[~solid] - middle * n[~solid]).max(initial=0)
    return middle if rest <= 1e-3 * np.abs(n).max() else None


def _named(ratio: float, facts: dict[str, float]) -> str:
    if abs(ratio + 1) < _SPREAD:
        return "the sign is wrong everywhere (analytic = -numeric)"
    names = [name for name, value in facts.items() if value and abs(ratio / value - 1) < _SPREAD and value != 1]
    known = f" = {' or '.join(names)}" if names else ""
    return f"analytic = {ratio:.6g}{known} times numeric, everywhere"


def _layout(a: np.ndarray, n: np.ndarray, wrong: np.ndarray, facts: dict[str, float]) -> str:
    """Patterns that need every entry: transposed, permuted, one row or column, scattered."""
    scale = np.abs(n).max()
    if a.ndim == 2 and np.allclose(a.ravel(), n.T.ravel(), rtol=1e-6, atol=1e-9 * scale):
        return "analytic is numeric transposed"
    if a.ndim == 2:
        lines = _lines(a, n, wrong, facts)
        if lines:
            return lines
    if np.allclose(np.sort(a.ravel()), np.sort(n.ravel()), rtol=1e-6, atol=1e-9 * scale):
        return "the right numbers in the wrong places (permuted or shifted)"
    if wrong.sum() == 1:
        return f"one entry differs: {tuple(int(i) for i in np.argwhere(wrong)[0])}"
    return f"{int(wrong.sum())} of {wrong.size} entries differ, scattered"


def _lines(a: np.ndarray, n: np.ndarray, wrong: np.ndarray, facts: dict[str, float]) -> str | None:
    rows, columns = np.flatnonzero(wrong.any(axis=1)), np.flatnonzero(wrong.any(axis=0))
    if len(rows) == 1 and len(columns) > 1:
        return f"only row {rows[0]} differs{_within(a[rows[0]], n[rows[0]], facts)}"
    if len(columns) == 1 and len(rows) > 1:
        return f"only column {columns[0]} differs{_within(a[:, columns[0]], n[:, columns[0]], facts)}"
    per_row = [_constant_ratio(a[i], n[i]) for i in range(len(a))]
    if len(a) > 1 and all(ratio is not None for ratio in per_row):
        return "each row is off by a factor of its own"
    per_column = [_constant_ratio(a[:, j], n[:, j]) for j in range(a.shape[1])]
    if a.shape[1] > 1 and all(ratio is not None for ratio in per_column):
        return "each column is off by a factor of its own"
    return None


def _within(a: np.ndarray, n: np.ndarray, facts: dict[str, float]) -> str:
    if not a.any():
        return ": it is zero"
    ratio = _constant_ratio(a, n)
    return "" if ratio is None else ": " + _named(ratio, facts).removesuffix(", everywhere")
