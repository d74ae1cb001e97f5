"""Slips in what is around the engine: the loop, the stages, batches, what is built of a config, and using a model."""

from __future__ import annotations

from mlp_core.data.batches.batches import Augment, Batches
from mlp_core.data.preprocess.scaling import Scaler, Target
from mlp_core.metrics.calibration import Calibration
from mlp_core.metrics.outcome import decide
from mlp_core.nn import losses
from mlp_core.proof.planted.slip import slips
from mlp_core.training import auto, experiment, from_config
from mlp_core.training.evaluator import Evaluator
from mlp_core.training.model import Model
from mlp_core.training.steps import StageSteps
from mlp_core.training.trainer import Stopping, Trainer, Watch

LOOP = slips(
    (Trainer._rate, "plateau", (" * self.progress.plateau_factor", "")),
    (
        Trainer._compare,
        "plateau",
        ("p.plateau_factor * self.plateau.factor", "self.plateau.factor"),
        ("p.plateau_stale > self.plateau.patience", "p.plateau_stale >= self.plateau.patience"),
        ("self.plateau.factor, 0", "self.plateau.factor, 1"),
    ),
    (Trainer._compare, "stop early", ("value, p.epoch", "value, p.epoch - 1")),
    (
        Stopping.over,
        "stop late",
        ("stale >= self.patience", "stale > self.patience"),
        ("self.factor * (measured - stale)", "self.factor * measured"),
    ),
    (Watch.better, "stop early", ("than - self.min_delta", "than"), ("if self.smaller", "if not self.smaller")),
    (
        Trainer._epoch,
        "weights",
        ("/ (p.weight_sum or 1.0)", "/ (p.step or 1.0)"),
        ("p.loss_sum = p.weight_sum = 0.0", "pass"),
    ),
    (Trainer._epoch, "eval_every", ("eval_every == 0", "eval_every == 1")),
    (Trainer._read, "weights", ("loss * weight", "loss")),
    (
        Trainer._take,
        "warm-up",
        ("self.rates(step) for step", "self.rates(p.step) for step"),
        ("step + made, position + made", "step + made + 1, position + made"),
    ),
    (
        StageSteps._gradient,
        "accumulate, numpy",
        ("self._sum[:] = 0", "pass"),
        ("penalties=i == 0", "penalties=True"),
        ("total or 1.0, penalties", "weights[i], penalties"),
        ("step * k + i, total", "step + i, total"),
        ("self._number(value) + loss", "self._number(value)"),
        ("first + k", "first + k - 1"),
    ),
    (StageSteps._gradient, "accumulate, noise, numpy", ("step * k + i, total", "step + i, total")),
    (
        StageSteps._clip,
        "clip, numpy",
        ("length > limits.clip_norm", "length > 10 * limits.clip_norm"),
        ("limits.clip_norm / length", "limits.clip_norm"),
        ("math.sqrt(float(backend.xp.dot(grad, grad)))", "float(abs(grad).sum())"),
    ),
    (StageSteps._average, "average, numpy", ("average_share(self.job.limits.ema, step)", "1 - self.job.limits.ema")),
    (StageSteps._max_norm, "max norm, numpy", ("if spec.is_weight:", "if spec.is_weight and step:")),
    (StageSteps._gradient, "numpy", ("step, weight or 1.0", "step, float(batches.size)")),
)

BATCHES = slips(
    (Batches._gather_targets, "numpy", ("(self.Y, rows, Y)", "(self.Y, rows[::-1].copy(), Y)")),
    (Batches.batch, "numpy", ("self._order(epoch)[span]", "self._order(epoch)[span][::-1].copy() * 0 + 1")),
    (Batches._gather_targets, "weights, numpy", ("(self.w, rows, w)", "(self.w, rows[::-1].copy(), w)")),
    (Batches.dealt, "plain", ('"shuffle", epoch', '"shuffle", 0 * epoch'), ("self.seed, ", "self.seed + 1, ")),
    (Batches.weight, "numpy", ("float(stop - start)", "float(self.size)")),
    (Batches.weight, "weights, numpy", ("self.numbers(epoch, position, 1)[0]", "slice(*self.span(position))")),
    (
        Augment.draw_mix,
        "mixup, numpy",
        ("mode.step", "0"),
        ("rng.permutation(rows)", "rng.permutation(rows)[::-1].copy()"),
        ("self.mixup, self.mixup", "self.mixup, 2 * self.mixup"),
    ),
    (
        Augment._mixed,
        "mixup, numpy",
        ('self._mix("Y", Y, share, other)', 'self._mix("Y", Y, 1.0, other)'),
        ('self._mix("Y", Y, share, other)', 'self._mix("Y", Y, 1 - share, other)'),
    ),
    (Augment._mix, "mixup, numpy", ("mixed *= 1 - share", "mixed *= share")),
    (Augment._noisy, "noise, numpy", ("noisy *= self.noise", "noisy *= self.noise**2"), ("noisy += X", "noisy -= X")),
    (Augment.draw_noise, "noise, numpy", ("mode.step", "0")),
)

