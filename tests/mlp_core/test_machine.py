"""The machine as the program sees it."""

from __future__ import annotations

import os

import pytest

from mlp_core.machine import available_cpus, free_memory

ALL = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("text", "processors"),
    [("max 100000\n", ALL), ("100000 100000\n", 1), ("10000 100000\n", 1), ("99900000 100000\n", ALL), ("odd", ALL)],
)
def test_a_container_may_have_a_share_of_the_processors(tmp_path, text, processors):
    (tmp_path / "cpu.max").write_text(text)
    assert available_cpus(tmp_path / "cpu.max") == processors


def test_without_a_quota_all_processors_are_there(tmp_path):
    assert available_cpus(tmp_path / "none") == ALL


@pytest.mark.parametrize(("limit", "used", "free"), [("1000", "400", 600), ("400", "1000", 0)])
def test_a_control_group_leaves_less_memory_than_there_is(tmp_path, limit, used, free):
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text(used + "\n")
    assert free_memory(tmp_path) == free


@pytest.mark.parametrize("limit", ["max\n", "odd", None])
def test_without_a_limit_all_free_memory_is_there(tmp_path, limit, monkeypatch):
    psutil = pytest.importorskip("psutil")
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Told", (), {"available": 12345})())
    assert free_memory(tmp_path) == 12345
