"""Steps over shards: the whole batch's gradient, and the same bytes of a run for any number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from threads import together

from mlp_core.config import Config, load
from mlp_core.data import load as load_module
from mlp_core.data.batches.from_disk import StreamedBatches
from mlp_core.data.batches.shards import cut
from mlp_core.errors import ConfigError, Failed, UsageError
from mlp_core.runs.run import Run
from mlp_core.runs.run_directory import RunDirectory
from mlp_core.training import prepared, sharded
from mlp_core.training.events import Finished, StepDone
from mlp_core.training.experiment import Experiment
from mlp_core.training.sharding import for_workers
from mlp_core.workers.world import World

TABLE = "a,b,c,v,y\n" + "".join(
    f"{i % 13},{(i * 7) % 11},{'xyz'[i * 5 % 3]},{1 + i % 3},{int((i % 13) + (i * 7) % 11 > 11)}\n" for i in range(60)
)
BASE = """
data: {train: table.csv, target: y, split: {val: 0.2}}
model: {hidden: [4, 4]}
train: {epochs: 2, batch_size: 11, shards: 8, preflight: off, eval_batch_size: 5}
threads: 1
"""
CASES = {
    "plain": (),
    "short batches": ("train.batch_size=16",),
    "batch norm": ("model.norm=batch", "model.residual=true"),
    "batch norm behind": ("model.norm=batch", "model.norm_position=post_activation", "optimizer.accumulate=2"),
    "dropout": ("model.dropout=0.3", "model.input_dropout=0.2", "regularization.input_noise=0.1"),
    "mixup": ("regularization.mixup=0.4", "regularization.l2=0.01", "regularization.l1=0.001"),
    "weights": ("data.weight=v", "loss.class_weight=balanced", "optimizer.clip_norm=0.1", "optimizer.ema=0.9"),
    "judged": ("eval.calibrate=platt", "eval.threshold=f1", "metrics=[roc_auc, mcc]", "model.norm=batch"),
    "words": ("preprocess.categorical.encode=embedding", "regularization.max_norm=0.5", "optimizer.clip_value=0.05"),
    "strong": ("recipe=strong", "train.epochs=2", "train.batch_size=11", "optimizer.accumulate=3"),
    "lbfgs": ("optimizer.name=lbfgs", "train.batch_size=full"),
    "muon": ("optimizer.name=muon", "dtype=float64", "kernels=numpy"),
}


def config_of(folder: Path, *overrides: str) -> Config:
    folder.mkdir(exist_ok=True)
    (folder / "table.csv").write_text(TABLE)
    (folder / "c.yaml").write_text(BASE)
    return load(folder / "c.yaml", overrides)


def trained(config: Config, place: Path, workers: int) -> dict[str, bytes]:
    """The bytes of a run by so many workers."""

    def work(world: World) -> bool:
        run = Run.start(config, b"", place, world=world)
        return isinstance(list(run.execute())[-1], Finished)

    assert all(together(workers, work))
    return files(place)


def files(place: Path) -> dict[str, bytes]:
    found = [*(place / "checkpoints").iterdir(), place / "metrics.jsonl", place / "config.resolved.yaml"]
    metrics = RunDirectory(place).read_json("run.json")["metrics"]
    return {"metrics": str(metrics).encode(), **{path.name: path.read_bytes() for path in sorted(found)}}


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path, name):
    config = config_of(tmp_path, *CASES[name])
    one = trained(config, tmp_path / "one", 1)
    assert len(one) == 5
    for workers in (2, 8) if name != "plain" else (2, 4, 8):
        assert trained(config, tmp_path / str(workers), workers) == one


def test_of_rows_on_the_disk_every_worker_reads_its_batches(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", (X.sum(axis=1) > 0).astype(np.int64))
    (tmp_path / "c.yaml").write_text(
        BASE.replace("train: table.csv, target: y", "train: {x: x.npy, y: y.npy}, memory: memmap")
    )
    config, looked = load(tmp_path / "c.yaml"), list[int]()
    found = load_module.surveyed
    monkeypatch.setattr(load_module, "surveyed", lambda *given: looked.append(1) or found(*given))
    assert trained(config, tmp_path / "one", 1) == trained(config, tmp_path / "two", 2)
    assert len(looked) == 2, "one of the two workers looks through the file"


def test_workers_share_the_memory_of_what_one_of_them_has_read(tmp_path):
    config, read = config_of(tmp_path, "data.weight=v"), list[int]()

    def built(world: World) -> Experiment:
        with pytest.MonkeyPatch.context() as patch:
            if world.rank == 0:
                keep = prepared.load
                patch.setattr(prepared, "load", lambda *given, **more: read.append(1) or keep(*given, **more))
            return Experiment.build(config, world=world)

    first, second = together(2, built)
    for name in ("train", "val"):
        ours, theirs = first.splits[name], second.splits[name]
        assert np.shares_memory(ours.X[:], theirs.X[:])
        for what in ("Y", "w", "y", "weight"):
            np.testing.assert_array_equal(getattr(ours, what), getattr(theirs, what))
    assert len(read) == 1


@pytest.mark.parametrize("name", CASES)
def test_a_step_over_shards_is_the_step_over_the_batch(tmp_path, name):
    """The same gradient but for rounding, in float64; for every stage behind it a few steps. Not by adam: behind batch
    norm it makes whole steps of gradients that are 0 but for rounding."""
    overrides = ("optimizer.name=momentum", *CASES[name], "dtype=float64", "train.max_steps=5")
    states = []
    for shards in (1, 8):
        experiment = Experiment.build(config_of(tmp_path, *overrides, f"train.shards={shards}"))
        losses = [event.loss for event in experiment.trainer.run() if hasattr(event, "loss")]
        network = experiment.model.network
        states.append((losses, network.parameters.theta.copy(), network.statistics.theta.copy()))
    for whole, shared in zip(*states, strict=True):
        np.testing.assert_allclose(shared, whole, rtol=1e-9, atol=1e-11)


def test_a_run_is_proved_before_its_first_step(tmp_path):
    config = config_of(tmp_path, "train.preflight=quick", "model.norm=batch", "model.dropout=0.3")

    def stamp(world: World) -> str | None:
        run = Run.start(config, b"", tmp_path / "run", world=world)
        list(run.execute())
        return run.experiment.stamp

    stamps = together(2, stamp)
    assert stamps[0] == stamps[1]
    assert "1 step as printed" in str(stamps[0])


SLIPS = {
    "a shard is left out": ("add_pairs", lambda parts: None),
    "rows are dealt twice": ("cut", lambda rows, shards: [slice(0, rows // shards)] * shards),
    "workers do not add": ("add_across", lambda world, vector, room: None),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_the_sum_over_shards_is_not_trained(tmp_path, monkeypatch, slip):
    monkeypatch.setattr(sharded, *SLIPS[slip])
    config = config_of(tmp_path, "train.preflight=quick", "train.batch_size=16")
    with pytest.raises(Failed, match="the steps of this model are not those of their formulas"):
        together(2, lambda world: list(Run.start(config, b"", tmp_path / "run", world=world).execute()))


def test_a_full_proof_takes_the_same_steps_in_every_worker(tmp_path):
    config = config_of(tmp_path, "train.preflight=full", "train.epochs=1")

    def stamp(world: World) -> str | None:
        run = Run.start(config, b"", tmp_path / "run", world=world)
        list(run.execute())
        return run.experiment.stamp

    stamps = together(2, stamp)
    assert "steps as printed" in str(stamps[0])


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (8, 2)])
def test_resumed_by_other_workers_it_ends_with_the_same_bytes(tmp_path, before, after):
    config = config_of(tmp_path, "model.norm=batch", "optimizer.ema=0.9")
    whole = trained(config, tmp_path / "whole", 1)

    def stopped(world: World) -> object:
        steps = iter(range(2))
        run = Run.start(config, b"", tmp_path / "run", world=world)
        return list(run.execute(lambda: 0 if next(steps, None) is not None or world.rank else 143))[-1]

    assert together(before, stopped) == [Finished("stopped")] * before

    def going_on(world: World) -> list[str]:
        run = Run.resume(tmp_path / "run", world=world)
        list(run.execute())
        return run.notices

    assert together(after, going_on) == [[]] * after
    assert files(tmp_path / "run") == whole


def test_the_record_says_who_worked(tmp_path):
    config = config_of(tmp_path)
    trained(config, tmp_path / "run", 2)
    assert RunDirectory(tmp_path / "run").read_json("run.json")["workers"] == {"count": 1, "shards": 8}


def test_only_worker_0_writes(tmp_path):
    config = config_of(tmp_path)

    def place(world: World) -> Path | None:
        run = Run.start(config, b"", tmp_path / "run", world=world)
        list(run.execute())
        return run.directory.home

    assert together(2, place) == [tmp_path / "run", None]


def differing(tmp_path: Path, other: str) -> str:
    """What is said where worker 1 has another config or another table."""
    configs = [config_of(tmp_path / "a"), config_of(tmp_path / "b", *([other] if "=" in other else []))]
    if other == "data":
        table = tmp_path / "b" / "table.csv"
        table.write_text(TABLE.replace("12,", "11,"))

    with pytest.raises(ConfigError) as caught:
        together(2, lambda world: Run.start(configs[world.rank], b"", tmp_path / "run", world=world))
    assert not (tmp_path / "run").exists()
    return str(caught.value)


def test_workers_that_differ_are_refused_before_the_first_step(tmp_path):
    assert "worker 1 has another optimizer in its config than worker 0" in differing(tmp_path, "optimizer.lr=0.5")
    assert "table.csv is read for this machine, not" in differing(tmp_path, "data")


def test_weights_that_drift_apart_end_the_run(tmp_path):
    config = config_of(tmp_path, "train.epochs=5")

    def work(world: World) -> None:
        run = Run.start(config, b"", tmp_path / "run", world=world)
        for _ in run.execute():
            if world.rank:
                run.experiment.model.network.parameters.theta[3] += 1e-7

    with pytest.raises(Failed, match="worker 1 has another weights than worker 0"):
        together(2, work)


def test_a_time_limit_ends_all_workers_at_the_same_step(tmp_path):
    config = config_of(tmp_path, "train.max_time=1s", "train.epochs=1000000", "train.early_stopping=false")

    def work(world: World) -> int:
        run = Run.start(config, b"", tmp_path / "run", world=world)
        return max(event.step for event in run.execute() if isinstance(event, StepDone))

    first, second = together(2, work)
    assert first == second > 0


class Many(World):
    def __init__(self, size: int) -> None:
        self.size = size


@pytest.mark.parametrize(
    ("size", "overrides", "said"),
    [
        (16, (), "16 workers have nothing to do with 8 shards"),
        (3, (), "a power of two"),
        (2, ("train.shards=1",), "2 workers have nothing to do with 1 shard"),
        (2, ("ensemble=2",), "processes of their own"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, size, overrides, said):
    config = config_of(tmp_path, *overrides)
    with pytest.raises(UsageError, match=said):
        for_workers(config, Many(size))


def test_shards_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="a batch of 5 rows cannot be cut into 8 shards"):
        Experiment.build(config_of(tmp_path, "train.batch_size=5"))
    with pytest.raises(ConfigError, match="power of two"):
        config_of(tmp_path, "train.shards=6")


def test_workers_decide_how_many_shards(tmp_path):
    config = config_of(tmp_path, "train.shards=auto")
    assert for_workers(config, Many(1)).train.shards == 8
    assert Experiment.build(config).config.train.shards == 1
    assert for_workers(config_of(tmp_path, "train.shards=32"), Many(16)).train.shards == 32


@pytest.mark.parametrize(("rows", "shards"), [(11, 8), (3, 8), (64, 8), (7, 4), (0, 2)])
def test_shards_are_as_equal_as_can_be(rows, shards):
    parts = cut(rows, shards)
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop, len(parts)) == (0, rows, shards)
    sizes = {part.stop - part.start for part in parts}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= -(-rows // shards)


def test_rows_on_the_disk_are_those_in_memory(tmp_path):
    """Every worker prepares only its own; the gradient is made in one call where there are kernels."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((90, 5)).astype(np.float32))
    np.save(tmp_path / "y.npy", rng.integers(0, 3, 90))
    config = config_of(tmp_path, f"data={{train: {{x: {tmp_path}/x.npy, y: {tmp_path}/y.npy}}, memory: memmap}}")
    assert isinstance(Experiment.build(config).trainer.job.batches, StreamedBatches)
    one = trained(config, tmp_path / "one", 1)
    for workers in (2, 8):
        assert trained(config, tmp_path / str(workers), workers) == one
