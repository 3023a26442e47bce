"""[generator] and [critic]."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kantor.config.base import Count, Section, Width
from kantor.registry import OWN_NAME

Initialiser = Annotated[
    Literal["normal", "truncated-normal", "he", "glorot", "tflib", "own"],
    Field(
        description="Weights start normal (DCGAN) or normal cut at two deviations, both of `init_std`; as He or Glorot found; "
        'as in the code of WGAN-GP ("tflib"); or as the layers draw them on their own.'
    ),
]


class BatchNormConfig(Section):
    """Batch norm (Ioffe and Szegedy 2015), wherever `norm` is "batch"."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """What remains of the running statistics at each step."""
    scale: bool = True
    """A learnt factor for each channel."""
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5
    """Added to the variance."""


class NetworkConfig(Section):
    width: Width = 64
    """Channels of the layer next to the image; the other layers are multiples of it."""
    max_width: Annotated[int, Field(ge=4, le=4096)] = 512
    """No layer gets more channels than this."""
    init: Initialiser = "normal"
    init_std: Annotated[float, Field(gt=0, le=10)] = 0.02
    """Standard deviation of the initial weights, where `init` is "normal" or "truncated-normal"."""
    equalised: bool = False
    """Weights are drawn with deviation 1 and scaled by sqrt(2 / inputs) in each pass (Karras et al. 2018, 4.1)."""
    batch_norm: BatchNormConfig = BatchNormConfig()
    """How batch norm works, where there is any."""


class _GeneratorConfig(NetworkConfig):
    latent_dim: Annotated[int, Field(ge=1, le=4096)] = 100
    """Numbers in a latent."""
    latent: Literal["normal", "uniform", "unit"] = "normal"
    """Distribution of the latents: standard normal, uniform in [-1, 1], or uniform in [0, 1]."""


class _CriticConfig(NetworkConfig):
    norm: Literal["batch", "layer", "none"] = "none"
    """Normalisation of the layers between the first and the last. Batch norm does not go with a gradient penalty."""
    minibatch_stddev: Literal["none", "batch"] | Annotated[int, Field(ge=2, le=1024)] = "none"
    """Shows the critic how much the images of a batch differ, or those of groups of so many: 4."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of numbers set to zero behind each layer but the last two, while training."""


class DcganGenerator(_GeneratorConfig):
    """Transposed convolutions (Radford et al. 2016)."""

    kind: Literal["dcgan"] = "dcgan"
    norm: Literal["batch", "pixel", "none"] = "batch"
    """Normalisation after each layer but the last."""
    bias: bool = True
    """Convolutions have a bias."""


class UpsamplingGenerator(_GeneratorConfig):
    """Nearest-neighbour upsampling and 3x3 convolutions: no checkerboards."""

    kind: Literal["upsampling"] = "upsampling"
    init: Initialiser = "he"
    latent_dim: Annotated[int, Field(ge=1, le=4096)] = 64
    """Numbers in a latent."""
    norm: Literal["batch", "pixel", "none"] = "pixel"
    """Normalisation after each layer but the last."""


class ResnetGenerator(_GeneratorConfig):
    """Residual blocks with nearest-neighbour upsampling (Gulrajani et al. 2017)."""

    kind: Literal["resnet"] = "resnet"
    init: Initialiser = "he"
    latent_dim: Annotated[int, Field(ge=1, le=4096)] = 128
    """Numbers in a latent."""
    norm: Literal["batch", "pixel", "none"] = "batch"
    """Normalisation before each convolution of a block, and before the last."""
    block_bias: bool = True
    """A bias in the first convolution of each block: the paper's code has one for CIFAR-10, and none at 64x64."""


class DcganCritic(_CriticConfig):
    """Strided 4x4 convolutions (Radford et al. 2016)."""

    kind: Literal["dcgan"] = "dcgan"
    bare_first: bool = False
    """No activation behind the first layer, a quirk of published code: see docs/quirks.md."""
    activated_score: bool = False
    """`norm` and leaky ReLU on the score itself, a quirk of published code: see docs/quirks.md."""


class UpsamplingCritic(_CriticConfig):
    """3x3 convolutions and average pooling: the mirror image of the upsampling generator."""

    kind: Literal["upsampling"] = "upsampling"
    init: Initialiser = "he"


class ResnetCritic(_CriticConfig):
    """Residual blocks with average pooling (Gulrajani et al. 2017)."""

    kind: Literal["resnet"] = "resnet"
    init: Initialiser = "he"
    norm: Literal["batch", "layer", "none"] = "layer"
    """Normalisation before each convolution of a block. Batch norm does not go with a gradient penalty."""
    first: Literal["convolution", "block"] = "convolution"
    """What meets the image: a convolution (the 64x64 critic), or a first block of its own (the CIFAR critic)."""
    halvings: Annotated[int, Field(ge=0, le=8)] = 0
    """How often the image is halved; 0 halves it until it is 4 to 7 pixels small."""
    flat_blocks: Annotated[int, Field(ge=0, le=64)] = 0
    """Blocks behind the last halving."""
    head: Literal["flat", "mean"] = "flat"
    """The score is made of all pixels of the last layer, or of their mean."""
    block_bias: bool = True
    """A bias in the first convolution of each block: the paper's code has one for CIFAR-10, and none at 64x64."""


