"""The few types that rooms pass to each other."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kantor.errors import ConfigError, nearest

if TYPE_CHECKING:  # the command line must not load torch to know what an image is
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Images = NDArray[np.uint8]  # [N, H, W, C]
else:
    Images = Any

NORMALISATIONS = ("none", "batch", "layer", "pixel")


class ImageSpec(NamedTuple):
    """Size of an image. channels: 1 grey, 3 RGB, 4 RGBA."""

    height: int
    width: int
    channels: int

    def __str__(self) -> str:
        kind = {1: "grey", 3: "RGB", 4: "RGBA"}.get(self.channels, f"{self.channels} channels")
        return f"{self.height}x{self.width} {kind}"


class ObjectPlace(NamedTuple):
    """Where an object was cut out of a picture; numbers in [0, 1] from the top left, but for the extent.

    Attributes:
        picture: name of the picture.
        box: x0, y0, x1, y1.
        centroid: x, y of the mean of its pixels.
        extent: its longer side as a share of the picture's shorter side.
        method: how it was found, "parts" or "saliency".
    """

    picture: str
    box: tuple[float, float, float, float]
    centroid: tuple[float, float]
    extent: float
    method: str


class Batch(NamedTuple):
    """What a feed yields.

    Attributes:
        images: float32 [N, C, H, W] in [-1, 1].
        labels: int64 [N], or None if the dataset has none.
        condition: float32 [N, K, H, W] in [-1, 1], the image that a paired generator starts from, or None.
        controls: float32 [N, K] of the images, see `kantor.controls`, or None. A feed leaves them out.
    """

    images: Tensor
    labels: Tensor | None = None
    condition: Tensor | None = None
    controls: Tensor | None = None


@dataclass(frozen=True)
class Traits:
    """What a network declares about itself, so that objectives and the engine know what is allowed.

    Attributes:
        mixes_batch: a sample's output depends on the other samples of its batch (batch norm, minibatch stddev).
        piecewise_linear: ignored; accepted for networks written for older versions.
        normalisation: "none", "batch", "layer" or "pixel".
    """

    mixes_batch: bool
    piecewise_linear: InitVar[bool] = False
    normalisation: str = "none"

    def __post_init__(self, piecewise_linear: bool) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise ConfigError(
                "Traits", f"normalisation={self.normalisation!r}", nearest(str(self.normalisation), NORMALISATIONS)
            )


def traits_of(network: object) -> Traits:
    """The traits that a network declares."""
    traits = getattr(network, "traits", None)
    if not isinstance(traits, Traits):
        do = "give it an attribute traits = kantor.Traits(mixes_batch, normalisation)"
        raise ConfigError(type(network).__name__, "the network declares no traits", do)
    return traits
