"""Mutants outside the engine that compute the same: each listed by hand, with the reason."""

from __future__ import annotations

from equivalent import ANYTHING, Equivalent, alike, of_statement

_DUE = "due = self.read_every and p.step // self.read_every > step // self.read_every"
_MOST = "if most is not None and self.world.agreed(time.monotonic() - begun >= most):"
_CLIP = "if limits.clip_norm is not None and backend.remote:"
_REMOTE = "if self.job.backend.remote:"
_ACROSS = "add_across(self._link, parts[0], self.job.backend.empty(parts[0].shape, parts[0].dtype))"
_MINE = "mine = slice(mine.start, max(mine.stop, mine.start + 1))"
_BATCH = "return self.job.batches.batch(epoch, index, mine)"
_TOLD = ("self._told[0] = losses[0]", "add_across(self._link, self._told[0], self._told[1])", "return self._told[0, 0]")
_LOSSES = "losses, Deltas = (list[Any]([0.0] * len(parts)), list[Array | None]())"
_FLOAT = "losses[i] = loss.astype(np.float64) if self._remote else float(loss)"
_BACKWARD = "self._backward([network.layers for network in self.networks], Delta, self.networks[0].first.index)"
_ZEROS = (
    "return self._total([one.xp.zeros_like(one.gain) if s is None else s"
    " for one, s in zip(layers, found, strict=True)])"
)
_SHARE = "share = min(1.0, done / max(1, self.steps - self.warmup))"
_WAVES = "waves = math.log2(1 + (2.0 ** self.cycles - 1) * x)"
_ROOT = "return math.sqrt(max(1, self.warmup) / max(1, self.warmup, step + 1))"
_X = "x = min(1.0, (step - peak) / max(1, self.steps - 1 - peak))"
_LEFT = "return 1.0 if t <= 0.5 else 0.5 * (1 + math.cos(math.pi * (2 * t - 1)))"
_EVALUATE = "value = self._evaluate(epoch, index, step * k + i, total or 1.0, penalties=i == 0)"
_WEIGHED = "return (self._number(self._evaluate(epoch, first, step, weight or 1.0)), weight)"
_SHORT = "W *= xp.minimum(1, longest / xp.maximum(length, 1e-30)).astype(W.dtype)"
_TRUTH = "the truth of a number does not depend on its sign"

