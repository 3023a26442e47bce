"""Rules 1 of packing give the bytes of 5690a5f, whose runs do not name rules: fingerprints that it wrote for the same files."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kantor.config.data import DataConfig
from kantor.data.packing.pack import pack
from kantor.data.sources.recognise import open_source
from kantor.types import ImageSpec
from support.fixed_images import bmp, numbers, put


def parts(path: Path) -> Path:
    """Parts and thumbnails of a NAS, which were classes; a format that was not read."""
    for i, name in enumerate(("train/a/1", "train/a/2", "train/b/3", "val/a/4", "val/b/5", "@eaDir/6")):
        put(path / f"{name}.bmp", bmp(i))
    put(path / "train/a/7.pgm", b"P5 8 8 255 " + bytes(64))
    return path


def dotted(path: Path) -> Path:
    """Keys with dots in them: the last label of each was that of all."""
    path = path.with_suffix(".tar")
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for i, label in enumerate("0110"):
            for suffix, data in (("bmp", bmp(i)), ("cls", label.encode())):
                info = tarfile.TarInfo(f"{'xy'[i // 2]}0.{i % 2}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def array(high: int, dtype: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        np.save(path.with_suffix(".npy"), numbers(7, (6, 8, 8), high).astype(dtype))
        return path.with_suffix(".npy")

    return make


MADE = {"parts": parts, "dotted": dotted, "twelve bits": array(4096, "<u2"), "masks": array(2, "u1")}
GOLDEN = json.loads((Path(__file__).parent / "fingerprints-5690a5f.json").read_text())


@pytest.mark.parametrize("name", MADE)
def test_first_rules_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    config = DataConfig(source=str(MADE[name](tmp_path / "in")), rules=1)
    report = pack(open_source(config), config, ImageSpec(8, 8, 3), tmp_path / "set")
    found = {field: report.manifest[field] for field in GOLDEN[name]}
    assert found == GOLDEN[name]


@pytest.mark.parametrize("name", MADE)
def test_newer_rules_give_others(name: str, tmp_path: Path) -> None:
    config = DataConfig(source=str(MADE[name](tmp_path / "in")))
    report = pack(open_source(config), config, ImageSpec(8, 8, 3), tmp_path / "set")
    assert report.manifest["fingerprint"] != GOLDEN[name]["fingerprint"]
    classes = {"parts": {"a": 3, "b": 1}, "dotted": {"0": 2, "1": 2}}.get(name, {})
    assert dict(zip(report.manifest["class_names"], report.manifest["class_counts"], strict=True)) == classes
    ranges = {"twelve bits": {"uint16": [0, 4095]}, "masks": {"uint8": [0, 1]}}.get(name, {})
    assert report.manifest["ranges"] == ranges
