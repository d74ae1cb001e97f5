"""The same networks and losses in PyTorch, for autograd to differentiate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mlp_core.nn.activations import Activation
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.layers import Activate, Dense, Dropout, Layer, Pass, PRelu, Residual
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import Bce, CrossEntropy, Focal, Huber, Quantile
from mlp_core.nn.network import Network
from mlp_core.nn.norm import Norm
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.nn.objective import Penalty
from mlp_core.nn.parametric import Parametric

ACTIVATE: dict[str, Any] = {
    "relu": lambda z, f: F.relu(z),
    "leaky_relu": lambda z, f: F.leaky_relu(z, f.alpha),
    "elu": lambda z, f: F.elu(z, f.alpha),
    "selu": lambda z, f: F.selu(z),
    "gelu": lambda z, f: F.gelu(z),
    "gelu_tanh": lambda z, f: F.gelu(z, approximate="tanh"),
    "silu": lambda z, f: F.silu(z),
    "mish": lambda z, f: F.mish(z),
    "tanh": lambda z, f: torch.tanh(z),
    "sigmoid": lambda z, f: torch.sigmoid(z),
    "softplus": lambda z, f: F.softplus(z, threshold=1e6),
    "softsign": lambda z, f: F.softsign(z),
    "hard_tanh": lambda z, f: F.hardtanh(z),
    "hard_sigmoid": lambda z, f: torch.clamp(z / 6 + 0.5, 0, 1),  # F.hardsigmoid's derivative is 1/6 in float32
    "hard_swish": lambda z, f: F.hardswish(z),
    "sin": lambda z, f: torch.sin(z),
    "identity": lambda z, f: z,
}


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


def activate(z: torch.Tensor, f: Activation) -> torch.Tensor:
    return ACTIVATE[f.name](z, f)


def run_layer(layer: Layer, A: torch.Tensor, P: dict[str, Any], S: dict[str, Any], mode: Pass) -> torch.Tensor:
    """One layer; `P` parameters and `S` kept statistics by name. Dropout takes the mask our layer has just drawn."""
    name = str(layer.index)
    if isinstance(layer, Dense):
        W = P[f"{name}.weight"]
        A = F.linear(A, W / W.shape[1] ** 0.5 if layer.ntk else W, P.get(f"{name}.bias"))
        return A if layer.f is None else activate(A, layer.f)
    if isinstance(layer, Activate):
        return activate(A, layer.f)
    if isinstance(layer, Parametric):
        return A + P[f"{name}.alpha"] * (activate(A, layer.f) - A)
    if isinstance(layer, InputScale):
        return A * P[f"{name}.scale"]
    if isinstance(layer, NumericEmbedding):
        x = A[:, : layer.numbers, None]  # [b, k, 1]
        waves = torch.cos(2 * torch.pi * P[f"{name}.frequency"] * x + P[f"{name}.phase"])  # [b, k, f]
        L = torch.einsum("bkf,kmf->bkm", waves, P[f"{name}.weight"]) + P[f"{name}.bias"]
        return torch.cat([A, L.flatten(1)], 1)
    if isinstance(layer, PRelu):
        return F.prelu(A, P[f"{name}.weight"])
    if isinstance(layer, Dropout):
        return A * tensor(layer.mask) if mode.training else A
    if isinstance(layer, Norm):
        return run_norm(layer, A, P, S, mode)
    assert isinstance(layer, Residual)
    X = A
    for inner in layer.inner:
        A = run_layer(inner, A, P, S, mode)
    return X + A


def run_norm(layer: Norm, A: torch.Tensor, P: dict[str, Any], S: dict[str, Any], mode: Pass) -> torch.Tensor:
    gain, shift = P[f"{layer.index}.weight"], P.get(f"{layer.index}.bias")
    if layer.kind == "batch":
        mean, variance = S[f"{layer.index}.running_mean"], S[f"{layer.index}.running_var"]
        return F.batch_norm(A, mean, variance, gain, shift, mode.training, layer.momentum, layer.eps)
    if layer.kind == "layer":
        return F.layer_norm(A, (layer.units,), gain, shift, layer.eps)
    return F.rms_norm(A, (layer.units,), gain, layer.eps)


def run_network(network: Network, X: torch.Tensor, P: dict[str, Any], S: dict[str, Any], mode: Pass) -> torch.Tensor:
    """Logits; run our forward with the same mode first, so that the dropout masks are there."""
    A = X
    for layer in network.layers:
        A = run_layer(layer, A, P, S, mode)
    return A


def rows_of(loss: Loss, Z: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """The loss of each row, from PyTorch's own functions where it has them."""
    if isinstance(loss, CrossEntropy):
        return F.cross_entropy(Z, Y, reduction="none", label_smoothing=loss.label_smoothing)
    if isinstance(loss, Bce):
        weight = torch.tensor(loss.pos_weight, dtype=Z.dtype)
        return F.binary_cross_entropy_with_logits(Z, Y, reduction="none", pos_weight=weight).mean(1)
    if isinstance(loss, Focal):
        both = Z if Z.shape[1] > 1 else torch.cat([torch.zeros_like(Z), Z], 1)
        log_p = F.log_softmax(both, 1).gather(1, Y.reshape(-1, 1).long())[:, 0]
        return -((1 - log_p.exp()) ** loss.gamma) * log_p
    if isinstance(loss, Huber):
        return F.huber_loss(Z, Y, reduction="none", delta=loss.delta).mean(1)
    if isinstance(loss, Quantile):
        e = Y.repeat_interleave(len(loss.quantiles), 1) - Z
        q = torch.tensor(loss.quantiles, dtype=Z.dtype).repeat(Y.shape[1])
        return torch.maximum(q * e, (q - 1) * e).mean(1)
    if loss.name == "gaussian_nll":
        half = Z.shape[1] // 2
        return F.gaussian_nll_loss(Z[:, :half], Y, Z[:, half:].exp(), reduction="none", eps=1e-300).mean(1)
    simple: dict[str, Any] = {
        "quadratic": lambda: 0.5 * (torch.sigmoid(Z) - Y) ** 2 * Z.shape[1],  # a sum over the outputs
        "mse": lambda: F.mse_loss(Z, Y, reduction="none"),
        "mae": lambda: F.l1_loss(Z, Y, reduction="none"),
        "log_cosh": lambda: torch.log(torch.cosh(Z - Y)),
        "poisson": lambda: F.poisson_nll_loss(Z, Y, log_input=True, full=False, reduction="none"),
    }
    return simple[loss.name]().mean(1)


def penalty_of(penalty: Penalty, network: Network, P: dict[str, torch.Tensor]) -> torch.Tensor:
    """The penalty of the parameters in `P`."""
    weights = [P[spec.name] for spec in network.parameters.specs if spec.is_weight or penalty.bias]
    l2 = sum((W**2).sum() for W in weights)
    l1 = sum(W.abs().sum() for W in weights)
    return torch.as_tensor(0.5 * penalty.l2 * l2 + penalty.l1 * l1)
