"""The worker process of `pack`: reads and decodes foreign images, isolated from the rest.

Started as its own program by `pool`, it reads pickled tasks and writes frames: a line of JSON, then raw bytes. It imports
little, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import signal
import sys
import time
import zlib
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kantor.data.decoding.decode import (
    DARK,
    DecodeSettings,
    Header,
    decode,
    extent,
    objects_in,
    pieces_in,
    probe,
    silence_warnings,
)
from kantor.data.decoding.numbers import Extent, NoData
from kantor.data.decoding.objects import Cut, ObjectSettings
from kantor.data.decoding.pieces import Frame, Tile
from kantor.data.reasons import Reason, Undecodable, clipped
from kantor.data.sources.source import MAX_BYTES, Item, Loaded, Source, sha256
from kantor.errors import UserError

MEMORY_BYTES = 4 << 30
_FLUSH_S = 0.05
_SLOW_S = 1.0
_FLUSH_BYTES = 4 << 20

Data = Loaded | Reason | None  # what the parent has loaded; None if the worker loads
Task = tuple[Item, Data]


class ReadHeader(NamedTuple):
    """The job of reading the headers of images."""

    rules: int

    def __call__(self, data: Loaded) -> Header:
        return probe(data, self.rules)


class FindPieces(NamedTuple):
    """The job of finding the frames or tiles of a file that are used."""

    step: int  # every so many frames
    tile: int  # side in pixels; 0 for frames

    def __call__(self, data: Loaded) -> list[int]:
        return pieces_in(data, self.step, self.tile)


class FindExtent(NamedTuple):
    """The job of finding which values images hold."""

    nodata: NoData

    def __call__(self, data: Loaded) -> Extent | None:
        return extent(data, self.nodata)


class FindObjects(NamedTuple):
    """The job of finding the objects of a picture."""

    settings: ObjectSettings

    def __call__(self, data: Loaded) -> tuple[str, list[Any]]:
        return objects_in(data, self.settings)


Job = DecodeSettings | ReadHeader | FindExtent | FindPieces | FindObjects  # what is done with each image


def write_frame(stream: IO[bytes], value: Any, blob: bytes = b"") -> None:
    """Sends a line of JSON, which ends with the number of bytes that follow."""
    stream.write(json.dumps([value, len(blob)]).encode() + b"\n" + blob)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[Any, bytes] | None:
    """Receives (JSON, bytes), or None if the other process is gone."""
    line = stream.readline()
    if line.endswith(b"\n"):
        value, length = json.loads(line)
        blob = stream.read(length)
        if len(blob) == length:
            return value, blob
    return None


def size_of(data: Data) -> int:
    """Bytes in memory."""
    if isinstance(data, Frame | Tile | Cut):
        data = data.data
    return data.nbytes if isinstance(data, np.ndarray) else len(data) if isinstance(data, bytes) else 0


def load_here(source: Source, item: Item) -> Loaded | Reason:
    """Returns what `source.load` returns, or why it fails. Raises UserError if the whole source cannot be read."""
    try:
        data = source.load(item)
    except UserError:
        raise
    except Exception as error:  # as in _answer
        return _reason(error)
    return data if size_of(data) <= MAX_BYTES else Reason("size", f"larger than {MAX_BYTES >> 20} MB")


def main() -> None:
    """Serves tasks until the parent process is gone."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the frames
    _die_with_parent()
    source, job = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the parent process, not from a file
    if source is not None:
        with contextlib.suppress(Exception):  # each image reports what is wrong
            source.prepare()
    _limit_memory()
    silence_warnings()
    write_frame(replies, "ready")
    with contextlib.suppress(EOFError, pickle.UnpicklingError):
        while True:
            _answer_all(pickle.load(sys.stdin.buffer), source, job, replies)  # noqa: S301 - as above


def _answer_all(tasks: list[Task], source: Source | None, job: Job, replies: IO[bytes]) -> None:
    """Replies in several frames, so that silence means that a single image takes that long."""
    answers: list[list[Any]] = []
    blob = bytearray()
    flushed_s = time.monotonic()
    for task in tasks:
        answer, pixels = _answer(task, source, job, replies)
        answers.append(answer)
        blob += pixels
        if time.monotonic() - flushed_s > _FLUSH_S or len(blob) > _FLUSH_BYTES:
            write_frame(replies, answers, bytes(blob))
            answers, blob, flushed_s = [], bytearray(), time.monotonic()
    if answers:
        write_frame(replies, answers, bytes(blob))


def _answer(task: Task, source: Source | None, job: Job, replies: IO[bytes]) -> tuple[list[Any], bytes]:
    """Returns (["row", SHA-256, CRC-32, near-constant, dark, notes], pixels), or (["rejected", fields of a Reason], nothing).

    Of other jobs than decoding: (["seen", result], nothing).
    """
    item, data = task
    try:
        if source is not None:
            started_s = time.monotonic()
            data = source.load(item)
            if time.monotonic() - started_s > _SLOW_S:
                write_frame(replies, [])  # restarts the time limit, for decoding
        if isinstance(data, Reason):
            raise Undecodable(*data)
        assert data is not None
        if not isinstance(job, DecodeSettings):
            return ["seen", job(data)], b""
        image, notes = decode(data, job)
        pixels = np.ascontiguousarray(image).tobytes()
        flat, said = is_near_constant(image), [note for note in notes if note != DARK]
        return ["row", sha256(data).hex(), zlib.crc32(pixels), flat, DARK in notes, said], pixels
    except Exception as error:  # a foreign file may provoke anything; it is rejected
        return ["rejected", *_reason(error)], b""


def is_near_constant(image: NDArray[np.uint8]) -> bool:
    """Whether an image [H, W, C] is nearly one colour: no channel's standard deviation reaches 2 of 255."""
    return not any(_spreads(image[:, :, channel]) for channel in range(image.shape[2]))


def _spreads(values: NDArray[np.uint8]) -> bool:
    """Whether the standard deviation is at least 2; by sums, in half the time of `std`. They are exact: whole numbers."""
    plain = values.ravel().astype(np.float64)
    total = float(plain.sum())
    return plain.size * float(plain @ plain) - total * total >= 4 * plain.size**2


_REASONS = {
    errno.ENOENT: "no longer there",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the disk reports an error",
}


def _reason(error: Exception) -> Reason:
    if isinstance(error, UserError):
        return Reason("access", error.what)
    if isinstance(error, MemoryError):
        return Reason("decoder", "needs too much memory")
    if isinstance(error, OSError) and error.errno is not None:
        return Reason("access", _REASONS.get(error.errno, (error.strerror or "cannot be read").lower()))
    return clipped(error, f"cannot be decoded ({type(error).__name__}: {error})", "decoder")


def _die_with_parent() -> None:
    """Makes Linux kill this process with its parent: a worker that hangs in a decoder does not see its input end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _limit_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    used = 0
    with contextlib.suppress(OSError), open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - starts faster
        used = int(file.read().split()[0]) * resource.getpagesize()
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, hard))
