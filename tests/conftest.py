"""What holds for all tests; and `--write-skipped FILE`, to run what is skipped elsewhere: `pytest @FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("mlpbp", deadline=None)  # no test asserts on a time
hypothesis.settings.load_profile("mlpbp")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-skipped", type=Path, metavar="FILE", help="write down what is skipped, one name a line")


def pytest_configure(config: pytest.Config) -> None:
    if (path := config.getoption("--write-skipped")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Skipped(path))


_begun: dict[str, Any] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A module's RNG begins anew for every test and for what it needs, so that none depends on which ran before it."""
    module = getattr(item, "module", None)
    if isinstance(rng := getattr(module, "RNG", None), np.random.Generator):
        rng.bit_generator.state = _begun.setdefault(item.module.__name__, rng.bit_generator.state)  # type: ignore[attr-defined]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Once more: what a test needs may have drawn, and is made by the first one only."""
    pytest_runtest_setup(item)


class _Skipped:
    """The names of skipped tests and files of tests, as they are reported; of a test whose parameters come from what is
    missing, and which has `[none]` in their place, the name alone."""

    def __init__(self, path: Path) -> None:
        self.path, self.names = path, dict[str, None]()

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.names[report.nodeid.removesuffix("[none]")] = None

    pytest_runtest_logreport = pytest_collectreport = _note

    def pytest_sessionfinish(self) -> None:
        self.path.write_text("".join(f"{name}\n" for name in self.names))
