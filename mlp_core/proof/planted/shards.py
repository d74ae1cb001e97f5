"""Slips in steps over shards: in how a batch is cut, in what is done with a shard, in sums over them."""

from __future__ import annotations

from mlp_core.backends import numbers
from mlp_core.backends.cpu.gradients import Gradients
from mlp_core.backends.cpu.shards import CompiledShards
from mlp_core.data.batches.shards import cut
from mlp_core.nn.lockstep import Lockstep
from mlp_core.proof.planted.slip import slips
from mlp_core.training.sharded import ShardedSteps, StagedShards
from mlp_core.workers.tree import add_across, add_pairs

SHARD_SLIPS = slips(
    (cut, "shards", ("rows * i // shards for", "rows * i // (shards + 1) for")),
    (add_pairs, "shards", ("distance < len(parts)", "2 * distance < len(parts)")),
    (add_pairs, "shards, batch norm", ("i + distance]", "i]")),
    (ShardedSteps._evaluate, "shards", ("cut(stop - start,", "cut(stop - start - 1,")),
    (ShardedSteps._evaluate, "shards, sums", ("if penalties and", "if")),
    (ShardedSteps._evaluate, "shards, dropout", ("self._pass(draw)", "self._pass(0)")),
    (StagedShards.gradient, "shards, batch norm", ("mode.dropout, part.start)", "mode.dropout, 0)")),
    (Lockstep._normalise, "shards, batch norm", ("H, H), H) / self._rows", "H, H), H) / len(H[0])")),
    (StagedShards.gradient, "shards, batch norm", ("Y[part]", "Y[: len(logits)]")),
    (ShardedSteps._total_loss, "shards", ("add_pairs(losses)", "pass")),
    (Lockstep._normalise, "shards, batch norm", ("mean, variance, self._rows)", "mean, variance, 4)")),
    (Lockstep._normalise_backward, "shards, batch norm", ("D -= mean", "pass")),
    (CompiledShards.gradient, "shards, sums", ("= total, mode.step", "= rows, mode.step")),
    (CompiledShards.gradient, "shards", ("part.stop - first]", "part.stop - first - 1]")),
    (
        CompiledShards.change,
        "shards, average",
        ("optimizer.t += 1", "optimizer.t += 2"),
        ("average_share(ema, step)", "average_share(ema, 0)"),
    ),
    (numbers.of_update, "shards", ("lr * one", "2 * lr * one")),
    (
        Gradients._half,
        "shards",
        ("shard.stop - rows.start for", "shard.stop - rows.start - 1 for"),
        ("shards[middle:], room", "shards[:middle], room"),
        ("grad, other, grad)", "grad, grad, grad)"),
    ),
    (Gradients._half, "shards, layer norm", ("tensor.X[rows])", "tensor.X[: len(tensor.X[rows])])")),
)
WORKER_SLIPS = slips(
    (ShardedSteps.__init__, "shards", ("world.rank * mine, (world.rank + 1)", "0 * mine, 1")),
    (ShardedSteps._rows, "shards", ("batch(epoch, index, mine)", "batch(epoch, index)")),
    (ShardedSteps._rows, "shards, mixup", ("Y[mine], None", "Y[: len(X[mine])], None")),
    (ShardedSteps._evaluate, "shards, sums", ("add_across(self._link, network", "(self._link, network")),
    (ShardedSteps._evaluate, "shards, batch norm", ("parts, stop - start", "parts, len(X)")),
    (ShardedSteps._total, "shards, batch norm", ("add_across(self._link", "(self._link")),
    (ShardedSteps._total_loss, "shards", ("add_pairs(told)", "pass"), ("numbers(losses[:1])", "numbers(losses[-1:])")),
    (add_across, "shards", ("part += room[mine]", "part -= room[mine]")),
    (
        add_across,
        "shards, wide",
        ("in reversed(halved)", "in halved"),
        ("halved.append", "len"),
        ("part += room[mine]", "part[1:] += room[mine][1:]"),
        ("distance < world.size", "2 * distance < world.size"),
    ),
    (StagedShards.gradient, "shards, batch norm", ("first = parts[0].start", "first = 0")),
    (CompiledShards.gradient, "shards, dropout", ("shards, rows, first)", "shards, rows, 0)")),
)
