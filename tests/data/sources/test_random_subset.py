"""Some images of a source by chance: which, in which order, and that a pack of them survives what packs survive."""

from __future__ import annotations

import gzip
import itertools
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.config.data import DataConfig
from kantor.data.loading.store import Store
from kantor.data.packing.choose_size import choose_spec
from kantor.data.packing.pack import pack
from kantor.data.packing.scan import cache_key, scan
from kantor.data.packing.selection import open_images, selected
from kantor.data.sources.concatenated import Concatenated
from kantor.data.sources.random_subset import RandomSubset
from kantor.data.sources.recognise import open_source
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError
from kantor.random import permute, random_rows
from kantor.types import ImageSpec
from support.commands import exit_of
from support.pack_fakes import Fake, image

SPEC = ImageSpec(8, 8, 3)


def names(path: Path) -> list[str]:
    lines = gzip.decompress((path / "sources.jsonl.gz").read_bytes()).splitlines()
    return [json.loads(line)["name"] for line in lines]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def by_chance(count: int, seed: int = 0, **more: object) -> DataConfig:
    return DataConfig(limit=count, choose="random", choose_seed=seed, **more)  # type: ignore[arg-type]


def test_random_rows_ascend_without_repeats() -> None:
    for total, count, seed in ((100, 10, 0), (100, 10, 1), (7, 7, 3), (5, 9, 3), (1, 1, 0), (0, 4, 0)):
        rows = random_rows(total, count, seed)
        assert len(rows) == min(count, total) and (np.diff(rows) > 0).all()
        assert set(rows.tolist()) <= set(range(total))
    assert random_rows(1000, 20, 5).tolist() == sorted(permute(np.arange(20), 1000, 5).tolist())
    assert random_rows(1000, 20, 5).tolist() != random_rows(1000, 20, 6).tolist()


def test_all_images_are_equally_likely() -> None:
    counts = Counter(itertools.chain.from_iterable(random_rows(30, 6, seed).tolist() for seed in range(3000)))
    expected = 3000 * 6 / 30
    chi2 = sum((counts[i] - expected) ** 2 / (expected * 24 / 30) for i in range(30))
    assert chi2 < 60  # 29 degrees of freedom: beyond that once in two thousand


def test_they_are_packed_in_the_order_of_the_listing(tmp_path: Path) -> None:
    source = Fake(60, classes=3, side_files=("readme.txt",))
    config = by_chance(20, 4)
    report = pack(selected(source, config), config, SPEC, tmp_path / "set")
    rows = random_rows(60, 20, 4)
    assert report.count == 20 and report.rejected == 0
    store = Store.open(tmp_path / "set")
    assert (store.whole() == np.stack([image(i) for i in rows])).all()
    assert store.labels(np.arange(20)).tolist() == [i % 3 for i in rows]
    assert names(tmp_path / "set") == [f"{i:04d}.png" for i in rows]


def test_unreadable_images_are_rejected_and_not_replaced(tmp_path: Path) -> None:
    rows = random_rows(60, 20, 4).tolist()
    config = by_chance(20, 4, max_bad=1.0)
    others = [i for i in range(60) if i not in rows]
    report = pack(
        selected(Fake(60, {rows[3]: "gone", rows[9]: "text", others[0]: "gone"}), config),
        config,
        SPEC,
        tmp_path / "set",
    )
    assert (report.count, report.bad) == (18, 2)
    assert names(tmp_path / "set") == [f"{i:04d}.png" for i in rows if i not in (rows[3], rows[9])]


def test_a_count_above_the_total_chooses_all(tmp_path: Path) -> None:
    for config in (by_chance(100), by_chance(0)):
        report = pack(selected(Fake(9), config), config, SPEC, tmp_path / f"set{config.limit}")
        assert report.count == 9


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz", "npy", "npz", "idx", "glyphs", "packed", "stack"])
def test_any_kind_of_source(tmp_path: Path, kind: str) -> None:
    """Those packed are rows of the whole set, those that were chosen."""
    images = np.stack([image(i) for i in range(40)])
    more: dict[str, object] = {"stack": 40} if kind == "stack" else {}
    path = str(_written(tmp_path, kind, images))
    sets = {}
    for config in (DataConfig(source=path, size="8", **more), by_chance(13, 2, source=path, size="8", **more)):  # type: ignore[arg-type]
        config = config.model_copy(update={"glyphs": config.glyphs.model_copy(update={"count": 40})})
        if kind == "packed":
            config = config.model_copy(update={"edges": "canny"})
        source = open_images(config)
        spec, _ = choose_spec(source, config, 8, scan(source, config))
        pack(source, config, spec, tmp_path / config.choose)
        sets[config.choose] = Store.open(tmp_path / config.choose)
    rows = random_rows(40, 13, 2)
    assert sets["first"].count == 40 and sets["random"].count == 13
    assert (sets["random"].whole() == sets["first"].whole()[rows]).all()
    every = names(tmp_path / "first")
    assert names(tmp_path / "random") == [every[i] for i in rows]


