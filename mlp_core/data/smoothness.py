"""How much of a target no smooth function of its columns tells: kernel ridge regression, each row left out in turn.

With K_ij = exp(-D_ij / c), D the squared distances of rows, the fit to all rows but i misses y_i by
r_i = [(K + lambda I)^-1 y]_i / [(K + lambda I)^-1]_ii (Rasmussen and Williams, Gaussian Processes for Machine Learning,
2006, section 5.4.2), so that one decomposition K = V diag(s) V' serves all rows and every lambda.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlp_core.data.dataset import Dataset

Numbers = npt.NDArray[np.float64]

ROWS = 256
"""Rows at most, spread over all: a tenth of a second."""
WIDTHS = (0.25, 1.0, 4.0, 16.0)
"""Values of c, in medians of D: from functions that bend between neighbours to nearly straight ones."""
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of lambda: the share of noise."""


@np.errstate(over="ignore", invalid="ignore")
def missed(rows: Dataset) -> float:
    """The root mean square of all r_i, in deviations of the targets [rows, outputs]; the least over widths and ridges.

    About 0 for a smooth function without noise, about 1 for noise alone; inf for targets that do not vary, and
    for numbers whose squares are none.
    """
    at = np.unique(np.linspace(0, rows.rows - 1, min(rows.rows, ROWS)).astype(np.int64))
    y = np.asarray(rows.y[at], np.float64).reshape(len(at), -1)
    deviation = y.std(axis=0)
    if len(at) < 3 or not ((deviation > 0) & np.isfinite(deviation)).all():
        return float("inf")
    y = (y - y.mean(axis=0)) / deviation
    D = _distances(np.asarray(rows.X[at], np.float64), set(rows.words))
    if not np.isfinite(D).all():
        return float("inf")
    median = float(np.median(D[np.triu_indices(len(D), 1)])) or 1.0
    return min(_left_out(np.exp(-D / (width * median)), y) for width in WIDTHS)


def _distances(X: Numbers, words: set[int]) -> Numbers:
    """Squared distances [n, n] of rows: of numbers in deviations of their column, a gap at its median; of words 2 where
    they differ, as far as two one-hot columns."""
    numbers = [column for column in range(X.shape[1]) if column not in words and np.isfinite(X[:, column]).any()]
    Z = X[:, numbers]
    Z = np.where(np.isfinite(Z), Z, np.nanmedian(np.where(np.isfinite(Z), Z, np.nan), axis=0))
    Z = (Z - Z.mean(axis=0)) / np.where(Z.std(axis=0) > 0, Z.std(axis=0), 1.0)
    lengths = (Z**2).sum(axis=1)
    D: Numbers = np.maximum(lengths[:, None] + lengths - 2 * Z @ Z.T, 0.0)
    for column in sorted(words):
        D += 2.0 * (X[:, None, column] != X[None, :, column])
    return D


def _left_out(K: Numbers, y: Numbers) -> float:
    s, V = np.linalg.eigh(K)
    a, squares = V.T @ y, V**2
    inverses = [1 / (np.maximum(s, 0.0) + ridge) for ridge in RIDGES]
    residuals = [(V @ (one[:, None] * a)) / (squares @ one)[:, None] for one in inverses]
    return float(min(np.sqrt(np.mean(r**2)) for r in residuals))
