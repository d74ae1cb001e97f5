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
from mlp_core.training.ensemble import EnsembleEvaluator, member_configs
from mlp_core.training.evaluator import Evaluator
from mlp_core.training.experiment import Experiment
from mlp_core.training.model import Model
from mlp_core.training.trainer import Trainer, Watch

START = slips(
    (initial_weights, "leaky", ("fans(fan_in, fan_out)", "fans(fan_out, fan_in)"), ("* deviation)", ")")),
    (
        data_start._Start._dense,
        "strong",
        ("/= deviation[moved, None]", "/= deviation[moved, None] ** 2"),
        ("-(shares * Z", "(shares * Z"),
        ("shares /= shares.sum(axis=1, keepdims=True)", "pass"),
    ),
    (data_start.data_start, "strong", ("min(len(X), ROWS)", "min(len(X), 7)")),
    (NumericEmbedding.initialize, "strong", ("self.plan.sigma * draw", "draw"), ("math.pi)", "1.0)")),
    (Embedding.initialize, "words", ("self.DEVIATION *", "2 * self.DEVIATION *")),
    (Parametric.initialize, "strong", ("= 1", "= 0.5")),
    (InputScale.initialize, "strong", ("= 1", "= 0.9")),
    (Loss.prior, "binary", ("(total - positive)", "total")),
    (GaussianNll.best_constant, "gaussian_nll", ("np.square(Y - mean)", "np.abs(Y - mean)")),
    (
        from_config.make_architecture,
        "strong",
        ('ntk=model.parametrization == "ntk"', "ntk=False"),
        ("input_scale=model.input_scale", "input_scale=False"),
        ("parametric=model.parametric", "parametric=False"),
        ("waves.sigma", "2 * waves.sigma"),
        ("rescale=model.init_rescale", "rescale=False"),
    ),
)

RUN = slips(
    (Fade.share, "strong", ("t <= 0.5", "t <= 0.75"), ("2 * t - 1", "t")),
    (Schedule._factor, "strong", ("2.0**self.cycles - 1", "2.0**self.cycles")),
    (from_config.make_fades, "strong", ("Fade(values.weight_decay, steps)", "Fade(values.dropout, 2)")),
    (from_config.make_schedule, "strong", ("cycles=int(values.cycles)", "cycles=1")),
    (from_config.make_stopping, "stop early", ("values.patience,", "values.patience + 1,")),
    (from_config.make_watch, "stop early", ('if mode == "auto"', 'if mode != "auto"')),
    (from_config.make_plateau, "plateau", ("values.factor", "values.factor**2")),
    (from_config.make_limits, "eval_every", ("eval_every=train.eval_every", "eval_every=1")),
    (Trainer._compare, "stop early", ("else (p.reference, p.stale + 1)", "else (value, p.stale + 1)")),
    (Trainer._compare, "plain", ("return improved", "return True")),
    (Watch.better, "accuracy", ("value > than + self.min_delta", "value > than")),
    (Trainer._compare, "stop seldom", ("p.epoch // self.job.limits.eval_every", "p.epoch")),
    (
        Trainer._end,
        "plain",
        ("p.epoch >= limits.epochs", "p.epoch + 1 >= limits.epochs"),
        ("p.epoch >= limits.epochs", "p.epoch > limits.epochs"),
    ),
    (Trainer._epoch, "warm-up", ("self._rate(p.step - 1)", "self._rate(p.step)")),
    (member_configs, "members", ("config.seed + k", "config.seed"), ('split.seed": seed', 'split.seed": None')),
    (Model.split, "weights", ("weight=dataset.weight", "weight=w")),
    (Model.split, "plain", ("y=dataset.y,", "y=dataset.y[::-1].copy(),")),
    (Trainer._take, "few steps", ("min(left, most - p.step)", "left")),
    (Trainer.run, "few steps", ("time.monotonic() - begun >= most", "time.monotonic() - begun >= 0 * most")),
)

OPEN = slips(
    (from_config.auto_settings, "rmsprop", ("kind.default_rho", "0.9")),
    (from_config.auto_settings, "lion", ("kind.default_betas", "(0.9, 0.999)")),
    (from_config.auto_settings, "adagrad", ("kind.default_eps", "1e-8")),
    (from_config.auto_lr, "left open", ("OPTIMIZERS[name].default_lr", "1e-3")),
    (from_config.auto_batch_size, "left open", ("32 if", "16 if")),
    (auto.resolve, "strong", ("4 if config", "3 if config")),
    (recipe._training, "recipe", ("else 0.04", "else 0.02")),
    (recipe._network, "recipe", ('"model.dropout", 0.15', '"model.dropout", 0.2')),
    (recipe._strong, "recipe", ('"loss.label_smoothing", 0.1', '"loss.label_smoothing", 0.2')),
    (recipe.size_of, "recipe", ("min(rows, batch)", "min(rows, 32)")),
    (
        split._stratified,
        "binary",
        ("rows[np.concatenate(picks)]", "rows[np.concatenate(picks)] // 2 * 2"),
        ("_shares(sizes, count", "_shares(sizes, count // 2"),
    ),
    (split.split_rows, "numbers", (".permutation(len(rows))", ".integers(0, len(rows), len(rows))")),
)

