"""[objective]: losses, penalties and constraints."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from kantor.config.base import Absent, Section, Weight
from kantor.config.networks import CustomName


class InterpolatesProbe(Section):
    """Points on the lines between real and generated images (Gulrajani et al. 2017)."""

    kind: Literal["interpolates"] = "interpolates"
    alpha: Literal["uniform", "normal", "batch"] = "uniform"
    """Position on the line: U(0, 1) for each image. Quirks of published code: N(0, 1) for each, or one U(0, 1) for the batch."""
    sign: Literal["plus", "minus"] = "plus"
    """Sign of the real images; "minus" is a quirk of published code: see docs/quirks.md."""


class RealProbe(Section):
    """The real images."""

    kind: Literal["real"] = "real"


class FakeProbe(Section):
    """The generated images."""

    kind: Literal["fake"] = "fake"


class PerturbedProbe(Section):
    """Real images with noise (Kodali et al. 2017)."""

    kind: Literal["perturbed"] = "perturbed"
    std: Annotated[float, Field(gt=0, le=100)] = 0.5
    """Amplitude of the noise in standard deviations of the batch."""


class PenaltyConfig(Section):
    """A penalty on the gradient of the critic's score with respect to the image."""

    at: Annotated[InterpolatesProbe | RealProbe | FakeProbe | PerturbedProbe, Field(discriminator="kind")] = (
        InterpolatesProbe()
    )
    """Points at which the gradient is taken."""
    of: Literal["two-sided", "one-sided", "zero-centred"] = "two-sided"
    """Formula: (norm - target)^2, max(0, norm - target)^2, or norm^2."""
    target: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Target of the norm: the critic's Lipschitz constant."""
    over: Literal["image", "columns"] = "image"
    """Take the norm over the whole image's gradient, or over each column's, a quirk of published code: see docs/quirks.md."""
    weight: Weight = 10.0
    """Weight of the penalty in the critic's loss."""
    every: Annotated[int, Field(ge=1, le=1000)] = 1
    """Apply lazily: at every k-th critic step, at k times the weight."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of each batch on which the penalty is computed, at least one image: unbiased, but noisier. Excludes `train.micro_batch`."""


class SquaredDrift(Section):
    """Keeps scores near zero: weight x mean(score squared) (Karras et al. 2018)."""

    kind: Literal["squared"] = "squared"
    weight: Weight = 0.001
    """Weight of the drift term in the critic's loss."""
    of: Literal["mean-real", "mean-both", "half-sum-real"] = "mean-real"
    """Real scores, or all scores; or half the sum over a batch, a quirk of published code: see docs/quirks.md."""


class WeightClipping(Section):
    """Keeps every weight of the critic within a bound (Arjovsky et al. 2017)."""

    kind: Literal["weight-clipping"] = "weight-clipping"
    bound: Annotated[float, Field(gt=0, le=1e6)] = 0.01
    """Largest absolute value of a weight."""
    scope: Literal["all", "kernels"] = "all"
    """Weights to clip: all of them, biases and norms included, or those of convolutions alone."""
    when: Literal["after", "before"] = "after"
    """Clip after each critic step, as in the paper, or before it, as in its code."""


class GradientClipping(Section):
    """Scales the critic's gradients down to a norm: a quirk of published code that does not bound the critic (docs/quirks.md)."""

    kind: Literal["gradient-clipping"] = "gradient-clipping"
    bound: Annotated[float, Field(gt=0, le=1e6)] = 0.05
    """Largest norm of all gradients together."""


Constraint = Annotated[
    Absent | WeightClipping | GradientClipping,
    Field(discriminator="kind", description="Constraint that keeps the critic Lipschitz, other than a penalty."),
]
Penalties = Annotated[dict[str, PenaltyConfig], Field(description="Gradient penalties by name.")]


class _ObjectiveConfig(Section):
    penalties: Penalties = {}
    drift: Annotated[Absent | SquaredDrift, Field(discriminator="kind")] = Absent()
    """Drift term."""
    constraint: Constraint = Absent()
    l1: Weight = 0.0
    """Weight of the mean absolute difference to the real image of the same condition, in the generator's loss."""
    features: Weight = 0.0
    """Weight of the distance to the same real image in the layers of kantor-small, each normalised (Zhang et al. 2018), in the
    generator's loss."""

    @field_validator("penalties")
    @classmethod
    def _distinct(cls, penalties: dict[str, PenaltyConfig]) -> dict[str, PenaltyConfig]:
        """Refuses R1 next to r1: a typo that would silently add a second penalty."""
        if len({name.lower() for name in penalties}) < len(penalties):
            raise ValueError("it must be written as the existing penalty: names differ only in capitals")
        return penalties


class Dcgan(_ObjectiveConfig):
    """Non-saturating GAN (Goodfellow et al. 2014)."""

    kind: Literal["dcgan"] = "dcgan"


class Wgan(_ObjectiveConfig):
    """Wasserstein GAN with weight clipping (Arjovsky et al. 2017)."""

    kind: Literal["wgan"] = "wgan"
    constraint: Constraint = WeightClipping()


class WganGp(_ObjectiveConfig):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017)."""

    kind: Literal["wgan-gp"] = "wgan-gp"
    penalties: Penalties = {"gradient": PenaltyConfig()}


class WganLp(_ObjectiveConfig):
    """Wasserstein GAN with one-sided penalty (Petzka et al. 2018)."""

    kind: Literal["wgan-lp"] = "wgan-lp"
    penalties: Penalties = {"gradient": PenaltyConfig(of="one-sided")}


class Dragan(_ObjectiveConfig):
    """Non-saturating GAN with a penalty around real images (Kodali et al. 2017)."""

    kind: Literal["dragan"] = "dragan"
    penalties: Penalties = {"gradient": PenaltyConfig(at=PerturbedProbe())}


class Lsgan(_ObjectiveConfig):
    """Least-squares GAN (Mao et al. 2017)."""

    kind: Literal["lsgan"] = "lsgan"


class Hinge(_ObjectiveConfig):
    """Hinge GAN (Lim and Ye 2017)."""

    kind: Literal["hinge"] = "hinge"


class Relativistic(_ObjectiveConfig):
    """Relativistic pairing GAN with R1 and R2 (Huang et al. 2024)."""

    kind: Literal["relativistic"] = "relativistic"
    penalties: Penalties = {
        "r1": PenaltyConfig(at=RealProbe(), of="zero-centred", weight=0.5),
        "r2": PenaltyConfig(at=FakeProbe(), of="zero-centred", weight=0.5),
    }


class CustomObjective(_ObjectiveConfig):
    """Custom losses, registered from Python: see docs/extend.md."""

    kind: Literal["custom"] = "custom"
    name: CustomName = "mine"
    """Name that they were registered under."""


ObjectiveConfig = Annotated[
    Dcgan | Wgan | WganGp | WganLp | Dragan | Lsgan | Hinge | Relativistic | CustomObjective,
    Field(discriminator="kind"),
]
