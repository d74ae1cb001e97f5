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


class _Weights:
    """The lines of a function `network` as they grow, and the weights that all of these name."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.lines: list[str] = []
        self.arrays: dict[str, Any] = {}
        self.count = self.depth = 0

    def add(self, operations: tuple[Any, ...]) -> None:
        for one in operations:
            if isinstance(one, op.Residual):
                self.depth += 1
                skip = f"skip_{self.depth}"
                self.line(f"{skip} = A")
                self.add(one.inner)
                self.line(f"A = {skip} + A")
                self.depth -= 1
            else:
                _NETWORK[type(one)](one, self)

    def function(self, member: Member, dtype: str) -> str:
        """The name of the function of a member."""
        self.lines = [
            f'    """Logits [rows, {member.outputs}] from inputs [rows, {member.width}]."""',
            f"    A = X.astype(np.{dtype})",
        ]
        self.add(member.network)
        return self.script.function("network", "X", [*self.lines, "    return A"])

    def line(self, text: str) -> None:
        self.lines.append(f"    {text}")

    def take(self, **arrays: Any) -> list[str]:
        """Names for the weights of one layer, in the file and in the code."""
        self.count += 1
        names = [f"{name}{self.count}" for name in arrays]
        self.arrays |= dict(zip(names, map(np.ascontiguousarray, arrays.values()), strict=True))
        return [f"WEIGHTS[{name!r}]" for name in names]


def _embed(one: op.Embed, network: _Weights) -> None:
    count = len(one.tables)
    network.line(f"codes = A[:, -{count}:].astype(int)")
    pieces = [f"A[:, :-{count}]"]
    for k, table in enumerate(one.tables):
        pieces.append(f"{network.take(E=table)[0]}[codes[:, {k}]]")
    network.line(f"A = np.concatenate([{', '.join(pieces)}], axis=1)")


def _dense(one: op.Dense, network: _Weights) -> None:
    if one.b is None:
        (W,) = network.take(W=one.W)
        network.line(f"A = A @ {W}.T  # [rows, {len(one.W)}]")
    else:
        W, b = network.take(W=one.W, b=one.b)
        network.line(f"A = A @ {W}.T + {b}  # [rows, {len(one.W)}]")


def _activation(one: op.Activation, network: _Weights) -> None:
    if one.name != "identity":
        network.line(f"A = {_formula(one, network)}")


def _formula(one: op.Activation, network: _Weights) -> str:
    """f(A)."""
    if one.name in _NEEDED:
        network.script.need(_NEEDED[one.name])
    return ACTIVATIONS[one.name].format(alpha=one.alpha)


def _parametric(one: op.Parametric, network: _Weights) -> None:
    (alpha,) = network.take(alpha=one.alpha)
    network.line(f"A = A + {alpha} * ({_formula(one.f, network)} - A)")


def _multiply(one: op.Multiply, network: _Weights) -> None:
    (factors,) = network.take(scale=one.factors)
    network.line(f"A = A * {factors}")


def _waves(one: op.Waves, network: _Weights) -> None:
    """The waves of a column stand side by side, and behind them those of the next one."""
    turns, phase, weight, bias = network.take(turns=one.turns, phase=one.phase, weight=one.weight, bias=one.bias)
    network.line(f"waves = np.cos(A[:, :{len(one.bias)}, None] * {turns} + {phase})  # [rows, columns, waves]")
    network.line(f"learned = np.einsum('rkf,kmf->rkm', waves, {weight}) + {bias}")
    network.line("A = np.concatenate([A, learned.reshape(len(A), -1)], axis=1)")


def _prelu(one: op.PRelu, network: _Weights) -> None:
    (slope,) = network.take(slope=one.slope)
    network.line(f"A = np.where(A > 0, A, {slope} * A)")


def _batch_norm(one: op.BatchNorm, network: _Weights) -> None:
    mean, variance, gain, shift = network.take(mean=one.mean, variance=one.variance, gain=one.gain, shift=one.shift)
    network.line(f"A = (A - {mean}) / np.sqrt({variance} + {one.eps!r}) * {gain} + {shift}")


def _layer_norm(one: op.LayerNorm, network: _Weights) -> None:
    gain, shift = network.take(gain=one.gain, shift=one.shift)
    network.line("A = A - A.mean(axis=1, keepdims=True)")
    network.line(f"A = A / np.sqrt((A * A).mean(axis=1, keepdims=True) + {one.eps!r}) * {gain} + {shift}")


def _rms_norm(one: op.RmsNorm, network: _Weights) -> None:
    (gain,) = network.take(gain=one.gain)
    network.line(f"A = A / np.sqrt((A * A).mean(axis=1, keepdims=True) + {one.eps!r}) * {gain}")


_NETWORK: dict[type, Callable[[Any, _Weights], None]] = {
    op.Embed: _embed,
    op.Dense: _dense,
    op.Activation: _activation,
    op.Parametric: _parametric,
    op.Multiply: _multiply,
    op.Waves: _waves,
    op.PRelu: _prelu,
    op.BatchNorm: _batch_norm,
    op.LayerNorm: _layer_norm,
    op.RmsNorm: _rms_norm,
    op.Dropout: lambda one, network: None,
}

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
    script, file = Script(), path.with_suffix(".npz")
    weights, chains = _Weights(script), []
    for member in description.members:
        inputs, network = inputs_text(member, description, script), weights.function(member, description.dtype)
        chains.append(f"{told_text(member, description, script)}({network}({inputs}(table)))")
    answers_text(description, script)
    packed = io.BytesIO()
    np.savez(packed, **weights.arrays)
    data = packed.getvalue()
    imports = "import hashlib\nimport io\nimport sys\nimport zlib\nfrom pathlib import Path\n\nimport numpy as np"
    how = f"Plain numpy; the weights are in {file.name}."
    load = LOAD.format(file=file.name, digest=hashlib.sha256(data).hexdigest())
    check = check_text(description, probes, script)
    script.tables["WEIGHTS"] = "load()"
    top = head_text(description, path, how, imports, chains)
    return {path: script.text(top, [], [load, check]).encode(), file: data}
