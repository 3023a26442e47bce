"""The cache knows images by what they are, not by where they lie."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.prepare import packed_set
from kantor.config.io import overridden
from kantor.config.schema import Config
from kantor.data.loading.store import Store
from support.nasty import encode, photo


def folder(path: Path) -> None:
    for i in range(12):
        file = path / ("even", "odd")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(photo(seed=i), "PNG"))


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for i in range(12):
            file.writestr(f"{('even', 'odd')[i % 2]}/{i}.png", encode(photo(seed=i), "PNG"))


def array(path: Path) -> None:
    np.save(path, np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8))


def shards(path: Path) -> None:
    path.mkdir()
    for name in ("even", "odd"):
        array(path / f"{name}.npy")


KINDS = {"pictures": folder, "pictures.zip": archive, "pictures.npy": array, "shards": shards}


def opened(source: Path, cache: Path) -> tuple[Store, list[str]]:
    """The packed set of a source, and what was said."""
    lines: list[str] = []
    config = overridden(Config(), {"data.source": str(source), "data.size": 16, "data.channels": "rgb"})
    return packed_set(config, 16, DatasetCache(cache, note=lines.append))[0], lines


@pytest.mark.parametrize(("name", "make"), KINDS.items())
def test_what_was_moved_or_renamed_is_found_at_once(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    old, new = tmp_path / name, tmp_path / "elsewhere" / f"other-{name}"
    make(old)
    first, lines = opened(old, tmp_path / "cache")
    assert any(line.startswith("packed ") for line in lines)
    new.parent.mkdir()
    old.rename(new)
    again, lines = opened(new, tmp_path / "cache")
    assert again.path == first.path
    assert not any(line.startswith("packed ") for line in lines)
    assert again.class_names == (["even", "odd"] if name in ("pictures", "pictures.zip", "shards") else [])


def dated(path: Path, time_ns: int) -> None:
    for file in (path, *path.rglob("*")):
        os.utime(file, ns=(time_ns, time_ns))


@pytest.mark.parametrize(("name", "make"), KINDS.items())
def test_a_copy_of_the_same_bytes_is_found(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    """Its files have other times, as after `cp`, `git clone` or unpacking again."""
    old, new = tmp_path / name, tmp_path / "elsewhere" / name
    new.parent.mkdir()
    for path, time_ns in ((old, 10**18), (new, 10**18 + 1)):
        make(path)
        dated(path, time_ns)
    first, _ = opened(old, tmp_path / "cache")
    again, lines = opened(new, tmp_path / "cache")
    assert again.path == first.path
    assert not any(line.startswith("packed ") for line in lines)


@pytest.mark.parametrize("name", ["pictures.npy", "shards"])
def test_one_byte_makes_another_set(name: str, tmp_path: Path) -> None:
    """Of the same names and sizes, at another time."""
    KINDS[name](tmp_path / name)
    dated(tmp_path / name, 10**18)
    first, _ = opened(tmp_path / name, tmp_path / "cache")
    last = max(path for path in (tmp_path / name, *(tmp_path / name).rglob("*")) if path.is_file())
    data = bytearray(last.read_bytes())
    data[-1] ^= 1
    last.write_bytes(data)
    dated(tmp_path / name, 10**18 + 1)
    again, lines = opened(tmp_path / name, tmp_path / "cache")
    assert again.path != first.path and again.fingerprint != first.fingerprint
    assert any(line.startswith("packed ") for line in lines)


def test_one_file_of_the_same_size_makes_another_set(tmp_path: Path) -> None:
    for name, last in (("a", 3), ("b", 4)):
        (tmp_path / name).mkdir()
        for i in range(4):
            (tmp_path / name / f"{i}.bmp").write_bytes(encode(photo(seed=last if i == 3 else i), "BMP"))
        dated(tmp_path / name, 10**18 + last)
    assert opened(tmp_path / "a", tmp_path / "cache")[0].path != opened(tmp_path / "b", tmp_path / "cache")[0].path


def test_a_set_with_rejected_images_is_packed_again(tmp_path: Path) -> None:
    """Nobody has hashed what was rejected: it may be another file now."""
    for name, time_ns in (("a", 10**18), ("b", 10**18 + 1)):
        folder(tmp_path / name)
        (tmp_path / name / "even" / "cut.png").write_bytes(encode(photo(seed=1), "PNG")[:-400])
        dated(tmp_path / name, time_ns)
    first, second = (opened(tmp_path / name, tmp_path / "cache")[0] for name in "ab")
    assert first.path != second.path and first.fingerprint == second.fingerprint


def test_a_copy_that_keeps_its_times_is_found_and_a_changed_file_is_not(tmp_path: Path) -> None:
    folder(tmp_path / "a")
    first, _ = opened(tmp_path / "a", tmp_path / "cache")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert opened(tmp_path / "b", tmp_path / "cache")[0].path == first.path
    (tmp_path / "b" / "even" / "0.png").write_bytes(encode(photo(seed=99), "PNG"))
    assert opened(tmp_path / "b", tmp_path / "cache")[0].path != first.path
