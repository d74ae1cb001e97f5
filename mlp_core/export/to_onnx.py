"""A model as an ONNX graph that takes raw cells and gives labels and numbers, and carries its test rows with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.errors import Problem, UsageError
from mlp_core.export import operations as op
from mlp_core.export.description import Description
from mlp_core.export.onnx_cells import Cells
from mlp_core.export.onnx_graph import IR_VERSION, ML_OPSET, OPSET, Graph, Tensor
from mlp_core.export.probes import Probes
from mlp_core.export.python_parts import largest_difference
from mlp_core.export.walk import Walk
from mlp_core.nn.activations import ACTIVATIONS

NATIVE = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
MATRIX = "X"
LARGEST = 2_000_000_000  # bytes; a protocol buffer holds no more
_BLANK, _KEY = b"0" * 64, b"mlpbp.sha256"


def write(description: Description, probes: Probes, path: Path, matrix: bool) -> dict[Path, bytes]:
    """The file of a model at `path`, by name; with `matrix`, rows come as a matrix. Raises UsageError."""
    import onnx
    from onnx import TensorProto, helper

    names = [MATRIX] if matrix else [column.name for column in description.columns]
    graph = Graph(names)
    shape: list[str | int | None] = ["rows", len(description.columns) if matrix else 1]
    texts = [column.kind != "numeric" for column in description.columns[: len(names)]]  # words, or yes and no
    raw = {k: Tensor(graph, names[k], str if text else np.float64) for k, text in enumerate(texts)}
    kinds = [TensorProto.STRING if text else TensorProto.DOUBLE for text in texts]
    taken = [helper.make_tensor_value_info(n, kind, shape) for n, kind in zip(names, kinds, strict=True)]
    told: list[list[Tensor]] = []
    refused: list[Tensor] = []
    for member in description.members:
        cells = Cells(graph, description, raw, raw[0] if matrix else None)
        network = Network(graph, cells.inputs(member.inputs), member.width)
        network.walk(member.network)
        told.append([_stepwise(graph, steps, network.A.astype(np.float64)) for steps in member.answers])
        refused += cells.refused
    given = _answers(description, graph, told, graph.any(graph.join(refused)), names)
    outputs = []
    for name, (tensor, kind, width) in given.items():
        graph.nodes.append(helper.make_node("Identity", [tensor.name], [name], name=f"as_{name}"))
        outputs.append(helper.make_tensor_value_info(name, kind, ["rows"] if width is None else ["rows", width]))
    title = f"{', '.join(description.targets)} by mlpbp"
    made = helper.make_graph(graph.nodes, "mlpbp", taken, outputs, graph.tensors, doc_string=title)
    model = helper.make_model(
        made,
        producer_name="mlpbp",
        producer_version=description.version,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(
        model, {**_properties(description, probes, matrix, list(given)), _KEY.decode(): _BLANK.decode()}
    )
    if model.ByteSize() > LARGEST:
        raise UsageError(Problem("not_exportable", "an ONNX file holds at most 2 GB", "export to c, numpy or torch"))
    onnx.checker.check_model(model)
    return {path: _sealed(model.SerializeToString())}


def _properties(description: Description, probes: Probes, matrix: bool, outputs: Sequence[str]) -> dict[str, str]:
    """What travels with the graph: what it takes and tells, and the test rows."""
    decision = description.decision
    facts = {
        "version": description.version,
        "task": description.kind,
        "members": len(description.members),
        "columns": [asdict(column) for column in description.columns],
        "gaps": list(description.gaps),
        "labels": list(decision.labels) if decision else [],
        "several": bool(decision and decision.several),
        "threshold": decision.threshold if decision else None,
        "outputs": list(outputs),
        "answers": [list(answer.columns) for answer in description.answers],
        "matrix": matrix,
    }
    rows = {"limit": description.limit, **asdict(probes)}
    return {f"mlpbp.{name}": json.dumps(value) for name, value in (("model", facts), ("check", rows))}


def _sealed(data: bytes) -> bytes:
    """The file with its own digest in the place that is kept for it."""
    at = data.rindex(_KEY) + data[data.rindex(_KEY) :].index(_BLANK)
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + 64 :]


class Network(Walk):
    """The tensor A [rows, width] on its way through the layers; a visit gives the next one."""

    to = "ONNX"

    def __init__(self, graph: Graph, A: Tensor, width: int) -> None:
        self.graph, self.A, self.width = graph, A, width

    def walk(self, operations: Iterable[Any]) -> None:
        for one in operations:
            self.A = self.visit(one)

    def constant(self, values: Any) -> Tensor:
        """Weights in the network's type."""
        return self.graph.tensor(values, self.A.dtype)

    def visit_Residual(self, one: op.Residual) -> Tensor:
        skip = self.A
        self.walk(one.inner)
        return skip + self.A

    def visit_Embed(self, one: op.Embed) -> Tensor:
        start = self.width - len(one.tables)
        pieces = [self.A.columns(range(start))] if start else []
        for k, table in enumerate(one.tables):
            codes = self.graph.cast(self.A.columns(start + k), np.int64)  # [rows]
            pieces.append(self.graph.node("Gather", self.constant(table), codes))
        return self.graph.join(pieces)

    def visit_Dense(self, one: op.Dense) -> Tensor:
        bias = [] if one.b is None else [self.constant(one.b)]
        return self.graph.node("Gemm", self.A, self.constant(one.W), *bias, transB=1)

    def visit_Parametric(self, one: op.Parametric) -> Tensor:
        return (self.visit_Activation(one.f) - self.A) * one.alpha + self.A

    def visit_Multiply(self, one: op.Multiply) -> Tensor:
        return self.A * one.factors

    def visit_Waves(self, one: op.Waves) -> Tensor:
        graph, A = self.graph, self.A
        columns, learned, _ = one.weight.shape
        x = graph.node("Unsqueeze", A.columns(range(columns)), graph.tensor([2], np.int64))  # [rows, columns, 1]
        waves = graph.node("Cos", x * one.turns + one.phase)  # [rows, columns, waves]
        made = graph.node("Einsum", waves, self.constant(one.weight), equation="rkf,kmf->rkm") + one.bias
        flat = graph.node("Reshape", made, graph.tensor([0, columns * learned], np.int64))
        return graph.join([A, flat])

    def visit_Activation(self, one: op.Activation) -> Tensor:
        """A node of its own where both number types have one, else what the engine's formula does."""
        graph, A = self.graph, self.A
        if one.name in NATIVE:
            return graph.node(NATIVE[one.name], A)
        if one.name == "gelu" and A.dtype == np.float32:
            return A * (graph.node("Erf", A * 0.5**0.5) + 1.0) * 0.5
        kind: Any = ACTIVATIONS[one.name]
        f = kind(alpha=one.alpha) if "alpha" in getattr(kind, "__dataclass_fields__", {}) else kind()
        made: Tensor = f.forward(graph, A)
        return made

    def normed(self, A: Tensor, one: op.LayerNorm | op.RmsNorm) -> Tensor:
        return A / self.graph.sqrt(self.graph.mean(A * A) + one.eps) * one.gain

    def visit_LayerNorm(self, one: op.LayerNorm) -> Tensor:
        return self.normed(self.A - self.graph.mean(self.A), one) + one.shift

    def visit_RmsNorm(self, one: op.RmsNorm) -> Tensor:
        return self.normed(self.A, one)

    def visit_BatchNorm(self, one: op.BatchNorm) -> Tensor:
        scale = one.gain.astype(np.float64) / np.sqrt(one.variance.astype(np.float64) + one.eps)
        return (self.A - one.mean) * scale + one.shift

    def visit_PRelu(self, one: op.PRelu) -> Tensor:
        return self.graph.node("PRelu", self.A, self.constant(one.slope))

    def visit_Dropout(self, one: op.Dropout) -> Tensor:
        return self.A