EQUIVALENT_TRAINING: tuple[Equivalent, ...] = (
    # the trainer
    *alike("Trainer.run", "an epoch of no step has ended the run before", ("if p.position:", "if True:")),
    *alike("Trainer.run", "the clock has moved between two readings", *of_statement(_MOST, (">=", ">"))),
    *alike("Trainer._take", _TRUTH, (_DUE, _DUE.replace("= ", "= -(", 1) + ")")),
    *alike("Trainer._take", "what is said of no number has no sign", ("loss = losses[made]", "loss = -losses[made]")),
    *alike("Trainer._take", "only warnings", ("with np.errstate(all='ignore'):", "with np.errstate():")),
    *alike("Trainer._compare", _TRUTH, ("improved = self.best is None", "improved = -(self.best is None)")),
    *alike(
        "Trainer._compare",
        _TRUTH,
        *of_statement("progressed = self.stopping.watch.better(value, p.reference)", ("= ", "= -")),
        *of_statement("progressed = self.plateau.watch.better(value, p.plateau_reference)", ("= ", "= -")),
    ),
    *alike(
        "Watch.better",
        "a metric that is no finite number has ended the run before",
        ("if not math.isfinite(value):; return False", "pass"),
        *of_statement("return False", ("return False", "pass"), ("False", "True"), ("False", "-False")),
    ),
    *alike(
        "Stopping.over",
        _TRUTH,
        (
            "return stale >= self.patience + self.factor * (measured - stale)",
            "return -(stale >= self.patience + self.factor * (measured - stale))",
        ),
    ),
    # the stages of a step
    *alike("StageSteps._gradient", "-0 is 0", ("self._sum[:] = 0", "self._sum[:] = -0")),
    *alike(
        "StageSteps._gradient",
        "rows of no weight have neither a loss nor a gradient",
        *of_statement(_EVALUATE, ("1.0", "1.5")),
        *of_statement(_WEIGHED, ("1.0", "1.5")),
    ),
    *alike(
        "StageSteps._clip",
        "on the host nothing is remote",
        *of_statement(_CLIP, ("is not None and", "is None and")),
        ("backend.primitive(clip_norm)(grad, limits.clip_norm)", ANYTHING),
    ),
    *alike(
        "StageSteps._clip",
        "the same length by the primitive that a device takes",
        *of_statement(_CLIP, (" and ", " or ")),
    ),
    *alike(
        "StageSteps._clip",
        "a gradient as long as it may be is multiplied by 1",
        *of_statement("if length > limits.clip_norm:", (">", ">=")),
    ),
    # shards
    *alike(
        "ShardedSteps._total",
        "all parts are of one shape and one type",
        *of_statement(_ACROSS, ("parts[0].shape", "parts[1].shape"), ("parts[0].dtype", "parts[1].dtype")),
    ),
    *alike(
        "ShardedSteps._total_loss",
        "on the host nothing is remote",
        (f"{_REMOTE}; {'; '.join(_TOLD)}", "pass"),
        *((line, ANYTHING) for line in _TOLD),
    ),
    *alike(
        "ShardedSteps._total_loss",
        "the same loss by the way that a device takes",
        (_REMOTE, "if True:"),
        (_REMOTE, "if not self.job.backend.remote:"),
    ),
    *alike(
        "ShardedSteps._total_loss",
        "of what is told the first numbers are read",
        *of_statement("told = self.world.numbers(losses[:1])[:, 0].tolist()", ("[:1]", "[:2]")),
    ),
    *alike(
        "ShardedSteps._rows",
        "the same rows of a batch that is gathered as a whole",
        (f"if self.job.augment is None:; {_REMOTE}; {_MINE}; {_BATCH}", "pass"),
        (_BATCH, "pass"),
    ),
    *alike(
        "ShardedSteps._rows",
        "on the host a row more than none is not looked at",
        (f"{_REMOTE}; {_MINE}", "pass"),
        (_REMOTE, "if True:"),
        (_REMOTE, "if not self.job.backend.remote:"),
    ),
    *alike("ShardedSteps._rows", "on the host nothing is remote", (_MINE, ANYTHING)),
    *alike("StagedShards.gradient", "it was 0", *of_statement(_FLOAT, (" = ", " += "))),
    *alike("StagedShards.gradient", "on the host nothing is remote", (_FLOAT, "losses[i] = float(loss)")),
    *alike(
        "StagedShards.gradient",
        "memory that is filled before it is read",
        *of_statement("Delta = shard.Delta[:len(logits)]", ("= ", "= -")),
    ),
    *alike(
        "StagedShards.gradient",
        "only what a reader is told of a list",
        *of_statement(_LOSSES, ("Array | None", "Array"), ("Array | None", "None")),
    ),
    *alike(
        "Lockstep.forward",
        "all parts are gone through alike",
        *of_statement("self._rows, self._record = (rows, modes[0].record)", ("[0]", "[1]")),
    ),
    *alike("Lockstep.backward", "a gradient is written before it is read", ("if part is None:", "if True:")),
    *alike("Lockstep.backward", "-0 is 0", ("network.parameters.grad[:] = 0", "network.parameters.grad[:] = -0")),
    *alike(
        "Lockstep.backward",
        "the networks of all parts are alike",
        *of_statement(_BACKWARD, ("networks[0]", "networks[1]")),
    ),
    *alike(
        "Lockstep._forward Lockstep._backward",
        "the same layer of every part is of the same kind",
        ("kind = layers[0]", "kind = layers[1]"),
    ),
    *alike(
        "Lockstep._backward", "a derivative that nobody asks for", ("if not needed:; break", "pass"), ("break", "pass")
    ),
    *alike("Lockstep._backward", _TRUTH, ("needed = kind.index != last", "needed = -(kind.index != last)")),
    *alike("Lockstep._normalise", "a step that trains records", ("if self._record:", "if True:")),
    *alike("Lockstep._normalise", "statistics that all parts share", ("norm = layers[0]", "norm = layers[1]")),
    *alike(
        "Lockstep._normalise",
        "only Norm.backward asks, which is not gone through",
        *of_statement("one.H, one.constant = (head(one._H, len(X)), False)", ("False", "True")),
    ),
    *alike(
        "Lockstep._normalise_backward",
        "memory that is filled before it is read",
        *of_statement("T = head(one._T, len(D))", ("= ", "= -")),
    ),
    *alike("Lockstep._sum", "zeros of the same length", *of_statement(_ZEROS, ("one.gain", "one.inverse"))),
    # schedules
    *alike("Schedule.rate", "no step is behind the last one", *of_statement(_SHARE, ("1.0", "1.5"))),
    *alike(
        "Schedule.rate",
        "of one step after warm-up, or of none, nothing is done before it",
        *of_statement(_SHARE, ("max(1", "max(2"), ("max(1", "max(0")),
    ),
    *alike(
        "Schedule._factor",
        "there is no other schedule",
        ("raise ValueError(f'unknown schedule {self.name}')", "pass"),
    ),
    *alike("Schedule._factor", "a cosine has no sign", (_WAVES, _WAVES.replace("= ", "= -", 1))),
    *alike("Schedule._factor", "step + 1 is 1 or more", *of_statement(_ROOT, ("/ max(1", "/ max(0"))),
    *alike("Schedule._one_cycle", "both ways give 1 there", *of_statement("if step < peak:", ("<", "<="))),
    *alike(
        "Schedule._one_cycle",
        "a cosine has no sign",
        *of_statement(_X, ("= ", "= -"), ("step - peak", "peak - step")),
    ),
    *alike("Schedule._one_cycle", "no step is behind the last one", *of_statement(_X, ("1.0", "1.5"))),
    *alike(
        "Fade.share",
        "no step is behind the last one",
        ("t = min(1.0, step / self.steps)", "t = min(1.5, step / self.steps)"),
    ),
    *alike("Fade.share", "both ways give 1 there", *of_statement(_LEFT, ("<=", "<"))),
    *alike(
        "Fade.share",
        "a cosine has no sign, and the same value one turn on",
        *of_statement(_LEFT, ("2 * t - 1", "2 * t + 1"), ("2 * t - 1", "1 - 2 * t")),
    ),
    # on whole vectors
    *alike(
        "follow",
        "only the size of the blocks",
        *of_statement("for s in blocks(len(theta), 1, block):", (", 1,", ", 2,"), (", 1,", ", 0,")),
    ),
    *alike("shorten_rows", "only for a row of zeros", *of_statement(_SHORT, ("1e-30", "1.5000000000000001e-30"))),
)
