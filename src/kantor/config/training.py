"""[ema], [train] and [score]; engine/steps.py reads `train.batch`, engine/loop.py the intervals."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from kantor.config.base import Auto, Count, Positive, Section

Interval = Literal["auto", "epoch"]


def _two_or_more(value: Any) -> Any:
    """Refuses 1 with the reason."""
    if str(value) in ("0", "1"):
        raise ValueError(
            "the newest checkpoint may prove damaged, so the two newest always stay; write 2 or more, or auto"
        )
    return value


Kept = Annotated[int, Field(ge=2, le=1_000_000)]


class EmaConfig(Section):
    """Exponential moving average (EMA) of the generator's weights, with a half-life in images; it is what is saved and shown."""

    kind: Literal["half-life"] = "half-life"
    half_life_images: Positive = 10_000
    """Real images after which an old weight counts half."""
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Limit of the half-life, as a fraction of the images seen so far; 0 switches this warm-up off."""


class StepEmaConfig(Section):
    """EMA of the generator's weights with a constant decay per generator step."""

    kind: Literal["per-step"] = "per-step"
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Fraction of the old weights kept at each step."""


class TrainConfig(Section):
    """Length, batch, precision, and the intervals of rows, samples and checkpoints."""

    images: Positive | Auto = "auto"
    """Length of the run in real images shown to the critic (1 kimg = 1000 images)."""
    horizon_images: Positive | Auto = "auto"
    """Images at which schedules end; a longer run holds their last values. "auto" is the length of the run at its start."""
    batch: Annotated[int, Field(ge=2, le=65536)] = 64  # --batch; kantor.engine.steps takes them from the feed
    """Real images in one critic step."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of all random numbers."""
    conditional: bool = False
    """Train with class labels."""
    augment: Annotated[float, Field(ge=0, le=1)] | Auto = 0.0
    """Differentiable augmentation (Zhao et al. 2020): probability with which the critic sees an image, real or generated, shifted, and
    with which, independently, a part is blanked. "auto" takes 1 below 4,000 images, else 0. `data.augment` changes real images alone."""
    augment_shift: Annotated[float, Field(ge=0, le=1)] = 0.125
    """Largest shift by `augment`, as a fraction of a side."""
    augment_cutout: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Sides of the part blanked by `augment`, as a fraction of those of the image."""
    init_from: Annotated[str, Field(max_length=4096)] = ""
    """Run, checkpoint or generator.safetensors whose weights to start from; empty starts from random weights."""
    keep_counters: bool = False
    """Go on from the run that `init_from` names: its number of images, cycles and epochs, its optimizers and its place in schedules."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # see kantor.engine.precision
    """Number format of convolutions; "auto" takes bfloat16 if the hardware computes in it."""
    micro_batch: Annotated[int, Field(ge=0, le=65536)] = 0
    """Images per backward pass, to save memory: the gradients of the parts of a batch are summed, which is the same to rounding.
    0 takes the whole batch. Refused if batch norm or minibatch stddev mixes a batch."""
    record: bool = True
    """On an NVIDIA GPU, record each kind of step as a CUDA graph and replay it, unless networks or losses are custom."""
    compile: bool | Auto = False
    """Compile the passes of a step into fused kernels, which takes half a minute at the start. "auto", as `--compile` sets, keeps
    them only if they are measured to be faster. Custom networks or losses, and dropout, are not compiled."""
    retune: bool = False
    """On a CPU, measure at the next checkpoint after a slump which number of threads is fastest now. Such a run does not promise the
    same bits when it is repeated: the number of threads changes the last bit of sums."""
    epochs: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    """Length of the run in epochs, if neither `images` nor the command line gives one; 0 leaves it open."""
    tick_images: Positive | Interval = "auto"
    """Images between two rows of metrics.csv; "epoch" is the size of the dataset."""
    sample_images: Positive | Interval = "auto"
    """Images between two sample grids, which also come at 250, 500, 1000, 2000 ... images at the start; "epoch" makes one an epoch."""
    snapshot_images: Positive | Interval = "auto"
    """Images between two checkpoints; "epoch" is the size of the dataset."""
    keep: Annotated[Kept | Auto, BeforeValidator(_two_or_more)] = "auto"
    """Checkpoints kept besides the best: that many of the newest, at least 2; "auto" is the two newest and a few older ones."""
    score_images: Count | Auto = "auto"
    """Images between two scorings of the EMA generator; 0 computes no scores."""


class ScoreConfig(Section):
    """Metrics computed during training, every `train.score_images` images: see docs/scores.md."""

    metrics: list[Annotated[str, Field(max_length=32)]] = ["fd", "kid", "pr"]
    """Any of fd, mind, cdc, kid, is, pr, dc, swd, msssim, modes, w2, sinkhorn; an empty list computes nothing."""
    features: Annotated[str, Field(max_length=4096)] = "kantor-small"
    """Feature extractor: kantor-small, lite0@96, random, inception:PATH, or a custom one; or several, with commas between them."""
    count: Annotated[int, Field(ge=100, le=1_000_000)] | Auto = "auto"
    """Generated images per score, compared with as many real ones."""
    best: Annotated[str, Field(max_length=32)] = "auto"
    """Metric that selects the generator kept in generator.safetensors: fd, recall ...; "auto" is the first that is computed,
    "none" keeps the newest."""
