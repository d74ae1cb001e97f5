"""Slips before the first step and after the last: first weights, inputs from the data, metrics, calibration, saving."""

from __future__ import annotations

from mlp_core.data import split
from mlp_core.data.batches.chunk_shuffle import TwoLevel
from mlp_core.data.batches.from_disk import StreamedBatches
from mlp_core.data.preprocess import categories, scaling
from mlp_core.data.preprocess.categories import Categories
from mlp_core.data.preprocess.fitted_numbers import Numbers
from mlp_core.data.preprocess.preprocessor import Preprocessor
from mlp_core.data.preprocess.quantile_scores import Ranks
from mlp_core.data.preprocess.scaling import Scaler, Target
from mlp_core.metrics import calibration, classes, probability, ranking, regression
from mlp_core.metrics.outcome import Outcome
from mlp_core.nn import data_start
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.initializers import initial_weights
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import GaussianNll, Quantile
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.nn.parametric import Parametric
from mlp_core.nn.schedules import Fade, Schedule
from mlp_core.proof.planted.slip import slips
from mlp_core.training import auto, ensemble, from_config, model, recipe
from mlp_core.training.ensemble import EnsembleEvaluator
from mlp_core.training.evaluator import Evaluator
from mlp_core.training.experiment import Experiment
from mlp_core.training.member_configs import member_configs
from mlp_core.training.model import Model
from mlp_core.training.trainer import Trainer, Watch

START = (
    *slips(
        "start", initial_weights, "leaky", ("fans(fan_in, fan_out)", "fans(fan_out, fan_in)"), ("* deviation)", ")")
    ),
    *slips(
        "start",
        data_start._Start._dense,
        "strong",
        ("/= deviation[moved, None]", "/= deviation[moved, None] ** 2"),
        ("-(shares * Z", "(shares * Z"),
        ("shares /= shares.sum(axis=1, keepdims=True)", "pass"),
    ),
    *slips("start", data_start.data_start, "strong", ("min(len(X), ROWS)", "min(len(X), 7)")),
    *slips("start", NumericEmbedding.initialize, "strong", ("self.plan.sigma * draw", "draw"), ("math.pi)", "1.0)")),
    *slips("start", Embedding.initialize, "words", ("self.DEVIATION *", "2 * self.DEVIATION *")),
    *slips("start", Parametric.initialize, "strong", ("= 1", "= 0.5")),
    *slips("start", InputScale.initialize, "strong", ("= 1", "= 0.9")),
    *slips("start", Loss.prior, "binary", ("(total - positive)", "total")),
    *slips("start", GaussianNll.best_constant, "gaussian_nll", ("np.square(Y - mean)", "np.abs(Y - mean)")),
    *slips(
        "config",
        from_config.make_architecture,
        "strong",
        ('ntk=model.parametrization == "ntk"', "ntk=False"),
        ("input_scale=model.input_scale", "input_scale=False"),
        ("parametric=model.parametric", "parametric=False"),
        ("waves.sigma", "2 * waves.sigma"),
        ("rescale=model.init_rescale", "rescale=False"),
    ),
)

RUN = (
    *slips("schedules", Fade.share, "strong", ("t <= 0.5", "t <= 0.75"), ("2 * t - 1", "t")),
    *slips("schedules", Schedule._factor, "strong", ("2.0**self.cycles - 1", "2.0**self.cycles")),
    *slips("config", from_config.make_fades, "strong", ("Fade(values.weight_decay, steps)", "Fade(values.dropout, 2)")),
    *slips("config", from_config.make_schedule, "strong", ("cycles=int(values.cycles)", "cycles=1")),
    *slips("config", from_config.make_stopping, "stop early", ("values.patience,", "values.patience + 1,")),
    *slips("config", from_config.make_watch, "stop early", ('if mode == "auto"', 'if mode != "auto"')),
    *slips("config", from_config.make_plateau, "plateau", ("values.factor", "values.factor**2")),
    *slips("config", from_config.make_limits, "eval_every", ("eval_every=train.eval_every", "eval_every=1")),
    *slips("loop", Trainer._compare, "stop early", ("else (p.reference, p.stale + 1)", "else (value, p.stale + 1)")),
    *slips("loop", Trainer._compare, "plain", ("return improved", "return True")),
    *slips("loop", Watch.better, "accuracy", ("value > than + self.min_delta", "value > than")),
    *slips("loop", Trainer._compare, "stop seldom", ("p.epoch // self.job.limits.eval_every", "p.epoch")),
    *slips("loop", Trainer._end, "plain", ("p.epoch >= limits.epochs", "p.epoch + 1 >= limits.epochs")),
    *slips("loop", Trainer._end, "plain", ("p.epoch >= limits.epochs", "p.epoch > limits.epochs")),
    *slips("loop", Trainer._epoch, "warm-up", ("self._rate(p.step - 1)", "self._rate(p.step)")),
    *slips(
        "members",
        member_configs,
        "members",
        ("config.seed + k", "config.seed"),
        ('split.seed": seed', 'split.seed": None'),
    ),
    *slips("rows", Model.split, "weights", ("weight=dataset.weight", "weight=w")),
    *slips("rows", Model.split, "plain", ("y=dataset.y,", "y=dataset.y[::-1].copy(),")),
    *slips("loop", Trainer._take, "few steps", ("min(left, most - p.step)", "left")),
    *slips(
        "loop", Trainer.run, "few steps", ("time.monotonic() - begun >= most", "time.monotonic() - begun >= 0 * most")
    ),
)

