"""Controls: what a person may ask of an image, measured in the image itself. Pure, differentiable functions of pixels.

The *subject* is what differs from the ground. Each pixel belongs to it with a weight in [0, 1]: alpha where images have it, else
d^4 / (d^4 + 0.25^4), where d is the distance of the pixel from the ground colour (the root of the mean squared difference over
channels, whose values lie in [-1, 1]), and the ground colour is, channel by channel, the mean of the middle half of the border's pixels.
But a pixel counts no more than its neighbours support: at most the sum of the other weights within a 16th of the sides, divided by the
number that the corner pixel of a rectangle has there (8 at 32x32, where those within 2 pixels are neighbours). So rectangles from 3x3 on
count in full there, and a speck of one pixel not at all: it would move centre and extent at no cost.

- **colour**: the subject's mean colour, red, green and blue (or grey) in [0, 1].
- **place**: the subject's centroid, x and y in [0, 1] from the top left; a pixel's place is its middle.
- **extent**: sqrt(6 (variance along x + variance along y)) of the subject, with sides of 1: the side of the square that is spread as
  widely, so 1 for a full frame and e for a square of side e; sqrt((w^2 + h^2) / 2) for a rectangle of w x h, 0.87 d for a disc of diameter d.

An image without a subject has the ground's colour, and its place is the middle.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kantor.types import Batch

CONTROLS = ("colour", "place", "extent")
ROWS = 1024
"""Training images whose controls a model knows: a seed has those of one of them."""
_HALF_DISTANCE = 0.25
_GROUND_SHARE = 1e-5  # of a frame: weight of the ground, so that nothing is divided by 0
_LEAST_STD = 0.01
_NEIGHBOURS = 16  # within this part of a side
_LEAST_SUPPORT = 0.01  # so that nothing is divided by 0


def components(controls: Sequence[str], channels: int) -> tuple[str, ...]:
    """The numbers of some controls, in order: "red", "green", "blue" (or "grey"), "x", "y", "extent"."""
    colours = ("grey",) if channels == 1 else ("red", "green", "blue")
    numbers = {"colour": colours, "place": ("x", "y"), "extent": ("extent",)}
    return tuple(name for control in controls for name in numbers[control])


def controls_of(images: Tensor, controls: Sequence[str], premultiplied: bool = False) -> Tensor:
    """Measures controls.

    Args:
        images: float [N, C, H, W] in [-1, 1].
        controls: some of `CONTROLS`.
        premultiplied: colours of RGBA images are scaled by alpha, see `kantor.alpha`.
    Returns:
        [N, K], as `components` names them.
    """
    height, width = images.shape[2:]
    colours, mask, ground = _parts(images, premultiplied)
    support = _support(mask)
    colours, mask = colours * support[:, None], mask * support
    x, y = ((torch.arange(n, device=images.device, dtype=images.dtype) + 0.5) / n for n in (width, height))
    total = mask.mean(dim=(1, 2)) + _GROUND_SHARE
    columns, rows = mask.mean(dim=1), mask.mean(dim=2)  # [N, W], [N, H]
    place = [((part * at).mean(dim=1) + _GROUND_SHARE / 2) / total for part, at in ((columns, x), (rows, y))]
    measured = []
    if "colour" in controls:
        mean = (colours.mean(dim=(2, 3)) + _GROUND_SHARE * ground) / total[:, None]
        measured.append((mean + 1) / 2)
    if "place" in controls:
        measured.append(torch.stack(place, dim=1))
    if "extent" in controls:
        variance = torch.zeros_like(total)
        for part, at, centre, n in ((columns, x, place[0], width), (rows, y, place[1], height)):
            squares = (at - centre[:, None]).square() + 1 / (12 * n * n)  # a pixel has a width of its own
            variance = variance + (part * squares).mean(dim=1) / total
        measured.append((6 * variance + 1e-12).sqrt()[:, None])
    return torch.cat(measured, dim=1)


def _parts(images: Tensor, premultiplied: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(colours times mask [N, C, H, W], mask [N, H, W], colour of the ground [N, C]); C without alpha."""
    if images.shape[1] == 4:
        mask = ((images[:, 3] + 1) / 2).clamp(0, 1)
        colours = images[:, :3] if premultiplied else images[:, :3] * mask[:, None]
        return colours, mask, torch.zeros_like(colours[:, :, 0, 0])
    ground = _ground(images)
    distance4 = (images - ground[:, :, None, None]).square().mean(dim=1).square()
    mask = distance4 / (distance4 + _HALF_DISTANCE**4)
    return images * mask[:, None], mask, ground


