"""Animations of frames that come one by one, as GIF, WebP or MP4."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kantor.errors import ResourceError
from kantor.sample.gif import MAX_SIDE, gif_bytes, indexed
from kantor.sample.grid import grid

Frames = Iterator[NDArray[np.uint8]]
COMFORTABLE_SIDE = 256


def shown(image: NDArray[np.uint8], scale: int, smooth: bool = False) -> NDArray[np.uint8]:
    """uint8 [H, W, C] -> RGB [scale H, scale W, 3], transparent parts on a checkerboard."""
    return grid(image[None], 1, gutter=0, scale=scale, smooth=smooth)


def animation_bytes(
    frames: Frames, kind: str, fps: float, loop: bool, dither: bool = True, whole: bool = False
) -> bytes:
    """An animation that loops for ever.

    Args:
        frames: uint8 RGB [H, W, 3], for a WebP also RGBA, all of one size, at least one.
        kind: ".gif", ".webp" or ".mp4".
        fps: frames per second.
        loop: the last frame leads to the first, and so is not held.
        dither: of a GIF: smooth gradients out of dots, which do not improve squares.
        whole: of a GIF: keep frames of more than 640 pixels as large as they are.
    Raises:
        ResourceError: MP4 needs a missing package.
    """
    if kind == ".gif":
        indexed_frames = [indexed(frame, dither, None if whole else MAX_SIDE) for frame in frames]
        return gif_bytes(indexed_frames, fps, 1 / fps if loop else 1.0)
    if kind == ".mp4":
        return _mp4(frames, fps)
    images, buffer = map(Image.fromarray, frames), io.BytesIO()
    settings: dict[str, Any] = {"duration": max(1, round(1000 / fps)), "loop": 0, "quality": 90, "method": 4}
    next(images).save(buffer, "WEBP", save_all=True, append_images=images, **settings)
    return buffer.getvalue()


def require_video() -> None:
    """Raises ResourceError if MP4 cannot be written."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        do = "pip install 'kantor[video]', or name a .gif or .webp"
        raise ResourceError(".mp4", "needs one more package (av)", do) from error


def _mp4(frames: Frames, fps: float) -> bytes:
    import av

    buffer = io.BytesIO()
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"  # which every player shows
        stream.options = {"crf": "16"} if codec == "libx264" else {"q": "3"}
        for frame in frames:
            even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            if not stream.codec_context.is_open:
                stream.height, stream.width = even.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
