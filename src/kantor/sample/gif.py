"""Animated GIFs in which each frame has its own 256 colours.

`indexed` chooses the colours of a frame, which takes most of the time; an animation that grows keeps its frames.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_FRAMES = 200
MAX_SIDE = 640
_SAMPLE = 2048


def choose(count: int) -> list[int]:
    """At most 200 of range(count): the first, those at equal steps from it, and the last.

    The choice changes little while `count` grows, so that frames kept from before can be used again.
    """
    step = max(1, -(-(count - 1) // (MAX_FRAMES - 1)))
    return sorted({*range(0, count, step), count - 1}) if count else []


def indexed(image: NDArray[np.uint8], dither: bool = False, most: int | None = MAX_SIDE) -> Image.Image:
    """uint8 RGB [H, W, 3] -> a frame with a palette of its own.

    Args:
        dither: smooth gradients out of dots; the file is about twice as large.
        most: pixels that a frame is wide and high, at most; None keeps its size.
    """
    frame = Image.fromarray(np.ascontiguousarray(image))
    if most is not None:
        frame.thumbnail((most, most), Image.Resampling.LANCZOS, reducing_gap=None)
    if frame.getcolors(256) is not None:
        return frame.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    result = frame.quantize(palette=_palette(_sample(frame)), dither=Image.Dither(3 if dither else 0))
    # the paper of a grid, which the corner shows, must not flicker from frame to frame
    table = result.getpalette() or []
    at = 3 * int(result.getpixel((0, 0)))  # type: ignore[arg-type]
    table[at : at + 3] = frame.getpixel((0, 0))  # type: ignore[assignment]
    result.putpalette(table)
    return result


def gif_bytes(frames: Sequence[Image.Image], fps: float = 5, hold_last_s: float = 2) -> bytes:
    """A GIF that loops for ever. Equal frames give equal bytes.

    Args:
        frames: as `indexed` returns them, at least one; smaller ones are placed at the top left of the largest.
        fps: frames per second, up to 50.
        hold_last_s: how long the last frame stays.
    Raises:
        ValueError: no frame.
    """
    if not frames:
        raise ValueError("an animation needs at least one frame")
    size = max(frame.width for frame in frames), max(frame.height for frame in frames)
    first, *others = (_enlarged(frame, size) for frame in frames)
    seconds = [*[1 / fps] * (len(frames) - 1), hold_last_s]
    durations_ms = [10 * min(max(round(100 * s), 2), 65535) for s in seconds]  # browsers slow down what is faster
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations_ms, loop=0, optimize=False)
    return buffer.getvalue()


def _enlarged(frame: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The frame with paper, the colour of its corner, to its right and below it."""
    if frame.size == size:
        return frame
    canvas = Image.new("P", size, frame.getpixel((0, 0)))
    canvas.putpalette(frame.getpalette() or [])
    canvas.paste(frame)
    return canvas


def _palette(sample: Image.Image) -> Image.Image:
    """256 colours for `sample`: an octree's, moved twice to the mean of the pixels nearest to them (k-means).

    As close to photographs as median cut and Pillow's own k-means, in a tenth of the time.
    """
    if sample.getcolors(256) is not None:  # greys, above all
        return sample.quantize(256, Image.Quantize.MEDIANCUT)
    octree = sample.quantize(256, Image.Quantize.FASTOCTREE).getpalette() or []
    colours = np.array(octree, np.float32).reshape(-1, 3)
    pixels = np.asarray(sample, np.float32).reshape(-1, 3)
    and_ones = np.column_stack([pixels, np.ones(len(pixels), np.float32)])
    for _ in range(2):  # |c|^2 - 2pc, as one product, is least where |p - c| is
        nearest = (and_ones @ np.column_stack([-2 * colours, (colours**2).sum(1)]).T).argmin(1)
        count = np.bincount(nearest, minlength=len(colours))[:, None]
        sums = np.stack([np.bincount(nearest, channel, len(colours)) for channel in pixels.T], 1)
        colours = np.where(count, sums / np.maximum(count, 1), colours).astype(np.float32)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint(colours).astype(np.uint8).tobytes())
    return palette


def _sample(image: Image.Image) -> Image.Image:
    """Some 2,000 pixels in 5 bits per channel: the choice of colours is as good, in a tenth of the time."""
    pixels = np.asarray(image).reshape(-1, 3)
    step = max(1, len(pixels) // _SAMPLE) | 1  # odd, so that it does not keep pace with enlarged pixels
    sample = pixels[::step]
    # the high bits repeated below keep black black and white white
    return Image.fromarray((sample & 0xF8 | sample >> 5).reshape(1, -1, 3))
