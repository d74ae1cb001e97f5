"""The network: layers in a row over one parameter vector, forward and backward."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mlp_core.nn.activations import Activation
from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.initializers import initial_weights
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.layers import EVALUATE, Activate, Dense, Dropout, Layer, Pass, PRelu, Residual
from mlp_core.nn.norm import Norm
from mlp_core.nn.numeric_embedding import NumericEmbedding, Periodic
from mlp_core.nn.parameters import Parameters
from mlp_core.nn.parametric import Parametric


@dataclass(frozen=True)
class Block:
    """One hidden layer as the user thinks of it: a matrix product, and what is done to its result.

    `activation` None is prelu, whose slope is trained from `prelu_slope` on. `norm` is none, batch, layer or rms.
    `parametric`: each unit learns how much of the activation it takes; prelu learns that already, and the identity has
    nothing to take.
    """

    units: int
    activation: Activation | None
    prelu_slope: float = PRelu.initial
    init: str = "he_normal"
    init_scale: float | None = None
    bias: bool = True
    norm: str = "none"
    norm_first: bool = True
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    dropout: float = 0.0
    residual: bool = False
    parametric: bool = False

    @property
    def mixes(self) -> bool:
        """Whether there is an alpha of its own for each unit."""
        return self.parametric and self.activation is not None and self.activation.name != "identity"


@dataclass(frozen=True)
class Architecture:
    """Everything that decides the shape of a network and its initial weights, but the seed.

    The last of the inputs are codes of words, one for each of `embeddings`: (words, numbers learned per word); the
    first of them numbers, which `periodic` embeds. `ntk`: products are divided by the root of their inputs.
    `bias_init` and `rescale` say how hidden biases and weights start: see `data_start`.
    """

    inputs: int
    outputs: int
    hidden: tuple[Block, ...] = ()
    input_dropout: float = 0.0
    output_init: str = "glorot_uniform"
    output_scale: float | None = None
    output_bias: tuple[float, ...] | None = None
    embeddings: tuple[tuple[int, int], ...] = ()
    periodic: Periodic | None = None
    input_scale: bool = False
    ntk: bool = False
    bias_init: str = "zeros"
    rescale: bool = False

    def layers(self) -> list[Layer]:
        """The layers, numbered as nn.Sequential would number its modules."""
        layers: list[Layer] = []
        index, width = 0, self.inputs
        if self.embeddings:
            embedding = Embedding(0, width, self.embeddings)
            layers.append(embedding)
            index, width = 1, embedding.units
        if self.periodic is not None and self.periodic.numbers:
            waves = NumericEmbedding(index, width, self.periodic)
            layers.append(waves)
            index, width = index + 1, waves.units
        if self.input_scale:
            layers.append(InputScale(index, width))
            index += 1
        if self.input_dropout:
            layers.append(Dropout(index, width, self.input_dropout))
            index += 1
        for block in self.hidden:
            inner = _block_layers(index, width, block, self)
            index += sum(layer.modules for layer in inner)
            if block.residual and width == block.units:
                layers.append(Residual(inner[0].index, width, inner))
            else:
                layers += inner
            width = block.units
        draw = partial(initial_weights, self.output_init, scale=self.output_scale, ntk=self.ntk)
        layers.append(Dense(index, width, self.outputs, None, draw=draw, start=self.output_bias, ntk=self.ntk))
        return layers


def _block_layers(index: int, width: int, block: Block, whole: Architecture) -> list[Layer]:
    """Linear, norm, activation, norm, dropout: those that the block has, in this order."""
    fused = block.activation is not None and not block.mixes and not (block.norm != "none" and block.norm_first)
    draw = partial(initial_weights, block.init, scale=block.init_scale, ntk=whole.ntk)
    activation, start = block.activation if fused else None, "normal" if whole.bias_init == "normal" else None
    layers: list[Layer] = [Dense(index, width, block.units, activation, block.bias, draw, start, whole.ntk)]

    def add(kind: Any, *arguments: Any) -> None:
        layers.append(kind(layers[-1].index + layers[-1].modules, block.units, *arguments))

    norm = (block.norm, block.norm_eps, block.norm_momentum)
    if block.norm != "none" and block.norm_first:
        add(Norm, *norm)
    if block.activation is None:
        add(PRelu, block.prelu_slope)
    elif block.mixes:
        add(Parametric, block.activation)
    elif not fused:
        add(Activate, block.activation)
    if block.norm != "none" and not block.norm_first:
        add(Norm, *norm)
    if block.dropout:
        add(Dropout, block.dropout)
    return layers


class Network:
    """Layers over one parameter vector, with memory for at most `rows` rows taken once.

    The dtype is that of every array in it: float32, float64, or complex128 for the gradient check. A network made with
    `training=False` has no memory for a backward pass. It takes memory for parameters and running
    statistics unless it is given some.
    """

    def __init__(
        self,
        architecture: Architecture,
        backend: Backend,
        dtype: Any,
        rows: int,
        training: bool = True,
        parameters: Parameters | None = None,
        statistics: Parameters | None = None,
    ) -> None:
        self.architecture, self.backend, self.dtype, self.rows = architecture, backend, np.dtype(dtype), rows
        self.layers = architecture.layers()
        self.first = next(layer for layer in self.layers if layer.specs())  # errors need not go below it
        specs = [spec for layer in self.layers for spec in layer.specs()]
        kept = [spec for layer in self.layers for spec in layer.statistics()]
        self.parameters = Parameters(specs, backend, dtype) if parameters is None else parameters
        self.statistics = Parameters(kept, backend, dtype) if statistics is None else statistics
        self.Delta: Array = backend.empty((rows, architecture.outputs), dtype) if training else None
        for layer in self.layers:
            layer.allocate(backend, self.dtype, rows, training)
            layer.bind(self.parameters.values, self.parameters.gradients, self.statistics.values)

    def replica(self, rows: int, dtype: Any = None, training: bool = False) -> Network:
        """A network of the same architecture with memory of its own for `rows` rows.

        With the same dtype it shares the parameters (and statistics) of this one; with another dtype it starts from a
        copy of them.
        """
        if np.dtype(dtype or self.dtype) == self.dtype:
            shared = self.parameters, self.statistics
            return Network(self.architecture, self.backend, self.dtype, rows, training, *shared)
        other = Network(self.architecture, self.backend, dtype, rows, training)
        other.parameters.theta[:] = self.parameters.theta
        other.statistics.theta[:] = self.statistics.theta
        return other

    def shard(self, rows: int) -> Network:
        """A network for some rows of a batch: it shares everything with this one but a gradient and memory."""
        own = self.parameters.beside(self.backend)
        return Network(self.architecture, self.backend, self.dtype, rows, True, own, self.statistics)

    def initialize(self, seed: int) -> None:
        """Draw the initial weights, each layer from its own stream."""
        for layer in self.layers:
            layer.initialize(seed)

    def _flat_layers(self) -> list[Layer]:
        return [one for layer in self.layers for one in (layer.inner if isinstance(layer, Residual) else [layer])]

    def _dense_layers(self) -> list[Dense]:
        return [layer for layer in self._flat_layers() if isinstance(layer, Dense)]

    def forward(self, X: Array, mode: Pass = EVALUATE) -> Array:
        """Logits Z[L] [b, c] of the rows X [b, n]; the array belongs to the network."""
        A = X
        for layer in self.layers:
            A = layer.forward(A, mode)
        return A

    def backward(self, Delta: Array, input_gradient: bool = False) -> Array | None:
        """From Delta = dLoss/dZ[L] [b, c] to the gradient of every parameter, and dLoss/dX [b, n] if asked for.

        Must follow the `forward` whose rows it differentiates; overwrites Delta.
        """
        for layer in reversed(self.layers):
            needed = input_gradient or layer is not self.first
            result = layer.backward(Delta, needed)
            if not needed:
                return None
            Delta = result
        return Delta


def parameter_count(architecture: Architecture) -> int:
    """Trained numbers of an architecture, without taking memory for them."""
    return sum(math.prod(spec.shape) for layer in architecture.layers() for spec in layer.specs())
