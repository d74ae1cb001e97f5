"""What is exported notices damage, refuses what `mlpbp predict` refuses, and keeps to its limits."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_models import FLAGS, Trained, by_onnx, by_python, difference, train, train_several

from mlp_core.data.preprocess.quantile_scores import Ranks
from mlp_core.errors import Failed, UsageError
from mlp_core.export import operations as op
from mlp_core.export import to_onnx
from mlp_core.export.c_text import identifier, number, string
from mlp_core.export.check import check
from mlp_core.export.describe import describe
from mlp_core.export.export import FILES, export, format_of, written
from mlp_core.export.probes import draw
from mlp_core.nn.complex_math import erf
from mlp_core.training.ensemble import Ensemble
from mlp_core.training.model import Model

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
needs_onnx = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime")
PLAIN = {"hidden": [4], "norm_position": "pre_activation"}
STRICT = {
    "preprocess": {
        "numeric": {"impute": "error", "scale": "standard"},
        "categorical": {"encode": "onehot", "unknown": "error", "missing": "error", "min_count": 1},
        "columns": {},
    },
    "model": PLAIN,
    "loss": {"name": "bce"},
    "dtype": "float64",
    "data": {"drop": ["price", "int", "member", "town"]},
}


def put(trained: Trained, to: str, folder: Path, name: str = "model", **choices: Any) -> Path:
    """The files of a model in a format."""
    description = describe(trained.model)
    path = folder / f"{name}{FILES[to][0]}"
    files = written(description, draw(trained.model, description), path, to, choices.get("matrix", False))
    for file, data in files.items():
        file.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small classifier of numbers and words."""
    return train(1, tmp_path_factory.mktemp("small"), "multiclass", model=PLAIN, loss={"name": "auto"})


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A classifier of two numbers and a column of words that refuses gaps and words never seen."""
    folder = tmp_path_factory.mktemp("strict")
    import export_models

    kept = export_models.table

    def whole(rng: Any, rows: int, unseen: bool) -> dict[str, list[str]]:
        return {**kept(rng, rows, unseen=False), "colour": [str(word) for word in rng.choice(["red", "blue"], rows)]}

    export_models.table = whole
    try:
        return train(0, folder, "binary", **STRICT)
    finally:
        export_models.table = kept


DAMAGE = [(to, end) for to, ends in FILES.items() for end in ends]


@pytest.mark.parametrize(("to", "end"), DAMAGE)
def test_a_damaged_file_is_noticed_wherever_it_is(to: str, end: str, small: Trained, tmp_path: Path) -> None:
    if (to == "onnx" and not find_spec("onnxruntime")) or (to == "torch" and not find_spec("torch")):
        pytest.skip("needs the package")
    if to == "c" and not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    path = put(small, to, tmp_path)
    file = path.with_suffix(end)
    data = bytearray(file.read_bytes())
    flips = 1 if to == "torch" else 3  # it takes seconds to be imported
    for at in np.random.default_rng(0).integers(0, len(data) - 1, flips).tolist():
        damaged = bytearray(data)
        damaged[at] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(Failed, match="does not pass its check"):
            check(path)
    if to == "torch":
        return
    file.write_bytes(data)
    assert check(path).difference <= 1e-5
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(Failed, match="does not pass its check"):
        check(path)


@needs_cc
def test_the_c_notices_a_changed_table_by_itself(small: Trained, tmp_path: Path) -> None:
    path = put(small, "c", tmp_path)
    text = path.read_text()
    head, tail = text.split("static const real W", 1)
    digit = re.search(r"(?<=\.)(\d)", tail)
    assert digit is not None
    changed = str((int(digit[1]) + 1) % 10)
    path.write_text(f"{head}static const real W{tail[: digit.start()]}{changed}{tail[digit.end() :]}")
    program = tmp_path / "check"
    command = ["cc", *FLAGS, "-DMODEL_CHECK", str(path), "-lm", "-o", str(program)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "the tables are not as they were written\n")


@needs_cc
@pytest.mark.parametrize(("make", "seed"), [(train, seed) for seed in range(8)] + [(train_several, s) for s in (2, 3)])
def test_the_c_is_clean_under_sanitizers(make: Callable[..., Trained], seed: int, tmp_path: Path) -> None:
    trained = make(seed, tmp_path)
    path, program = put(trained, "c", tmp_path), tmp_path / "check"
    sanitize = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["cc", *FLAGS, *sanitize, "-DMODEL_CHECK", str(path), "-lm", "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in built.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs_cc
def test_the_c_of_digits_is_small_and_allocates_nothing(tmp_path: Path) -> None:
    from mlp_core.config import from_mapping
    from mlp_core.runs.evaluate import open_model
    from mlp_core.runs.run import Run

    config = {"data": {"name": "digits", "limit": 200}, "model": {"hidden": [256, 256]}, "train": {"epochs": 1}}
    for _ in Run.start(from_mapping({**config, "threads": 1}), b"", tmp_path / "run").execute():
        pass
    model, _ = open_model(tmp_path / "run")
    description = describe(model)
    for file, data in written(description, draw(model, description), tmp_path / "digits.c", "c", False).items():
        file.write_bytes(data)
    compiled = tmp_path / "digits.o"
    command = ["cc", *FLAGS, "-c", str(tmp_path / "digits.c"), "-o", str(compiled)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert isinstance(model, Model)
    weights = 4 * model.network.parameters.size
    stack = re.search(
        r"about ([\d,]+) bytes of stack", " ".join((tmp_path / "digits.h").read_text().split()).replace(" * ", " ")
    )
    assert stack is not None
    assert compiled.stat().st_size - weights + int(stack[1].replace(",", "")) < 200_000
    names = subprocess.run(["nm", "-u", str(compiled)], capture_output=True, text=True).stdout.split()
    assert not {"malloc", "calloc", "realloc", "free"} & set(names)


def test_python_refuses_what_predict_refuses(strict: Trained, tmp_path: Path) -> None:
    path = put(strict, "numpy", tmp_path)
    cells = {name: strict.cells[name][:2] for name in ("size", "count", "colour")}
    by_python(path, describe(strict.model), cells)
    bad: dict[str, tuple[str, Any]] = {
        "size": ("a cell is missing", None),
        "count": ("not a finite number", "inf"),
        "colour": ("was never seen in training", "purple"),
    }
    for name, (message, cell) in bad.items():
        with pytest.raises(ValueError, match=message):
            by_python(path, describe(strict.model), {**cells, name: [cells[name][0], cell]})


@needs_onnx
def test_onnx_answers_no_number_to_what_predict_refuses(strict: Trained, tmp_path: Path) -> None:
    path = put(strict, "onnx", tmp_path)
    cells = {name: strict.cells[name][:1] * 5 for name in ("size", "count", "colour")}
    cells["size"][1], cells["count"][2], cells["colour"][3], cells["colour"][4] = "", "inf", "purple", ""
    answers = by_onnx(path, describe(strict.model), cells)
    assert [bool(label) for label in answers["prediction"]] == [True, False, False, False, False]
    assert np.isnan(answers["p_up"]).tolist() == [False, True, True, True, True]


@needs_cc
def test_c_says_which_column_it_refuses(strict: Trained, tmp_path: Path) -> None:
    path, main = put(strict, "c", tmp_path), tmp_path / "main.c"
    main.write_text(
        '#include "model.h"\n#include <math.h>\n#include <stdio.h>\nint main(void) {\n'
        '    model_row row = {3e4, 2, "red"}; model_answer answer;\n'
        '    printf("%d ", model_predict(&row, &answer)); row.colour = "purple";\n'
        '    printf("%d ", model_predict(&row, &answer)); row.colour = NULL;\n'
        '    printf("%d ", model_predict(&row, &answer)); row.size = NAN;\n'
        '    printf("%d ", model_predict(&row, &answer)); row.size = 1; row.count = INFINITY;\n'
        '    printf("%d", model_predict(&row, &answer)); return 0; }\n'
    )
    program = tmp_path / "main"
    command = ["cc", *FLAGS, str(main), str(path), "-lm", "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert subprocess.run([str(program)], capture_output=True, text=True).stdout == "0 3 3 1 2"


@needs_onnx
def test_numbers_alone_can_come_as_a_matrix(tmp_path: Path) -> None:
    changes = {"drop": ["member", "colour", "town"]}
    trained = train(6, tmp_path, "regression", data=changes, preprocess={"columns": {}}, loss={"name": "gaussian_nll"})
    path = put(trained, "onnx", tmp_path, matrix=True)
    numbers = ("size", "price", "count", "int")
    cells = {name: trained.cells[name] for name in numbers}
    description = describe(trained.model)
    limit = 1e-5 if description.dtype == "float32" else 1e-12
    assert difference(by_onnx(path, description, cells), trained.answers) <= limit
    X = np.array([[float(cell or "nan") for cell in cells[name]] for name in numbers]).T
    shape = (len(X), len(trained.model.task.targets))
    assert [entry.shape for entry in to_onnx.run(path.read_bytes(), {"X": X})[0]] == [shape, shape]


def test_a_matrix_is_refused_where_there_are_words(small: Trained, tmp_path: Path) -> None:
    if find_spec("onnx") is None:
        pytest.skip("needs onnx")
    with pytest.raises(UsageError, match='--inputs matrix: column "member" does not hold numbers'):
        export(small.model, tmp_path, tmp_path / "m.onnx", "onnx", "matrix")
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_the_reference_evaluator_agrees_with_onnxruntime(small: Trained, tmp_path: Path, monkeypatch: Any) -> None:
    data = put(small, "onnx", tmp_path).read_bytes()
    expected, _, limit = to_onnx.verify(data)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    difference, by, _ = to_onnx.verify(data)
    assert by.startswith("onnx ")
    assert max(difference, expected) <= limit


def test_the_torch_weights_are_all_of_the_module(small: Trained, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    path = put(small, "torch", tmp_path, "net")
    namespace: dict[str, Any] = {"__name__": "net", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    module = namespace["network"]()
    weights = load_file(path.with_suffix(".safetensors"))
    module.load_state_dict(weights, strict=True)
    assert {name for name, _ in module.named_parameters()} <= set(weights)
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_the_torch_weights_of_members_are_all_of_a_list_of_modules(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    trained = train_several(0, tmp_path)
    path = put(trained, "torch", tmp_path, "net")
    namespace: dict[str, Any] = {"__name__": "net", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    modules = namespace["network"]()
    modules.load_state_dict(load_file(path.with_suffix(".safetensors")), strict=True)
    assert isinstance(modules, torch.nn.ModuleList)
    assert len(modules) == len(describe(trained.model).members) > 1


def test_what_members_have_in_common_is_in_a_file_once(small: Trained, tmp_path: Path) -> None:
    """Of two members that are one model, tables and preprocessing are there once, and the answers are its own."""
    assert isinstance(small.model, Model)
    twice = Ensemble.of([small.model, small.model], ["one", "two"])
    alone, both = (describe(model) for model in (small.model, twice))
    sizes = {}
    for name, description, model in (("alone", alone, small.model), ("both", both, twice)):
        path = tmp_path / f"{name}.py"
        for file, data in written(description, draw(model, description), path, "numpy", False).items():
            file.write_bytes(data)
        sizes[name] = path.read_text().count("def inputs")
        assert difference(by_python(path, description, small.cells), small.answers) <= description.limit
    assert sizes == {"alone": 1, "both": 1}
    if find_spec("onnx"):
        nodes = []
        for description, model in ((alone, small.model), (both, twice)):
            import onnx

            (data,) = written(description, draw(model, description), tmp_path / "m.onnx", "onnx", False).values()
            nodes.append(len(onnx.load_model_from_string(data).graph.node))
        assert nodes[1] <= nodes[0] + 4


def test_without_a_compiler_or_a_package_it_says_so(small: Trained, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("mlp_core.export.check.shutil.which", lambda name: None)
    done = export(small.model, tmp_path, tmp_path / "m.c", "c")
    assert (done.checked.by, done.checked.why) == ("", "there is no C compiler (cc, gcc, clang)")
    assert sorted(done.files) == [tmp_path / "m.c", tmp_path / "m.h"]
    monkeypatch.setattr("mlp_core.export.check.find_spec", lambda name: None)
    assert export(small.model, tmp_path, tmp_path / "m.py", "torch").checked.why == "PyTorch is not installed"
    with pytest.raises(UsageError, match=r"ONNX needs the package onnx; pip install 'mlpbp\[onnx\]'"):
        export(small.model, tmp_path, tmp_path / "m.onnx", "onnx")


def test_nothing_is_written_where_the_check_fails(small: Trained, tmp_path: Path, monkeypatch: Any) -> None:
    from mlp_core.export import to_numpy

    rows = to_numpy.Network.visit_Dense

    def wrong(network: Any, one: Any) -> None:
        rows(network, one)
        network.line("A = A + np.arange(A.shape[1])")

    monkeypatch.setattr(to_numpy.Network, "visit_Dense", wrong)
    with pytest.raises(Failed, match=r"m\.py: the exported model does not pass its check: "):
        export(small.model, tmp_path, tmp_path / "m.py", "numpy")
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Unheard:
    """An operation that no format knows."""


@pytest.mark.parametrize("to", [to for to in FILES if to != "onnx" or find_spec("onnx")])
def test_what_a_format_has_nothing_for_is_refused_by_its_name(to: str, small: Trained, tmp_path: Path) -> None:
    description = describe(small.model)
    (member,), probes = description.members, draw(small.model, description)
    unknown: dict[str, Any] = {r"an operation of this kind \(Unheard\)": Unheard()}
    if to != "onnx":  # which takes the engine's own formula of every activation
        unknown["the activation unheard"] = op.Activation("unheard")
    for what, one in unknown.items():
        changed = replace(description, members=(replace(member, network=(*member.network, one)),))
        with pytest.raises(UsageError, match=what + r" cannot be exported to (C|numpy|PyTorch|ONNX) yet$"):
            written(changed, probes, tmp_path / f"m{FILES[to][0]}", to, False)


def test_probes_are_the_same_each_time_with_gaps_and_new_words_among_them(small: Trained) -> None:
    description = describe(small.model)
    first, second = draw(small.model, description), draw(small.model, description)
    assert first == second
    assert first.count == 16
    cells = [cell for column in first.rows.values() for cell in column]
    assert None in cells
    assert any(isinstance(cell, str) and cell.startswith("never seen") for cell in cells)


FORMATS = {
    "model.onnx": (None, "onnx"),
    "model.c": (None, "c"),
    "model.py": ("torch", "torch"),
    "net.py": (None, "--to: no format is named"),
    "model.txt": ("c", "a file of this format ends otherwise"),
    "numpy.py": ("numpy", "would hide a module of that name"),
    "-": ("c", "is not written to the screen"),
    "m.c": ("rust", "unknown format"),
}


@pytest.mark.parametrize(("name", "asked", "expected"), [(name, *one) for name, one in FORMATS.items()])
def test_the_format_is_asked_for_or_told_by_the_name(name: str, asked: str | None, expected: str) -> None:
    if expected in FILES:
        assert format_of(Path(name), asked) == expected
        return
    with pytest.raises(UsageError, match=expected):
        format_of(Path(name), asked)


def test_c_takes_any_name_word_and_number() -> None:
    taken: list[str] = []
    for text in ("a b", "a_b", "a-b", "int", "NAN", "3d", "ünïcode", "", "__x", "FLT_MAX"):
        taken.append(identifier(text, taken))
    assert taken[:4] == ["a_b", "a_b_2", "a_b_3", "x_int"]
    assert all(re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) for name in taken)
    assert len(set(taken)) == len(taken)
    assert string('"?\\\n✓', "a word") == '"\\042\\077\\134\\012\\342\\234\\223"'
    with pytest.raises(UsageError, match="a word is longer than C takes"):
        string("x" * 4096, "a word")
    values = np.random.default_rng(0).standard_normal(1000) * 10.0 ** np.arange(-30, 30).repeat(17)[:1000]
    assert [float(number(value)) for value in values] == values.tolist()
    single = values.astype(np.float32)
    assert [np.float32(number(float(v), "float32").rstrip("f")) for v in single] == single.tolist()


@needs_onnx
def test_the_formulas_of_a_graph_are_exact_in_double() -> None:
    """Normal scores at, between and beyond quantiles; log(1 + x), exp(x) - 1 and the error function."""
    from onnx import TensorProto, helper

    from mlp_core.export.onnx_cells import _normal_scores
    from mlp_core.export.onnx_graph import IR_VERSION, OPSET, Graph, Tensor

    rng = np.random.default_rng(0)
    knots = np.sort(np.concatenate([rng.normal(size=20), np.zeros(5), [3.0, 3.0]]))
    x = np.concatenate([rng.normal(size=200), knots, [-9.0, 9.0], 10.0 ** np.arange(-12.0, 0)])[:, None]
    graph = Graph()
    X = Tensor(graph, "x", np.float64)
    made = [_normal_scores(graph, X, knots), graph.log1p(graph.abs(X)), graph.expm1(X), erf(graph, X)]
    outputs = [helper.make_tensor_value_info(one.name, TensorProto.DOUBLE, None) for one in made]
    inputs = [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["rows", 1])]
    body = helper.make_graph(graph.nodes, "g", inputs, outputs, graph.tensors)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    scores, logs, exps, errors = to_onnx.run(model, {"x": x})[0]
    np.testing.assert_allclose(scores[:, 0], Ranks(knots).transform(x[:, 0]), rtol=0, atol=1e-13)
    np.testing.assert_allclose(logs, np.log1p(np.abs(x)), rtol=4e-16)
    np.testing.assert_allclose(exps, np.expm1(x), rtol=1e-15)
    np.testing.assert_allclose(errors, erf(np, x), rtol=1e-15)
