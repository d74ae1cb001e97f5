"""Explanations are true: what they print is run, equation by equation, and must give what the engine computes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.config.model import ACTIVATIONS as ACTIVATION_NAMES
from mlp_core.config.model import LOSSES as LOSS_NAMES
from mlp_core.config.model import NORMS as NORM_NAMES
from mlp_core.config.training import OPTIMIZERS as OPTIMIZER_NAMES
from mlp_core.config.training import SCHEDULES as SCHEDULE_NAMES
from mlp_core.explain import FORMATS, Equation, Explanation, explain
from mlp_core.explain.activations_norms import FUNCTIONS, NORMS
from mlp_core.explain.formula import fill
from mlp_core.explain.latex import latex
from mlp_core.explain.losses import LOSS_FORMULAS
from mlp_core.explain.optimizers_schedules import FACTORS, RULES
from mlp_core.explain.text import plain
from mlp_core.nn.activations import ACTIVATIONS
from mlp_core.nn.layers import Layer
from mlp_core.nn.losses import LOSSES
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.proof.machine import Machine
from mlp_core.proof.training import walk
from mlp_core.training.experiment import Experiment
from mlp_core.training.unused import OF_OPTIMIZERS, OF_SCHEDULES

DIGITS: dict[str, Any] = {
    "data": {"name": "digits", "limit": 90, "split": {"val": 0.1, "test": 0.1}},
    "dtype": "float64",
    "kernels": "numpy",  # the numbers of every single step are looked at
    "model": {"hidden": [6, 5], "activation": "tanh"},
    "optimizer": {"name": "momentum", "lr": 0.1},
    "train": {"epochs": 4, "batch_size": 9},
}
WORDS = ["~data.name", "data.target=y", "data.train=WORDS", "preprocess.categorical.encode=embedding"]
BINARY = ["~data.name", "data.target=y", "data.train=BINARY"]
DIABETES = ["data.name=diabetes", "preprocess.numeric.scale=standard"]


Build = Callable[..., Experiment]
Explained = Callable[[list[str]], Explanation]


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with two classes."""
    path = tmp_path_factory.mktemp("explain") / "binary.csv"
    rows = np.random.default_rng(0).standard_normal((90, 3)).round(3)
    lines = [f"{a},{b},{c},{'yes' if a + b * c > 0.3 else 'no'}" for a, b, c in rows]
    path.write_text("\n".join(["a,b,c,y", *lines]) + "\n")
    return path


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with two columns of words."""
    path = tmp_path_factory.mktemp("explain") / "words.csv"
    rng = np.random.default_rng(1)
    lines = [
        f"{rng.normal():.3f},{rng.choice(list('pqr'))}x,{rng.choice(list('st'))}x,{'ab'[i % 2]}" for i in range(90)
    ]
    path.write_text("\n".join(["a,b,c,y", *lines]) + "\n")
    return path


@pytest.fixture(scope="session")
def build(binary: Path, words: Path) -> Build:
    """Experiments on digits, with overrides."""

    def experiment(*overrides: str) -> Experiment:
        return Experiment.build(
            from_mapping(DIGITS, [o.replace("BINARY", str(binary)).replace("WORDS", str(words)) for o in overrides])
        )

    return experiment


@pytest.fixture(scope="session")
def explained(build: Build) -> Explained:
    """The explanation of an experiment with overrides, made once."""
    made: dict[tuple[str, ...], Explanation] = {}

    def explanation(overrides: list[str]) -> Explanation:
        key = tuple(overrides)
        if key not in made:
            made[key] = explain(build(*overrides))
        return made[key]

    return explanation


STRONG = [
    *("model.numeric_embedding=periodic", "model.input_scale=true", "model.parametrization=ntk"),
    *("model.parametric=true", "model.activation=selu", "model.init_rescale=true", "model.bias_init=data"),
    *("model.dropout=0.2", "model.input_dropout=0.1", "optimizer.weight_decay=0.02"),
    "optimizer.lr_factors={bias: 0.1, numeric_embedding: 0.1, input_scale: 6, alpha: 0.1}",
]
FADING = ["schedule={name: coslog, dropout: flat_cos, weight_decay: flat_cos}", "train.max_steps=4"]
CASES: dict[str, list[str]] = {
    "plain": [],
    "no hidden layer": ["model.hidden=[]"],
    "no bias": ["model.bias=false"],
    "batch norm": ["model.norm=batch", "model.norm_eps=1e-3"],
    "layer norm": ["model.norm=layer"],
    "rms norm": ["model.norm=rms", "model.activation=prelu"],
    "batch norm after": ["model.norm=batch", "model.norm_position=post_activation", "model.dropout=0.3"],
    "layer norm after": ["model.norm=layer", "model.norm_position=post_activation", "model.residual=true"],
    "prelu": ["model.activation={name: prelu, alpha: 0.1}"],
    "dropout": ["model.dropout=0.4", "model.input_dropout=0.2"],
    "residual": ["model.hidden=[6,6,6]", "model.residual=true", "model.norm=batch", "model.dropout=0.2"],
    "input residual": ["model.hidden=[64]", "model.residual=true", "model.input_dropout=0.1"],
    "mixed layers": [
        "model.hidden=[{units: 6, activation: gelu, norm: layer}, {units: 6, activation: mish, dropout: 0.3}, "
        "{units: 6, activation: gelu_tanh, norm: rms, residual: true}, {units: 4, activation: identity}]"
    ],
    "words": [*WORDS, "regularization.l2=0.01", "optimizer.weight_decay=0.1", "model.input_dropout=0.2"],
    "words alone": [*WORDS, "data.drop=[a]", "regularization.max_norm=0.3"],
    "words by muon": [*WORDS, "optimizer.name=muon"],
    "smoothing": ["loss.label_smoothing=0.1"],
    "class weights": ["loss.class_weight=balanced"],
    "noise and mixup": ["regularization.input_noise=0.1", "regularization.mixup=0.3"],
    "weights and mixup": ["loss.class_weight=balanced", "regularization.mixup=0.3"],
    "penalties": ["regularization.l2=0.01", "regularization.l1=0.001"],
    "penalties on all": ["regularization.l2=0.01", "regularization.l1=0.001", "regularization.bias=true"],
    "clipping": ["optimizer.clip_norm=0.1", "optimizer.clip_value=0.05"],
    "max norm and average": ["regularization.max_norm=0.5", "optimizer.ema=0.99", "optimizer.lr=0.1"],
    "accumulation": ["optimizer.accumulate=2", "regularization.l2=0.01", "model.dropout=0.2"],
    "groups": [
        "optimizer.weight_decay=0.1",
        "optimizer.groups=[{match: '0.*', freeze: true}, {match: '*.bias', lr_scale: 0.1, weight_decay: 0.2}]",
    ],
    "ntk": ["model.parametrization=ntk", "model.norm=batch"],
    "ntk residual": ["model.hidden=[6,6]", "model.residual=true", "model.parametrization=ntk"],
    "parametric": ["model.parametric=true", "model.activation=mish", "model.dropout=0.1"],
    "parametric behind a norm": ["model.parametric=true", "model.activation={name: elu, alpha: 0.7}", "model.norm=rms"],
    "waves": ["model.numeric_embedding=periodic", "data.name=diabetes"],
    "waves among words": [*WORDS, "model.numeric_embedding={name: periodic, frequencies: 3, size: 2}"],
    "factors": ["model.input_scale=true"],
    "strong": [*WORDS, *STRONG],
    "factors by kind": ["optimizer.lr_factors.bias=0.1", "optimizer.groups=[{match: 0.bias, lr_scale: 3}]"],
    "warm-up": ["schedule={name: cosine, warmup: 0.2, final: 0.1}"],
    "adam": ["optimizer.name=adam", "optimizer.lr=auto"],
}
CASES |= {f"activation {name}": [f"model.activation={name}"] for name in ACTIVATION_NAMES}
SETTINGS = {"focal": ["loss.gamma=1.5"], "huber": ["loss.delta=0.4"], "quantile": ["loss.quantiles=[0.1,0.5,0.9]"]}
CASES |= {
    f"loss {name}": [f"loss.name={name}", *([] if kind.classifies else DIABETES), *SETTINGS.get(name, [])]
    for name, kind in LOSSES.items()
}
CASES["loss bce"] += BINARY
CASES["loss bce weighted"] = ["loss.name=bce", "loss.pos_weight=2.5", *BINARY]
CASES["loss focal binary"] = ["loss.name=focal", "loss.gamma=0", *BINARY]
CASES["loss cross_entropy binary"] = ["loss.name=cross_entropy", *BINARY]


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_the_equations_are_what_the_engine_computes(build: Build, overrides: list[str]) -> None:
    walked = walk(build(*overrides), "numpy")
    assert walked.wrong is None
    assert walked.steps >= (9 if "loss.name=poisson" in overrides else 13)  # which diverges at this rate


@pytest.mark.parametrize("more", [STRONG, ["model.dropout=0.3", "optimizer={name: lbfgs, weight_decay: 0.1}"]])
def test_what_fades_is_what_the_engine_leaves(build: Build, more: list[str]) -> None:
    lbfgs = ["train.batch_size=full"] if "lbfgs" in more[1] else []
    walked = walk(build(*more, *FADING, *lbfgs), "numpy")
    assert walked.wrong is None
    assert walked.steps == 4


@pytest.mark.parametrize(
    ("groups", "decay"),
    [("", 0.0), ("{match: '*.bias', lr_scale: 0.1, weight_decay: 0.3}", 0.1), ("{match: '2.*', freeze: true}", 0.1)],
)
@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_updates_are_what_the_optimizer_does(build: Build, name: str, groups: str, decay: float) -> None:
    full = ["train.batch_size=full", "train.epochs=14"] if name == "lbfgs" else []
    betas = ["optimizer.betas=[0.8,0.9]"] if name in OF_OPTIMIZERS["betas"] else []
    own = [f"optimizer.groups=[{groups}]"] if groups else []
    walked = walk(build(f"optimizer.name={name}", f"optimizer.weight_decay={decay}", *betas, *full, *own), "numpy")
    assert walked.wrong is None
    assert walked.steps >= 13


@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_rates_are_those_of_the_schedule(build: Build, name: str, warmup: float, per: str) -> None:
    every = {"final": 0.05, "step_size": 2, "milestones": [1, 3], "power": 2.0, "cycles": 2, "gamma": 0.3}
    settings = ", ".join(f"{key}: {value}" for key, value in every.items() if name in OF_SCHEDULES[key])
    built = build(f"schedule={{name: {name}, warmup: {warmup}, per: {per}, {settings}}}")
    schedule, machine = built.trainer.schedule, Machine(np.zeros(1), [("W", 1, slice(0, 1), (1, 1))], plateau=1.0)
    lines = next(section.lines for section in explain(built).sections if section.title.startswith("Learning"))
    for step in range(schedule.steps):
        machine["step"] = step
        machine.run(lines)
        assert float(machine["lr"]) == pytest.approx(schedule.rate(step), rel=1e-12)


def test_no_name_means_two_things(explained: Explained) -> None:
    """A letter with a number stands for an array of each layer; the same letter alone would take its place."""
    alone, numbered = set[str](), set[str]()
    for overrides in CASES.values():
        for equation in explained(overrides).equations():
            name, bracket, _ = equation.target.partition("[")
            (numbered if bracket else alone).add(name.partition("(")[0])
    assert not alone & numbered


def test_no_name_is_without_a_formula() -> None:
    assert set(FUNCTIONS) == set(ACTIVATION_NAMES) == {*ACTIVATIONS, "prelu"}
    assert set(LOSS_FORMULAS) == set(LOSS_NAMES) == set(LOSSES)
    assert {"none", *NORMS} == set(NORM_NAMES)
    assert set(RULES) == set(OPTIMIZER_NAMES) == set(OPTIMIZERS)
    assert set(FACTORS) == set(SCHEDULE_NAMES)
    assert {kind.__name__ for kind in Layer.__subclasses__()} == {
        *("Dense", "Activate", "PRelu", "Norm", "Dropout", "Residual", "Embedding"),
        *("NumericEmbedding", "InputScale", "Parametric"),
    }


POINTS = np.concatenate([np.linspace(-6, 6, 97), [-0.5, 0.25]])
POINTS = POINTS[~np.isin(POINTS, (-3, -1, 0, 1, 3))]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_function_and_its_slope_are_the_engines(name: str) -> None:
    formula, f = FUNCTIONS[name], ACTIVATIONS[name]()
    machine = Machine(np.zeros(1), [("W", 1, slice(0, 1), (1, 1))])
    alpha = getattr(f, "alpha", 0)
    machine.run([Equation(*pair) for pair in formula.helpers])
    machine.run([Equation("f(z)", fill(formula.f, alpha=alpha)), Equation("df(z)", fill(formula.slope, alpha=alpha))])
    A = f.forward(np, POINTS.copy())
    z = A if f.from_output else POINTS
    np.testing.assert_allclose(machine["f"](POINTS) + 0 * POINTS, A, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        machine["df"](POINTS) + 0 * POINTS, f.slope(np, z, A) + 0 * POINTS, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_text_fits_a_terminal(explained: Explained, overrides: list[str]) -> None:
    text = FORMATS["text"](explained(overrides))
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"\bdf\b|maximum|minimum|where\(|\*\*|None", text)
    assert all(line == line.rstrip() for line in text.splitlines())


def test_only_what_is_switched_on_is_told(build: Build) -> None:
    plain_text = FORMATS["text"](explain(build()))
    for word in ("dropout", "norm", "gamma", "clip", "average", "weight decay", "residual", "sum(w)", "eta", "M["):
        assert word not in plain_text.replace("beta", "").replace("theta", ""), word
    assert "dX = Delta[1] @ W[1]" in plain_text
    assert "Delta[3] = (P - Y) / 9" in plain_text
    assert "loss = sum(rows) / 9" in plain_text


def test_shapes_are_the_true_ones(build: Build) -> None:
    shapes = {equation.target: equation.shape for equation in explain(build()).equations()}
    assert shapes["Z[1]"] == (9, 6)
    assert shapes["dW[2]"] == (5, 6)
    assert shapes["db[3]"] == (10,)
    assert shapes["Delta[3]"] == (9, 10)
    assert shapes["dX"] == (9, 64)
    assert shapes["g"] == (64 * 6 + 6 + 30 + 5 + 50 + 10,)


@pytest.mark.parametrize(
    ("expression", "text", "tex"),
    [
        ("(Delta[2] @ W[2]) * df[1](Z[1])", "(Delta[2] @ W[2]) * f'[1](Z[1])", None),
        ("Delta[1].T @ X", "Delta[1].T @ X", r"{\Delta^{[1]}}^{\top} \, X"),
        ("where(z > 0, z, 0.01 * z)", "z if z > 0 else 0.01 * z", None),
        ("(P - Y) / 64", "(P - Y) / 64", r"\frac{P - Y}{64}"),
        (
            "beta2 * v + (1 - beta2) * g**2",
            "beta2 * v + (1 - beta2) * g^2",
            r"\beta_2 \, v + \left(1 - \beta_2\right) \, g^{2}",
        ),
        ("sum_rows(Delta[1])", "sum_rows(Delta[1])", r"\sum\nolimits_{\mathrm{rows}}\left(\Delta^{[1]}\right)"),
        ("1e-05 * A[1]", "1e-05 * A[1]", r"1 \cdot 10^{-5} \, A^{[1]}"),
    ],
)
def test_expressions_in_both_scripts(expression: str, text: str, tex: str | None) -> None:
    assert plain(expression) == text
    if tex is not None:
        assert latex(expression) == tex


@pytest.mark.parametrize(
    ("template", "values", "filled"),
    [
        ("f(z) / c + l2 * w", {"z": "Z[1]", "c": 1, "l2": 0}, "f(Z[1])"),
        ("(1 - s) * Y + s / c", {"s": 0.25, "c": 4}, "(1 - 0.25) * Y + 0.25 / 4"),
        ("x * y", {"x": "a + b", "y": 1.0}, "a + b"),
        ("x * y", {"x": "a + b", "y": 2.0}, "(a + b) * 2"),
        ("0 - x", {"x": "a"}, "-a"),
        ("x ** n", {"x": -2, "n": 2}, "(-2) ** 2"),
    ],
)
def test_filling_leaves_out_what_vanishes(template: str, values: dict[str, Any], filled: str) -> None:
    assert fill(template, **values) == filled


def _balanced(tex: str) -> None:
    depth = 0
    for sign in re.sub(r"\\[{}]", "", tex):
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", tex):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    assert len(re.findall(r"\\left\b", tex)) == len(re.findall(r"\\right\b", tex))


COMMANDS = set(
    textwrap.dedent("""
    documentclass usepackage setlength parindent allowdisplaybreaks begin end section subsection odot mathrm Delta top
    left right frac sqrt sum nolimits operatorname text cdot lVert rVert lfloor rfloor hat bar infty ell mathcal omega
    exp log tanh cosh sin cos max min ge le bmod dots to theta alpha beta gamma rho sigma Phi phi pi mu eta kappa tau
    varepsilon times nu
    """).split()
)


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_latex_is_well_formed(explained: Explained, overrides: list[str]) -> None:
    tex = FORMATS["latex"](explained(overrides))
    _balanced(tex)
    assert set(re.findall(r"\\([A-Za-z]+)", tex)) <= COMMANDS
    assert tex.startswith("\\documentclass")
    assert tex.rstrip().endswith("\\end{document}")
    outside = re.sub(r"\\begin\{align\*\}.*?\\end\{align\*\}|\$[^$]*\$", "", tex, flags=re.S)
    assert not re.search(r"(?<!\\)[_^#%&$]", outside.split(r"\begin{document}")[1])
    assert not re.search(r"\n\s*\n", "".join(re.findall(r"\\begin\{align\*\}.*?\\end\{align\*\}", tex, flags=re.S)))


def test_markdown_closes_its_formulas(build: Build) -> None:
    shown = FORMATS["markdown"](explain(build("model.norm=batch")))
    assert shown.count("$$") % 2 == 0
    for block in re.findall(r"\$\$(.*?)\$\$", shown, flags=re.S):
        _balanced(block)
    assert shown.startswith("# ")
    assert r"\Delta^{[3]} &= \frac{P - Y}{9} && [9 \times 10]" in shown
