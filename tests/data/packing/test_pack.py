"""Packing: what comes out is right, whatever the images, the workers and the power supply do."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.config.data import DataConfig
from kantor.data.loading.store import Store
from kantor.data.packing import journal
from kantor.data.packing.choose_size import choose_spec
from kantor.data.packing.journal import PartialPack
from kantor.data.packing.pack import pack
from kantor.data.packing.scan import cache_key, scan
from kantor.data.sources.concatenated import Concatenated
from kantor.data.sources.recognise import open_source
from kantor.errors import BusyError, ConfigError, DataError
from kantor.lock import locked
from kantor.types import ImageSpec
from support.data_fakes import Floats
from support.pack_fakes import Fake, image
from support.paths import ROOT

SPEC = ImageSpec(8, 8, 3)
ROW = 8 * 8 * 3


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_rows_are_the_images_in_order(tmp_path: Path) -> None:
    report = pack(Fake(40, classes=12), DataConfig(), SPEC, tmp_path / "set", workers=2, shard_bytes=128 + 16 * ROW)
    store = Store.open(tmp_path / "set")
    assert (report.count, report.rejected, report.resumed_from) == (40, 0, 0)
    assert store.shard_sizes == [16, 16, 8]
    assert store.class_names == [str(i) for i in range(12)]
    rows = np.array([39, 0, 17, 15, 16])
    assert (store.images(rows) == np.stack([image(i) for i in rows])).all()
    assert store.labels(rows).tolist() == [3, 0, 5, 3, 4]
    lines = gzip.decompress((tmp_path / "set" / "sources.jsonl.gz").read_bytes()).splitlines()
    names = [json.loads(line)["name"] for line in lines]
    assert names == [f"{i:04d}.png" for i in range(40)]
    assert (np.load(tmp_path / "set" / "images-00001.npy", mmap_mode="r")[0] == image(16)).all()
    assert max(path.stat().st_size for path in (tmp_path / "set").iterdir()) <= 128 + 16 * ROW
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_of_images(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / "in" / f"c{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image(i, 16)).save(tmp_path / "in" / f"c{i % 2}" / f"{i:02d}.png")
    (tmp_path / "in" / "readme.txt").write_text("about these")
    config = DataConfig(source=str(tmp_path / "in"))
    source = open_source(config)
    spec, reasons = choose_spec(source, config, 64, scan(source, config))
    assert spec == (16, 16, 3)
    assert set(reasons) == {"size", "channels"}
    report = pack(source, config, spec, tmp_path / "set")
    store = Store.open(tmp_path / "set")
    store.verify()
    assert (report.count, report.rejected, report.bad) == (30, 1, 0)
    assert store.class_names == ["c0", "c1"]
    assert (store.images(np.array([0, 15])) == np.stack([image(0, 16), image(1, 16)])).all()


@pytest.mark.parametrize(
    ("fate", "reason", "kind"),
    [
        ("exit", "the decoder crashed", "decoder"),
        ("kill", "the decoder crashed", "decoder"),
        ("hang", "took longer than 0.5 s", "decoder"),
        ("gone", "no longer there", "access"),
        ("memory", "needs too much memory", "decoder"),
        ("bug", "cannot be decoded (KeyError: 'tag')", "decoder"),
    ],
)
def test_an_unreadable_image_is_rejected_and_the_rest_packed(tmp_path: Path, fate: str, reason: str, kind: str) -> None:
    source = Fake(24, {5: fate, 20: "gone"})
    report = pack(source, DataConfig(max_bad=0.1), SPEC, tmp_path / "set", timeout_s=0.5)
    lines = [json.loads(line) for line in (tmp_path / "set" / "rejected.jsonl").read_text().splitlines()]
    assert lines == [
        {"name": "0005.png", "reason": reason, "kind": kind},
        {"name": "0020.png", "reason": "no longer there", "kind": "access"},
    ]
    assert (report.count, report.rejected) == (22, 2)
    kept = [i for i in range(24) if i not in (5, 20)]
    assert (Store.open(tmp_path / "set").whole() == np.stack([image(i) for i in kept])).all()


def test_too_many_unreadable_images(tmp_path: Path) -> None:
    source = Fake(100, dict.fromkeys(range(0, 24, 2), "gone"))
    with pytest.raises(DataError) as caught:
        pack(source, DataConfig(max_bad=0.05), SPEC, tmp_path / "set")
    text = str(caught.value)
    assert text.startswith("fake: 1")
    assert "more than the 5% allowed: 1" in text and "no longer there (0000.png, 0002.png, ...); " in text
    assert "--max-bad" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [6, 60])
def test_a_reason_common_to_all_images_is_shown_once(tmp_path: Path, count: int) -> None:
    with pytest.raises(DataError) as caught:
        pack(Floats(count), DataConfig(rules=1), SPEC, tmp_path / "set")
    whose = "its" if count == 6 else r"the first \d+"
    says = (
        rf"^fake: none of {whose} images can be used: an array of shape \(8, 8, 3\) and type float64 is not an image; "
    )
    assert re.match(
        says + r"convert it: \(x \* 255\).round\(\).clip\(0, 255\).astype\('uint8'\), all of them$", str(caught.value)
    )


def test_several_reasons_why_no_image_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        pack(Floats(4, {0: "gone", 2: "gone", 3: "gone"}), DataConfig(rules=1), SPEC, tmp_path / "set")
    assert "none of its images can be used: 0000.png (no longer there), 0001.png (an array" in str(caught.value)
    assert "--max-bad" not in str(caught.value)


def test_an_archive_without_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(5):
            archive.writestr(f"data/{i}", b"\x01\x02\x03\x04" * 50)
    source = open_source(DataConfig(source=str(tmp_path / "x.zip")))
    with pytest.raises(DataError) as caught:
        pack(source, DataConfig(), SPEC, tmp_path / "set")
    assert "there are no images in it (found: 5 without an ending, such as data/0)" in str(caught.value)
    shutil.copy(tmp_path / "x.zip", tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x.pt: PyTorch files are not read; save its images as uint8 with numpy.savez"):
        open_source(DataConfig(source=str(tmp_path / "x.pt")))


def test_files_that_are_not_images_do_not_count(tmp_path: Path) -> None:
    source = Fake(10, side_files=("a.txt", "b.csv", "c.txt"))
    report = pack(source, DataConfig(max_bad=0), SPEC, tmp_path / "set")
    assert (report.count, report.rejected, report.bad) == (10, 3, 0)
    with pytest.raises(DataError, match=r"no images here \(found 2 .txt, 1 .csv\)"):
        pack(Fake(0, side_files=("a.txt", "b.csv", "c.txt")), DataConfig(), SPEC, tmp_path / "none")
    with pytest.raises(DataError, match="none of its images can be used"):
        pack(Fake(2, {0: "gone", 1: "gone"}), DataConfig(max_bad=1), SPEC, tmp_path / "none")


def test_a_readme_without_extension_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(9):
        Image.fromarray(image(i)).save(tmp_path / "in" / f"{i}.png")
    (tmp_path / "in" / "README").write_text("about these images")
    config = DataConfig(source=str(tmp_path / "in"), max_bad=0)
    report = pack(open_source(config), config, SPEC, tmp_path / "set")
    assert (report.count, report.rejected, report.bad) == (9, 1, 0)
    (tmp_path / "in" / "broken.png").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"1 of 10 images cannot be used, more than the 0% allowed: broken.png \("):
        pack(open_source(config), config, SPEC, tmp_path / "set2")
    assert not (tmp_path / ".set2.partial").exists()


def test_limit_takes_the_first_good_images(tmp_path: Path) -> None:
    report = pack(Fake(60, {1: "gone"}), DataConfig(limit=20, max_bad=0.1), SPEC, tmp_path / "set")
    store = Store.open(tmp_path / "set")
    assert report.count == store.count == 20
    assert (store.images(np.array([0, 1, 19])) == np.stack([image(0), image(2), image(20)])).all()


def test_duplicates_and_flat_images_are_counted(tmp_path: Path) -> None:
    source = Fake(30, {3: "flat", 4: "flat", 5: "red", 9: "same", 10: "same"})
    report = pack(source, DataConfig(), SPEC, tmp_path / "set")
    assert (report.near_constant, report.duplicates) == (3, 3)


def test_fingerprint_is_of_images_not_of_places(tmp_path: Path) -> None:
    def print_of(name: str, **fields: object) -> str:
        arguments = {"count": 12, "classes": 3, **fields}
        pack(Fake(**arguments), DataConfig(), SPEC, tmp_path / name, shard_bytes=ROW * len(name) * 2 + 128)
        return Store.open(tmp_path / name).fingerprint

    first = print_of("a")
    assert first == print_of("other", path="elsewhere", side_files=("x.txt",))
    others = {print_of("bb", classes=2), print_of("cc", classes=0), print_of("dd", count=11)}
    assert len(others | {first}) == 4


def test_cache_key_changes_with_the_listing_and_the_settings(tmp_path: Path) -> None:
    def key_of(source: Fake, config: DataConfig, spec: ImageSpec) -> str:
        return cache_key(source, config, spec, scan(source, config))

    key = key_of(Fake(5), DataConfig(), SPEC)
    assert key == key_of(Fake(5), DataConfig(max_bad=0.5), SPEC)
    others = [(Fake(6), DataConfig(), SPEC), (Fake(5), DataConfig(crop=4), SPEC), (Fake(5), DataConfig(limit=2), SPEC)]
    others += [(Fake(5), DataConfig(), ImageSpec(8, 8, 1)), (Fake(5, path="elsewhere"), DataConfig(), SPEC)]
    assert len({key, *(key_of(*other) for other in others)}) == 6


def test_nothing_is_replaced_without_overwrite(tmp_path: Path) -> None:
    pack(Fake(4), DataConfig(), SPEC, tmp_path / "set")
    with pytest.raises(ConfigError, match="already exists; choose another name, or replace it with --overwrite"):
        pack(Fake(5), DataConfig(), SPEC, tmp_path / "set")
    pack(Fake(5), DataConfig(), SPEC, tmp_path / "set", overwrite=True)
    assert Store.open(tmp_path / "set").count == 5
    (tmp_path / "set" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match=r"holds thesis.txt, which is not part of a packed dataset"):
        pack(Fake(5), DataConfig(), SPEC, tmp_path / "set", overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not a packed dataset"):
        pack(Fake(5), DataConfig(), SPEC, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_one_process_at_a_time_packs_to_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path / ".set.partial"), pytest.raises(BusyError, match=f"in use by process {os.getpid()}"):
        pack(Fake(4), DataConfig(), SPEC, tmp_path / "set")
    assert pack(Fake(4), DataConfig(), SPEC, tmp_path / "set").count == 4


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from support.pack_fakes import Fake
from kantor.config.data import DataConfig
from kantor.data.packing.pack import pack
from kantor.types import ImageSpec
source = Fake(400, {{7: "gone", 390: "gone"}}, delay_s=0.001, classes=5)
report = pack(source, DataConfig(max_bad=0.5), ImageSpec(8, 8, 3), Path({out!r}), shard_bytes={shard}, commit_s=0)
print(report.resumed_from)
"""


