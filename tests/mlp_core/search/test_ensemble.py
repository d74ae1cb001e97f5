"""An ensemble is its members' average, and every member an ordinary run; what was left open stays open on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import from_mapping, sparse, with_overrides
from mlp_core.data.load import load
from mlp_core.errors import UsageError
from mlp_core.runs.evaluate import evaluate_model, open_model
from mlp_core.runs.run import Run
from mlp_core.search.ensemble import Ensemble
from mlp_core.training.ensemble import member_configs

RNG = np.random.default_rng(3)


def config_of(folder: Path, **keys: object):
    X = RNG.normal(size=(60, 2)).round(3)
    rows = (f"{a},{b},{a + b:.3f}" for a, b in X)
    (folder / "t.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")
    small = {"train": {"epochs": 2, "preflight": "off"}, "kernels": "numpy", "threads": 1, "device": "cpu"}
    return from_mapping({"data": {"train": str(folder / "t.csv"), "target": "y"}, **small, **keys})


def test_the_members_are_averaged_and_have_the_same_validation_rows(tmp_path: Path) -> None:
    config = config_of(tmp_path, ensemble=2, model={"hidden": [4]})
    made = Ensemble.start(config, tmp_path / "both")
    made.count = 1  # here, in this process
    assert [place for place, _ in made.train()] == [0, 1]
    together, _ = open_model(tmp_path / "both")
    alone = [evaluate_model(open_model(one.folder)[0]).splits["val"] for one in made.members]
    np.testing.assert_array_equal(alone[0].outcome.y, alone[1].outcome.y)
    average = (alone[0].outcome.P + alone[1].outcome.P) / 2
    assert not np.array_equal(alone[0].outcome.P, alone[1].outcome.P)
    np.testing.assert_allclose(evaluate_model(together).splits["val"].outcome.P, average, rtol=1e-6)


def test_members_differ_in_their_seeds_only(tmp_path: Path) -> None:
    first, second = member_configs(config_of(tmp_path, ensemble=2, seed=5), 2)
    assert (first.seed, second.seed) == (5, 6)
    assert first.replace(seed=6, **{"eval.baselines": False}) == second
    assert first.eval.baselines  # of the same rows, so once is enough
    assert first.data.split.seed == 5


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_an_interrupted_ensemble_ends_with_the_same_bytes(steps: int, tmp_path: Path) -> None:
    """Stopped within its first member, between two and within the second, and gone on with by its folder alone."""
    config = config_of(tmp_path, ensemble=3, train={"epochs": 2, "batch_size": 24, "preflight": "off"})

    def asked(count: int) -> Callable[[], int]:
        looks = iter([0] * count)
        return lambda: next(looks, 130)

    whole, cut = Ensemble.start(config, tmp_path / "whole"), Ensemble.start(config, tmp_path / "cut")
    for made in (whole, cut):
        made.count = 1  # in this process
    assert len(list(whole.train())) == 3
    assert len(list(cut.train(asked(steps)))) < 3
    assert not (tmp_path / "cut" / "members.json").exists()
    again = Ensemble.resume(tmp_path / "cut")
    again.count = 1
    assert [place for place, _ in again.train()] == [0, 1, 2]
    for file in ("members.json", *(f"{one.folder.name}/checkpoints/best.safetensors" for one in whole.members)):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    assert Ensemble.begun(tmp_path / "cut")
    with pytest.raises(UsageError, match="no ensemble was begun here"):
        Ensemble.resume(tmp_path)


def test_what_was_left_open_stays_open(tmp_path: Path) -> None:
    config = config_of(tmp_path, model={"dropout": 0.0})
    again = from_mapping(sparse(config))
    changed = with_overrides(config, ["train.epochs=3"])
    assert again == config
    for one in (again, changed):
        assert one.given("model.dropout")
        assert one.given("train.epochs")
        assert not one.given("model.hidden")


def test_beside_a_result_stand_no_network_and_one_without_hidden_layers(tmp_path: Path) -> None:
    config = config_of(tmp_path, model={"hidden": [4]})
    run = Run.start(config, b"", tmp_path / "run")
    for _ in run.execute():
        pass
    assert run.summary is not None
    beside = run.summary.baselines
    assert beside is not None
    y = {name: one.y[:, 0] for name, one in load(config).splits.items()}
    mean, linear = beside.all
    np.testing.assert_allclose(mean.value, np.sqrt(np.mean((y["val"] - y["train"].mean()) ** 2)), rtol=1e-9)
    assert linear.value < 0.05 * mean.value  # the target is a sum
    assert not linear.beaten  # after two epochs
    assert run.summary.to_json()["baselines"]["no hidden layers"]["beaten"] is False
