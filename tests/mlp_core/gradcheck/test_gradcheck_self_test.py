"""Every planted bug is reported, every broken checker noticed, and the matrix covers what the schema admits."""

from __future__ import annotations

import os

import pytest

from mlp_core.gradcheck import matrix as run_matrix
from mlp_core.gradcheck import self_test as run_self_test
from mlp_core.gradcheck.cases import loss_cases
from mlp_core.gradcheck.combinations import NORMS, cells
from mlp_core.gradcheck.planted import BUGS, CHECKERS
from mlp_core.gradcheck.self_test import Outcome, SelfTestReport, _break, _clean, _plant
from mlp_core.nn.activations import ACTIVATIONS
from mlp_core.nn.losses import LOSSES

SEEDS = int(os.environ.get("MLPBP_MATRIX_SEEDS", "1"))  # `make soak` sets 3
MODELS = sorted({bug.model for bug in BUGS})


@pytest.mark.parametrize("model", MODELS)
def test_the_sound_engine_passes(model):
    outcome = _clean(model, seed=1)
    assert outcome.caught, outcome


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.family}: {bug.name}")
def test_a_planted_bug_is_reported_and_then_gone(bug):
    before = getattr(bug.owner, bug.attribute)
    outcome = _plant(bug, seed=1)
    assert outcome.caught
    assert outcome.by
    assert getattr(bug.owner, bug.attribute) is before


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.name)
def test_a_broken_checker_is_noticed(checker):
    before = getattr(checker.owner, checker.attribute)
    assert _break(checker, seed=1).caught
    assert getattr(checker.owner, checker.attribute) is before


def test_there_are_as_many_as_promised_and_all_slips_of_the_article_among_them():
    assert len(BUGS) >= 50
    assert len({bug.name for bug in BUGS if bug.family == "penalties"} | {b.name for b in BUGS}) == len(BUGS)
    assert len(CHECKERS) >= 8
    assert {bug.slip for bug in BUGS if bug.slip} == set(range(1, 11))
    families = {"reductions", "layout", "activations", "loss", "norm", "dropout", "penalties", "precision", "state"}
    families |= {"ntk", "parametric", "numeric embedding", "input scale"}
    assert {bug.family for bug in BUGS} == families


def test_every_activation_and_loss_of_the_tables_has_a_planted_bug():
    activations = {bug.owner.name for bug in BUGS if bug.owner in ACTIVATIONS.values()}
    assert activations == set(ACTIVATIONS) - {"identity"}  # its derivative is 1, and nowhere multiplied
    assert {bug.owner.name for bug in BUGS if bug.owner in LOSSES.values()} == set(LOSSES)


def test_the_self_test_as_a_whole():
    calls: list[tuple[int, int]] = []
    report = run_self_test(progress=lambda done, total: calls.append((done, total)))
    assert report.passed
    assert report.lines()[1] == f"planted bugs caught: {len(BUGS)}/{len(BUGS)}"
    assert report.to_json()["survived"] == []
    assert calls[-1] == (len(calls), len(calls))


@pytest.mark.parametrize("where", ["bugs", "checkers", "clean"])
def test_one_survivor_fails_the_self_test(where):
    good, bad = Outcome("a", True, "x"), Outcome("b", False, "")
    outcomes = {name: (good,) for name in ("bugs", "checkers", "clean")}
    assert SelfTestReport(**outcomes).passed
    assert not SelfTestReport(**{**outcomes, where: (good, bad)}).passed
    assert not SelfTestReport(**{**outcomes, where: ()}).passed


def test_the_axes_of_the_matrix_are_those_of_the_schema():
    from mlp_core.config import model as schema

    todo = cells()
    assert {cell.activation for cell in todo} == set(schema.ACTIVATIONS)
    assert {cell.norm.split()[0] for cell in todo} == set(schema.NORMS) == set(NORMS)
    assert {case.loss.name for case in loss_cases()} == set(schema.LOSSES)
    assert {cell.shape.residual for cell in todo} == {True, False}
    assert {cell.training for cell in todo} == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_matrix_of_everything_passes(seed):
    report = run_matrix(seed=seed)
    assert report.passed, report.hint
    assert report.worst < 1e-9
    assert report.checked > 5_000_000
    assert report.checked == sum(tensor.checked for tensor in report.tensors)


def test_the_matrix_reports_a_bug(monkeypatch):
    from mlp_core.gradcheck.combinations import cells as every

    few = [cell for cell in every() if cell.activation == "tanh" and cell.norm in ("none", "layer pre")]
    monkeypatch.setitem(run_matrix.__globals__, "cells", lambda: few)
    assert run_matrix().passed
    with next(bug for bug in BUGS if bug.name == "layer: mean term missing").planted():
        report = run_matrix()
    assert not report.passed
    failed = {row.name for row in report.preconditions if row.verdict == "fail"}
    assert "norm: layer pre" in failed
    assert "norm: none" not in failed
    assert report.hint is not None
    assert "layer pre" in report.hint