def _log(graph: Graph, P: Tensor) -> Tensor:
    return graph.log(graph.maximum(P, 1e-300))


def _sigmoid(graph: Graph, V: Tensor) -> Tensor:
    small = graph.exp(-graph.abs(V))
    return graph.where(V >= 0.0, 1.0, small) / (small + 1.0)


_STEPS: dict[type, Callable[[Any, Graph, Tensor], Tensor]] = {
    op.Take: lambda step, graph, V: V.columns(list(step.places)),
    op.Softmax: lambda step, graph, V: graph.node("Softmax", V, axis=1),
    op.Sigmoid: lambda step, graph, V: _sigmoid(graph, V),
    op.LogSigmoid: lambda step, graph, V: graph.minimum(V, 0.0) - graph.log1p(graph.exp(-graph.abs(V))),
    op.Pair: lambda step, graph, V: graph.join([1.0 - V, V]),
    op.LogOf: lambda step, graph, V: _log(graph, V),
    op.Odds: lambda step, graph, V: _log(graph, V) - _log(graph, 1.0 - V),
    op.PairOdds: lambda step, graph, V: _log(graph, V.columns([1])) - _log(graph, V.columns([0])),
    op.Affine: lambda step, graph, V: V * step.slope + step.offset,
    op.Exp: lambda step, graph, V: graph.exp(V * step.rate),
    op.Unscale: lambda step, graph, V: V / step.scale[None, :] + step.shift[None, :],
    op.Expm1: lambda step, graph, V: graph.expm1(V),
    op.Limit: lambda step, graph, V: graph.minimum(graph.maximum(V, step.low[None, :]), step.high[None, :]),
}


def _stepwise(graph: Graph, steps: Sequence[Any], V: Tensor) -> Tensor:
    for step in steps:
        V = _STEPS[type(step)](step, graph, V)
    return V


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return reduce(add, tensors) / float(len(tensors))  # runtimes have the node Mean for float32 alone


