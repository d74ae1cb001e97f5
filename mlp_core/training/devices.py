"""Which device a config computes on: the CPU, a GPU that was asked for, or a GPU because the job is worth it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from mlp_core.backends.cuda import Unusable, count_devices, cuda_backend, cuda_index, find_device, find_nccl
from mlp_core.backends.cuda.detect import cupy_installed
from mlp_core.config import Config
from mlp_core.errors import counted
from mlp_core.machine import free_memory
from mlp_core.nn.backend import Backend
from mlp_core.workers.devices import between_devices
from mlp_core.workers.world import ALONE, World

WORTH_STEP = 2e8
"""Floating-point operations of a step from which a GPU may win: below, the CPU is done in the millisecond that it takes
to hand a GPU the fifty-odd operations of a step one by one. An estimate, to be replaced by a measurement."""

WORTH_RUN = 2e12
"""Floating-point operations of a run from which it does: a GPU takes some seconds to begin."""


def step_flops(widths: Sequence[int], batch: int) -> float:
    """Floating-point operations of the matrix products of one training step: two forward, four backward per weight."""
    return 6.0 * batch * sum(n * m for n, m in itertools.pairwise(widths))


def decide_device(config: Config, widths: Sequence[int], batch: int, rows: int) -> tuple[str, str | None]:
    """The device of a config, `auto` decided, and one line about it where there is something to say.

    `widths` are the layers' from the inputs to the outputs, `rows` those of an epoch. A GPU that is asked for by name
    is left to `open_cuda`, which refuses it if it cannot be used.
    """
    if config.device != "auto":
        return config.device, None
    flops = step_flops(widths, batch)
    steps = config.train.epochs * -(-rows // max(1, batch))
    if config.train.max_steps is not None:
        steps = min(steps, config.train.max_steps)
    if flops < WORTH_STEP or flops * steps < WORTH_RUN:
        return "cpu", "device: cpu (too little work for a GPU to pay)" if cupy_installed() else None
    found = find_device()
    if isinstance(found, Unusable):
        return "cpu", f"device: cpu ({found.reason}; {found.fix})" if found.meant else None
    return f"cuda:{found.index}", f"device: cuda:{found.index} ({found.name})"


def check_devices(config: Config, world: World) -> None:
    """Raise ConfigError unless every worker of this machine has a GPU of its own, where the config wants GPUs."""
    if world.size == 1 or not config.device.startswith("cuda"):
        return
    if config.device != "cuda":
        message, hint = "each of several workers takes a GPU of its own", "write device: cuda"
        raise config.refusal("device", message, code="inconsistent", got=config.device, hint=hint)
    count = count_devices()
    if 0 < count < world.local_size:
        message = f"{world.local_size} workers need as many GPUs, this machine has {counted(count, 'GPU')}"
        hint = f"take {count if count == 1 else 'fewer'} of them on a machine, or write device: cpu"
        raise config.refusal("device", message, code="no_cuda", got=config.device, hint=hint)


def open_cuda(config: Config, world: World = ALONE) -> Backend:
    """The backend of the GPU that the config names, of several workers that of this one: the first worker of a machine
    takes its first GPU, and so on. Raises ConfigError with the remedy if it cannot be used."""
    check_devices(config, world)
    found = find_device(cuda_index(config.device) if world.size == 1 else world.local_rank)
    if isinstance(found, Unusable):
        hint = f"{found.fix}, or write device: cpu"
        raise config.refusal("device", found.reason, code="no_cuda", got=config.device, hint=hint)
    return cuda_backend(found.index, config.kernels != "numpy", config.matmul_precision)


def exchange(world: World, backend: Backend, nbytes: int) -> World:
    """What the workers exchange arrays of this backend through, of up to so many bytes."""
    if world.size == 1 or not backend.remote:
        return world
    return between_devices(world, backend.xp, nbytes, find_nccl())


def check_precision(config: Config, device: str) -> str | None:
    """A line about `matmul_precision` where it has no effect on this device; raises ConfigError where it cannot be had.

    A result that is more precise than asked for is no error: what was trained on a GPU can be used anywhere.
    """
    precision = config.matmul_precision
    if precision == "highest":
        return None
    reason = None
    if config.dtype != "float32":
        reason, hint = f"rounds factors of float32, and dtype is {config.dtype}", "remove it, or write dtype: float32"
    elif device.startswith("cuda") and config.kernels == "numpy":
        reason, hint = "is not to be had with kernels: numpy", "remove one of them"
    if reason is not None:
        raise config.refusal("matmul_precision", reason, code="inconsistent", got=precision, hint=hint)
    if device.startswith("cuda"):
        return f"matrix products: {precision} precision"
    return "matrix products: highest precision, the CPU knows no other"


def device_memory(config: Config) -> int | None:
    """Bytes that can be taken now where the config computes, None where nobody tells."""
    if not config.device.startswith("cuda"):
        return free_memory()
    found = find_device(cuda_index(config.device))
    return None if isinstance(found, Unusable) else found.free