OPEN = (
    *slips("left open", from_config.auto_settings, "rmsprop", ("kind.default_rho", "0.9")),
    *slips("left open", from_config.auto_settings, "lion", ("kind.default_betas", "(0.9, 0.999)")),
    *slips("left open", from_config.auto_settings, "adagrad", ("kind.default_eps", "1e-8")),
    *slips("left open", from_config.auto_lr, "left open", ("OPTIMIZERS[name].default_lr", "1e-3")),
    *slips("left open", from_config.auto_batch_size, "left open", ("32 if", "16 if")),
    *slips("left open", auto.resolve, "strong", ("4 if config", "3 if config")),
    *slips("recipe", recipe._training, "recipe", ("else 0.04", "else 0.02")),
    *slips("recipe", recipe._network, "recipe", ('"model.dropout", 0.15', '"model.dropout", 0.2')),
    *slips("recipe", recipe._strong, "recipe", ('"loss.label_smoothing", 0.1', '"loss.label_smoothing", 0.2')),
    *slips("recipe", recipe.size_of, "recipe", ("min(rows, batch)", "min(rows, 32)")),
    *slips(
        "rows",
        split._stratified,
        "binary",
        ("rows[np.concatenate(picks)]", "rows[np.concatenate(picks)] // 2 * 2"),
        ("_shares(sizes, count", "_shares(sizes, count // 2"),
    ),
    *slips("rows", split.split_rows, "numbers", (".permutation(len(rows))", ".integers(0, len(rows), len(rows))")),
)

INPUTS = (
    *slips("inputs", Scaler.transform, "binary", ("block *= self.scale", "block *= 1.01 * self.scale")),
    *slips("inputs", Scaler.take, "range", ("low, high - low", "low, high")),
    *slips("inputs", scaling.bent, "strong", ("Z / SMOOTH_LIMIT", "Z")),
    *slips("inputs", scaling._moments, "binary", ("rows, 0.0) / rows", "rows, 0.0) / (rows - 1)")),
    *slips("inputs", scaling._quartiles, "strong", ("0.25, 0.5, 0.75", "0.2, 0.5, 0.8")),
    *slips("inputs", Numbers.filled, "binary", ("self.fill, where", "0.0, where")),
    *slips("inputs", Numbers.bent, "ranks", ("np.clip(block, self.low, self.high, out=block)", "pass")),
    *slips("inputs", Preprocessor.transform, "binary", ("np.isnan(block[:, flagged])", "~np.isnan(block[:, flagged])")),
    *slips("inputs", Preprocessor._words, "binary", ("start + places[rows]] = 1", "start + places[rows] - 1] = 1")),
    *slips("inputs", Preprocessor._words, "words", ("result[:, last] = places", "result[:, last] = places[::-1]")),
    *slips("inputs", Preprocessor._words, "ranks", ("one.places - 1)", "one.places)")),
    *slips("inputs", Preprocessor._fit_limits, "ranks", ("plan.clip * values.std()", "values.std()")),
    *slips("inputs", Ranks.transform, "ranks", ("(up + down) / 2", "up")),
    *slips("inputs", categories._levels, "strong", ("np.eye(places)", "2 * np.eye(places)[::-1]")),
    *slips("inputs", Categories.counted, "binary", (">= plan.min_count", ">= 40")),
    *slips("inputs", Model._made, "binary", ("if alike else None, dtype)", "if alike else None, dtype)[::-1].copy()")),
    *slips("targets", Target.fit, "clamped", ("X.max(axis=0)", "X.mean(axis=0)"), ("if self.clamp:", "if False:")),
    *slips("rows", StreamedBatches.batch, "disk", ("group.order[places]", "group.order[places][::-1]")),
    *slips("rows", TwoLevel.group, "disk", ('"shuffle rows", epoch, index', '"shuffle rows", 0, index')),
)