def test_a_pack_killed_at_any_instant_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    """kill -9 at growing delays, over and over, until a pack gets through. A script without a main guard, too."""
    shard = 128 + 90 * ROW

    def start(out: Path) -> subprocess.Popen[str]:
        code = CHILD.format(here=str(ROOT / "tests"), out=str(out), shard=shard)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)

    whole = start(tmp_path / "whole")
    assert whole.communicate()[0] == "0\n"
    resumed, delay_s, kills = "0", 0.0, 0
    while not (tmp_path / "set").exists():
        child = start(tmp_path / "set")
        journal = tmp_path / ".set.partial" / "journal.json"
        before = journal.stat().st_mtime_ns if journal.exists() else 0
        deadline_s = time.monotonic() + 20
        while child.poll() is None and time.monotonic() < deadline_s:  # let it commit at least once more
            if journal.exists() and journal.stat().st_mtime_ns != before:
                break
            time.sleep(0.001)
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        output, kills, delay_s = child.communicate()[0], kills + 1, delay_s + 0.02
        resumed = output.strip() or resumed
        assert {p.name for p in tmp_path.iterdir()} <= {"whole", "set", ".set.partial"}
    assert kills > 3
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


@pytest.mark.parametrize("step", ["publish", "remove_locked", "_pack_sources"])
def test_stopped_while_finishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    source, shard = Fake(30, {4: "gone"}, classes=2), 128 + 20 * ROW
    pack(source, DataConfig(max_bad=1), SPEC, tmp_path / "whole", shard_bytes=shard)
    with monkeypatch.context() as patched:
        patched.setattr(PartialPack if step == "_pack_sources" else journal, step, stop)
        with pytest.raises(KeyboardInterrupt):
            pack(source, DataConfig(max_bad=1), SPEC, tmp_path / "set", shard_bytes=shard)
    if step == "remove_locked":  # the set was published already
        with pytest.raises(ConfigError):
            pack(source, DataConfig(max_bad=1), SPEC, tmp_path / "set", shard_bytes=shard)
    else:
        report = pack(source, DataConfig(max_bad=1), SPEC, tmp_path / "set", shard_bytes=shard)
        assert report.resumed_from == 29
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "set"}


