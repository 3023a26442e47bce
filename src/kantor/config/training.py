"""[ema], [train] and [score]."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kantor.config.base import Auto, Count, Positive, Section

Interval = Literal["auto", "epoch"]


class EmaConfig(Section):
    """A running average of the generator's weights: what is saved and shown."""

    kind: Literal["half-life"] = "half-life"
    half_life_images: Positive = 10_000
    """After this many images an old weight counts half."""
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.05
    """The half-life is at most this share of the images seen so far; 0 switches the warm-up off."""


class StepEmaConfig(Section):
    """A running average of the generator's weights that moves alike at each of its steps."""

    kind: Literal["per-step"] = "per-step"
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """What remains of the old weights."""


class TrainConfig(Section):
    """How long, how much at once, how precisely, and when to look."""

    images: Positive | Auto = "auto"
    """Length of the run in real images shown to the critic (1 kimg = 1000)."""
    batch: Annotated[int, Field(ge=2, le=65536)] = 64
    """Real images in one critic step."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Chooses all random numbers."""
    conditional: bool = False
    """Train with class labels."""
    init_from: Annotated[str, Field(max_length=4096)] = ""
    """Start from the weights of another run, checkpoint or generator.safetensors; empty starts from random ones."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of convolutions; "auto" takes bfloat16 where the hardware computes in it."""
    micro_batch: Annotated[int, Field(ge=0, le=65536)] = 0
    """Images that are differentiated at once, where memory is short: gradients of the parts of a batch are added up, which
    is the same to rounding. 0 takes the whole batch. Refused where batch norm or minibatch stddev mixes a batch."""
    record: bool = True
    """On an NVIDIA GPU: record each kind of step once and replay it, unless networks or losses are your own."""
    compile: bool | Auto = False
    """Compile the passes of a step into fused kernels: half a minute at the start. "auto", as `--compile` says, measures whether
    that is faster, and keeps it where it is. Networks or losses of your own, and dropout, are not compiled."""
    epochs: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    """Length of the run where neither `images` nor the command line says another: so many times the set; 0 leaves it open."""
    tick_images: Positive | Interval = "auto"
    """Images between two rows of metrics.csv; "epoch" is as many as the set has."""
    sample_images: Positive | Interval = "auto"
    """Images between two sample sheets, and in the beginning at 1000, 2000, 4000 ... images; "epoch": one an epoch."""
    snapshot_images: Positive | Interval = "auto"
    """Images between two checkpoints; "epoch" is as many as the set has."""
    score_images: Count | Auto = "auto"
    """Images between two scores of the generator's running average; 0 measures none."""


class ScoreConfig(Section):
    """What is measured while a run goes on, every `train.score_images` images: see docs/scores.md."""

    metrics: list[Annotated[str, Field(max_length=32)]] = ["fd", "kid", "pr"]
    """Any of fd, kid, is, pr, dc, swd, msssim, nn, modes, w2, sinkhorn, critic; an empty list measures nothing."""
    features: Annotated[str, Field(max_length=4096)] = "kantor-small"
    """The network that features are taken from: kantor-small, random, inception:PATH, or one of your own."""
    count: Annotated[int, Field(ge=100, le=1_000_000)] | Auto = "auto"
    """Images drawn for a score, and real ones beside them."""
    best: Annotated[str, Field(max_length=32)] = "auto"
    """The number that tells which moment of the run generator.safetensors keeps: fd, recall ...; "auto" is the first that
    is measured, "none" keeps the newest."""
