"""Slips in the kernels' C: `python tests/mutation/run_c_slips.py [--every N]`. Needs a C compiler and half an hour.

The package is copied, one text in one C file of it changed, the kernels compiled, and the experiment of the slip proved
as `mlpbp gradcheck` proves it. Ends with 1 if a slip was not noticed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

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

CHILD = """
import sys
from pathlib import Path
from mlp_core.backends.cpu import compile as c
name = max(c.LEVELS.get(c.machine(), {"any": (1, ())}))
c.LEVELS = {c.machine(): {"x86-64": (1, ())}} if c.machine() == "x86_64" else {}
c.FLAGS = tuple(flag for flag in c.FLAGS if not flag.startswith("-O")) + ("-O1",)
c.compile_somehow(c.BUILT)
from mlp_core.proof.planted import CASES
for name in ("quantile", "gaussian_nll"):
    CASES[name + ", native"] = tuple(change for change in CASES[name] if change != "kernels=numpy")
from mlp_core.proof.self_test import wrong
found = wrong(sys.argv[1], Path(sys.argv[2]))
print(found)
sys.exit(0 if found else 3)
"""


def noticed(slip: tuple[str, str, str, str] | None, case: str) -> bool:
    """Whether the proof of an experiment notices a slip in a copy of the package; None: in the package as it is."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "mlp_core", copy / "mlp_core", ignore=shutil.ignore_patterns("built", "__pycache__"))
        shutil.copytree(ROOT / "data", copy / "mlp_core/datasets")
        if slip is not None:
            path = copy / "mlp_core/backends/cpu" / slip[0]
            text = path.read_text()
            if slip[1] not in text:
                raise ValueError(f"{slip[1]!r} is not in {slip[0]}")
            path.write_text(text.replace(slip[1], slip[2], 1))
        command = [sys.executable, "-P", "-c", CHILD, case, folder]
        environment = {"PYTHONPATH": folder, "PATH": os.environ.get("PATH", "")}
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        if done.returncode not in (0, 3):
            raise RuntimeError(done.stderr[-600:])
        return done.returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try one slip in so many")
    options = parser.parse_args(arguments)
    chosen, missed = SLIPS[:: options.every], 0
    for slip in chosen:
        found = noticed(slip, slip[3])
        missed += not found
        print(f"{'caught' if found else 'NOT CAUGHT'}: {slip[0]}: {slip[1]} -> {slip[2]} ({slip[3]})", flush=True)
    sound = not noticed(None, "plain")
    print(
        f"slips in C caught: {len(chosen) - missed}/{len(chosen)}; sound kernels {'pass' if sound else 'ARE ACCUSED'}"
    )
    return int(missed > 0 or not sound)


if __name__ == "__main__":
    sys.exit(main())