def _support(mask: Tensor) -> Tensor:
    """The share of each pixel's weight that its neighbours support, [N, H, W] to [N, H, W] in [0, 1]."""
    down, across = (max(1, side // _NEIGHBOURS) for side in mask.shape[1:])
    window = (2 * down + 1, 2 * across + 1)
    sums = F.avg_pool2d(mask[:, None], window, stride=1, padding=(down, across), divisor_override=1)[:, 0]
    others = (sums - mask).clamp(min=0)
    enough = ((down + 1) * (across + 1) - 1) * mask
    return others / torch.maximum(others, enough).clamp(min=_LEAST_SUPPORT)


def _ground(images: Tensor) -> Tensor:
    """The mean of the middle half of the border's values, [N, C]."""
    sides = (images[:, :, 0], images[:, :, -1], images[:, :, 1:-1, 0], images[:, :, 1:-1, -1])
    border = torch.cat(sides, dim=2).sort(dim=2).values
    quarter = border.shape[2] // 4
    return border[:, :, quarter : border.shape[2] - quarter].mean(dim=2)


def beside_planes(images: Tensor, values: Tensor, controls: Sequence[str]) -> Tensor:
    """Images with a channel for each control, for the critic: [N, C, H, W] and [N, K] -> [N, C + K, H, W].

    Colour and extent are constant; in place of x and y stand the coordinates of each pixel from there: a critic of convolutions
    does not know where it looks.
    """
    count, channels, height, width = images.shape
    names = components(controls, channels)
    at = {"x": (width, (1, width)), "y": (height, (height, 1))}
    planes = []
    for name, value in zip(names, values.to(images.dtype).unbind(dim=1), strict=True):
        from_here: Tensor | float = 0.5
        if name in at:
            pixels, shape = at[name]
            from_here = ((torch.arange(pixels, device=images.device, dtype=images.dtype) + 0.5) / pixels).view(shape)
        plane = 2 * (value.view(count, 1, 1) - from_here)
        planes.append(plane.expand(count, height, width))
    return torch.cat([images, torch.stack(planes, dim=1)], dim=1)


class Guide(nn.Module):
    """The controls of a generator, and what they are in training images.

    A generator gets them at the end of the latent, scaled by mean and standard deviation of `table`.

    Attributes:
        controls: some of `CONTROLS`.
        channels: of its images.
        premultiplied: see `controls_of`.
        table: float32 [ROWS, K], of training images; zero until `fill`.
    """

    table: Tensor

    def __init__(self, controls: Sequence[str], channels: int, premultiplied: bool) -> None:
        super().__init__()
        self.controls, self.channels, self.premultiplied = tuple(controls), channels, premultiplied
        self.register_buffer("table", torch.zeros(ROWS, len(self.names)))

    @property
    def names(self) -> tuple[str, ...]:
        return components(self.controls, self.channels)

    def measured(self, images: Tensor) -> Tensor:
        """Controls of images [N, C, H, W] as the generator makes them: [N, K]."""
        return controls_of(images, self.controls, self.premultiplied)

    def scaled(self, values: Tensor) -> Tensor:
        """[N, K] in units of standard deviations from the mean of training images."""
        scaled: Tensor = (values - self.table.mean(dim=0)) / self.table.std(dim=0).clamp(min=_LEAST_STD)
        return scaled

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value in training images, by name."""
        low, high = self.table.amin(dim=0).tolist(), self.table.amax(dim=0).tolist()
        return dict(zip(self.names, zip(low, high, strict=True), strict=True))


def guide_of(network: nn.Module) -> Guide | None:
    """The guide of a generator; None if it has none."""
    guide = getattr(network, "guide", None)
    return guide if isinstance(guide, Guide) else None


def guided(batch: Batch, guide: Guide | None) -> Batch:
    """The batch with the controls of its images, if there is a guide."""
    return batch if guide is None else batch._replace(controls=guide.measured(batch.images))
