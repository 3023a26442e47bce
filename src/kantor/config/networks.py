"""[generator] and [critic]."""

from typing import Annotated, Literal

from pydantic import Field

from kantor.config.base import Auto, Count, Section, Width
from kantor.custom_names import CUSTOM_NAME

Initialiser = Annotated[
    Literal["normal", "truncated-normal", "he", "glorot", "tflib", "own"],
    Field(
        description="Initialization of the weights: normal (DCGAN), or normal truncated at two deviations, both with `init_std`; He; "
        'Glorot; as in the code of WGAN-GP ("tflib"); or what the layers themselves do ("own").'
    ),
]

LatentDim = Annotated[int, Field(ge=1, le=4096, description="Dimensions of a latent.")]


class BatchNormConfig(Section):
    """Batch norm (Ioffe and Szegedy 2015), if `norm` is "batch"."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the running statistics: the fraction kept at each step."""
    scale: bool = True
    """Learn a factor for each channel."""
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5
    """Added to the variance, for stability."""


class NetworkConfig(Section):
    width: Width = 64
    """Channels of the layer next to the image; the other layers have multiples of it."""
    max_width: Annotated[int, Field(ge=4, le=4096)] = 512
    """Most channels of any layer."""
    slim: Annotated[float, Field(ge=1, le=64)] | Auto = 1.0
    """Divisor of every hidden width, as `--slim` sets it: 4 makes layers of 512 channels 128 wide. "auto" chooses 1, 2, 4 or 8 by the
    device and the time budget."""
    init: Initialiser = "normal"
    init_std: Annotated[float, Field(gt=0, le=10)] = 0.02
    """Standard deviation of the initial weights, if `init` is "normal" or "truncated-normal"."""
    equalised: bool = False
    """Equalized learning rate: initialize weights with deviation 1 and scale them by sqrt(2 / inputs) in each pass (Karras et al.
    2018, 4.1)."""
    batch_norm: BatchNormConfig = BatchNormConfig()
    """Settings of batch norm."""


class _GeneratorConfig(NetworkConfig):
    latent_dim: LatentDim = 100
    latent: Literal["normal", "uniform", "unit"] = "normal"
    """Distribution of the latents: standard normal, uniform in [-1, 1], or uniform in [0, 1]."""
    alpha: Literal["premultiplied", "straight"] = "premultiplied"
    """Colours of RGBA images that the networks see and generate: scaled by alpha around mid-grey, or as they are stored."""


class _CriticConfig(NetworkConfig):
    norm: Literal["batch", "layer", "none"] = "none"
    """Normalisation of the layers between the first and the last. Batch norm is refused with a gradient penalty."""
    minibatch_stddev: Literal["none", "batch"] | Annotated[int, Field(ge=2, le=1024)] = "none"
    """Minibatch stddev: show the critic how much the images of a batch differ, or those of groups of this many, such as 4."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout rate after each layer except the last two, while training."""
    freeze: Annotated[int, Field(ge=0, le=1024)] = 0
    """Number of layers, counted from the image, that keep the weights of `train.init_from` (FreezeD, Mo et al. 2020)."""


class DcganGenerator(_GeneratorConfig):
    """Transposed convolutions (Radford et al. 2016)."""

    kind: Literal["dcgan"] = "dcgan"
    norm: Literal["batch", "pixel", "none"] = "batch"
    """Normalisation after each layer except the last."""
    bias: bool = True
    """Give convolutions a bias."""


class UpsamplingGenerator(_GeneratorConfig):
    """Nearest-neighbour upsampling and 3x3 convolutions: no checkerboards."""

    kind: Literal["upsampling"] = "upsampling"
    init: Initialiser = "he"
    latent_dim: LatentDim = 64
    norm: Literal["batch", "pixel", "none"] = "pixel"
    """Normalisation after each layer except the last."""
    modulation: bool = False
    """After each normalisation scale and shift each channel by linear functions of the latent (Chen et al. 2019)."""


class ResnetGenerator(_GeneratorConfig):
    """Residual blocks with nearest-neighbour upsampling (Gulrajani et al. 2017)."""

    kind: Literal["resnet"] = "resnet"
    init: Initialiser = "he"
    latent_dim: LatentDim = 128
    norm: Literal["batch", "pixel", "none"] = "batch"
    """Normalisation before each convolution of a block, and before the last convolution."""
    block_bias: bool = True
    """Give the first convolution of each block a bias: the paper's code has one for CIFAR-10, none at 64x64."""


