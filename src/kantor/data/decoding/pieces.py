"""Files that hold several images: frames of animations, pages and videos, tiles of a sheet."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

from numpy.typing import NDArray
from PIL import Image

from kantor.data.decoding.signatures import kind_of, what_else
from kantor.data.reasons import Undecodable

_VIDEOS = (b"\x1a\x45\xdf\xa3", b"RIFF", b"\x00\x00\x01\xba", b"FLV\x01")
_STILL = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1")
MAX_FRAMES = 100_000


class Frame(NamedTuple):
    """One frame of an encoded file."""

    data: bytes
    number: int  # from 0


class Tile(NamedTuple):
    """One square tile of an encoded sheet or array."""

    data: Any  # bytes, or an array [H, W] or [H, W, C]
    number: int  # by rows, from 0
    side: int  # pixels


def is_video(data: bytes) -> bool:
    """Whether a file that begins like this is a video."""
    if data[4:8] == b"ftyp":
        return data[8:12] not in _STILL
    return data.startswith(_VIDEOS) and not (data.startswith(b"RIFF") and data[8:12] != b"AVI ")


def frame_count(data: bytes) -> int:
    """Number of frames or pages. Raises what decoders raise."""
    if is_video(data):
        return Video(data).count()
    kind = kind_of(data, 2)
    if kind is None:
        raise Undecodable(*what_else(data, 2))
    with Image.open(io.BytesIO(data), formats=[kind]) as image:
        return int(getattr(image, "n_frames", 1))


def occupied(sheet: NDArray[Any], side: int) -> list[int]:
    """Numbers of those tiles of a sheet [H, W, C] that are not of one colour, or transparent; strips at its ends are no tiles."""
    rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
    found = []
    for number in range(rows * columns):
        tile = tile_of(sheet, number, side)
        alpha = tile[:, :, -1] if tile.ndim == 3 and tile.shape[2] in (2, 4) else None
        if (tile != tile[0, 0]).any() and (alpha is None or alpha.any()):
            found.append(number)
    return found


def tile_of(sheet: NDArray[Any], number: int, side: int) -> NDArray[Any]:
    """[side, side, ...] of an array [H, W, ...]."""
    top, left = (side * at for at in divmod(number, sheet.shape[1] // side))
    return sheet[top : top + side, left : left + side]


class Video:
    """Frames of a video, read forward with PyAV (extra `video`)."""

    def __init__(self, data: bytes) -> None:
        try:
            import av
        except ImportError as error:
            raise Undecodable(
                "format", "a video, which needs one more package (av)", "pip install 'kantor[video]'"
            ) from error
        self._av: Any = av
        self.data = data
        self._open()

    def count(self) -> int:
        """Number of frames, counted without decoding them."""
        stream = self._container.streams.video[0]
        count = sum(packet.size > 0 for packet in self._container.demux(stream))
        self._open()
        return min(int(count), MAX_FRAMES)

    def frame(self, number: int) -> Image.Image:
        """RGB. Reads on from the last frame, or from the start. Raises Undecodable if there is no such frame."""
        if number < self._next:
            self._open()
        for frame in self._frames:
            self._next += 1
            if self._next > number:
                image: Image.Image = frame.to_image()
                return image
        raise Undecodable("damaged", f"the video ends before frame {number}")

    def _open(self) -> None:
        self._container = self._av.open(io.BytesIO(self.data))
        if not self._container.streams.video:
            raise Undecodable("format", "a file of sound without a video")
        self._frames: Any = self._container.decode(video=0)
        self._next = 0
