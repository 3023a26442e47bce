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


@pytest.mark.parametrize(("name", "make"), KINDS.items())
def test_another_set_of_the_same_names_is_another(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    """Its files have other times: their bytes may be others."""
    old, new = tmp_path / name, tmp_path / "elsewhere" / name
    new.parent.mkdir()
    for path, time_ns in ((old, 10**18), (new, 10**18 + 1)):
        make(path)
        for file in (path, *path.rglob("*")):
            os.utime(file, ns=(time_ns, time_ns))
    assert opened(old, tmp_path / "cache")[0].path != opened(new, tmp_path / "cache")[0].path


def test_a_copy_that_keeps_its_times_is_found_and_a_changed_file_is_not(tmp_path: Path) -> None:
    folder(tmp_path / "a")
    first, _ = opened(tmp_path / "a", tmp_path / "cache")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert opened(tmp_path / "b", tmp_path / "cache")[0].path == first.path
    (tmp_path / "b" / "even" / "0.png").write_bytes(encode(photo(seed=99), "PNG"))
    assert opened(tmp_path / "b", tmp_path / "cache")[0].path != first.path