class DcganCritic(_CriticConfig):
    """Strided 4x4 convolutions (Radford et al. 2016)."""

    kind: Literal["dcgan"] = "dcgan"
    bare_first: bool = False
    """No activation after the first layer, a quirk of published code: see docs/quirks.md."""
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
    """Normalisation before each convolution of a block. Batch norm is refused with a gradient penalty."""
    first: Literal["convolution", "block"] = "convolution"
    """First layer: a convolution (the 64x64 critic), or a residual block (the CIFAR critic)."""
    halvings: Annotated[int, Field(ge=0, le=8)] = 0
    """Number of times that the image is halved; 0 halves it until a side has 4 to 7 pixels."""
    flat_blocks: Annotated[int, Field(ge=0, le=64)] = 0
    """Blocks after the last halving."""
    head: Literal["flat", "mean"] = "flat"
    """Compute the score from all pixels of the last layer, or from their mean."""
    block_bias: bool = True
    """Give the first convolution of each block a bias: the paper's code has one for CIFAR-10, none at 64x64."""


Kernel = Annotated[int, Field(ge=1, le=31)]
Stride = Annotated[int, Field(ge=1, le=8)]


class UpLayer(Section):
    """A layer of a stacked generator: a convolution that keeps the size, or multiplies it by `stride`."""

    width: Annotated[int, Field(ge=1, le=4096)] = 128
    """Output channels; the last layer has those of the image."""
    kernel: Kernel = 5
    """Kernel size in pixels."""
    upsample: bool = False
    """Double the size first (nearest neighbour)."""
    stride: Stride = 1
    """Factor of the size: above 1, a transposed convolution."""
    crop: Annotated[int, Field(ge=0, le=1024)] = 0
    """Side that the output is cropped to, at the far edges, in pixels; 0 does not crop."""
    grown: bool = False
    """Absent from the smaller network that this one can grow from: see `fade_images`."""


class DownLayer(Section):
    """A layer of a stacked critic: a convolution that divides the size by `stride`."""

    width: Annotated[int, Field(ge=1, le=4096)] = 128
    """Output channels."""
    kernel: Kernel = 5
    """Kernel size in pixels."""
    stride: Stride = 1
    """Divisor of the size, which is rounded up."""
    grown: bool = False
    """Absent from the smaller network that this one can grow from: see `fade_images`."""


class StackGenerator(_GeneratorConfig):
    """Layers as you list them, for one image size: a dense layer, then convolutions with TensorFlow's "SAME" padding."""

    kind: Literal["stack"] = "stack"
    init: Initialiser = "glorot"
    base: tuple[Kernel, Kernel, Annotated[int, Field(ge=1, le=4096)]] = (4, 4, 128)
    """Height, width and channels of the dense layer's output."""
    base_activation: bool = False
    """Put an activation after the dense layer."""
    norm: Literal["batch", "pixel", "none"] = "batch"
    """Normalisation before each activation except that of the dense layer."""
    activation: Literal["relu", "leaky-relu"] = "leaky-relu"
    """Activation between layers: ReLU, or leaky ReLU with slope 0.2."""
    output: Literal["tanh", "sigmoid"] = "tanh"
    """Activation after the last layer; a sigmoid is rescaled from [0, 1] to [-1, 1]."""
    layers: Annotated[list[UpLayer], Field(min_length=1, max_length=64)] = [
        UpLayer(upsample=True), UpLayer(upsample=True), UpLayer(upsample=True), UpLayer(),
    ]  # fmt: skip
    """Layers from the dense layer to the image."""
    fade_images: Count = 0
    """Real images over which `grown` layers fade in when a smaller network is grown; 0 has them from the start."""


class StackCritic(_CriticConfig):
    """Layers as you list them, for one image size: convolutions with TensorFlow's "SAME" padding, then a dense layer."""

    kind: Literal["stack"] = "stack"
    init: Initialiser = "glorot"
    norm_first: bool = False
    """Normalise after the first layer too."""
    range: Literal["signed", "unit"] = "signed"
    """Range of the images that the first layer gets: [-1, 1], or [0, 1]."""
    layers: Annotated[list[DownLayer], Field(min_length=1, max_length=64)] = [
        DownLayer(stride=2), DownLayer(stride=2), DownLayer(stride=2),
    ]  # fmt: skip
    """Layers from the image to the score."""
    fade_images: Count = 0
    """Real images over which `grown` layers fade in when a smaller network is grown; 0 has them from the start."""


