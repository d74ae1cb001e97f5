"""A model as one Python file with a PyTorch module, and its weights alone in a safetensors file beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from mlp_core.export import operations as op
from mlp_core.export.description import Description, Member
from mlp_core.export.probes import Probes
from mlp_core.export.python_answers import answers_text, told_text
from mlp_core.export.python_cells import inputs_text
from mlp_core.export.python_text import Script, check_text, head_text
from mlp_core.export.walk import Walk

ACTIVATIONS = {
    "identity": "nn.Identity()",
    "relu": "nn.ReLU()",
    "leaky_relu": "nn.LeakyReLU({alpha!r})",
    "elu": "nn.ELU({alpha!r})",
    "selu": "nn.SELU()",
    "gelu": "nn.GELU()",
    "gelu_tanh": 'nn.GELU(approximate="tanh")',
    "silu": "nn.SiLU()",
    "mish": "nn.Mish()",
    "tanh": "nn.Tanh()",
    "sigmoid": "nn.Sigmoid()",
    "softplus": "nn.Softplus(threshold=100)",
    "softsign": "nn.Softsign()",
    "hard_tanh": "nn.Hardtanh()",
    "hard_sigmoid": "nn.Hardsigmoid()",
    "hard_swish": "nn.Hardswish()",
    "sin": "Sin()",
}
CLASSES = {
    "Sin": '''
class Sin(nn.Module):
    """sin(A)."""

    def forward(self, A):
        return torch.sin(A)
''',
    "Parametric": '''
class Parametric(nn.Module):
    """A + alpha * (f(A) - A), one alpha per unit."""

    def __init__(self, units, f):
        super().__init__()
        self.f, self.alpha = f, nn.Parameter(torch.ones(units))

    def forward(self, A):
        return A + self.alpha * (self.f(A) - A)
''',
    "Multiply": '''
class Multiply(nn.Module):
    """scale * A, one factor per column."""

    def __init__(self, columns):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(columns))

    def forward(self, A):
        return A * self.scale
''',
    "Waves": '''
class Waves(nn.Module):
    """Behind A: weight cos(2 pi frequency x + phase) + bias for each of its first columns x, one after another."""

    def __init__(self, columns, waves, learned):
        super().__init__()
        shapes = {"frequency": (columns, waves), "phase": (columns, waves)}
        shapes |= {"weight": (columns, learned, waves), "bias": (columns, learned)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))

    def forward(self, A):
        x = A[:, : len(self.bias), None]
        waves = torch.cos(x * (2 * torch.pi * self.frequency) + self.phase)
        learned = torch.einsum("rkf,kmf->rkm", waves, self.weight) + self.bias
        return torch.cat([A, learned.flatten(1)], dim=1)
''',
    "RmsNorm": '''
class RmsNorm(nn.Module):
    """weight * A / sqrt(mean of A^2 over a row + eps)."""

    def __init__(self, units, eps):
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(units))

    def forward(self, A):
        return self.weight * A / torch.sqrt((A * A).mean(dim=1, keepdim=True) + self.eps)
''',
    "Residual": '''
class Residual(nn.Sequential):
    """A + what the inner modules make of A."""

    def forward(self, A):
        return A + super().forward(A)
''',
    "Embed": '''
class Embed(nn.ModuleList):
    """The last inputs are codes, each replaced by its row of a table."""

    def forward(self, A):
        numbers, codes = A[:, : -len(self)], A[:, -len(self) :].long()
        return torch.cat([numbers, *(table(codes[:, k]) for k, table in enumerate(self))], dim=1)
''',
}
NETWORK = '''
def network():
    """{what}, their weights still random: logits [rows, {outputs}] from inputs [rows, {width}]."""
    return {modules}{double}
'''
LOAD = '''
def load(weights=Path(__file__).with_name({file!r})):
    """The trained network."""
    data = weights.read_bytes()
    if hashlib.sha256(data).hexdigest() != {digest!r}:
        raise ValueError(f"{{weights.name}}: not as it was written")
    module = network()
    module.load_state_dict(safetensors.torch.load(data), strict=True)
    return module.eval()


def logits(X{member}):
    """The trained network's logits from inputs, both arrays."""
    with torch.no_grad():
        return TRAINED{chosen}(torch.from_numpy(X).to(torch.{dtype})).numpy()
