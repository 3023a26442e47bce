"""Pictures of the points in the plane: value surfaces, and films of them with the distances below."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

from paper_parts.surfaces import SIDE, Frame

mpl.use("Agg")
import matplotlib.pyplot as plt

REAL, FAKE, INK, GAP = "#c2410c", "#0f766e", "#1f2937", "#7c3aed"
_LINE = np.linspace(-3, 3, SIDE)
plt.rcParams.update({"font.size": 8, "text.color": INK, "axes.edgecolor": "#9ca3af", "axes.titlecolor": INK,
                     "xtick.color": INK, "ytick.color": INK, "axes.labelcolor": INK})  # fmt: skip


def surfaces(results: Sequence[dict[str, Any]], path: Path) -> None:
    """One panel for each result of `surfaces.value`: a row for each objective."""
    objectives = list(dict.fromkeys(result["objective"] for result in results))
    datasets = list(dict.fromkeys(result["dataset"] for result in results))
    figure, axes = plt.subplots(len(objectives), len(datasets), figsize=(2.2 * len(datasets), 2.5 * len(objectives)),
                                squeeze=False)  # fmt: skip
    for result in results:
        panel = axes[objectives.index(result["objective"])][datasets.index(result["dataset"])]
        _contours(panel, result["values"])
        panel.scatter(*result["real"][:400].T, s=1.5, c=REAL, linewidths=0)
        panel.set_title(f"{result['dataset']}, {result['objective']}\nsees {result['seen']:.0%} of W1")
    figure.tight_layout(pad=0.6)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def film(frames: Sequence[Frame], title: str, path: Path) -> None:
    """An animated GIF: the value with real (orange) and generated (green) points, both distances below."""
    images = [_shown(frames, number, title) for number in range(len(frames))]
    palette = _with_swatches(images[-1]).quantize(48)
    indexed = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [160] * (len(indexed) - 1) + [2500]
    indexed[0].save(path, save_all=True, append_images=indexed[1:], duration=durations, loop=0, optimize=True)


def _with_swatches(image: Image.Image) -> Image.Image:
    """With a patch of each colour beside it, so that a palette of few colours keeps those of small points."""
    side = image.height // 4
    larger = Image.new("RGB", (image.width + side, image.height))
    larger.paste(image)
    for number, colour in enumerate((REAL, FAKE, INK, GAP)):
        larger.paste(colour, (image.width, number * side, image.width + side, (number + 1) * side))
    return larger


def _shown(frames: Sequence[Frame], number: int, title: str) -> Image.Image:
    frame = frames[number]
    figure, (above, below) = plt.subplots(2, 1, figsize=(2.6, 3.7), height_ratios=(3.1, 1))
    _contours(above, frame.values)
    above.scatter(*frame.real[:500].T, s=2.5, c=REAL, linewidths=0)
    above.scatter(*frame.fake[:500].T, s=2.5, c=FAKE, linewidths=0)
    above.set_title(f"{title}\nstep {frame.step:,}", loc="left")
    steps = [max(1, f.step) for f in frames]
    below.plot(steps[: number + 1], [f.exact for f in frames[: number + 1]], c=INK, lw=1.2, label="exact W1")
    scale = max(abs(f.gap) for f in frames) or 1.0
    gaps = [f.gap / scale for f in frames[: number + 1]]
    below.plot(steps[: number + 1], gaps, c=GAP, lw=1, label="critic's gap, scaled to 1")
    below.set(xscale="log", xlim=(1, steps[-1]), ylim=(-0.1, 1.7 * max(1.0, *(f.exact for f in frames))))
    below.legend(frameon=False, fontsize=6, loc="upper right")
    figure.tight_layout(pad=0.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90)
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


def _contours(axes: Any, values: Any) -> None:
    axes.contourf(_LINE, _LINE, values, 14, cmap="Greys", alpha=0.35)
    axes.contour(_LINE, _LINE, values, 14, colors="#6b7280", linewidths=0.5)
    axes.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal")
