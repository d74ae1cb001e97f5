"""Schedules: the rate at chosen steps, warm-up, and that no schedule leaves its bounds."""

from __future__ import annotations

import math

import pytest

from mlp_core.nn.schedules import CONSTANT, SCHEDULES, Fade, Schedule

STEPS, PER_EPOCH = 100, 10


def rate(name: str, step: int, **settings) -> float:
    return Schedule(name, lr=2.0, steps=STEPS, steps_per_epoch=PER_EPOCH, **settings).rate(step)


@pytest.mark.parametrize(
    ("name", "step", "settings", "factor"),
    [
        ("constant", 0, {}, 1.0),
        ("constant", 99, {}, 1.0),
        ("linear", 0, {}, 1.0),
        ("linear", 25, {}, 0.75),
        ("linear", 50, {"final": 0.2}, 0.6),
        ("linear", 100, {"final": 0.2}, 0.2),
        ("polynomial", 50, {"power": 2.0}, 0.25),
        ("cosine", 0, {}, 1.0),
        ("cosine", 25, {}, 0.5 * (1 + math.cos(math.pi / 4))),
        ("cosine", 50, {}, 0.5),
        ("cosine", 100, {"final": 0.1}, 0.1),
        ("cosine_restarts", 25, {"cycles": 2}, 0.5),
        ("cosine_restarts", 50, {"cycles": 2}, 1.0),
        ("cosine_restarts", 75, {"cycles": 2}, 0.5),
        ("step", 29, {"step_size": 3, "gamma": 0.5}, 1.0),
        ("step", 30, {"step_size": 3, "gamma": 0.5}, 0.5),
        ("step", 60, {"step_size": 3, "gamma": 0.5}, 0.25),
        ("multistep", 19, {"milestones": (2, 5), "gamma": 0.1}, 1.0),
        ("multistep", 20, {"milestones": (2, 5), "gamma": 0.1}, 0.1),
        ("multistep", 50, {"milestones": (2, 5), "gamma": 0.1}, 0.01),
        ("inverse_sqrt", 9, {"warmup": 10}, 1.0),
        ("inverse_sqrt", 39, {"warmup": 10}, 0.5),
        ("one_cycle", 0, {}, 1 / 25),
        ("one_cycle", 30, {}, 1.0),
        ("one_cycle", 99, {}, 1 / 250_000),
        ("coslog", 0, {"cycles": 4}, 0.0),
        ("coslog", 100, {"cycles": 4}, 0.0),
        ("coslog", 20, {"cycles": 4}, 0.0),  # log2(1 + 15 / 5) = 2: two cycles are over
        ("coslog", 50, {"cycles": 1}, 0.5 * (1 - math.cos(2 * math.pi * math.log2(1.5)))),
        ("coslog", 100, {"cycles": 2, "final": 0.3}, 0.3),
        ("wsd", 79, {}, 1.0),
        ("wsd", 90, {}, 0.5),
        ("wsd", 100, {}, 0.0),
    ],
)
def test_the_rate_at_chosen_steps(name, step, settings, factor):
    assert rate(name, step, **settings) == pytest.approx(2.0 * factor, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "one_cycle"])
def test_warm_up_rises_in_equal_steps_to_the_full_rate(name):
    rates = [rate(name, step, warmup=8, gamma=0.5, milestones=(3,)) for step in range(9)]
    assert rates[:8] == pytest.approx([2.0 * (i + 1) / 8 for i in range(8)])
    assert rates[8] <= 2.0


@pytest.mark.parametrize("final", [0.0, 0.3])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rate_stays_between_zero_and_the_base(name, final):
    rates = [rate(name, step, final=final, gamma=0.5, milestones=(3,), cycles=3) for step in range(STEPS)]
    assert all(0 <= value <= 2.0 for value in rates)
    assert max(rates) == pytest.approx(2.0, rel=1e-3 if name == "coslog" else 1e-6)  # its crests lie between steps


@pytest.mark.parametrize("name", SCHEDULES)
def test_per_epoch_the_rate_changes_only_between_epochs(name):
    rates = [rate(name, step, per_epoch=True, gamma=0.5, milestones=(3,)) for step in range(STEPS)]
    assert all(len(set(rates[i : i + PER_EPOCH])) == 1 for i in range(0, STEPS, PER_EPOCH))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_longer_than_planned_keeps_a_rate(name):
    assert rate(name, 10 * STEPS, gamma=0.5) >= 0


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="unknown schedule"):
        rate("sawtooth", 1)


@pytest.mark.parametrize(("t", "share"), [(0, 1.0), (0.49, 1.0), (0.5, 1.0), (0.75, 0.5), (1.0, 0.0), (1.5, 0.0)])
def test_what_fades_stays_to_half_time_and_is_gone_in_the_end(t, share):
    assert Fade("flat_cos", 100).share(round(100 * t)) == pytest.approx(share, abs=1e-15)
    assert CONSTANT.share(round(100 * t)) == 1.0
