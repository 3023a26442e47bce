"""Images whose conditions are the images themselves, reduced: what a network that enlarges is trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.app.images import at_size
from kantor.config.schema import Config
from kantor.data.loading.image_set import ImageSet, paired_fingerprint
from kantor.errors import ConfigError
from kantor.types import Images, ImageSpec


class Pixelated:
    """An image set whose conditions show each image with `times` times fewer pixels, at its own size: in squares of one colour.

    They are the means of those squares, weighted by alpha, in 8 bits: what a file of the small image would hold.

    Args:
        spec: of the images that networks see, if `images` are packed larger.
    Raises:
        ConfigError: the size is no multiple of `times`.
    """

    def __init__(self, images: ImageSet, spec: ImageSpec, times: int) -> None:
        self.images, self.labels, self.digests = images.images, images.labels, images.digests
        self.path, self.spec, self.count = images.path, images.spec, images.count
        self.labelled, self.class_names = images.labelled, images.class_names
        self.condition_channels = images.spec.channels
        self.condition_settings: dict[str, Any] = {"smaller": times}
        self.fingerprint = pixelated_fingerprint(images.fingerprint, times)
        self._small = images.spec._replace(height=spec.height // times, width=spec.width // times)
        if any(side % times for side in spec[:2]):
            what = f"{spec.height}x{spec.width} cannot be divided by data.smaller = {times}"
            rounded = (max(8, round(side / times) * times) for side in spec[:2])
            raise ConfigError("data.size", what, f"use --size {'x'.join(map(str, rounded))}")
        if any(whole % part for whole, part in zip(images.spec[:2], self._small[:2], strict=True)):
            what = f"{images.spec.height}x{images.spec.width} is no multiple of data.size"
            raise ConfigError("data.pack_size", what, "leave it out")

    def conditions(self, rows: NDArray[np.int64]) -> Images:
        small = at_size(self.images(rows), self._small)
        return pixelated(small, self.spec.height // self._small.height, self.spec.width // self._small.width)


def pixelated(small: Images, down: int, across: int) -> Images:
    """Each pixel of uint8 [N, H, W, C] as a rectangle: [N, down H, across W, C]."""
    return small.repeat(down, axis=1).repeat(across, axis=2)


def pixelated_fingerprint(images: str, times: int) -> str:
    """Fingerprint of `Pixelated`, from that of its images."""
    return paired_fingerprint(images, f"smaller-{times}")


def check_enlarging(config: Config) -> None:
    """Raises ConfigError if the generator enlarges other images than it is given, or by another factor, or not at all."""
    data, generator = config.data, config.generator
    if data.condition == "smaller" and generator.kind not in ("upscale", "custom"):
        what = f"is for generators that enlarge, and generator.kind is {generator.kind}"
        raise ConfigError("data.condition = smaller", what, "use --preset upscale, or another condition")
    if generator.kind != "upscale":
        return
    if data.condition not in ("none", "smaller"):
        what = f"enlarges smaller images, but data.condition is {data.condition}"
        raise ConfigError("generator.kind = upscale", what, "use --set data.condition=smaller")
    if generator.times != data.smaller:
        what = f"differs from data.smaller = {data.smaller}, by which images are reduced"
        do = f"add --set data.smaller={generator.times}, or --set generator.times={data.smaller}"
        raise ConfigError(f"generator.times = {generator.times}", what, do)
    if "auto" in (generator.slim, config.critic.slim):
        what = "asks when images can be recognised, and enlarged ones can from the start"
        raise ConfigError("--slim auto", what, "give a number, such as --slim 2")
    if config.train.conditional:
        what = "enlarges images alike, whatever their class"
        raise ConfigError("generator.kind = upscale", what, "leave --conditional out")
