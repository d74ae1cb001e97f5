"""Reading a config from a text, in a folder of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlp_core.config import Config, load
from mlp_core.errors import ConfigError

Reader = Callable[..., Config]
Complainer = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that messages say `config.yaml` without a path."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def read(folder: Path) -> Reader:
    """`read(text, *overrides)` gives the config of a text."""

    def reader(text: str | bytes, *overrides: str) -> Config:
        content = text.encode() if isinstance(text, str) else text
        (folder / "config.yaml").write_bytes(content)
        return load(Path("config.yaml"), overrides)

    return reader


@pytest.fixture
def complaints(read: Reader) -> Complainer:
    """`complaints(text, *overrides)` gives the lines that a text is refused with."""

    def refused(text: str | bytes, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, *overrides)
        assert caught.value.problems
        return [str(problem) for problem in caught.value.problems]

    return refused
