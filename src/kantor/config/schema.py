"""The one configuration of a run: typed, frozen, whole.

Help texts, the table in the docs and validation all come from the declarations below. Variants are types told
apart by `kind`; an absent part is `kind = "none"`. Fields that say "auto" are filled before a run starts, printed
with the reason and written to its config.toml.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from kantor.registry import OWN_NAME

Auto = Literal["auto"]
Rate = Annotated[float, Field(gt=0, lt=100, allow_inf_nan=False)]
Positive = Annotated[int, Field(gt=0, le=2**53)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Weight = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Width = Annotated[int, Field(ge=4, le=512)]
Initialiser = Literal["normal", "truncated-normal", "he", "glorot", "own"]


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "64" or "48x96"."""
    parts = [int(p) for p in text.split("x")]
    return (parts[0], parts[-1])


def _size(value: Any) -> Any:
    """Accepts 64, "64", "64x64" and "48x96" (height x width); keeps the shortest spelling."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or value == "auto":
        return value
    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9})?", value):
        raise ValueError('write one number ("64") or height x width ("48x96")')
    height, width = parse_size(value)
    if not (8 <= height <= 1024 and 8 <= width <= 1024):
        raise ValueError("both sides must lie between 8 and 1024")
    return str(height) if height == width else f"{height}x{width}"


def _share(value: Any) -> Any:
    """Accepts "1%" and 0.01. A bare 1 on the command line is meant as often for 1 % as for all."""
    if isinstance(value, str) and value.strip() in ("1", "1.0"):
        raise ValueError("it may mean 1 % or all of them; write 1% or 100%")
    if isinstance(value, str) and re.fullmatch(r"\s*[\d.]+\s*%\s*", value):
        value = float(value.strip(" %")) / 100
    if isinstance(value, str) and re.fullmatch(r"[\d.]+", value):
        value = float(value)
    if isinstance(value, int | float) and value > 1:
        raise ValueError('write a share below 1, such as 0.05, or a percentage, such as "5%"')
    return value


Size = Annotated[str, BeforeValidator(_size)]


class Section(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


# --- data -------------------------------------------------------------------------------------------------------


class GlyphsConfig(Section):
    """The built-in set: coloured letters and digits in many typefaces."""

    count: Annotated[int, Field(gt=0, le=10_000_000)] = 20_000
    """How many pictures to draw."""
    seed: Count = 0
    """Chooses the pictures."""


class DataConfig(Section):
    """The pictures and how they are brought to one size."""

    source: str = "glyphs"
    """Folder (class = sub-folder), zip, tar, .npy, .npz, IDX, TFRecord, Parquet, packed set, or "glyphs"."""
    size: Size = "auto"
    """Size of a picture: "64", or height x width: "48x96". Any size from 8 to 1024."""
    pack_size: Size = "auto"
    """Size of the pictures in the packed set, brought down to `size` for each batch; "auto" is `size`."""
    crop: Annotated[int, Field(ge=0, le=65536)] = 0
    """Side of the square cut from the middle before resizing; 0 cuts nothing."""
    fit: Literal["cover", "contain", "stretch"] = "cover"
    """How a picture of another shape is fitted: cut, padded, or stretched."""
    channels: Literal["auto", "gray", "rgb", "rgba"] = "auto"
    """Colour channels; "auto" looks at the pictures."""
    background: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#ffffff"
    """Colour behind transparent pictures and around padded ones."""
    labels: str = "auto"
    """"auto" takes sub-folders or the labels beside the data, "none" ignores them, else a CSV or JSON file."""
    limit: Count = 0
    """Use only this many pictures, the first in order; 0 uses all."""
    stack: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Make so many colour pictures of three grey ones each, one a channel: digits become 1000 modes. 0 leaves them."""
    holdout: Annotated[float, Field(ge=0, lt=1), BeforeValidator(_share)] = 0.0
    """Share of the pictures that is never trained on, chosen by their bytes: 0.1, "10%"."""
    mirror: bool = False
    """Show pictures mirrored as often as not. Not for letters."""
    min_size: Annotated[int, Field(ge=1, le=1024)] = 8
    """Pictures with a side shorter than this, in pixels, are left out."""
    max_bad: Annotated[float, Field(ge=0, le=1), BeforeValidator(_share)] = 0.01
    """Share of unreadable pictures above which packing stops with an error."""
    glyphs: GlyphsConfig = GlyphsConfig()
    """The built-in set, where it is the source."""


# --- networks ---------------------------------------------------------------------------------------------------