BUILT = slips(
    (from_config.make_segments, "decay", ("if spec.is_weight else 0.0", "if spec.name else 0.0")),
    (from_config.make_segments, "groups", ("group.weight_decay\n", "values.weight_decay\n")),
    (from_config.make_segments, "frozen", ("if frozen:", "if frozen and False:")),
    (
        from_config.make_schedule,
        "linear",
        ("train.epochs * steps_per_epoch", "(train.epochs + 1) * steps_per_epoch"),
        ("final=values.final", "final=0.0"),
    ),
    (from_config.make_schedule, "warm-up", ("values.warmup < 1 else", "values.warmup < 0 else")),
    (from_config.make_limits, "average", ("ema=optimizer.ema", "ema=None")),
    (
        from_config.make_limits,
        "clip",
        ("clip_norm=optimizer.clip_norm", "clip_norm=None"),
        ("clip_value=optimizer.clip_value", "clip_value=optimizer.clip_norm"),
    ),
    (
        from_config.make_penalty,
        "penalties",
        ("config.regularization.l2, config.regularization.l1", "config.regularization.l1, config.regularization.l2"),
    ),
    (from_config.make_optimizer, "adam", ("values.betas[1]", "values.betas[0]")),
    (
        from_config.make_architecture,
        "batch norm",
        ("norm_eps=model.norm_eps", "norm_eps=1e-5"),
        ("norm_momentum=model.norm_momentum", "norm_momentum=0.1"),
    ),
    (from_config.make_architecture, "norm behind", ("model.norm_position == ", "model.norm_position != ")),
    (from_config.make_architecture, "dropout", ("float(layer.dropout or 0.0)", "0.5 * float(layer.dropout or 0.0)")),
    (from_config.make_loss, "huber", ('"delta": values.delta', '"delta": 1.0')),
    (from_config.make_loss, "smoothing", ('"label_smoothing": values.label_smoothing', '"label_smoothing": 0.0')),
    (
        auto._class_weights,
        "weights",
        ("np.maximum(counts, 1)", "np.maximum(counts[::-1], 1)"),
        ("(len(counts) * ", "(1 * "),
    ),
    (Model.weights, "weights", ("w * per_class[dataset.y]", "per_class[dataset.y]")),
    (Model.weights, "class weights", ("per_class[dataset.y] if w", "per_class[::-1][dataset.y] if w")),
    (Model.targets, "plain", ("return y\n", "return y[::-1].copy()\n")),
    (Target.transform, "numbers, logarithms", ("super().transform(np.log1p(X)", "super().transform(np.log(X + 2)")),
)

USE = slips(
    (Evaluator.told, "binary", ("np.hstack([1 - P, P])", "np.hstack([P, 1 - P])")),
    (Evaluator.told, "numbers, scaled", ("self.target.inverse(P)", "P")),
    (Evaluator.evaluate, "weights", ("split.w.sum()", "len(split.X)")),
    (Calibration.apply, "binary", ("+ self.offset", "- self.offset")),
    (Calibration.apply, "plain", ("_softmax(self.slope * ", "_softmax(self.slope**2 * ")),
    (decide, "binary", ("threshold <= P[:, 1]", "0.5 <= P[:, 1]")),
    (Target.inverse, "numbers, logarithms", ("np.expm1(", "np.exp(")),
    (Scaler.inverse, "numbers, scaled", ("/ self.scale", "* self.scale"), ("+ self.shift", "")),
    (losses.Poisson.predict, "poisson", ("xp.exp(Z)", "Z")),
    (losses.Quantile.point, "quantile", ("- 0.5", "- 0.9")),
    (losses.shares, "one against the rest", ("-softplus(xp, -Z)", "Z")),
    (
        experiment._weights_for_use,
        "average",
        ("theta[:] = trainer.job.average", "pass"),
        ("theta[:] = trained", "pass"),
    ),
)

TRAINING_SLIPS = (*LOOP, *BATCHES, *BUILT, *USE)
