"""Training is what its formulas say, on every path; and what is proved is left as it was."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from random_configs import experiment

from mlp_core.proof.state import State
from mlp_core.proof.training import first_step, prove_training
from mlp_core.runs.prove import answer, check_config, check_experiment

MANY = int(os.environ.get("MLPBP_PROVED", "10"))
FROM = int(os.environ.get("MLPBP_PROVED_FROM", "500"))


@pytest.mark.parametrize("seed", range(FROM, FROM + MANY))
def test_random_experiments_are_what_their_formulas_say(tmp_path: Path, seed: int) -> None:
    built = experiment(tmp_path, seed)
    if isinstance(built, str):
        pytest.skip(built)
    before = State.of(built.trainer.job)
    for walked in prove_training(built, seconds=1.0, answer=answer):
        assert walked.wrong is None, walked
        assert walked.numbers > 0
    after = State.of(built.trainer.job)
    for name, vector in before.vectors().items():
        assert np.array_equal(vector, after.vectors()[name]), name


@pytest.mark.parametrize("seed", [3029, 3139])
def test_sound_experiments_that_were_accused(tmp_path: Path, seed: int) -> None:
    """A norm of nothing but rounding, scaled up; gradients of nothing but rounding."""
    built = experiment(tmp_path, seed)
    assert not isinstance(built, str)
    report = check_experiment(built, built.config, "random").report
    assert report.passed, report.failures()


def test_the_first_step_is_proved_on_the_object_that_trains(tmp_path: Path) -> None:
    built = experiment(tmp_path, 500)
    assert not isinstance(built, str)
    steps, before = built.trainer.steps, State.of(built.trainer.job)
    walked = first_step(built)
    assert walked.wrong is None
    assert walked.steps == 1
    assert built.trainer.steps is steps
    assert np.array_equal(before.theta, State.of(built.trainer.job).theta)
    assert built.trainer.progress.step == 0


@pytest.mark.parametrize("classes", [True, False], ids=["classes", "numbers"])
@pytest.mark.parametrize("rows", [11, 300])
def test_the_recipe_of_few_rows_with_gaps_is_what_the_proof_says(rows: int, classes: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(rows, 2)).round(3)
    cells = np.where(rng.random(X.shape) < 0.4, "", X.astype(str))
    y = np.where(X[:, 0] > 0, "yes", "no") if classes else X[:, 0]
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join(map(",".join, np.column_stack([cells, y]))) + "\n")
    config = tmp_path / "c.yaml"
    config.write_text("data: {train: t.csv, target: y}\nrecipe: strong\nthreads: 1\ndevice: cpu\n")
    small = ("model.hidden=[6]", "train.epochs=2", "gradcheck.mode=fast")
    assert check_config(config, small).report.passed
