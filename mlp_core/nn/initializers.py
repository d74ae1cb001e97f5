"""Initial weights, drawn on the host, so that every device and every dtype starts from the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# numerator and fans: variance = numerator / fans
_VARIANCE: dict[str, tuple[float, Callable[[int, int], int]]] = {
    "he": (2.0, lambda fan_in, fan_out: fan_in),
    "glorot": (2.0, lambda fan_in, fan_out: fan_in + fan_out),
    "lecun": (1.0, lambda fan_in, fan_out: fan_in),
}


def initial_weights(
    name: str, shape: tuple[int, int], rng: np.random.Generator, *, scale: float | None = None, ntk: bool = False
) -> np.ndarray:
    """Weights [fan_out, fan_in] in float64, drawn from `rng`.

    - he: variance 2 / fan_in (He et al., ICCV 2015)
    - glorot: variance 2 / (fan_in + fan_out) (Glorot and Bengio, AISTATS 2010)
    - lecun: variance 1 / fan_in (LeCun et al., "Efficient BackProp", 1998)
    - orthogonal: rows or columns orthonormal, times `scale` (Saxe et al., ICLR 2014)
    - normal: standard deviation `scale` (0.01 if not given); uniform: on [-scale, scale] (0.05)
    - zeros

    The uniform forms have the same variance: a uniform on [-r, r] has variance r^2 / 3. With `ntk` the layer divides by
    sqrt(fan_in), and what is drawn is multiplied by that, but for normal and uniform, which say what W itself is (and
    have 1 for their `scale` if none is given): lecun_normal is N(0, 1) then.
    """
    fan_out, fan_in = shape
    if ntk and name in ("normal", "uniform"):
        scale = 1.0 if scale is None else scale
    elif ntk:
        return math.sqrt(fan_in) * initial_weights(name, shape, rng, scale=scale)
    if name == "zeros":
        return np.zeros(shape)
    if name == "orthogonal":
        return _orthogonal(shape, rng) * (1.0 if scale is None else scale)
    if name == "normal":
        return rng.standard_normal(shape) * (0.01 if scale is None else scale)
    if name == "uniform":
        return _uniform(shape, rng, 0.05 if scale is None else scale)
    family, distribution = name.split("_")
    numerator, fans = _VARIANCE[family]
    deviation = math.sqrt(numerator / fans(fan_in, fan_out))
    if distribution == "normal":
        return rng.standard_normal(shape) * deviation
    return _uniform(shape, rng, math.sqrt(3) * deviation)


def _uniform(shape: tuple[int, int], rng: np.random.Generator, radius: float) -> np.ndarray:
    return (2 * rng.random(shape) - 1) * radius


def _orthogonal(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    rows, columns = shape
    Q, R = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    Q *= np.sign(np.diag(R))  # makes the draw uniform over the orthogonal matrices (Mezzadri 2007)
    return Q if rows >= columns else Q.T
