"""Packed sets written in the formats of other programs: TFRecord and WebDataset."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from kantor import atomic
from kantor.data.decoding.tf_examples import example
from kantor.data.decoding.tfrecords import record
from kantor.data.loading.store import Store
from kantor.progress import Progress

FORMATS = ("npy", "tfrecord", "webdataset")
SHARD_BYTES = 64 << 20
Check = Callable[[], None]


def write_tfrecord(
    store: Store, out: Path, progress: Progress, shard_bytes: int = SHARD_BYTES, check: Check = lambda: None
) -> None:
    """Writes `out`/pictures-00000.tfrecord and so on, each record a tf.train.Example.

    Features: image/encoded (PNG), image/format, image/height, image/width, image/channels, and of labelled sets
    image/class/label and image/class/text. What appears at `out` is whole, and takes the place of what was there.

    Args:
        check: called right before that: raises where what is there must stay.
    Raises:
        ResourceError: disk full, no permission.
    """
    _write(store, out, progress, shard_bytes, check, ".tfrecord", _record)


def write_webdataset(
    store: Store, out: Path, progress: Progress, shard_bytes: int = SHARD_BYTES, check: Check = lambda: None
) -> None:
    """Writes `out`/pictures-00000.tar and so on: KEY.png, and of labelled sets KEY.cls (the number) and KEY.json.

    What appears at `out` is whole, and takes the place of what was there.

    Raises:
        ResourceError: disk full, no permission.
    """
    _write(store, out, progress, shard_bytes, check, ".tar", _sample)


Entry = Callable[[Store, int, bytes, int | None], bytes]


def _write(
    store: Store, out: Path, progress: Progress, shard_bytes: int, check: Check, suffix: str, entry: Entry
) -> None:
    end = b"\0" * 1024 if suffix == ".tar" else b""
    with atomic.new_folder(out, exist_ok=True) as folder:
        shard, number = bytearray(), 0
        for row, png, label in _rows(store):
            data = entry(store, row, png, label)
            if shard and len(shard) + len(data) > shard_bytes:
                atomic.write_bytes(folder / f"pictures-{number:05d}{suffix}", bytes(shard) + end)
                shard, number = bytearray(), number + 1
            shard += data
            progress(row + 1, store.count, 0)
        atomic.write_bytes(folder / f"pictures-{number:05d}{suffix}", bytes(shard) + end)
        check()


def _rows(store: Store) -> Iterator[tuple[int, bytes, int | None]]:
    """Each row, its image as PNG, and its label."""
    for row in range(store.count):
        image, label = store.images(np.array([row]))[0], store.labels(np.array([row]))
        buffer = io.BytesIO()
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
        yield row, buffer.getvalue(), None if label is None else int(label[0])


def _record(store: Store, row: int, png: bytes, label: int | None) -> bytes:
    height, width, channels = store.spec
    features: dict[str, bytes | str | int] = {
        "image/encoded": png,
        "image/format": "png",
        "image/height": height,
        "image/width": width,
        "image/channels": channels,
    }
    if label is not None:
        features |= {"image/class/label": label, "image/class/text": store.class_names[label]}
    return record(example(features))


def _sample(store: Store, row: int, png: bytes, label: int | None) -> bytes:
    files = {"png": png}
    if label is not None:
        files["cls"] = str(label).encode()
        files["json"] = json.dumps({"class": store.class_names[label], "label": label}).encode()
    parts = []
    for suffix, data in files.items():
        info = tarfile.TarInfo(f"{row:09d}.{suffix}")  # no times, no users: equal sets give equal bytes
        info.size = len(data)
        parts += [info.tobuf(tarfile.USTAR_FORMAT), data, b"\0" * (-len(data) % tarfile.BLOCKSIZE)]
    return b"".join(parts)