'''
IMPORTS = """
import hashlib
import sys
import zlib
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn
"""


Module = tuple[str, dict[str, Any]]


class Modules(Walk):
    """The modules as they grow, their tensors by the names that PyTorch gives them, the classes that they need.

    A visit gives the text of a module, and its tensors by their names in it.
    """

    to, activations = "PyTorch", ACTIVATIONS

    def __init__(self) -> None:
        self.tensors: dict[str, Any] = {}
        self.classes: dict[str, str] = {}

    def network(self, members: Sequence[Member]) -> str:
        """The network, or a list of those of several members."""
        if len(members) == 1:
            return self.sequential(members[0].network, "", 4)
        made = [self.sequential(member.network, f"{k}.", 8) for k, member in enumerate(members)]
        return "\n        ".join(["nn.ModuleList([", *(f"{one}," for one in made)]) + "\n    ])"

    def sequential(self, operations: Sequence[Any], prefix: str, indent: int) -> str:
        """One module after another, the first line without a margin."""
        return "\n".join(["nn.Sequential(", *self.lines(operations, prefix, indent + 4), " " * indent + ")"])

    def lines(self, operations: Sequence[Any], prefix: str, indent: int) -> list[str]:
        """The modules of a list of operations, one or more lines each."""
        found: list[str] = []
        for place, one in enumerate(operations):
            name, margin = f"{prefix}{place}.", " " * indent
            if isinstance(one, op.Residual):
                head = self.own("Residual")
                found += [f"{margin}{head}(", *self.lines(one.inner, name, indent + 4), f"{margin}),"]
            else:
                text, tensors = self.visit(one)
                self.tensors |= {name + tensor: np.array(array, order="C") for tensor, array in tensors.items()}
                found.append(f"{margin}{text},")
        return found

    def own(self, name: str) -> str:
        """The name of one of `CLASSES`, which is then in the file."""
        self.classes[name] = CLASSES[name]
        return name

    def visit_Embed(self, one: op.Embed) -> Module:
        tables = ", ".join(f"nn.Embedding{table.shape}" for table in one.tables)
        return f"{self.own('Embed')}([{tables}])", {f"{k}.weight": table for k, table in enumerate(one.tables)}

    def visit_Dense(self, one: op.Dense) -> Module:
        units, inputs = one.W.shape
        if one.b is None:
            return f"nn.Linear({inputs}, {units}, bias=False)", {"weight": one.W}
        return f"nn.Linear({inputs}, {units})", {"weight": one.W, "bias": one.b}

    def visit_Activation(self, one: op.Activation) -> Module:
        if one.name == "sin":
            self.own("Sin")
        return self.formula(one).format(alpha=one.alpha), {}

    def visit_Parametric(self, one: op.Parametric) -> Module:
        head = self.own("Parametric")
        return f"{head}({len(one.alpha)}, {self.visit(one.f)[0]})", {"alpha": one.alpha}

    def visit_Multiply(self, one: op.Multiply) -> Module:
        return f"{self.own('Multiply')}({len(one.factors)})", {"scale": one.factors}

    def visit_Waves(self, one: op.Waves) -> Module:
        columns, learned, waves = one.weight.shape
        tensors = {"frequency": one.frequency, "phase": one.phase, "weight": one.weight, "bias": one.bias}
        return f"{self.own('Waves')}({columns}, {waves}, {learned})", tensors

    def visit_PRelu(self, one: op.PRelu) -> Module:
        return "nn.PReLU()", {"weight": one.slope}

    def visit_BatchNorm(self, one: op.BatchNorm) -> Module:
        tensors = {"weight": one.gain, "bias": one.shift, "running_mean": one.mean, "running_var": one.variance}
        return f"nn.BatchNorm1d({len(one.gain)}, eps={one.eps!r})", {**tensors, "num_batches_tracked": np.array(0)}

    def visit_LayerNorm(self, one: op.LayerNorm) -> Module:
        return f"nn.LayerNorm({len(one.gain)}, eps={one.eps!r})", {"weight": one.gain, "bias": one.shift}

    def visit_RmsNorm(self, one: op.RmsNorm) -> Module:
        return f"{self.own('RmsNorm')}({len(one.gain)}, eps={one.eps!r})", {"weight": one.gain}

    def visit_Dropout(self, one: op.Dropout) -> Module:
        return f"nn.Dropout({one.p!r})", {}


def write(description: Description, probes: Probes, path: Path) -> dict[Path, bytes]:
    """The files of a model at `path`, by name: a .py and a .safetensors."""
    script, modules, weights = Script(description), Modules(), path.with_suffix(".safetensors")
    members, chains = description.members, []
    for k, member in enumerate(members):
        inputs, chosen = inputs_text(member, script), f", {k}" if len(members) > 1 else ""
        chains.append(f"{told_text(member, script)}(logits({inputs}(table){chosen}))")
    answers_text(script)
    built = modules.network(members)
    data = save(modules.tensors)
    several = {"member": ", k", "chosen": "[k]"} if len(members) > 1 else {"member": "", "chosen": ""}
    widths = sorted({member.width for member in members})
    network = NETWORK.format(
        what="The modules" if len(members) == 1 else "The modules of every member",
        outputs=members[0].outputs,
        width=" or ".join(map(str, widths)),
        modules=built,
        double=".double()" if description.dtype == "float64" else "",
    )
    digest = hashlib.sha256(data).hexdigest()
    load = LOAD.format(file=weights.name, digest=digest, dtype=description.dtype, **several)
    check = check_text(probes, script)
    script.tables["TRAINED"] = "load()"
    how = f"The network is a PyTorch module, `network()`; `load()` fills it from {weights.name}."
    top = head_text(script, path, how, IMPORTS.strip(), chains)
    text = script.text(top, [*modules.classes.values(), network, load], [check])
    return {path: text.encode(), weights: data}