JUDGED = (
    *slips("use", Target.inverse, "clamped", ("result.real > high, high", "result.real > high, result")),
    *slips("use", Evaluator.spread, "gaussian_nll", ("deviation / target.scale", "deviation * target.scale")),
    *slips("use", GaussianNll.deviation, "gaussian_nll", (" / 2)", ")")),
    *slips("use", Quantile.further, "quantile", ("Z[:, i ::", "Z[:, (i + 1) % 3 ::")),
    *slips("use", Evaluator.rows, "binary", ("split.Y[part])[0]", "split.Y[part])[0] * 2")),
    *slips("use", Evaluator.logits, "binary", ("network.forward(chunk)", "network.forward(chunk * 1.01)")),
    *slips(
        "calibration",
        Experiment.calibrate,
        "calibrated",
        ("with _weights_for_use(self.trainer):", "if True:"),
        ('self.splits["val"], []', 'self.splits["train"], []'),
        ("replace(self.model, calibration=found)", "self.model"),
    ),
    *slips("calibration", Experiment.evaluate, "calibrated", ("(self.model.calibration)", "(Calibration())")),
    *slips("calibration", calibration._fit_softmax, "plain", ("- truth", "- 0.9 * truth")),
    *slips(
        "calibration",
        calibration._fit_platt,
        "calibrated",
        ("(ones + 1) / (ones + 2)", "1.0"),
        ("1 / (zeros + 2)", "1 / (zeros + 1)"),
        ("w * (p - t)", "(p - t)"),
    ),
    *slips(
        "calibration",
        calibration.best_threshold,
        "binary",
        ("values.max() - 1e-12", "values.max() - 0.02"),
        ("weight * (y == 0)", "(y == 0) * 1.0"),
    ),
    *slips("metrics", classes.accuracy, "binary", ("o.mean(right)", "float(right.mean())")),
    *slips("metrics", classes.f1, "binary", ("2 * hit, truth + guess", "hit, truth + guess")),
    *slips("metrics", classes.mcc, "plain", ("c * n - truth @ guess", "c * n - truth @ truth")),
    *slips("metrics", Outcome.mean, "binary", ("/ total)", "/ len(self.weight))")),
    *slips("metrics", ranking.area_under_roc, "binary", ("beaten + no / 2", "beaten")),
    *slips("metrics", ranking.average_precision, "plain", ("np.cumsum(yes + no)", "np.cumsum(yes) + no")),
    *slips("metrics", probability.reliability, "binary", ("weights=w * happened", "weights=happened * 1.0")),
    *slips("metrics", regression.rmse, "numbers", ("np.sqrt(", "np.abs(")),
    *slips("metrics", regression.r2, "numbers", ("np.square(o.P - o.y)", "np.abs(o.P - o.y)")),
    *slips(
        "saved",
        Experiment.checkpoint,
        "calibrated",
        ("trainer.job.optimizer.t,", "0 * trainer.job.optimizer.t + 1,"),
    ),
    *slips("saved", Experiment._arrays, "calibrated", ("else trainer.job.average", "else parameters.theta")),
    *slips("saved", EnsembleEvaluator.predict, "binary", ("np.mean(told, axis=0)", "told[0]")),
    *slips(
        "saved",
        EnsembleEvaluator.evaluate,
        "binary",
        ("np.mean([one.outcome.P for one in found], axis=0)", "found[0].outcome.P"),
    ),
)

READ_BACK = (
    *slips("saved", Target.to_state, "numbers, logarithms", ('"log": self.log', '"log": False')),
    *slips(
        "saved",
        model.model_of,
        "binary",
        ("model.calibration if calibration is None else calibration", "model.calibration"),
    ),
    *slips(
        "saved",
        calibration.Calibration.from_state,
        "binary",
        ("offset, threshold, fitted", "0 * offset, threshold, fitted"),
    ),
    *slips(
        "saved",
        Experiment.restore,
        "plain",
        ("trainer.job.optimizer.t = progress, steps", "trainer.stamp = progress, steps"),
        ("array[...] = backend.asarray(tensors[name])", "array[...] = 0 * backend.asarray(tensors[name])"),
    ),
    *slips(
        "saved", EnsembleEvaluator.rows, "binary", ("np.mean([losses for losses, _ in found], axis=0)", "found[0][0]")
    ),
    *slips("saved", EnsembleEvaluator.spread, "gaussian_nll", ("+ np.var(means, axis=0)", "")),
    *slips("saved", ensemble.Inputs.transform, "binary", ("np.hstack([model.", "np.hstack([self.members[0].")),
    *slips("further rows", vars(Categories)["unknown_place"].fget, "unknown words", ("NOWHERE if", "self.mode if")),
    *slips("further rows", Ranks.transform, "ranks", ("2, 1e-7", "2, 1e-3")),
)

DATA_SLIPS = (*START, *RUN, *OPEN, *INPUTS, *JUDGED, *READ_BACK)