class NetworkConfig(Section):
    width: Width = 64
    """Channels of the layer next to the picture; the other layers are multiples of it."""
    max_width: Annotated[int, Field(ge=4, le=4096)] = 512
    """No layer gets more channels than this."""
    init: Initialiser = "normal"
    """Weights start normal (DCGAN) or normal cut at two deviations, both of `init_std`; as He or Glorot found; or as the
    layers draw them on their own."""
    init_std: Annotated[float, Field(gt=0, le=10)] = 0.02
    """Standard deviation of the initial weights, where `init` is "normal" or "truncated-normal"."""
    equalised: bool = False
    """Weights are drawn with deviation 1 and scaled by sqrt(2 / inputs) in each pass (Karras et al. 2018, 4.1)."""


class _GeneratorConfig(NetworkConfig):
    latent_dim: Annotated[int, Field(ge=1, le=4096)] = 100
    """Numbers in a latent."""
    latent: Literal["normal", "uniform"] = "normal"
    """Distribution of the latents: standard normal, or uniform in [-1, 1]."""


class _CriticConfig(NetworkConfig):
    norm: Literal["batch", "layer", "none"] = "none"
    """Normalisation of the layers between the first and the last. Batch norm does not go with a gradient penalty."""
    minibatch_stddev: Literal["none", "batch"] | Annotated[int, Field(ge=2, le=1024)] = "none"
    """Shows the critic how much the pictures of a batch differ, or those of groups of so many: 4."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of numbers set to zero behind each layer but the last two, while training."""


class DcganGenerator(_GeneratorConfig):
    """Transposed convolutions (Radford et al. 2016)."""

    kind: Literal["dcgan"] = "dcgan"
    norm: Literal["batch", "pixel", "none"] = "batch"
    """Normalisation after each layer but the last."""


class UpsamplingGenerator(_GeneratorConfig):
    """Nearest-neighbour upsampling and 3x3 convolutions: no checkerboards."""

    kind: Literal["upsampling"] = "upsampling"
    init: Initialiser = "he"
    """Weights start normal (DCGAN) or normal cut at two deviations, both of `init_std`; as He or Glorot found; or as the
    layers draw them on their own."""
    latent_dim: Annotated[int, Field(ge=1, le=4096)] = 64
    """Numbers in a latent."""
    norm: Literal["batch", "pixel", "none"] = "pixel"
    """Normalisation after each layer but the last."""


class ResnetGenerator(_GeneratorConfig):
    """Residual blocks with nearest-neighbour upsampling (Gulrajani et al. 2017)."""

    kind: Literal["resnet"] = "resnet"
    init: Initialiser = "he"
    """Weights start normal (DCGAN) or normal cut at two deviations, both of `init_std`; as He or Glorot found; or as the
    layers draw them on their own."""
    latent_dim: Annotated[int, Field(ge=1, le=4096)] = 128
    """Numbers in a latent."""
    norm: Literal["batch", "pixel", "none"] = "batch"
    """Normalisation before each convolution of a block, and before the last."""
    block_bias: bool = True
    """A bias in the first convolution of each block: the paper's code has one for CIFAR-10, and none at 64x64."""


class DcganCritic(_CriticConfig):
    """Strided 4x4 convolutions (Radford et al. 2016)."""

    kind: Literal["dcgan"] = "dcgan"


class UpsamplingCritic(_CriticConfig):
    """3x3 convolutions and average pooling: the mirror image of the upsampling generator."""

    kind: Literal["upsampling"] = "upsampling"
    init: Initialiser = "he"
    """Weights start normal (DCGAN) or normal cut at two deviations, both of `init_std`; as He or Glorot found; or as the
    layers draw them on their own."""


class ResnetCritic(_CriticConfig):
    """Residual blocks with average pooling (Gulrajani et al. 2017)."""

    kind: Literal["resnet"] = "resnet"
    init: Initialiser = "he"
    """Weights start normal (DCGAN) or normal cut at two deviations, both of `init_std`; as He or Glorot found; or as the
    layers draw them on their own."""
    norm: Literal["batch", "layer", "none"] = "layer"
    """Normalisation before each convolution of a block. Batch norm does not go with a gradient penalty."""
    first: Literal["convolution", "block"] = "convolution"
    """What meets the picture: a convolution (the 64x64 critic), or a first block of its own (the CIFAR critic)."""
    halvings: Annotated[int, Field(ge=0, le=8)] = 0
    """How often the picture is halved; 0 halves it until it is 4 to 7 pixels small."""
    flat_blocks: Annotated[int, Field(ge=0, le=64)] = 0
    """Blocks behind the last halving."""
    head: Literal["flat", "mean"] = "flat"
    """The score is made of all pixels of the last layer, or of their mean."""
    block_bias: bool = True
    """A bias in the first convolution of each block: the paper's code has one for CIFAR-10, and none at 64x64."""


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
    DcganGenerator | UpsamplingGenerator | ResnetGenerator | CustomGenerator, Field(discriminator="kind")
]
CriticConfig = Annotated[DcganCritic | UpsamplingCritic | ResnetCritic | CustomCritic, Field(discriminator="kind")]


