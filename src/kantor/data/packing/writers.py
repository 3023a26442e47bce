"""Writes images in the formats of other programs: TFRecord and WebDataset."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from kantor import atomic
from kantor.data.decoding.tf_examples import example
from kantor.data.decoding.tfrecords import record
from kantor.data.loading.image_set import ImageSet
from kantor.progress import Progress

SHARD_BYTES = 64 << 20
Check = Callable[[], None]


def write_shards(
    kind: str, dataset: ImageSet, out: Path, progress: Progress, check: Check, shard_bytes: int = SHARD_BYTES
) -> None:
    """Writes `out`/pictures-00000.tfrecord or .tar and so on; replaces `out` only once all are written.

    Args:
        kind: "tfrecord" writes tf.train.Examples with the features image/encoded (PNG), image/format, image/height,
            image/width, image/channels, and with labels image/class/label and image/class/text.
            "webdataset" writes KEY.png, and with labels KEY.cls (the number) and KEY.json.
        check: called before `out` is replaced; raises if what is there must stay.
    """
    suffix, entry, end = WRITTEN_FORMATS[kind]
    with atomic.new_folder(out, exist_ok=True) as folder:
        shard, number = bytearray(), 0
        for row in range(dataset.count):
            image, label = dataset.images(np.array([row]))[0], dataset.labels(np.array([row]))
            buffer = io.BytesIO()
            Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
            data = entry(dataset, row, buffer.getvalue(), None if label is None else int(label[0]))
            if shard and len(shard) + len(data) > shard_bytes:
                atomic.write_bytes(folder / f"pictures-{number:05d}{suffix}", bytes(shard) + end)
                shard, number = bytearray(), number + 1
            shard += data
            progress(row + 1, dataset.count)
        atomic.write_bytes(folder / f"pictures-{number:05d}{suffix}", bytes(shard) + end)
        check()


def _record(dataset: ImageSet, row: int, png: bytes, label: int | None) -> bytes:
    height, width, channels = dataset.spec
    features: dict[str, bytes | str | int] = {
        "image/encoded": png,
        "image/format": "png",
        "image/height": height,
        "image/width": width,
        "image/channels": channels,
    }
    if label is not None:
        features |= {"image/class/label": label, "image/class/text": dataset.class_names[label]}
    return record(example(features))


def _sample(dataset: ImageSet, row: int, png: bytes, label: int | None) -> bytes:
    files = {"png": png}
    if label is not None:
        files["cls"] = str(label).encode()
        files["json"] = json.dumps({"class": dataset.class_names[label], "label": label}).encode()
    parts = []
    for suffix, data in files.items():
        info = tarfile.TarInfo(f"{row:09d}.{suffix}")  # no times, no users: equal datasets give equal bytes
        info.size = len(data)
        parts += [info.tobuf(tarfile.USTAR_FORMAT), data, b"\0" * (-len(data) % tarfile.BLOCKSIZE)]
    return b"".join(parts)


WRITTEN_FORMATS = {"tfrecord": (".tfrecord", _record, b""), "webdataset": (".tar", _sample, bytes(1024))}
"""Suffix of the files, function that encodes an image, and end of each file."""
