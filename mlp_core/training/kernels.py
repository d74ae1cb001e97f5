"""Who makes the steps on the CPU: the kernels in C where they can be used, numpy otherwise."""

from __future__ import annotations

from mlp_core.backends.cpu.library import REMEDY, NoKernels, library
from mlp_core.config import Config
from mlp_core.errors import ConfigError
from mlp_core.nn.backend import Backend


def decide_kernels(config: Config, device: str) -> tuple[str, str]:
    """The kernels of a config, `auto` decided, and a line that says so. Raises ConfigError where the ones that were
    asked for cannot be used."""
    if device.startswith("cuda"):
        return config.kernels, "kernels: numpy" if config.kernels == "numpy" else "kernels: the device's own"
    if config.kernels == "numpy":
        return "numpy", "kernels: numpy"
    try:
        name = library().name
    except NoKernels as error:
        if config.kernels == "auto":
            return "numpy", f"kernels: numpy (the compiled ones cannot be used: {error}; {REMEDY})"
        raise _refused(config, error) from None
    former = ", which numba in this config means now" if config.written("kernels") == "numba" else ""
    return "native", f"kernels: native, for {name}{former}"


def native(config: Config, threads: int) -> Backend:
    """numpy with kernels in C. Raises ConfigError where they cannot be used."""
    from mlp_core.backends.cpu.steps import native_backend  # not by those who only evaluate

    try:
        return native_backend(threads)
    except NoKernels as error:
        raise _refused(config, error) from None


def _refused(config: Config, error: NoKernels) -> ConfigError:
    message, hint = f"the compiled kernels cannot be used here: {error}", f"{REMEDY}; or set kernels: numpy"
    return config.refusal("kernels", message, code="no_kernels", got="native", hint=hint)
