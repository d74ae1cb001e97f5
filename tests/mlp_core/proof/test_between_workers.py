"""What workers send to each other is proved, without accusing them; slips in it are noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlp_core.proof.between import prove_workers
from mlp_core.proof.planted import config
from mlp_core.proof.planted.shards import WORKER_SLIPS
from mlp_core.proof.state import State
from mlp_core.training.experiment import Experiment


@pytest.mark.parametrize("more", [{}, {"kernels": "numpy"}, {"train.shards": 2, "threads": 2}], ids=str)
def test_several_workers_do_what_one_does(more: dict[str, object], tmp_path: Path) -> None:
    built = Experiment.build(config("shards, batch norm", tmp_path).replace(**more))
    before = State.of(built.trainer.job)
    tally = prove_workers(built)
    assert tally is not None
    assert tally.wrong is None
    assert tally.numbers > 2 * built.model.network.parameters.size
    assert np.array_equal(before.theta, State.of(built.trainer.job).theta)


def test_without_shards_there_is_nothing_to_prove(tmp_path: Path) -> None:
    assert prove_workers(Experiment.build(config("plain", tmp_path))) is None


@pytest.mark.parametrize("slip", WORKER_SLIPS[::4], ids=lambda slip: slip.name)
def test_a_slip_between_workers_is_noticed(slip, tmp_path: Path) -> None:
    with slip.planted():
        tally = prove_workers(Experiment.build(config(slip.case, tmp_path)))
    assert tally is not None
    assert tally.wrong is not None
    assert "worker" in tally.wrong.where
