"""Activations: f and its derivative f', elementwise, one under the other.

`forward` must survive complex arguments, because the gradient check differentiates it by the complex step: it branches
on the real part and never takes an absolute value. `slope` is f'(z); it is written from the output a = f(z) where that
is possible (`from_output`), so that the layer may overwrite z by a.

Where f has a kink, the derivative is the one from the left (PyTorch's convention): f'(0) = 0 for relu.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from mlp_core.nn.backend import BLOCK, Array, blocks
from mlp_core.nn.complex_math import erf, positive, softplus, tanh

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946
_GELU_A = math.sqrt(2 / math.pi)
_GELU_B = 0.044715


def _sigmoid(xp: Any, z: Array) -> Array:
    """1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2, which cannot overflow."""
    s = tanh(xp, 0.5 * z)
    s *= 0.5
    s += 0.5
    return s


@dataclass(frozen=True)
class Activation:
    """An elementwise function of the pre-activation. `kinks` are the points where f' jumps."""

    name: ClassVar[str] = ""
    from_output: ClassVar[bool] = False
    gain_family: ClassVar[str] = "glorot"
    _kinks: ClassVar[tuple[float, ...]] = ()

    @property
    def kinks(self) -> tuple[float, ...]:
        return self._kinks

    def forward(self, xp: Any, z: Array) -> Array:
        """a = f(z), shape and dtype of z."""
        raise NotImplementedError

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        """f'(z), given z and a = f(z); z may hold a where `from_output`."""
        raise NotImplementedError


class Identity(Activation):
    """f(z) = z, f' = 1."""

    name = "identity"
    from_output = True

    def forward(self, xp: Any, z: Array) -> Array:
        return z

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return 1.0


class Relu(Activation):
    """f(z) = max(z, 0), f' = 1{z > 0} = 1{a > 0} (Nair and Hinton, ICML 2010)."""

    name = "relu"
    from_output = True
    gain_family = "he"
    _kinks = (0.0,)

    def forward(self, xp: Any, z: Array) -> Array:
        return positive(xp, z)

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return a > 0


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """f(z) = z for z > 0, else alpha z; f' = 1 or alpha (Maas, Hannun, Ng, ICML 2013)."""

    alpha: float = 0.01
    name = "leaky_relu"
    from_output = True
    gain_family = "he"
    _kinks = (0.0,)

    def forward(self, xp: Any, z: Array) -> Array:
        return xp.where(z.real > 0, z, self.alpha * z)

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return xp.where(a > 0, a.dtype.type(1), a.dtype.type(self.alpha))


@dataclass(frozen=True)
class Elu(Activation):
    """f(z) = z for z > 0, else alpha (exp(z) - 1); f' = 1 or a + alpha (Clevert et al., ICLR 2016)."""

    alpha: float = 1.0
    name = "elu"
    from_output = True
    gain_family = "he"

    @property
    def kinks(self) -> tuple[float, ...]:
        return () if self.alpha == 1 else (0.0,)

    def forward(self, xp: Any, z: Array) -> Array:
        return xp.where(z.real > 0, z, self.alpha * xp.expm1(z - positive(xp, z)))

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return xp.where(a > 0, 1, a + self.alpha)


class Selu(Activation):
    """f(z) = s z for z > 0, else s alpha (exp(z) - 1), with the two constants of Klambauer et al., NeurIPS 2017."""

    name = "selu"
    from_output = True
    gain_family = "lecun"
    _kinks = (0.0,)

    def forward(self, xp: Any, z: Array) -> Array:
        return _SELU_SCALE * xp.where(z.real > 0, z, _SELU_ALPHA * xp.expm1(z - positive(xp, z)))

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return xp.where(a > 0, _SELU_SCALE, a + _SELU_SCALE * _SELU_ALPHA)


class Gelu(Activation):
    """f(z) = z Phi(z), Phi the normal distribution function; f' = Phi(z) + z phi(z) (Hendrycks, Gimpel 2016)."""

    name = "gelu"
    gain_family = "he"

    def forward(self, xp: Any, z: Array) -> Array:
        return 0.5 * z * (1 + erf(xp, z * math.sqrt(0.5)))

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        density = xp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        return 0.5 * (1 + erf(xp, z * math.sqrt(0.5))) + z * density


class GeluTanh(Activation):
    """f(z) = z/2 (1 + t), t = tanh(sqrt(2/pi) (z + 0.044715 z^3)), the approximation in the same paper as gelu.

    f' = (1 + t)/2 + z/2 (1 - t^2) sqrt(2/pi) (1 + 3 * 0.044715 z^2).
    """

    name = "gelu_tanh"
    gain_family = "he"

    def forward(self, xp: Any, z: Array) -> Array:
        return 0.5 * z * (1 + tanh(xp, _GELU_A * (z + _GELU_B * z * z * z)))

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        t = tanh(xp, _GELU_A * (z + _GELU_B * z * z * z))
        return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * _GELU_A * (1 + 3 * _GELU_B * z * z)


