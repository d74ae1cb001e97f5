"""The machine as the program sees it."""

from __future__ import annotations

import os

import pytest

from mlp_core.machine import available_cpus

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
