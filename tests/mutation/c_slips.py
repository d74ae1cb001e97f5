"""Slips in the kernels' C, made by hand: a source, a text in it, another one, and the experiment that must notice."""

from __future__ import annotations

SLIPS: tuple[tuple[str, str, str, str], ...] = (
    ("losses.c", "i] : 1.0) / *AT(const double, 8)", "i] : 1.0) / (double)a[4]", "weights"),
    ("losses.c", "weight / (double)a[5] : weight) * total", "weight : weight) * total", "one against the rest"),
    ("losses.c", "(double)(HALF * (z[targets + k] +", "(double)((z[targets + k] +", "gaussian_nll, native"),
    ("losses.c", "(k) % levels", "0", "quantile, native"),
    ("units.c", "for (word i = whole; i < rows; i++)", "for (word i = whole + 1; i < rows; i++)", "plain"),
    ("units.c", "sample = n / (n - 1)", "sample = 1", "batch norm"),
    ("units.c", "momentum * (mean[j] - running", "(1 - momentum) * (mean[j] - running", "batch norm"),
    ("units.c", "0.5 * l2 * square", "l2 * square", "penalties"),
    ("units.c", "l2 * theta[i] + l1", "2 * l2 * theta[i] + l1", "penalties"),
    ("rows.c", "- H[j] * along) * inverse", ") * inverse", "norm behind"),
    ("rows.c", "(double)m + eps));", "(double)m + 2 * eps));", "rms norm"),
    ("rows.c", "dshift[j] / n - H[j] * (dgain[j] / n)", "dshift[j] / n - H[j] * (dgain[j] / (n - 1))", "batch norm"),
    ("rows.c", "nearest < (double)words ? (word)nearest : words - 1", "(word)nearest % (words - 1)", "words"),
    ("rows.c", "if (w >= first && w < last)", "if (w > first && w < last)", "words"),
    ("activations.c", "if (!(X[j] > 0))", "if (X[j] > 0)", "prelu"),
    ("activations.c", "Delta[j] = X[j] <= 0 ? Delta[j] * slope", "Delta[j] = X[j] < 0 ? Delta[j]", "prelu"),
)