def _written(folder: Path, kind: str, images: np.ndarray) -> str | Path:
    if kind == "glyphs":
        return kind
    path = folder / f"in.{kind}"
    if kind in ("npy", "stack"):
        np.save(folder / "in.npy", images)
        return folder / "in.npy"
    if kind == "npz":
        np.savez(path, images=images)
        return path
    if kind == "packed":
        pack(Fake(40), DataConfig(), SPEC, path)
        return path
    if kind == "idx":
        head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (40, 8, 8))
        (folder / "in-idx3-ubyte").write_bytes(head + images[..., 0].tobytes())
        return folder / "in-idx3-ubyte"
    (folder / "in").mkdir()
    files = [folder / "in" / f"{i:02d}.png" for i in range(40)]
    for file, one in zip(files, images, strict=True):
        Image.fromarray(one).save(file)
    if kind == "folder":
        return folder / "in"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, file.name)
        return path
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as tar:
        for file in files:
            tar.add(file, file.name)
    return path


def test_concatenated_sources() -> None:
    config = by_chance(10, 1)
    many = Concatenated("both", [Fake(20), Fake(20)], ["a", "b"])
    chosen = [item.name for item in selected(many, config).items()]
    every = [item.name for item in many.items()]
    assert chosen == [every[i] for i in random_rows(40, 10, 1)]
    assert {name[0] for name in chosen} == {"a", "b"}


def test_the_choice_is_part_of_the_key() -> None:
    keys = set()
    for config in (DataConfig(limit=10), by_chance(10), by_chance(10, 1), by_chance(11)):
        source = selected(Fake(40), config)
        keys.add(cache_key(source, config, SPEC, scan(source, config)))
    assert len(keys) == 4
    plain = DataConfig(choose="random")  # of all images there is nothing to choose
    all_images = cache_key(Fake(40), DataConfig(), SPEC, scan(Fake(40), DataConfig()))
    assert cache_key(Fake(40), plain, SPEC, scan(Fake(40), plain)) == all_images


def test_a_stopped_pack_resumes(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int, bad: int) -> None:
        assert total == 30
        if done >= 12:
            raise Enough

    config = by_chance(30, 8, max_bad=1.0)
    bad = {int(random_rows(90, 30, 8)[5]): "gone"}
    pack(selected(Fake(90, bad), config), config, SPEC, tmp_path / "whole", workers=1)
    with pytest.raises(Enough):
        pack(selected(Fake(90, bad), config), config, SPEC, tmp_path / "set", workers=1, progress=stop, commit_s=0)
    assert not (tmp_path / "set").exists()
    report = pack(selected(Fake(90, bad), config), config, SPEC, tmp_path / "set", workers=2)
    assert report.resumed_from > 10 and report.count == 29
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


@dataclass
class Growing(Fake):
    """Has more images from its third listing on."""

    listed: int = 0

    def items(self) -> Iterator[Item | Rejected]:
        self.listed += 1
        self.count += 5 if self.listed > 2 else 0
        return super().items()


def test_a_source_that_changes_while_packing_is_an_error(tmp_path: Path) -> None:
    config = by_chance(20, 8)
    source = selected(Growing(90), config)
    listing = scan(source, config)
    with pytest.raises(DataError, match="changed while it was being packed"):
        pack(source, config, SPEC, tmp_path / "set", listing=listing)
    assert not (tmp_path / "set").exists()


def test_no_images_to_choose_from(tmp_path: Path) -> None:
    source = RandomSubset(Fake(0, side_files=("a.txt", "b.txt")), 5, 0)
    with pytest.raises(DataError, match=r"no images here \(found 2 \.txt\)"):
        pack(source, by_chance(5), SPEC, tmp_path / "set")


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pack", "glyphs", "--out", tmp_path / "set", "--size", "8", "--set", "data.glyphs.count=50"]
    assert exit_of(*words, "--set", "data.choose=random", "--set", "data.limit=12", "--set", "data.choose_seed=3") == 0
    assert "12 images are chosen at random" in capsys.readouterr().out
    listed = [item.name for item in open_source(DataConfig(glyphs={"count": 50})).items() if isinstance(item, Item)]  # type: ignore[arg-type]
    assert names(tmp_path / "set") == [listed[i] for i in random_rows(50, 12, 3)]