def test_killed_while_cleaning_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left after the set has its name is found again by the next packer, whatever was deleted already."""
    for number, name in enumerate(("rmdir", "unlink")):
        out = tmp_path / f"set{number}"

        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Path, name, stop) if name == "rmdir" else patched.setattr(journal, "remove_locked", stop)
            with pytest.raises(KeyboardInterrupt):
                pack(Fake(5), DataConfig(), SPEC, out)
        assert {path.name for path in tmp_path.iterdir()} == {out.name, f".{out.name}.partial"}
        with pytest.raises(ConfigError):
            pack(Fake(5), DataConfig(), SPEC, out)
        assert {path.name for path in tmp_path.iterdir()} == {out.name}
        shutil.rmtree(out)


def test_a_changed_listing_starts_over(tmp_path: Path) -> None:
    def stop(done: int, total: int, bad: int) -> None:
        raise KeyboardInterrupt

    for source, expected in ((Fake(40), 5), (Fake(41), 0)):
        with pytest.raises(KeyboardInterrupt):
            pack(Fake(40), DataConfig(), SPEC, tmp_path / "set", workers=1, progress=stop, commit_s=0)
        assert not (tmp_path / "set").exists()
        report = pack(source, DataConfig(), SPEC, tmp_path / "set", overwrite=True)
        assert report.resumed_from == expected
        assert report.count == source.count
        (tmp_path / "set").rename(tmp_path / f"done{expected}")


def test_progress_and_report(tmp_path: Path) -> None:
    calls: list[tuple[int, int, int]] = []
    pack(Fake(50, {2: "gone"}), DataConfig(max_bad=1), SPEC, tmp_path / "s", progress=lambda *x: calls.append(x))
    assert calls[-1] == (50, 50, 1)
    assert calls == sorted(calls)


@pytest.mark.parametrize(
    ("sides", "mode", "default", "expected"),
    [
        ([(100, 80)] * 5, "RGB", 64, (64, 64, 3)),
        ([(50, 300)] * 5, "L", 64, (50, 50, 1)),
        ([(5, 5)], "L", 64, (8, 8, 1)),
    ],
)
def test_choose_spec(
    tmp_path: Path, sides: list[tuple[int, int]], mode: str, default: int, expected: tuple[int, int, int]
) -> None:
    for i, (height, width) in enumerate(sides):
        Image.new(mode, (width, height)).save(tmp_path / f"{i}.png")
    config = DataConfig(source=str(tmp_path))
    source = open_source(config)
    spec, reasons = choose_spec(source, config, default, scan(source, config))
    assert spec == expected
    assert all(reasons.values())
    fixed = DataConfig(source=str(tmp_path), size="48x96", channels="rgba")
    assert choose_spec(source, fixed, default, scan(source, fixed)) == (ImageSpec(48, 96, 4), {})


def test_arrays_of_two_sizes_keep_neither(tmp_path: Path) -> None:
    for name, shape in (("a", (30, 12, 10)), ("b", (30, 20, 20))):
        np.save(tmp_path / f"{name}.npy", np.zeros(shape, np.uint8))
    paths = [str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    both = Concatenated("both", [open_source(DataConfig(source=path)) for path in paths], ["a", "b"])
    spec, reasons = choose_spec(both, DataConfig(), 64, scan(both, DataConfig()))
    assert spec == (10, 10, 1)
    assert "the images are small (shorter side 10" in reasons["size"]
    same = Concatenated("same", [open_source(DataConfig(source=paths[0]))] * 2, ["a", "b"])
    assert choose_spec(same, DataConfig(), 64, scan(same, DataConfig()))[0] == (12, 10, 1)


def test_scan_samples_items_evenly() -> None:
    listing = scan(Fake(1000), DataConfig())
    positions = [item.position for item in listing.sample]
    assert listing.items == 1000
    assert 64 <= len(positions) <= 128
    assert set(np.diff(positions)) == {8}
    assert positions[-1] >= 990
