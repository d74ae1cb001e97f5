"""Small runs for tests: the config, the uninterrupted run to compare with, and the comparison."""

from __future__ import annotations

from pathlib import Path

from fork_server import ForkServer, Result

TABLE = "a,b,y\n" + "".join(f"{i % 13},{(i * 7) % 11},{int((i % 13) + (i * 7) % 11 > 11)}\n" for i in range(60))
CONFIG = """
data: {train: table.csv, target: y, split: {val: 0.2}}
model: {hidden: [4, 3], dropout: 0.2, norm: batch}
optimizer: {name: adamw, ema: 0.9, accumulate: 2}
schedule: {name: cosine, warmup: 0.1}
train: {epochs: 4, batch_size: 8, preflight: off}
checkpoint: {every: 1, keep: 2}
threads: 1
"""
COMPARED = ("config.yaml", "config.resolved.yaml", "split.json", "metrics.jsonl")


def folder_with_config(folder: Path, config: str = CONFIG) -> Path:
    """A folder with a table and a config, made if need be."""
    folder.mkdir(exist_ok=True)
    (folder / "table.csv").write_text(TABLE)
    (folder / "c.yaml").write_text(config)
    return folder


def state(run: Path) -> dict[str, bytes | list[str]]:
    """All of a finished run that must not depend on how it came to its end, and the names of all its files."""
    found: dict[str, bytes | list[str]] = {name: (run / name).read_bytes() for name in COMPARED}
    for path in sorted((run / "checkpoints").iterdir()):
        found[path.name] = path.read_bytes()
    found["names"] = sorted(str(path.relative_to(run)) for path in run.rglob("*"))
    table = (run / "metrics.csv").read_text().splitlines()
    found["metrics.csv"] = [",".join(line.split(",")[:-2]) for line in table]  # without the clock's columns
    return found


def undisturbed(folder: Path) -> Path:
    """Where runs lie that others are compared with: as far from the data as a test's own, because a run says how its
    data is reached from where it lies."""
    place = folder.parent / "undisturbed"
    place.mkdir(exist_ok=True)
    return place


def different(run: Path, whole: dict[str, bytes | list[str]]) -> list[str]:
    """The names of what is not as in the uninterrupted run."""
    found = state(run)
    return [name for name in {**found, **whole} if found.get(name) != whole.get(name)]


def go_on(server: ForkServer, folder: Path, run: Path, *overrides: str) -> Result:
    """What a user does next: resume the run, or start it again where it had not begun to be one."""
    if (run / "config.resolved.yaml").exists():
        return server.run("train", "--resume", run, *overrides, cwd=folder)
    return server.run("train", "c.yaml", "-o", run, *overrides, cwd=folder)
