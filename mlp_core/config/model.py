"""The sections about the network and what it minimises: model, loss, regularization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import Tag

from mlp_core.config.section import MAPPING, OR_MAPPING, SCALAR, Complaint, Section, key
from mlp_core.config.text_kinds import Text, Word
from mlp_core.config.value_kinds import Bool, Float, Int

ACTIVATIONS = (
    *("relu", "leaky_relu", "prelu", "elu", "selu", "gelu", "gelu_tanh", "silu", "mish", "tanh", "sigmoid"),
    *("softplus", "softsign", "hard_tanh", "hard_sigmoid", "hard_swish", "sin", "identity"),
)
WITH_ALPHA = ("leaky_relu", "prelu", "elu")
INITS = (
    *("he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "lecun_uniform"),
    *("orthogonal", "normal", "uniform", "zeros"),
)
BIAS_INITS = ("zeros", "normal", "data")
NORMS = ("none", "batch", "layer", "rms")
LOSSES = (
    *("cross_entropy", "bce", "quadratic", "focal", "mse", "mae", "huber", "log_cosh", "quantile", "poisson"),
    "gaussian_nll",
)
# Names in other libraries for what has another name here.
_ACTIVATION_SYNONYMS = (("swish", "silu"), ("linear", "identity"), ("none", "identity"), ("logistic", "sigmoid"))
_LOSS_SYNONYMS = (("l1", "mae"), ("l2", "mse"), ("rmse", "mse"), ("softmax", "cross_entropy"), ("logistic", "bce"))
_INIT_SYNONYMS = (
    *(("xavier_normal", "glorot_normal"), ("xavier_uniform", "glorot_uniform")),
    *(("kaiming_normal", "he_normal"), ("kaiming_uniform", "he_uniform")),
)
_ACTIVATION = Word(words=ACTIVATIONS, synonyms=_ACTIVATION_SYNONYMS)
_INIT = Word(words=("auto", *INITS), synonyms=_INIT_SYNONYMS)
_UNITS = Int(ge=1, example="64")
_RATE = Float(ge=0, lt=1, example="0.2")
_RATE_OR_NULL = Float(ge=0, lt=1, null=True, example="0.2")


class Activation(Section):
    """An activation with its parameter."""

    name: Annotated[str, _ACTIVATION] = key(..., "which function")
    alpha: Annotated[float | None, Float(ge=0, null=True, example="0.01")] = key(
        None, "slope below zero of leaky_relu (0.01) and prelu (0.25, learned), limit of elu (1.0); null: that default"
    )

    def rules(self) -> Iterator[Complaint]:
        if self.alpha is not None and self.name not in WITH_ALPHA:
            yield Complaint("alpha", f"{self.name} has no alpha", "remove it; it belongs to " + ", ".join(WITH_ALPHA))


class Init(Section):
    """An initializer with its parameter."""

    name: Annotated[str, _INIT] = key(..., "which distribution")
    std: Annotated[float | None, Float(gt=0, null=True, example="0.01")] = key(
        None, "standard deviation of normal; null: 0.01"
    )
    scale: Annotated[float | None, Float(gt=0, null=True, example="0.05")] = key(
        None, "uniform draws from -scale to scale; null: 0.05"
    )

    def rules(self) -> Iterator[Complaint]:
        if self.std is not None and self.name != "normal":
            yield Complaint("std", f"{self.name} has no std", "remove it; it belongs to normal")
        if self.scale is not None and self.name != "uniform":
            yield Complaint("scale", f"{self.name} has no scale", "remove it; it belongs to uniform")


_WithParameters = Annotated[Activation, Tag(MAPPING)]
ActivationChoice = Annotated[Annotated[str, _ACTIVATION, Tag(SCALAR)] | _WithParameters, OR_MAPPING]
LayerActivation = Annotated[
    Annotated[str | None, replace(_ACTIVATION, null=True), Tag(SCALAR)] | _WithParameters, OR_MAPPING
]
_InitMapping = Annotated[Init, Tag(MAPPING)]
InitChoice = Annotated[Annotated[str, _INIT, Tag(SCALAR)] | _InitMapping, OR_MAPPING]
LayerInit = Annotated[Annotated[str | None, replace(_INIT, null=True), Tag(SCALAR)] | _InitMapping, OR_MAPPING]


class Layer(Section):
    """One hidden layer; what is null is taken from the model."""

    units: Annotated[int, _UNITS] = key(..., "number of units")
    activation: LayerActivation = key(None, "as model.activation")
    dropout: Annotated[float | None, _RATE_OR_NULL] = key(None, "as model.dropout")
    norm: Annotated[str | None, Word(words=NORMS, null=True)] = key(None, "as model.norm")
    init: LayerInit = key(None, "as model.init")
    bias: Annotated[bool | None, Bool(null=True)] = key(None, "as model.bias")
    residual: Annotated[bool | None, Bool(null=True)] = key(None, "as model.residual")


class NumericEmbedding(Section):
    """An embedding of numbers with its parameters."""

    name: Annotated[str, Word(words=("none", "periodic"))] = key(..., "which one")
    frequencies: Annotated[int, Int(ge=1, le=4096, example="16")] = key(16, "cosines per number")
    size: Annotated[int, Int(ge=2, le=1024, example="4")] = key(4, "inputs per number, itself among them")
    sigma: Annotated[float, Float(gt=0, example="0.1")] = key(0.1, "deviation of the frequencies at the start")


_Embedding = Annotated[
    Annotated[str, Word(words=("none", "periodic")), Tag(SCALAR)] | Annotated[NumericEmbedding, Tag(MAPPING)],
    OR_MAPPING,
]
HiddenLayer = Annotated[Annotated[int, _UNITS, Tag(SCALAR)] | Annotated[Layer, Tag(MAPPING)], OR_MAPPING]


class Model(Section):
    """The network: hidden layers, and what holds for all of them."""

    hidden: tuple[HiddenLayer, ...] = key(
        (64, 64), "hidden layers from first to last: units, or a mapping; [] for none"
    )
    activation: ActivationChoice = key("relu", "activation of the hidden layers, or {name, alpha}")
    parametric: Annotated[bool, Bool()] = key(
        False, "each unit learns its share alpha of the activation: z + alpha (f(z) - z), from alpha = 1"
    )
    parametrization: Annotated[str, Word(words=("standard", "ntk"))] = key(
        "standard", "ntk: products are divided by the root of their inputs, and weights begin so much larger"
    )
    numeric_embedding: _Embedding = key(
        "none", "periodic: learned waves of each number beside it, or {name, frequencies, size, sigma}"
    )
    input_scale: Annotated[bool, Bool()] = key(False, "a learned factor for every input, 1 at the start")
    norm: Annotated[str, Word(words=NORMS)] = key("none", "normalization in every hidden layer")
    norm_position: Annotated[str, Word(words=("pre_activation", "post_activation"))] = key(
        "pre_activation", "normalize before or after the activation"
    )
    norm_eps: Annotated[float, Float(gt=0, example="1e-5")] = key(1e-5, "added to the variance in a normalization")
    norm_momentum: Annotated[float, Float(gt=0, le=1, example="0.1")] = key(
        0.1, "share of the newest batch in the running statistics of batch normalization"
    )
    dropout: Annotated[float, _RATE] = key(0.0, "share of hidden units left out at random in a training step")
    input_dropout: Annotated[float, _RATE] = key(0.0, "share of inputs left out at random in a training step")
    residual: Annotated[bool, Bool()] = key(False, "add a layer's input to its output where the widths match")
    bias: Annotated[bool, Bool()] = key(True, "layers have biases")
    init: InitChoice = key("auto", "how weights start, or {name, std, scale}; auto: by activation")
    init_rescale: Annotated[bool, Bool()] = key(
        False, "weights into each unit are scaled at the start so that its z has deviation 1 over training rows"
    )
    bias_init: Annotated[str, Word(words=BIAS_INITS)] = key(
        "zeros",
        "how hidden biases start: normal: N(0, 1); data: minus a random mean of the unit's z on training rows",
    )
    output_init: InitChoice = key(
        "auto", "how the weights of the output layer start; auto: as model.init if that is given, else glorot_uniform"
    )
    output_bias: Annotated[str, Word(words=("prior", "zeros"))] = key(
        "prior", "output biases start at the class log-odds or the target mean, or at zero"
    )

    weights: Annotated[
        str | None, Text(null=True, what="a checkpoint or a run directory", example="runs/digits-001")
    ] = key(None, "begin with the weights of this model, and with its preprocessing; null: with drawn ones")

    @property
    def periodic(self) -> NumericEmbedding | None:
        """The embedding of numbers with its parameters, None if there is none."""
        chosen = self.numeric_embedding
        chosen = NumericEmbedding(name=chosen) if isinstance(chosen, str) else chosen
        return chosen if chosen.name == "periodic" else None

    def layers(self) -> tuple[Layer, ...]:
        """The hidden layers with every setting filled in, from the layer or else from the model."""
        return tuple(self._filled(layer if isinstance(layer, Layer) else Layer(units=layer)) for layer in self.hidden)

    def _filled(self, layer: Layer) -> Layer:
        shared = {name: getattr(self, name) for name in Layer.model_fields if name != "units"}
        missing = {name: value for name, value in shared.items() if getattr(layer, name) is None}
        return layer.model_copy(update=missing)


ClassWeights = Annotated[dict[str, Annotated[float, Float(ge=0, example="2.0")]], Tag(MAPPING)]


class Loss(Section):
    """What is minimised, averaged over rows."""

    name: Annotated[str, Word(words=("auto", *LOSSES), synonyms=_LOSS_SYNONYMS)] = key(
        "auto", "which loss; auto: by task"
    )
    class_weight: Annotated[
        Annotated[str, Word(words=("none", "balanced"), example="a mapping such as {label: 2.0}"), Tag(SCALAR)]
        | ClassWeights,
        OR_MAPPING,
    ] = key("none", "weight of each class: balanced makes rare classes count more, or {label: weight}")
    label_smoothing: Annotated[float, _RATE] = key(0.0, "share of the target spread evenly over all classes")
    delta: Annotated[float, Float(gt=0, example="1.0")] = key(1.0, "where huber turns from square to linear")
    gamma: Annotated[float, Float(ge=0, example="2.0")] = key(2.0, "how much focal plays down easy rows")
    quantiles: tuple[Annotated[float, Float(gt=0, lt=1, example="0.5")], ...] = key(
        (0.5,), "which quantiles the quantile loss predicts"
    )
    pos_weight: Annotated[float | None, Float(gt=0, null=True, example="2.0")] = key(
        None, "weight of positive rows in bce; null: 1"
    )

    def rules(self) -> Iterator[Complaint]:
        if list(self.quantiles) != sorted(set(self.quantiles)) or not self.quantiles:
            yield Complaint("quantiles", "expected increasing numbers", "for example quantiles: [0.1, 0.5, 0.9]")
        if isinstance(self.class_weight, dict) and not any(self.class_weight.values()):
            yield Complaint("class_weight", "needs a weight above 0", "write none for equal weights", show=False)


class Regularization(Section):
    """What keeps the weights small and the network from learning the rows by heart."""

    l2: Annotated[float, Float(ge=0, example="1e-4")] = key(
        0.0, "half of this times the sum of squared weights is added to the loss"
    )
    l1: Annotated[float, Float(ge=0, example="1e-5")] = key(
        0.0, "this times the sum of absolute weights is added to the loss"
    )
    bias: Annotated[bool, Bool()] = key(False, "penalties count biases too")
    max_norm: Annotated[float | None, Float(gt=0, null=True, example="3.0")] = key(
        None, "largest length of the weights into one unit; null: no limit"
    )
    input_noise: Annotated[float, Float(ge=0, example="0.1")] = key(
        0.0, "deviation of the normal noise added to the inputs in training"
    )
    mixup: Annotated[float, Float(ge=0, example="0.2")] = key(
        0.0, "alpha of the Beta distribution that mixes pairs of rows; 0: no mixing"
    )