INPUTS = slips(
    (Scaler.transform, "binary", ("block *= self.scale", "block *= 1.01 * self.scale")),
    (Scaler.take, "range", ("low, high - low", "low, high")),
    (scaling.bent, "strong", ("Z / SMOOTH_LIMIT", "Z")),
    (scaling._moments, "binary", ("rows, 0.0) / rows", "rows, 0.0) / (rows - 1)")),
    (scaling._quartiles, "strong", ("0.25, 0.5, 0.75", "0.2, 0.5, 0.8")),
    (Numbers.filled, "binary", ("self.fill, where", "0.0, where")),
    (Numbers.bent, "ranks", ("np.clip(block, self.low, self.high, out=block)", "pass")),
    (Preprocessor.transform, "binary", ("np.isnan(block[:, flagged])", "~np.isnan(block[:, flagged])")),
    (Preprocessor._words, "binary", ("start + places[rows]] = 1", "start + places[rows] - 1] = 1")),
    (Preprocessor._words, "words", ("result[:, last] = places", "result[:, last] = places[::-1]")),
    (Preprocessor._words, "ranks", ("one.places - 1)", "one.places)")),
    (Preprocessor._fit_limits, "ranks", ("plan.clip * values.std()", "values.std()")),
    (Ranks.transform, "ranks", ("(up + down) / 2", "up")),
    (categories._levels, "strong", ("np.eye(places)", "2 * np.eye(places)[::-1]")),
    (Categories.counted, "binary", (">= plan.min_count", ">= 40")),
    (Model._made, "binary", ("if alike else None, dtype)", "if alike else None, dtype)[::-1].copy()")),
    (Target.fit, "clamped", ("X.max(axis=0)", "X.mean(axis=0)"), ("if self.clamp:", "if False:")),
    (StreamedBatches.batch, "disk", ("group.order[places]", "group.order[places][::-1]")),
    (TwoLevel.group, "disk", ('"shuffle rows", epoch, index', '"shuffle rows", 0, index')),
)

JUDGED = slips(
    (Target.inverse, "clamped", ("result.real > high, high", "result.real > high, result")),
    (Evaluator.spread, "gaussian_nll", ("deviation / target.scale", "deviation * target.scale")),
    (GaussianNll.deviation, "gaussian_nll", (" / 2)", ")")),
    (Quantile.further, "quantile", ("Z[:, i ::", "Z[:, (i + 1) % 3 ::")),
    (Evaluator.rows, "binary", ("split.Y[part])[0]", "split.Y[part])[0] * 2")),
    (Evaluator.logits, "binary", ("network.forward(chunk)", "network.forward(chunk * 1.01)")),
    (
        Experiment.calibrate,
        "calibrated",
        ("with _weights_for_use(self.trainer):", "if True:"),
        ('self.splits["val"], []', 'self.splits["train"], []'),
        ("replace(self.model, calibration=found)", "self.model"),
    ),
    (Experiment.evaluate, "calibrated", ("(self.model.calibration)", "(Calibration())")),
    (calibration._fit_softmax, "plain", ("- told", "- 0.9 * told")),
    (
        calibration._fit_platt,
        "calibrated",
        ("(ones + 1) / (ones + 2)", "1.0"),
        ("1 / (zeros + 2)", "1 / (zeros + 1)"),
        ("w * (p - t)", "(p - t)"),
    ),
    (
        calibration.best_threshold,
        "binary",
        ("values.max() - 1e-12", "values.max() - 0.02"),
        ("weight * (y == 0)", "(y == 0) * 1.0"),
    ),
    (classes.accuracy, "binary", ("o.mean(right)", "float(right.mean())")),
    (classes.f1, "binary", ("2 * hit, truth + guess", "hit, truth + guess")),
    (classes.mcc, "plain", ("c * n - truth @ guess", "c * n - truth @ truth")),
    (Outcome.mean, "binary", ("/ total)", "/ len(self.weight))")),
    (ranking.area_under_roc, "binary", ("beaten + no / 2", "beaten")),
    (ranking.average_precision, "plain", ("np.cumsum(yes + no)", "np.cumsum(yes) + no")),
    (probability.reliability, "binary", ("weights=w * happened", "weights=happened * 1.0")),
    (regression.rmse, "numbers", ("np.sqrt(", "np.abs(")),
    (regression.r2, "numbers", ("np.square(o.P - o.y)", "np.abs(o.P - o.y)")),
    (Experiment.checkpoint, "calibrated", ("trainer.job.optimizer.t,", "0 * trainer.job.optimizer.t + 1,")),
    (Experiment._arrays, "calibrated", ("else trainer.job.average", "else parameters.theta")),
    (EnsembleEvaluator.predict, "binary", ("np.mean(told, axis=0)", "told[0]")),
    (EnsembleEvaluator.evaluate, "binary", ("np.mean([one.outcome.P for one in found], axis=0)", "found[0].outcome.P")),
)

READ_BACK = slips(
    (Target.to_state, "numbers, logarithms", ('"log": self.log', '"log": False')),
    (model.model_of, "binary", ("model.calibration if calibration is None else calibration", "model.calibration")),
    (calibration.Calibration.from_state, "binary", ("offset, threshold, fitted", "0 * offset, threshold, fitted")),
    (
        Experiment.restore,
        "plain",
        ("trainer.job.optimizer.t = progress, steps", "trainer.stamp = progress, steps"),
        ("array[...] = backend.asarray(tensors[name])", "array[...] = 0 * backend.asarray(tensors[name])"),
    ),
    (EnsembleEvaluator.rows, "binary", ("np.mean([losses for losses, _ in found], axis=0)", "found[0][0]")),
    (EnsembleEvaluator.spread, "gaussian_nll", ("+ np.var(means, axis=0)", "")),
    (ensemble.Inputs.transform, "binary", ("np.hstack([model.", "np.hstack([self.members[0].")),
    (vars(Categories)["unknown_place"].fget, "unknown words", ("NOWHERE if", "self.mode if")),
    (Ranks.transform, "ranks", ("2, 1e-7", "2, 1e-3")),
)

DATA_SLIPS = (*START, *RUN, *OPEN, *INPUTS, *JUDGED, *READ_BACK)
