"""Tells the user when something is to be seen, before the time is spent."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from kantor.app.training.length import budget_s
from kantor.app.training.options import TrainOptions
from kantor.app.training.rough_rate import rough_rate
from kantor.app.training.time_to_see import Outlook
from kantor.config.schema import Config
from kantor.types import ImageSpec

_SHORT_IMAGES = 10_000  # a run of fewer images is a trial: its user knows
_DIFFERENT = 1.5  # so many times the rate told first is news


class TimeTold:
    """Says once before packing, from a rough rate, and again before training if the measured rate is another one.

    Nothing is said of runs that start from a trained model or from images that they enlarge, or of very short ones.

    Args:
        length: images that the configuration sets; "auto" for none.
    """

    def __init__(
        self, options: TrainOptions, length: int | str, device: torch.device, note: Callable[[str], None]
    ) -> None:
        self._device, self._note, self._epochs = device, note, options.epochs
        self._images, self._budget_s = math.inf, budget_s(options)
        if options.images or (options.epochs is None and isinstance(length, int)):
            self._images = float(options.images or length)
            self._budget_s = math.inf if options.budget_s is None else options.budget_s
        self._told: tuple[float, ImageSpec] | None = None

    def before_packing(self, config: Config, spec: ImageSpec) -> None:
        """spec: of the packed images, which may be larger than those trained on."""
        if self._matters(config):
            self._tell(config, spec, rough_rate(config, spec, self._device))

    def before_training(self, config: Config, spec: ImageSpec, rate: float | None) -> None:
        """rate: images a second as measured; None if it was not."""
        if self._epochs is not None and isinstance(config.train.images, int):  # known now that images are counted
            self._images = float(config.train.images)
        if not self._matters(config):
            return
        if rate is None and self._told is None:
            rate = rough_rate(config, spec, self._device)
        told = self._told
        if rate and (told is None or told[1] != spec or not 1 / _DIFFERENT < rate / told[0] < _DIFFERENT):
            self._tell(config, spec, rate)

    def _tell(self, config: Config, spec: ImageSpec, rate: float | None) -> None:
        if not rate:
            return
        first, *others = Outlook(config, spec, rate, self._budget_s, self._images).lines()
        self._note(f"measured again: {first}" if self._told else first)
        for line in others:
            self._note(line)
        self._told = rate, spec

    def _matters(self, config: Config) -> bool:
        from_nothing = not config.train.init_from and config.generator.kind != "upscale"
        return from_nothing and self._images >= _SHORT_IMAGES
