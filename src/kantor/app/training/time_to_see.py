"""How long a recipe trains until something is to be seen, and what would fit into the time there is: the lines for the user.

The table is rough, and is meant to be: it tells minutes from hours. It holds thousands of images until the first ones of
32x32 can be recognised: faces of emoji, say. Letters and clothes take less than half; drawings of everything take longer:
83,000 images of clip art at 32x32 and 47,000 at 64x64 give outlines and blots (docs/gallery.md).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from kantor.config.schema import Config
from kantor.data.sources.recognise import GLYPHS
from kantor.types import ImageSpec

_KIMG_AT_32 = {  # family: kimg                            source
    "relativistic, Shampoo": 100,  # preset default: emoji at 114, letters sooner: docs/gallery.md
    "other loss, Shampoo": 150,  # wgan-gp-tuned: FD 21.6 of letters after 68, default after 40: docs/recipe.md, docs/time-to-quality.csv
    "one critic step": 200,  # default of commit 5690a5f, Adam: FD 21.6 of letters after 133: docs/time-to-quality.csv
    "several critic steps": 500,  # wgan-gp, 5:1: after 48 where one step and a relativistic loss are after 11: docs/recipe.csv
}
_LETTERS = 0.4  # of these for the built-in letters: most can be read after 40,000 images (docs/quickstart.md)
_GROWTH = 1.25
"""Images grow with the side to this power: an assumption, not measured."""
_SIDES = (256, 192, 128, 96, 64, 48, 32)
_LONG_S = 3600.0
_FIXED_SIZES = ("stack", "custom", "unet")


def images_to_see(config: Config, height: int, width: int) -> float:
    """Real images shown to the critic until the first ones generated can be recognised, roughly."""
    if config.optimizer.critic.kind == "shampoo":
        family = f"{'relativistic' if config.objective.kind == 'relativistic' else 'other loss'}, Shampoo"
    else:
        family = "one critic step" if config.cycle.critic_steps == 1 else "several critic steps"
    growth: float = (math.sqrt(height * width) / 32) ** _GROWTH
    share = _LETTERS if config.data.source == GLYPHS and not config.data.stack else 1.0
    return 1000 * _KIMG_AT_32[family] * share * growth


class Outlook(NamedTuple):
    """A run that is about to begin.

    Attributes:
        images_per_second: of training at this size.
        budget_s: seconds it may train; infinite if its length is in images.
        images: its length, if known.
    """

    config: Config
    spec: ImageSpec
    images_per_second: float
    budget_s: float = math.inf
    images: float = math.inf

    def seconds(self, height: int = 0, width: int = 0) -> float:
        """Until something is to be seen, at this size or another one: four times the pixels take four times as long."""
        height, width = height or self.spec.height, width or self.spec.width
        slower = height * width / (self.spec.height * self.spec.width)
        return images_to_see(self.config, height, width) * slower / self.images_per_second

    def lines(self) -> list[str]:
        """One or two lines: when something is to be seen, and what would fit if that is late."""
        height, width, _ = self.spec
        needed_s, run_s = self.seconds(), min(self.budget_s, self.images / self.images_per_second)
        line = f"at {height}x{width} pixels the first recognisable images take about {about(needed_s)} here"
        if needed_s <= run_s and needed_s <= _LONG_S:
            return [f"{line} (rough: simple shapes sooner, drawings of everything later)"]
        short = needed_s > run_s
        if short:
            line += f"; this run of about {about(run_s)} ends before, with blots and outlines"
        fitting = self._fitting_side(min(run_s, _LONG_S))
        if fitting is None:
            longer = (
                f"--time-budget {_flag(1.5 * needed_s)}"
                if self.budget_s < self.images / self.images_per_second
                else _images_flag(self.config, self.spec)
            )
            return [line, f"to see more: {longer}"] if short else [line]
        side_s = self.seconds(fitting, fitting)
        more = f" --time-budget {_flag(1.5 * side_s)}" if side_s > self.budget_s else ""
        if math.isfinite(self.images) and images_to_see(self.config, fitting, fitting) > self.images:
            more = f" {_images_flag(self.config, ImageSpec(fitting, fitting, 3))}"
        return [line, f"at {fitting}x{fitting} about {about(side_s)}: --size {fitting}{more}"]

    def _fitting_side(self, limit_s: float) -> int | None:
        """The largest side below that of the images at which something is to be seen in time, at least 32; None if there is no choice."""
        if any(network.kind in _FIXED_SIZES for network in (self.config.generator, self.config.critic)):
            return None
        smaller = [side for side in _SIDES if side * side < self.spec.height * self.spec.width]
        return next((side for side in smaller if self.seconds(side, side) <= limit_s), smaller[-1] if smaller else None)


def about(seconds: float) -> str:
    """A rough time span: "20 s", "6 min", "1.5 h", "9 h", "3 days"."""
    if seconds < 90:
        return f"{max(5, _rounded(seconds, 5 if seconds < 30 else 10))} s"
    if seconds < 90 * 60:
        minutes = seconds / 60
        return f"{max(2, _rounded(minutes, 1 if minutes < 20 else 5))} min"
    hours = seconds / 3600
    if hours < 3:
        return f"{round(2 * hours) / 2:g} h"
    return f"{round(hours)} h" if hours < 48 else f"{round(hours / 24)} days"


def _rounded(value: float, unit: int) -> int:
    return round(value / unit) * unit


def _flag(seconds: float) -> str:
    """A time budget of at least so long: "10m", "2h"."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes}m" if minutes <= 5 else f"{-(-minutes // 5) * 5}m" if minutes < 90 else f"{-(-minutes // 60)}h"


def _images_flag(config: Config, spec: ImageSpec) -> str:
    return f"--images {math.ceil(images_to_see(config, spec.height, spec.width) / 10_000) * 10}k"
