"""The clock of `mlpbp bench`: steps made in one go are timed together, whatever number was asked for."""

from __future__ import annotations

from mlp_core.diagnostics import bench
from mlp_core.training.events import EpochDone, StepDone
from mlp_core.training.trainer import Progress


def test_steps_made_in_one_go_are_timed_together(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    made = Progress()

    def events():
        while True:
            now[0] += 6.0  # sixty steps in one go, their events at once
            made.step += 60
            for step in range(made.step - 59, made.step + 1):
                yield StepDone(step, 1, step, 120, 0.0, 0.1)
            now[0] += 50.0
            yield EpochDone(1, made.step, {}, False, 1.0, 1.0)

    told = events()
    assert [round(bench._per_step(told, made, 3), 12) for _ in range(3)] == [0.1, 0.1, 0.1]
    assert made.step == 180