def _average(one: op.Mean | op.Mixture, told: Sequence[Sequence[Tensor]], place: int) -> Tensor:
    """An answer, from what the members tell."""
    if isinstance(one, op.Mean):
        return _mean([each[place] for each in told])
    values = [each[one.around].graph.log1p(each[one.around]) if one.log else each[one.around] for each in told]
    middle = _mean(values)
    squares = [
        each[place] * each[place] + (value - middle) * (value - middle)
        for each, value in zip(told, values, strict=True)
    ]
    return middle.graph.sqrt(_mean(squares))


def _answers(
    description: Description,
    graph: Graph,
    told: Sequence[Sequence[Tensor]],
    refused: Tensor,
    taken: Sequence[str],
) -> dict[str, tuple[Tensor, int, int | None]]:
    """Output by name from what the members tell: its tensor, type, columns (None: it has one, and no second dimension).

    A row with a refused cell has NaN for every number, and an empty label.
    """
    from onnx import TensorProto

    found: dict[str, tuple[Tensor, int, int | None]] = {}

    def name(text: str) -> str:
        return text if text not in taken else name(f"{text}_")

    nan = graph.tensor(np.nan, np.float64)
    for place, answer in enumerate(description.answers):
        V = told[0][place] if len(told) == 1 else _average(answer.average, told, place)
        V = _stepwise(graph, answer.steps, V)
        found[name(answer.name)] = graph.where(refused, nan, V), TensorProto.DOUBLE, len(answer.columns)
    decision = description.decision
    if decision is None:
        return found
    if decision.several:
        held = graph.cast(decision.threshold <= V, np.int64)
        return {name("labels"): (graph.where(refused, -1, held), TensorProto.INT64, len(decision.labels)), **found}
    if len(decision.labels) == 2:
        best = graph.cast(V.columns(1) >= decision.threshold, np.int64)
    else:
        best = graph.node("ArgMax", V, dtype=np.int64, axis=1, keepdims=0)
    label = graph.node("Gather", graph.tensor(list(decision.labels), str), best, dtype=str)
    stopped = graph.node("Squeeze", refused, graph.tensor([1], np.int64), dtype=bool)
    shown = graph.node("Where", stopped, graph.tensor("", str), label, dtype=str)
    return {name("label"): (shown, TensorProto.STRING, None), **found}


def facts_of(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is written in an exported graph about itself, and its test rows. Raises ValueError for another one."""
    properties = {entry.key: entry.value for entry in model.metadata_props}
    try:
        return json.loads(properties["mlpbp.model"]), json.loads(properties["mlpbp.check"])
    except (KeyError, ValueError):
        raise ValueError("not an ONNX file as mlpbp writes it") from None


def verify(data: bytes) -> tuple[float, str, float]:
    """Run the test rows in a file: the largest difference, by what, and the largest that is rounding.

    Raises ValueError for a file that is not as it was written, or answers with other labels.
    """
    import onnx

    at = data.rfind(_KEY)
    place = -1 if at < 0 else data.find(b"\x12\x40", at)
    digest = data[place + 2 : place + 66]
    if place < 0 or hashlib.sha256(data[: place + 2] + _BLANK + data[place + 66 :]).hexdigest().encode() != digest:
        raise ValueError("not as it was written")
    facts, check = facts_of(onnx.load_model_from_string(data))
    outputs, by = run(data, feed(facts, check["rows"]))
    given = columns(facts, dict(zip(facts["outputs"], outputs, strict=True)))
    return largest_difference(given, check["numbers"], check["units"], check["labels"]), by, check["limit"]


def feed(facts: dict[str, Any], rows: dict[str, Sequence[Any]]) -> dict[str, Any]:
    """Columns of cells (None: missing) as an exported graph takes them."""
    gap = facts["gaps"][0] if facts["gaps"] else ""
    made: dict[str, Any] = {}
    for column in facts["columns"]:
        cells = rows[column["name"]]
        if column["kind"] == "numeric":
            values = np.array([np.nan if cell is None else cell for cell in cells], np.float64)
        else:
            yes_or_no = {1.0: "1", 0.0: "0"} if column["kind"] == "boolean" else {}
            values = np.array([gap if cell is None else yes_or_no.get(cell, cell) for cell in cells], object)
        made[column["name"]] = values[:, None]
    return {MATRIX: np.hstack(list(made.values()))} if facts["matrix"] else made


def columns(facts: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    """Answers under the names of `mlpbp predict` from the outputs of a graph."""
    told: dict[str, Any] = {}
    values = list(outputs.values())
    if facts["labels"]:
        labels = values.pop(0)
        told = dict(zip(facts["labels"], labels.T, strict=True)) if facts["several"] else {"prediction": list(labels)}
    for names, V in zip(facts["answers"], values, strict=True):
        told |= dict(zip(names, V.T, strict=True))
    return told


def run(data: bytes, given: dict[str, Any]) -> tuple[list[Any], str]:
    """The outputs of a graph, by onnxruntime where it is installed, else by onnx's reference, and which it was."""
    import onnx

    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        outputs: Any = ReferenceEvaluator(onnx.load_model_from_string(data)).run(None, given)
        return outputs, f"onnx {onnx.__version__}"
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, given), f"onnxruntime {onnxruntime.__version__}"