Kernel = Annotated[int, Field(ge=1, le=31)]
Stride = Annotated[int, Field(ge=1, le=8)]


class UpLayer(Section):
    """A layer of a stacked generator: a convolution that keeps the size, or multiplies it by `stride`."""

    width: Annotated[int, Field(ge=1, le=4096)] = 128
    """Channels that it gives; the last layer gives those of the image."""
    kernel: Kernel = 5
    """Pixels a side that it looks at."""
    upsample: bool = False
    """Pixels are doubled first (nearest neighbour)."""
    stride: Stride = 1
    """Above 1: a transposed convolution that multiplies the size."""
    crop: Annotated[int, Field(ge=0, le=1024)] = 0
    """Side that the result is cut to, at the far edges; 0 leaves it."""
    grown: bool = False
    """Not in the smaller network that this one can grow from: see `fade_images`."""


class DownLayer(Section):
    """A layer of a stacked critic: a convolution that divides the size by `stride`."""

    width: Annotated[int, Field(ge=1, le=4096)] = 128
    """Channels that it gives."""
    kernel: Kernel = 5
    """Pixels a side that it looks at."""
    stride: Stride = 1
    """Divides the size, rounding up."""
    grown: bool = False
    """Not in the smaller network that this one can grow from: see `fade_images`."""


class StackGenerator(_GeneratorConfig):
    """Layers as you list them, at one size of image: a dense layer, then convolutions padded as TensorFlow does ("SAME")."""

    kind: Literal["stack"] = "stack"
    init: Initialiser = "glorot"
    base: tuple[Kernel, Kernel, Annotated[int, Field(ge=1, le=4096)]] = (4, 4, 128)
    """Height, width and channels of what the dense layer gives."""
    base_activation: bool = False
    """An activation behind the dense layer."""
    norm: Literal["batch", "pixel", "none"] = "batch"
    """Normalisation before each activation but that of the dense layer."""
    activation: Literal["relu", "leaky-relu"] = "leaky-relu"
    """Between layers: ReLU, or leaky ReLU with a slope of 0.2."""
    output: Literal["tanh", "sigmoid"] = "tanh"
    """Behind the last layer; a sigmoid's [0, 1] is brought to [-1, 1]."""
    layers: Annotated[list[UpLayer], Field(min_length=1, max_length=64)] = [
        UpLayer(upsample=True), UpLayer(upsample=True), UpLayer(upsample=True), UpLayer(),
    ]  # fmt: skip
    """From the dense layer to the image."""
    fade_images: Count = 0
    """Real images over which `grown` layers are faded in, where a smaller network is grown; 0 has them from the start."""


class StackCritic(_CriticConfig):
    """Layers as you list them, at one size of image: convolutions padded as TensorFlow does ("SAME"), then a dense layer."""

    kind: Literal["stack"] = "stack"
    init: Initialiser = "glorot"
    norm_first: bool = False
    """Normalisation behind the first layer too."""
    range: Literal["signed", "unit"] = "signed"
    """How images reach the first layer: in [-1, 1], or in [0, 1]."""
    layers: Annotated[list[DownLayer], Field(min_length=1, max_length=64)] = [
        DownLayer(stride=2), DownLayer(stride=2), DownLayer(stride=2),
    ]  # fmt: skip
    """From the image to the score."""
    fade_images: Count = 0
    """Real images over which `grown` layers are faded in, where a smaller network is grown; 0 has them from the start."""


class UnetGenerator(_GeneratorConfig):
    """From a condition (outlines) to an image: down, up, and across (Ronneberger et al. 2015; Isola et al. 2017)."""

    kind: Literal["unet"] = "unet"
    init: Initialiser = "he"
    latent_dim: Annotated[int, Field(ge=1, le=4096)] = 64
    """Numbers in a latent."""
    norm: Literal["batch", "pixel", "none"] = "pixel"
    """Normalisation after each layer but the last."""


Own = Annotated[str, Field(pattern=OWN_NAME)]
Scalar = bool | int | float | str
Options = Annotated[dict[Own, Scalar | tuple[Scalar, ...]], Field(max_length=64)]


class CustomGenerator(_GeneratorConfig):
    """A generator of your own, registered from Python: see docs/extend.md."""

    kind: Literal["custom"] = "custom"
    name: Own = "mine"
    """The name that it was registered under."""
    norm: Literal["batch", "pixel", "none"] = "none"
    """For your network to use, or not."""
    options: Options = {}
    """Whatever it wants to know besides."""


class CustomCritic(_CriticConfig):
    """A critic of your own, registered from Python: see docs/extend.md."""

    kind: Literal["custom"] = "custom"
    name: Own = "mine"
    """The name that it was registered under."""
    norm: Literal["batch", "layer", "none"] = "none"
    """For your network to use, or not; so are `minibatch_stddev` and `dropout`."""
    options: Options = {}
    """Whatever it wants to know besides."""


GeneratorConfig = Annotated[
    DcganGenerator | UpsamplingGenerator | ResnetGenerator | StackGenerator | UnetGenerator | CustomGenerator,
    Field(discriminator="kind"),
]
CriticConfig = Annotated[
    DcganCritic | UpsamplingCritic | ResnetCritic | StackCritic | CustomCritic, Field(discriminator="kind")
]