class Silu(Activation):
    """f(z) = z s, s = sigmoid(z); f' = s (1 + z (1 - s)) (Elfwing, Uchibe, Doya 2018; also called swish)."""

    name = "silu"
    gain_family = "he"

    def forward(self, xp: Any, z: Array) -> Array:
        return z * _sigmoid(xp, z)

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        s = _sigmoid(xp, z)
        return s * (1 + z * (1 - s))


class Mish(Activation):
    """f(z) = z t, t = tanh(softplus(z)); f' = t + z (1 - t^2) sigmoid(z) (Misra, BMVC 2020)."""

    name = "mish"
    gain_family = "he"

    def forward(self, xp: Any, z: Array) -> Array:
        return z * tanh(xp, softplus(xp, z))

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        t = tanh(xp, softplus(xp, z))
        return t + z * (1 - t * t) * _sigmoid(xp, z)


class Tanh(Activation):
    """f(z) = tanh(z), f' = 1 - a^2."""

    name = "tanh"
    from_output = True

    def forward(self, xp: Any, z: Array) -> Array:
        return tanh(xp, z)

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return 1 - a * a


class Sigmoid(Activation):
    """f(z) = 1 / (1 + exp(-z)), f' = a (1 - a)."""

    name = "sigmoid"
    from_output = True

    def forward(self, xp: Any, z: Array) -> Array:
        return _sigmoid(xp, z)

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return a * (1 - a)


class Softplus(Activation):
    """f(z) = log(1 + exp(z)), f' = sigmoid(z) = 1 - exp(-a)."""

    name = "softplus"
    from_output = True
    gain_family = "he"

    def forward(self, xp: Any, z: Array) -> Array:
        return softplus(xp, z)

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return -xp.expm1(-a)


class Softsign(Activation):
    """f(z) = z / (1 + |z|), f' = 1 / (1 + |z|)^2 = (1 - |a|)^2."""

    name = "softsign"
    from_output = True

    def forward(self, xp: Any, z: Array) -> Array:
        return z / (1 + xp.where(z.real > 0, z, -z))

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return xp.square(1 - xp.abs(a))


class HardTanh(Activation):
    """f(z) = z cut to [-1, 1], f' = 1 strictly inside."""

    name = "hard_tanh"
    from_output = True
    _kinks = (-1.0, 1.0)

    def forward(self, xp: Any, z: Array) -> Array:
        return xp.where(z.real >= 1, 1, xp.where(z.real <= -1, -1, z))

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return (a > -1) & (a < 1)


class HardSigmoid(Activation):
    """f(z) = z/6 + 1/2 cut to [0, 1], f' = 1/6 strictly inside (|z| < 3)."""

    name = "hard_sigmoid"
    _kinks = (-3.0, 3.0)

    def forward(self, xp: Any, z: Array) -> Array:
        return xp.where(z.real >= 3, 1, xp.where(z.real <= -3, 0, z / 6 + 0.5))

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return xp.where((z > -3) & (z < 3), z.dtype.type(1 / 6), z.dtype.type(0))


class HardSwish(Activation):
    """f(z) = z * hard_sigmoid(z); f' = (2 z + 3) / 6 for |z| < 3, 0 below, 1 above (Howard et al., ICCV 2019)."""

    name = "hard_swish"
    gain_family = "he"
    _kinks = (-3.0, 3.0)

    def forward(self, xp: Any, z: Array) -> Array:
        return xp.where(z.real >= 3, z, xp.where(z.real <= -3, 0, z * (z + 3) / 6))

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return xp.where(z >= 3, 1, xp.where(z <= -3, 0, (2 * z + 3) / 6))


class Sin(Activation):
    """f(z) = sin(z), f' = cos(z) (Sitzmann et al., NeurIPS 2020)."""

    name = "sin"

    def forward(self, xp: Any, z: Array) -> Array:
        return xp.sin(z)

    def slope(self, xp: Any, z: Array, a: Array) -> Array:
        return xp.cos(z)


ACTIVATIONS: dict[str, type[Activation]] = {
    kind.name: kind
    for kind in (
        *(Relu, LeakyRelu, Elu, Selu, Gelu, GeluTanh, Silu, Mish, Tanh, Sigmoid),
        *(Softplus, Softsign, HardTanh, HardSigmoid, HardSwish, Sin, Identity),
    )
}


def bias_activation(xp: Any, Z: Array, b: Array | None, f: Activation, A: Array, block: int = BLOCK) -> None:
    """Z += b, A = f(Z), in place; Z and A may be the same array. Z, A [rows, m], b [m] or None."""
    for rows in blocks(len(Z), Z.shape[1], block):
        if b is not None:
            Z[rows] += b
        if f.name != "identity" or A is not Z:
            A[rows] = f.forward(xp, Z[rows])


def activation_gradient(
    xp: Any, Delta: Array, f: Activation, Z: Array, A: Array, db: Array | None = None, block: int = BLOCK
) -> None:
    """Delta *= f'(Z), in place: dLoss/dA becomes dLoss/dZ [rows, m]; db [m], where given, the sum of its rows."""
    if f.name != "identity":
        for rows in blocks(len(Z), Z.shape[1], block):
            Delta[rows] *= f.slope(xp, Z[rows], A[rows])
    if db is not None:
        xp.add.reduce(Delta, axis=0, out=db)
