"""A model as one Python file of plain numpy that can be read from top to bottom, its weights beside it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.export import operations as op
from mlp_core.export import python_parts as parts
from mlp_core.export.description import Description, Member
from mlp_core.export.probes import Probes
from mlp_core.export.python_answers import answers_text, told_text
from mlp_core.export.python_cells import inputs_text
from mlp_core.export.python_text import Script, check_text, head_text
from mlp_core.export.walk import Lines
from mlp_core.nn import complex_math as special

ACTIVATIONS = {
    "identity": "A",
    "relu": "np.maximum(A, 0)",
    "leaky_relu": "np.where(A > 0, A, {alpha!r} * A)",
    "elu": "np.where(A > 0, A, {alpha!r} * np.expm1(np.minimum(A, 0)))",
    "selu": "1.0507009873554805 * np.where(A > 0, A, 1.6732632423543772 * np.expm1(np.minimum(A, 0)))",
    "gelu": "A * (1 + erf(np, A * 0.5**0.5)) / 2",
    "gelu_tanh": "A * (1 + np.tanh((2 / np.pi) ** 0.5 * (A + 0.044715 * A * A * A))) / 2",
    "silu": "A * sigmoid(A)",
    "mish": "A * np.tanh(np.logaddexp(0, A))",
    "tanh": "np.tanh(A)",
    "sigmoid": "sigmoid(A)",
    "softplus": "np.logaddexp(0, A)",
    "softsign": "A / (1 + np.abs(A))",
    "hard_tanh": "np.clip(A, -1, 1)",
    "hard_sigmoid": "np.clip(A / 6 + 0.5, 0, 1)",
    "hard_swish": "A * np.clip(A + 3, 0, 6) / 6",
    "sin": "np.sin(A)",
}
_NEEDED: dict[str, Callable[..., Any]] = {"gelu": special.erf, "silu": parts.sigmoid, "sigmoid": parts.sigmoid}


class Network(Lines):
    """The lines of a function `network` as they grow, and the weights that all of these name."""

    to, activations = "numpy", ACTIVATIONS

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.arrays: dict[str, Any] = {}
        self.count = self.depth = 0

    def function(self, member: Member) -> str:
        """The name of the function of a member."""
        self.lines = [
            f'    """Logits [rows, {member.outputs}] from inputs [rows, {member.width}]."""',
            f"    A = X.astype(np.{self.script.description.dtype})",
        ]
        self.walk(member.network)
        return self.script.function("network", "X", [*self.lines, "    return A"])

    def take(self, **arrays: Any) -> list[str]:
        """Names for the weights of one layer, in the file and in the code."""
        self.count += 1
        names = [f"{name}{self.count}" for name in arrays]
        self.arrays |= dict(zip(names, map(np.ascontiguousarray, arrays.values()), strict=True))
        return [f"WEIGHTS[{name!r}]" for name in names]

    def visit_Residual(self, one: op.Residual) -> None:
        self.depth += 1
        skip = f"skip_{self.depth}"
        self.line(f"{skip} = A")
        self.walk(one.inner)
        self.line(f"A = {skip} + A")
        self.depth -= 1

    def visit_Embed(self, one: op.Embed) -> None:
        count = len(one.tables)
        self.line(f"codes = A[:, -{count}:].astype(int)")
        pieces = [f"A[:, :-{count}]"]
        for k, table in enumerate(one.tables):
            pieces.append(f"{self.take(E=table)[0]}[codes[:, {k}]]")
        self.line(f"A = np.concatenate([{', '.join(pieces)}], axis=1)")

    def visit_Dense(self, one: op.Dense) -> None:
        W, *b = self.take(W=one.W) if one.b is None else self.take(W=one.W, b=one.b)
        self.line(f"A = {' + '.join([f'A @ {W}.T', *b])}  # [rows, {len(one.W)}]")

    def visit_Activation(self, one: op.Activation) -> None:
        if one.name != "identity":
            self.line(f"A = {self.formula(one)}")

    def formula(self, one: op.Activation) -> str:
        """f(A), and what it needs is in the file."""
        text = super().formula(one).format(alpha=one.alpha)
        if one.name in _NEEDED:
            self.script.need(_NEEDED[one.name])
        return text

    def visit_Parametric(self, one: op.Parametric) -> None:
        (alpha,) = self.take(alpha=one.alpha)
        self.line(f"A = A + {alpha} * ({self.formula(one.f)} - A)")

    def visit_Multiply(self, one: op.Multiply) -> None:
        (factors,) = self.take(scale=one.factors)
        self.line(f"A = A * {factors}")

    def visit_Waves(self, one: op.Waves) -> None:
        """The waves of a column stand side by side, and behind them those of the next one."""
        turns, phase, weight, bias = self.take(turns=one.turns, phase=one.phase, weight=one.weight, bias=one.bias)
        self.line(f"waves = np.cos(A[:, :{len(one.bias)}, None] * {turns} + {phase})  # [rows, columns, waves]")
        self.line(f"learned = np.einsum('rkf,kmf->rkm', waves, {weight}) + {bias}")
        self.line("A = np.concatenate([A, learned.reshape(len(A), -1)], axis=1)")

    def visit_PRelu(self, one: op.PRelu) -> None:
        (slope,) = self.take(slope=one.slope)
        self.line(f"A = np.where(A > 0, A, {slope} * A)")

    def visit_BatchNorm(self, one: op.BatchNorm) -> None:
        mean, variance, gain, shift = self.take(mean=one.mean, variance=one.variance, gain=one.gain, shift=one.shift)
        self.line(f"A = (A - {mean}) / np.sqrt({variance} + {one.eps!r}) * {gain} + {shift}")

    def visit_LayerNorm(self, one: op.LayerNorm) -> None:
        gain, shift = self.take(gain=one.gain, shift=one.shift)
        self.line("A = A - A.mean(axis=1, keepdims=True)")
        self.line(f"A = A / np.sqrt((A * A).mean(axis=1, keepdims=True) + {one.eps!r}) * {gain} + {shift}")

    def visit_RmsNorm(self, one: op.RmsNorm) -> None:
        (gain,) = self.take(gain=one.gain)
        self.line(f"A = A / np.sqrt((A * A).mean(axis=1, keepdims=True) + {one.eps!r}) * {gain}")

    def visit_Dropout(self, one: op.Dropout) -> None:
        """Nothing when predicting."""


LOAD = '''
def load():
    """The weights: arrays by name, from the file beside this one."""
    data = Path(__file__).with_name({file!r}).read_bytes()
    if hashlib.sha256(data).hexdigest() != {digest!r}:
        raise ValueError("{file}: not as it was written")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {{name: arrays[name] for name in arrays}}
'''


def write(description: Description, probes: Probes, path: Path) -> dict[Path, bytes]:
    """The files of a model at `path`, by name: a .py and a .npz."""
    script, file = Script(description), path.with_suffix(".npz")
    network, chains = Network(script), []
    for member in description.members:
        inputs, logits = inputs_text(member, script), network.function(member)
        chains.append(f"{told_text(member, script)}({logits}({inputs}(table)))")
    answers_text(script)
    packed = io.BytesIO()
    np.savez(packed, **network.arrays)
    data = packed.getvalue()
    imports = "import hashlib\nimport io\nimport sys\nimport zlib\nfrom pathlib import Path\n\nimport numpy as np"
    how = f"Plain numpy; the weights are in {file.name}."
    load = LOAD.format(file=file.name, digest=hashlib.sha256(data).hexdigest())
    check = check_text(probes, script)
    script.tables["WEIGHTS"] = "load()"
    top = head_text(script, path, how, imports, chains)
    return {path: script.text(top, [], [load, check]).encode(), file: data}