class UnetGenerator(_GeneratorConfig):
    """U-Net from a condition (outlines, a mask) to an image (Ronneberger et al. 2015; Isola et al. 2017)."""

    kind: Literal["unet"] = "unet"
    init: Initialiser = "he"
    latent_dim: LatentDim = 64
    norm: Literal["batch", "pixel", "none"] = "pixel"
    """Normalisation after each layer except the last."""


Expand = Annotated[
    int,
    Field(
        ge=1,
        le=8,
        description="Hidden channels of a block for each of its inputs or outputs, whichever are fewer; 1 next to the image.",
    ),
]
Depth = Annotated[int, Field(ge=1, le=16, description="Blocks at each size, of which the first changes the size.")]
Apart = Annotated[
    bool, Field(description="A branch for each channel of the image; false: one branch for all channels together.")
]


class ChannelsGenerator(_GeneratorConfig):
    """A branch of MBConv blocks for each colour channel, after a trunk for all of them (after EfficientNet, Tan and Le 2019)."""

    kind: Literal["channels"] = "channels"
    width: Width = 16
    """Channels of each branch next to the image; the other layers have multiples of it."""
    init: Initialiser = "he"
    latent_dim: LatentDim = 64
    norm: Literal["batch", "pixel", "none"] = "pixel"
    """Normalisation of the dense layer and of each block's filtered channels."""
    expand: Expand = 4
    depth: Depth = 1
    apart: Apart = True
    trunk: Annotated[int, Field(ge=0, le=8)] = 1
    """Sizes above the smallest that the branches share; 0 parts them after the dense layer."""


class ChannelsCritic(_CriticConfig):
    """A branch of MBConv blocks for each colour channel, merged before the score (after EfficientNet, Tan and Le 2019)."""

    kind: Literal["channels"] = "channels"
    width: Width = 16
    """Channels of each branch next to the image; the other layers have multiples of it."""
    init: Initialiser = "he"
    expand: Expand = 4
    depth: Depth = 1
    apart: Apart = True


class UpscaleGenerator(_GeneratorConfig):
    """Enlarges an image: residual blocks and pixel shuffle add detail to bicubic enlargement (Ledig et al. 2017); ignores the latent."""

    kind: Literal["upscale"] = "upscale"
    width: Width = 32
    """Channels of all layers."""
    init: Initialiser = "he"
    latent_dim: LatentDim = 1
    norm: Literal["batch", "pixel", "none"] = "none"
    """Normalisation after each convolution of a block; without one, enlargements are sharper and free of blotches (Wang et al. 2018)."""
    blocks: Annotated[int, Field(ge=1, le=64)] = 6
    """Residual blocks."""
    times: Literal[2, 4] = 2
    """Factor by which it enlarges, equal to `data.smaller`."""


CustomName = Annotated[str, Field(pattern=CUSTOM_NAME)]
Scalar = bool | int | float | str
Options = Annotated[dict[CustomName, Scalar | tuple[Scalar, ...]], Field(max_length=64)]


class CustomGenerator(_GeneratorConfig):
    """A custom generator, registered from Python: see docs/extend.md."""

    kind: Literal["custom"] = "custom"
    name: CustomName = "mine"
    """Name that it was registered under."""
    norm: Literal["batch", "pixel", "none"] = "none"
    """Normalisation, for your network to use if it likes."""
    options: Options = {}
    """Any further settings of your network."""


class CustomCritic(_CriticConfig):
    """A custom critic, registered from Python: see docs/extend.md."""

    kind: Literal["custom"] = "custom"
    name: CustomName = "mine"
    """Name that it was registered under."""
    norm: Literal["batch", "layer", "none"] = "none"
    """Normalisation, for your network to use if it likes, as `minibatch_stddev` and `dropout`."""
    options: Options = {}
    """Any further settings of your network."""


GeneratorConfig = Annotated[
    DcganGenerator
    | UpsamplingGenerator
    | ResnetGenerator
    | StackGenerator
    | UnetGenerator
    | ChannelsGenerator
    | UpscaleGenerator
    | CustomGenerator,
    Field(discriminator="kind"),
]
CriticConfig = Annotated[
    DcganCritic | UpsamplingCritic | ResnetCritic | StackCritic | ChannelsCritic | CustomCritic,
    Field(discriminator="kind"),
]
