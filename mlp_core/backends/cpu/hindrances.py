"""What of a job the kernels have no instructions for, as it is called in the config; None where they have all."""

from __future__ import annotations

import numpy as np

from mlp_core.backends import numbers
from mlp_core.backends.cpu.kernels import fits
from mlp_core.backends.job import Job
from mlp_core.data.batches.batches import Batches
from mlp_core.nn.losses import Focal
from mlp_core.nn.norm import Norm
from mlp_core.nn.optimizer import Optimizer


def of_steps(job: Job) -> str | None:
    """Of steps as a whole."""
    return of_update(job) or ("data on the disk" if type(job.batches) is not Batches else of_loss(job) or _of_rows(job))


def of_shards(job: Job) -> str | None:
    """Of the gradient of shards. Batch norm asks for sums over all rows, of other workers, too, on the way."""
    normed = any(isinstance(layer, Norm) and layer.kind == "batch" for layer in job.network._flat_layers())
    return "norm batch" if normed else of_loss(job) or _of_dtype(job)


def of_update(job: Job) -> str | None:
    optimizer = job.optimizer
    if type(optimizer).step is not Optimizer.step or optimizer.rule.__name__ not in numbers.RULES:
        return f"optimizer.name {type(optimizer).__name__.lower()}"
    return None


def of_loss(job: Job) -> str | None:
    batches, loss = job.batches, job.objective.loss
    mixed = job.augment is not None and job.augment.mixup > 0
    classes = len(batches.Y) if batches.Y.ndim == 1 else 0
    if mixed and classes and (job.network.architecture.outputs == 1 or isinstance(loss, Focal)):
        return "regularization.mixup with such targets"
    return None if fits(loss, job.network.Delta, batches.Y) else f"loss.name {loss.name} with such targets"


def _of_rows(job: Job) -> str | None:
    batches = job.batches
    arrays = [batches.X.resident, batches.Y, *([] if batches.w is None else [batches.w])]
    lie_well = all(isinstance(array, np.ndarray) and array.flags.c_contiguous for array in arrays)
    return _of_dtype(job) if lie_well else "data of another dtype or shape"


def _of_dtype(job: Job) -> str | None:
    batches, dtype = job.batches, job.network.dtype
    same = batches.X.dtype == dtype and (batches.w is None or batches.w.dtype == dtype)
    return None if same and dtype.char in "fd" else "data of another dtype or shape"
