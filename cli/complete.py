"""What the shell offers behind a command: configs, runs and checkpoints, config keys with their values."""

from __future__ import annotations

from pathlib import Path

CONFIGS = (".yaml", ".yml")


def configs(incomplete: str) -> list[str]:
    """Config files here and in `configs`, the installed examples, and folders on the way to others."""
    from importlib.resources import files

    here = [path for path in _entries(incomplete) if path.endswith((*CONFIGS, "/"))]
    here += [str(path) for path in Path("configs").glob("*.yaml")]
    installed = [f"configs/{entry.name}" for entry in files("mlpbp.configs").iterdir() if entry.name.endswith(CONFIGS)]
    return _fitting([*here, *installed], incomplete)


def models(incomplete: str) -> list[str]:
    """Runs, checkpoint files, and folders on the way to others."""
    runs = [str(path.parent) for path in Path("runs").glob("*/config.resolved.yaml")]
    here = [path for path in _entries(incomplete) if path.endswith((".safetensors", "/"))]
    return _fitting([*runs, *here], incomplete)


def configs_and_models(incomplete: str) -> list[str]:
    return _fitting([*configs(incomplete), *models(incomplete)], incomplete)


def values(incomplete: str) -> list[str]:
    """Config keys, section by section; behind the sign the words that a key knows."""
    from mlp_core.config.problems import keys_at, words_at
    from mlp_core.config.schema import Config

    key, sign, _ = incomplete.partition("=")
    *above, _ = path = key.split(".")
    if sign:
        return _fitting([f"{key}={word}" for word in words_at(path, Config)], incomplete)
    known = keys_at(path, Config)
    inside = {name: bool(keys_at([*above, name], Config, inside=True)) for name in known}
    return _fitting([".".join([*above, name]) + ("." if inside[name] else "=") for name in known], incomplete)


def _entries(incomplete: str) -> list[str]:
    """The files and folders in the folder that was typed so far."""
    folder = incomplete.rpartition("/")[0]
    try:
        found = sorted((Path(folder or ("/" if incomplete.startswith("/") else "."))).iterdir())
    except OSError:
        return []
    base = f"{folder}/" if folder or incomplete.startswith("/") else ""
    return [f"{base}{path.name}{'/' if path.is_dir() else ''}" for path in found if not path.name.startswith(".")]


def _fitting(words: list[str], incomplete: str) -> list[str]:
    return sorted({word for word in words if word.startswith(incomplete)})