# --- objective --------------------------------------------------------------------------------------------------


class Absent(Section):
    """Nothing here."""

    kind: Literal["none"] = "none"


class InterpolatesProbe(Section):
    """Points on the lines between real and generated pictures (Gulrajani et al. 2017)."""

    kind: Literal["interpolates"] = "interpolates"


class RealProbe(Section):
    """The real pictures."""

    kind: Literal["real"] = "real"


class FakeProbe(Section):
    """The generated pictures."""

    kind: Literal["fake"] = "fake"


class PerturbedProbe(Section):
    """Real pictures with noise (Kodali et al. 2017)."""

    kind: Literal["perturbed"] = "perturbed"
    std: Annotated[float, Field(gt=0, le=100)] = 0.5
    """Amplitude of the noise in standard deviations of the batch."""


class PenaltyConfig(Section):
    """A penalty on the gradient of the critic's score with respect to the picture."""

    at: Annotated[InterpolatesProbe | RealProbe | FakeProbe | PerturbedProbe, Field(discriminator="kind")] = (
        InterpolatesProbe()
    )
    """Where the gradient is taken."""
    of: Literal["two-sided", "one-sided", "zero-centred"] = "two-sided"
    """(norm - 1)^2, max(0, norm - 1)^2 or norm^2."""
    weight: Weight = 10.0
    """Weight of the penalty in the critic's loss."""
    every: Annotated[int, Field(ge=1, le=1000)] = 1
    """Lazy: applied at every k-th critic step at k times the weight."""


class SquaredDrift(Section):
    """Keeps scores near zero: weight x mean(real score squared) (Karras et al. 2018)."""

    kind: Literal["squared"] = "squared"
    weight: Weight = 0.001
    """Weight of the drift term in the critic's loss."""


class WeightClipping(Section):
    """Keeps every weight of the critic within a bound (Arjovsky et al. 2017)."""

    kind: Literal["weight-clipping"] = "weight-clipping"
    bound: Annotated[float, Field(gt=0, le=1e6)] = 0.01
    """The bound on each weight."""


class _ObjectiveConfig(Section):
    penalties: dict[str, PenaltyConfig] = {}
    """Gradient penalties by name."""
    drift: Annotated[Absent | SquaredDrift, Field(discriminator="kind")] = Absent()
    """Drift term."""
    constraint: Annotated[Absent | WeightClipping, Field(discriminator="kind")] = Absent()
    """What keeps the critic Lipschitz, other than a penalty."""

    @field_validator("penalties")
    @classmethod
    def _distinct(cls, penalties: dict[str, PenaltyConfig]) -> dict[str, PenaltyConfig]:
        """R1 beside r1 is a slip that would go unseen: one more penalty, of another kind."""
        if len({name.lower() for name in penalties}) < len(penalties):
            raise ValueError("it must be written as the penalty that is there: names differ in capitals alone")
        return penalties


class Dcgan(_ObjectiveConfig):
    """Non-saturating GAN (Goodfellow et al. 2014)."""

    kind: Literal["dcgan"] = "dcgan"


class Wgan(_ObjectiveConfig):
    """Wasserstein GAN with weight clipping (Arjovsky et al. 2017)."""

    kind: Literal["wgan"] = "wgan"
    constraint: Annotated[Absent | WeightClipping, Field(discriminator="kind")] = WeightClipping()
    """What keeps the critic Lipschitz, other than a penalty."""


