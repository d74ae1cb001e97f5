"""Tables at the edge, with no config but the target: a clear refusal, or a sensible model and a word about it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.errors import MlpbpError
from mlp_core.runs.run import Run

RNG = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).round(3)


def trained(
    folder: Path, head: str, rows: Iterable[Iterable[Any]], epochs: int = 3, keys: Any = None, **data: Any
) -> Run:
    """A run of three lines on these rows."""
    table = folder / "t.csv"
    table.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    keys = {"train": {"epochs": epochs}, "threads": 1, "device": "cpu", "seed": 1, **(keys or {})}
    run = Run.in_memory(from_mapping({"data": {"train": str(table), "target": "y", **data}, **keys}))
    for _ in run.execute():
        pass
    return run


def told(run: Run, words: str) -> bool:
    return any(words in note for note in run.experiment.notes)


def yes(value: float) -> str:
    return "yes" if value > 0 else "no"


def one_class() -> list[Any]:
    return [(*row, "yes") for row in numbers(50, 2)]


def one_other() -> list[Any]:
    return [(*row, "odd" if k == 137 else "usual") for k, row in enumerate(numbers(500, 2))]


def no_target() -> list[Any]:
    return [(*row, 2.5) for row in numbers(50, 2)]


def all_gaps() -> list[Any]:
    return [("", "", yes(k % 2)) for k in range(50)]


def words_only(count: int = 200) -> list[Any]:
    return [(f"word{k}", f"other{k}", yes(k % 2)) for k in range(count)]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (one_class, 'has only one value ("yes"); nothing can be learned'),
        (one_other, 'class "odd" has only this row; nothing can be learned from one row: add rows of it'),
        (no_target, "the target is the same in all"),
        (all_gaps, 'column "a" has no values'),
        (words_only, 'a has 200 different words in 200 cells, such as "word0", like names or identifiers, and so'),
        (lambda: words_only(15), "a, b: no word stands in 2 training rows or more, and there are no other inputs"),
        (lambda: numbers(3, 3), "less than one row"),
    ],
)
def test_what_nothing_can_be_learned_of_is_refused(rows: Any, why: str, tmp_path: Path) -> None:
    with pytest.raises(MlpbpError) as refused:
        trained(tmp_path, "a,b,y", rows(), split={"val": 0.2, "test": 0.1})
    assert why in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("target", [lambda k: yes(k % 3), lambda k: numbers(1)[0]], ids=["classes", "numbers"])
def test_where_every_column_is_constant_the_mean_is_learned(target: Any, tmp_path: Path) -> None:
    run = trained(tmp_path, "a,b,y", [(1, 2, target(k)) for k in range(100)], epochs=80)
    assert told(run, "a, b: constant in training")
    assert told(run, "no input differs from row to row, so that all rows are predicted alike")
    assert run.summary is not None
    assert run.summary.baselines is not None
    simple, linear = run.summary.baselines.all
    assert simple.network == pytest.approx(simple.value, rel=0.1)
    assert not simple.beaten
    assert not linear.beaten


@pytest.mark.parametrize("target", [yes, float])
def test_more_columns_than_rows(target: Any, tmp_path: Path) -> None:
    rows = [(*x, target(x[0])) for x in numbers(40, 90)]
    run = trained(tmp_path, ",".join([*(f"x{k}" for k in range(90)), "y"]), rows)
    assert run.experiment.config.recipe == "strong"
    assert run.summary is not None
    assert run.summary.baselines is not None


@pytest.mark.parametrize("target", [yes, float])
def test_a_dozen_rows(target: Any, tmp_path: Path) -> None:
    run = trained(tmp_path, "a,y", [(x, target(x)) for x in np.linspace(-1, 1.1, 12).round(2)], epochs=256)
    assert told(run, "by 2 validation rows it is mostly chance which epoch is best: the last one is taken; mlpbp cv")
    assert run.summary is not None
    assert run.summary.best_epoch == 256
    train = run.summary.metrics["train"]
    assert train["accuracy"] == 1 if target is yes else train["r2"] > 0.9


def test_a_number_that_one_row_in_500_has_not(tmp_path: Path) -> None:
    run = trained(tmp_path, "a,b,y", [(*row, 2 + 5.5 * (k in (1, 2, 3))) for k, row in enumerate(numbers(500, 2))])
    assert run.summary is not None
    assert np.isfinite(run.summary.metrics["val"]["rmse"])


def test_a_class_that_hardly_any_row_has_is_told(tmp_path: Path) -> None:
    rows = [(*row, "odd" if k in (3, 4, 5, 6) else "usual") for k, row in enumerate(numbers(500, 2))]
    run = trained(tmp_path, "a,b,y", rows)
    assert told(run, " of 400 training rows; accuracy tells little about it")


def test_a_category_for_every_row(tmp_path: Path) -> None:
    rows = [(f"row{k}", x, yes(x)) for k, x in enumerate(numbers(200))]
    assert told(trained(tmp_path, "name,a,y", rows), "left out: name (200 different words in 200 cells")
    kept = trained(tmp_path, "name,a,y", rows, types={"name": "categorical"})
    assert told(kept, "rare or unseen in training: name 40")
    assert told(kept, "name: no word stands in 2 training rows or more: without effect")


def test_rows_that_are_mostly_zeros_are_proved_and_learned(tmp_path: Path) -> None:
    """Biases from the data put most units on their kink in most rows, but for rounding: no reason to refuse a model."""
    x = np.maximum(np.random.default_rng(5).normal(size=(400, 5)) - 1.8, 0).round(4)
    run = trained(tmp_path, "a,b,c,d,e,y", [(*row, yes(row.sum())) for row in x], epochs=30)
    assert run.summary is not None
    assert run.summary.metrics["val"]["accuracy"] > 0.95


def test_gaps_everywhere(tmp_path: Path) -> None:
    x, gaps = numbers(200, 2), RNG.random((200, 3)) < 0.6
    rows = [
        (*np.where(gap[:2], "", row), "" if gap[2] else "red", yes(row[0])) for row, gap in zip(x, gaps, strict=True)
    ]
    run = trained(tmp_path, "a,b,w,y", rows)
    assert run.summary is not None
    assert np.isfinite(run.summary.metrics["val"]["loss"])


@pytest.mark.parametrize(
    "own",
    [
        {"optimizer": {"name": "sgd"}},
        {"optimizer": {"name": "momentum"}},
        {"optimizer": {"name": "lbfgs"}},
        {"optimizer": {"name": "lion"}},
        {"loss": {"name": "poisson"}},
        {"loss": {"name": "gaussian_nll"}},
    ],
    ids=lambda own: next(iter(own.values()))["name"],
)
def test_another_optimizer_or_loss_beside_the_recipe_learns(own: dict[str, Any], tmp_path: Path) -> None:
    """What suits Adam's steps and squared distances alone would take them to infinity."""
    x = np.random.default_rng(4).normal(size=(120, 2)).round(3)
    rows = [(*row, round(float(np.exp(row[0])) * 2)) for row in x]
    run = trained(tmp_path, "a,b,y", rows, epochs=30, keys={"recipe": "strong", **own}, task="regression")
    assert run.summary is not None
    assert run.summary.metrics["train"]["r2"] > 0.3
