"""What holds for all tests; and `--write-skipped FILE`, to run what is skipped elsewhere: `pytest @FILE`."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("mlpbp", deadline=None)  # no test asserts on a time
hypothesis.settings.load_profile("mlpbp")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-skipped", type=Path, metavar="FILE", help="write down what is skipped, one name a line")


def pytest_configure(config: pytest.Config) -> None:
    if (path := config.getoption("--write-skipped")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Skipped(path))


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