class WganGp(_ObjectiveConfig):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017)."""

    kind: Literal["wgan-gp"] = "wgan-gp"
    penalties: dict[str, PenaltyConfig] = {"gradient": PenaltyConfig()}
    """Gradient penalties by name."""


class WganLp(_ObjectiveConfig):
    """Wasserstein GAN with one-sided penalty (Petzka et al. 2018)."""

    kind: Literal["wgan-lp"] = "wgan-lp"
    penalties: dict[str, PenaltyConfig] = {"gradient": PenaltyConfig(of="one-sided")}
    """Gradient penalties by name."""


class Dragan(_ObjectiveConfig):
    """Non-saturating GAN with a penalty around real pictures (Kodali et al. 2017)."""

    kind: Literal["dragan"] = "dragan"
    penalties: dict[str, PenaltyConfig] = {"gradient": PenaltyConfig(at=PerturbedProbe())}
    """Gradient penalties by name."""


class Lsgan(_ObjectiveConfig):
    """Least-squares GAN (Mao et al. 2017)."""

    kind: Literal["lsgan"] = "lsgan"


class Hinge(_ObjectiveConfig):
    """Hinge GAN (Lim and Ye 2017)."""

    kind: Literal["hinge"] = "hinge"


class Relativistic(_ObjectiveConfig):
    """Relativistic pairing GAN with R1 and R2 (Huang et al. 2024)."""

    kind: Literal["relativistic"] = "relativistic"
    penalties: dict[str, PenaltyConfig] = {
        "r1": PenaltyConfig(at=RealProbe(), of="zero-centred", weight=0.5),
        "r2": PenaltyConfig(at=FakeProbe(), of="zero-centred", weight=0.5),
    }
    """Gradient penalties by name."""


class CustomObjective(_ObjectiveConfig):
    """Losses of your own, registered from Python: see docs/extend.md."""

    kind: Literal["custom"] = "custom"
    name: Own = "mine"
    """The name that they were registered under."""


ObjectiveConfig = Annotated[
    Dcgan | Wgan | WganGp | WganLp | Dragan | Lsgan | Hinge | Relativistic | CustomObjective,
    Field(discriminator="kind"),
]


# --- schedules and optimisers -----------------------------------------------------------------------------------


class ConstantCycle(Section):
    """The same number of steps in every cycle."""

    kind: Literal["constant"] = "constant"
    critic_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Critic steps in a cycle, each on new real pictures."""
    generator_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Generator steps in a cycle."""


class OverdoseCycle(Section):
    """Many critic steps at the start and now and then, as in the code of the WGAN paper."""

    kind: Literal["overdose"] = "overdose"
    critic_steps: Annotated[int, Field(ge=1, le=1000)] = 5
    """Critic steps in an ordinary cycle."""
    generator_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Generator steps in a cycle."""
    overdose_steps: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Critic steps in an overdose."""
    first_cycles: Count = 25
    """The first cycles are overdoses."""
    every_cycles: Positive = 500
    """Each such cycle is an overdose."""


CycleConfig = Annotated[ConstantCycle | OverdoseCycle, Field(discriminator="kind")]


class ConstantRate(Section):
    """The rate as it stands."""

    kind: Literal["constant"] = "constant"


class PiecewiseRate(Section):
    """Rates by epoch: rates[0] until epoch until[0], rates[1] until until[1] ..., the last one for ever."""

    kind: Literal["pieces"] = "pieces"
    until: list[Annotated[float, Field(gt=0)]] = []
    """Epochs at which the rate changes, ascending."""
    rates: list[Rate] = []
    """Learning rates, one more than `until`."""


class LinearRate(Section):
    """The rate, held, then falling on a straight line to a share of it at the end of the run."""

    kind: Literal["linear"] = "linear"
    hold: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the run during which the rate is held."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the rate at the end."""


class InverseRandomRate(Section):
    """1 / (1/lr + U(0, 1/low)), drawn anew each cycle: uniform in the inverse rate."""

    kind: Literal["inverse-random"] = "inverse-random"
    low: Rate = 1e-4
    """Scale of the low end: rates lie between 1/(1/lr + 1/low) and lr."""


class JumpRate(Section):
    """The rate, and rarely a much larger one."""

    kind: Literal["jumps"] = "jumps"
    probability: Annotated[float, Field(ge=0, le=1)] = 0.003
    """Probability of a jump in a cycle."""
    rate: Rate = 0.005
    """Learning rate of a jump."""


Schedule = Annotated[
    ConstantRate | PiecewiseRate | LinearRate | InverseRandomRate | JumpRate, Field(discriminator="kind")
]


class _OptimizerConfig(Section):
    lr: Rate = 1e-4
    """Learning rate."""
    schedule: Schedule = ConstantRate()
    """How the rate changes."""


Beta = Annotated[float, Field(ge=0, lt=1)]


class AdamConfig(_OptimizerConfig):
    """Adam (Kingma and Ba 2015)."""

    kind: Literal["adam"] = "adam"
    betas: tuple[Beta, Beta] = (0.0, 0.9)
    """Decay of the first and second moment."""
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8
    """Keeps the division finite."""


class RmspropConfig(_OptimizerConfig):
    """RMSProp (Tieleman and Hinton 2012)."""

    kind: Literal["rmsprop"] = "rmsprop"
    alpha: Beta = 0.99
    """Decay of the mean of squares."""
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8
    """Keeps the division finite."""


class SgdConfig(_OptimizerConfig):
    """Stochastic gradient descent."""

    kind: Literal["sgd"] = "sgd"
    momentum: Beta = 0.0
    """Momentum."""


OptimizerConfig = Annotated[AdamConfig | RmspropConfig | SgdConfig, Field(discriminator="kind")]


class OptimizersConfig(Section):
    """An optimiser for each network."""

    generator: OptimizerConfig = AdamConfig()
    """The generator's."""
    critic: OptimizerConfig = AdamConfig()
    """The critic's."""


# --- EMA and training -------------------------------------------------------------------------------------------


class EmaConfig(Section):
    """A running average of the generator's weights: what is saved and shown."""

    kind: Literal["half-life"] = "half-life"
    half_life_images: Positive = 10_000
    """After this many pictures an old weight counts half."""
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.05
    """The half-life is at most this share of the pictures seen so far; 0 switches the warm-up off."""


class TrainConfig(Section):
    """How long, how much at once, how precisely, and when to look."""

    images: Positive | Auto = "auto"
    """Length of the run in real pictures shown to the critic (1 kimg = 1000)."""
    batch: Annotated[int, Field(ge=2, le=65536)] = 64
    """Real pictures in one critic step."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Chooses all random numbers."""
    conditional: bool = False
    """Train with class labels."""
    init_from: Annotated[str, Field(max_length=4096)] = ""
    """Start from the weights of another run, checkpoint or generator.safetensors; empty starts from random ones."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of convolutions; "auto" takes bfloat16 where the hardware computes in it."""
    micro_batch: Annotated[int, Field(ge=0, le=65536)] = 0
    """Pictures that are differentiated at once, where memory is short: gradients of the parts of a batch are added up, which
    is the same to rounding. 0 takes the whole batch. Refused where batch norm or minibatch stddev mixes a batch."""
    record: bool = True
    """On an NVIDIA GPU: record each kind of step once and replay it, unless networks or losses are your own."""
    compile: bool | Auto = False
    """Compile the passes of a step into fused kernels: half a minute at the start. "auto", as `--compile` says, measures whether
    that is faster, and keeps it where it is. Networks or losses of your own, and dropout, are not compiled."""
    tick_images: Positive | Auto = "auto"
    """Pictures between two rows of metrics.csv."""
    sample_images: Positive | Auto = "auto"
    """Pictures between two sample sheets; in the beginning they come at 1000, 2000, 4000 ... pictures."""
    snapshot_images: Positive | Auto = "auto"
    """Pictures between two checkpoints."""
    score_images: Count | Auto = "auto"
    """Pictures between two scores of the generator's running average; 0 measures none."""


class ScoreConfig(Section):
    """What is measured while a run goes on, every `train.score_images` pictures: see docs/scores.md."""

    metrics: list[Annotated[str, Field(max_length=32)]] = ["fd", "kid", "pr"]
    """Any of fd, kid, is, pr, dc, swd, msssim, nn, modes, w2, sinkhorn, critic; an empty list measures nothing."""
    features: Annotated[str, Field(max_length=4096)] = "kantor-small"
    """The network that features are taken from: kantor-small, random, inception:PATH, or one of your own."""
    count: Annotated[int, Field(ge=100, le=1_000_000)] | Auto = "auto"
    """Pictures drawn for a score, and real ones beside them."""
    best: Annotated[str, Field(max_length=32)] = "auto"
    """The number that tells which moment of the run generator.safetensors keeps: fd, recall ...; "auto" is the first that
    is measured, "none" keeps the newest."""


class Config(Section):
    """Everything that determines a run."""

    data: DataConfig = DataConfig()
    """The pictures and how they are brought to one size."""
    generator: GeneratorConfig = DcganGenerator()
    """The network that makes pictures."""
    critic: CriticConfig = DcganCritic()
    """The network that scores pictures."""
    objective: ObjectiveConfig = WganGp()
    """The losses of critic and generator, with their penalties."""
    cycle: CycleConfig = ConstantCycle()
    """How many critic and generator steps make a cycle."""
    optimizer: OptimizersConfig = OptimizersConfig()
    """The optimisers."""
    ema: Annotated[Absent | EmaConfig, Field(discriminator="kind")] = EmaConfig()
    """Running average of the generator."""
    train: TrainConfig = TrainConfig()
    """Length, batch, precision, and when to look."""
    score: ScoreConfig = ScoreConfig()
    """What is measured while training."""
