"""How archives are read: in order, once, without a limit on time, one file at a time; never another than was listed."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import resource
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.config.data import DataConfig
from kantor.data.decoding import tf_examples, tfrecords
from kantor.data.loading.store import Store
from kantor.data.packing.choose_size import choose_spec
from kantor.data.packing.pack import pack
from kantor.data.packing.pool import Pool
from kantor.data.packing.scan import scan
from kantor.data.packing.worker import ReadHeader
from kantor.data.reasons import Undecodable
from kantor.data.sources.concatenated import Concatenated
from kantor.data.sources.recognise import open_source
from kantor.data.sources.source import Item
from kantor.data.sources.tar import Tar
from kantor.errors import DataError, ResourceError
from kantor.types import ImageSpec
from support import nasty
from support.data_fakes import Slow
from support.pack_fakes import Fake, image

SPEC = ImageSpec(8, 8, 3)


def png(number: int, side: int = 8) -> bytes:
    return nasty.encode(Image.fromarray(image(number, side)), "PNG")


def opened(path: object, **more):
    return open_source(DataConfig(source=str(path), **more))


def sent(source):
    """The source as a worker process gets it."""
    return pickle.loads(pickle.dumps(source))  # noqa: S301


def items_of(source) -> list[Item]:
    return [entry for entry in source.items() if isinstance(entry, Item)]


def tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def records(path: Path, *features: dict[str, bytes | str | int]) -> Path:
    data = b"".join(tfrecords.record(tf_examples.example(f)) for f in features)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def parquet(path: Path, columns: dict, **more) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    writer = pytest.importorskip("pyarrow.parquet")
    writer.write_table(pyarrow.table(columns), path, **more)
    return path


def packed(source, out: Path, **more) -> np.ndarray:
    pack(source, DataConfig(), SPEC, out, **more)
    return Store.open(out).whole()


def expected(count: int) -> np.ndarray:
    return np.stack([image(i) for i in range(count)])


@contextmanager
def few_files(most: int) -> Iterator[None]:
    """Lets this process open at most `most` files more than now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- time ---------------------------------------------------------------------------------------------------------


def test_the_decoding_timeout_excludes_preparing_and_reading(tmp_path):
    np.testing.assert_array_equal(packed(Slow(4, ready_s=1.5), tmp_path / "a", timeout_s=0.5), expected(4))
    slow = Slow(2, local_only=True, read_s=1.0)
    np.testing.assert_array_equal(packed(slow, tmp_path / "b", timeout_s=0.5), expected(2))


def test_concatenated_is_local_if_one_part_is(tmp_path):
    source = Concatenated("both", [Slow(2, local_only=True), Slow(2, local_only=True, read_s=0.7)], ["a", "b"])
    assert source.local_only
    np.testing.assert_array_equal(packed(source, tmp_path / "a", timeout_s=0.5), expected(2)[[0, 1, 0, 1]])


@pytest.mark.parametrize("make", ["x.tar", "x.tfrecord"])
def test_a_worker_loads_an_image_without_listing(tmp_path, make, monkeypatch):
    path = tmp_path / make
    if make == "x.tar":
        tar(path, {f"{i}.png": png(i) for i in range(9)})
    else:
        records(path, *({"image": png(i), "label": i} for i in range(9)))
    source = opened(path)
    items = items_of(source)
    assert not source.local_only
    worker = sent(source)
    for name in ("_scan", "_listed", "_read_listing", "_places"):
        monkeypatch.setattr(type(worker), name, None, raising=False)
    assert worker.load(items[7]) == png(7)
    assert len(pickle.dumps(source)) < 2000


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz", ".tfrecord.gz", ".npz", ".parquet"])
def test_sequential_sources_are_read_in_this_process_and_in_order(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"x{suffix}"
    if suffix.startswith(".tar"):
        tar(path, {f"{i:03}.png": png(i) for i in range(99)}, "w:" + suffix[5:])
    elif suffix == ".npz":
        np.savez_compressed(path, images=expected(99))
    elif suffix == ".parquet":
        parquet(path, {"image": [png(i) for i in range(99)]})
    else:
        records(path, *({"image": png(i), "label": i % 3} for i in range(99)))
    source = opened(path)
    assert source.local_only
    loaded: list[int] = []
    load = type(source).load
    monkeypatch.setattr(type(source), "load", lambda self, item: loaded.append(item.position) or load(self, item))
    np.testing.assert_array_equal(packed(source, tmp_path / "set", timeout_s=5), expected(99))
    assert loaded == sorted(loaded)
    assert len(loaded) == 99


def test_labels_of_an_archive_are_read_once(tmp_path, monkeypatch):
    files = {}
    for i in range(9):
        files |= {
            f"{i}.png": png(i),
            f"{i}.cls": b"%d" % (i % 2),
            f"{i}.json": json.dumps({"label": "ab"[i % 2]}).encode(),
        }
    source = opened(tar(tmp_path / "x.tar.gz", files, "w:gz"))
    places: list[int] = []
    read = Tar._read
    monkeypatch.setattr(Tar, "_read", lambda self, member: places.append(member.place) or read(self, member))
    assert [item.label for item in items_of(source)] == list("ababababa")
    assert [item.label for item in items_of(source)] == list("ababababa")
    assert len(places) == 18
    assert places == sorted(places)


def test_records_are_verified_once(tmp_path, monkeypatch):
    source = opened(records(tmp_path / "x.tfrecord", *({"image": png(i), "label": i} for i in range(9))))
    sums: list[int] = []
    whole = tfrecords.masked_crc
    monkeypatch.setattr(tfrecords, "masked_crc", lambda data: sums.append(len(data)) or whole(data))
    for _ in range(2):
        for item in items_of(source):
            assert source.load(item) == png(item.position and int(item.name))
    assert len([size for size in sums if size > 12]) == 9


def test_probe_loses_only_the_image_that_kills_a_worker():
    with Pool(Fake(16, {3: "exit"}), ReadHeader(2), workers=1, timeout_s=5) as pool:
        found = list(pool.look(items_of(Fake(16))))
    assert found == [[8, 8, "rgb"]] * 3 + [None] + [[8, 8, "rgb"]] * 12


def test_an_image_too_large_to_send_is_rejected(tmp_path, monkeypatch):
    from kantor.data.packing import worker

    monkeypatch.setattr(worker, "MAX_BYTES", 8 * 8 * 3 - 1)
    with pytest.raises(DataError, match="larger than 0 MB"):
        packed(Slow(8, local_only=True), tmp_path / "a")


# --- parquet ------------------------------------------------------------------------------------------------------


def test_many_row_groups_stay_in_their_file(tmp_path):
    """Group 4096 in the upper bits of a position was taken for the next file."""
    for name in ("a.parquet", "b.parquet"):
        parquet(tmp_path / name, {"image": [b"%s%d" % (name[:1].encode(), i) for i in range(4100)]}, row_group_size=1)
    source = opened(tmp_path)
    items = items_of(source)
    assert source.load(items[4099]) == b"a4099"
    assert source.load(items[4100]) == b"b0"
    assert source.load(items[-1]) == b"b4099"


def test_a_position_that_does_not_fit_is_an_error():
    class Far(Slow):
        def items(self):
            yield Item("x", 1 << 44)

    with pytest.raises(OverflowError):
        list(Concatenated("both", [Far(1), Slow(1)], ["a", "b"]).items())


def test_a_large_row_group_is_read_some_rows_at_a_time(tmp_path, monkeypatch):
    path = parquet(tmp_path / "x.parquet", {"image": [{"bytes": b"%d" % i, "path": None} for i in range(1000)]})
    source = opened(path)
    items = items_of(source)
    assert source.load(items[0]) == b"0"
    assert len(source._batch) == 64
    assert [source.load(item) for item in items] == [b"%d" % i for i in range(1000)]
    assert source.load(items[3]) == b"3"


def test_the_label_of_each_row_group(tmp_path):
    columns = {"image": [png(i) for i in range(9)], "label": ["a", None, "b"] * 3}
    for coded in (True, False):
        path = parquet(tmp_path / f"{coded}.parquet", columns, row_group_size=2, use_dictionary=coded)
        assert [item.label for item in items_of(opened(path))] == ["a", None, "b"] * 3


def test_a_column_that_cannot_be_a_label_is_skipped(tmp_path):
    columns = {"image": [png(i) for i in range(3)], "label": [[1, 2], [3], []], "class": ["x", "y", "x"]}
    assert [item.label for item in items_of(opened(parquet(tmp_path / "x.parquet", columns)))] == ["x", "y", "x"]


def test_a_damaged_row_group_loses_its_rows_and_is_read_once(tmp_path):
    rng = np.random.default_rng(0)
    columns = {"image": [rng.bytes(1000) for i in range(100)]}
    path = parquet(tmp_path / "x.parquet", columns, row_group_size=50, compression="zstd", use_dictionary=False)
    at = pytest.importorskip("pyarrow.parquet").ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[at : at + 30] = b"\xff" * 30
    path.write_bytes(data)
    source = opened(path)
    items = items_of(source)
    for _ in range(2):
        with pytest.raises(Undecodable, match="damaged row group 0"):
            source.load(items[7])
    assert source._damaged_from == {0: 0}
    assert source.load(items[60]) == columns["image"][60]


# --- many files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tfrecord", ".parquet"])
def test_more_shards_than_open_files_allowed(tmp_path, suffix):
    folder = tmp_path / "shards"
    folder.mkdir()
    for i in range(60):
        path = folder / f"{i:03}{suffix}"
        if suffix == ".parquet":
            parquet(path, {"image": [png(i)], "label": [i % 3]})
        elif suffix == ".tfrecord":
            records(path, {"image": png(i), "label": i % 3})
        else:
            tar(path, {"0.png": png(i), "0.cls": b"%d" % (i % 3)}, "w:" + suffix[5:])
    with few_files(24):
        source = opened(folder)
        listing = scan(source, DataConfig())
        spec, _ = choose_spec(source, DataConfig(), 64, listing)
        np.testing.assert_array_equal(packed(source, tmp_path / "set", listing=listing, workers=1), expected(60))
    assert spec == SPEC
    assert len(listing.labels) == 3


@pytest.mark.parametrize("suffix", [".tar", ".zip", ".tfrecord", ".npz", ".parquet"])
def test_too_many_open_files_are_a_resource_error(tmp_path, suffix):
    import zipfile

    path = tmp_path / f"x{suffix}"
    if suffix == ".tar":
        tar(path, {"0.png": png(0)})
    elif suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("0.png", png(0))
    elif suffix == ".npz":
        np.savez(path, images=expected(3))
    elif suffix == ".parquet":
        parquet(path, {"image": [png(0)]})
    else:
        records(path, {"image": png(0), "label": 1})
    source = opened(path)
    items = items_of(source)
    source.load(items[0])
    source.release()
    with few_files(0), pytest.raises(ResourceError, match="too many files are open"):
        source.load(items[0])


def test_a_compressed_shard_is_decompressed_once(tmp_path, monkeypatch):
    for shard in range(2):
        tar(tmp_path / f"{shard}.tar.gz", {f"{i:04}.png": png(i) for i in range(400)}, "w:gz")
    opens: list[str] = []
    real = gzip.open
    source = opened(tmp_path)
    listing = scan(source, DataConfig())
    from kantor.data.sources import open_file

    monkeypatch.setitem(open_file._OPENERS, b"\x1f\x8b", lambda path, mode: opens.append(path) or real(path, mode))
    packed(source, tmp_path / "set", listing=listing)
    assert len(opens) == 2


# --- changes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tar", ".zip", ".tfrecord", ".npz", ".parquet"])
def test_a_file_that_changed_since_the_listing_is_an_error(tmp_path, suffix):
    import zipfile

    path = tmp_path / f"x{suffix}"

    def write(first: int) -> None:
        files = {f"{i}.png": png(first + i) for i in range(3)}
        if suffix == ".tar":
            tar(path, files)
        elif suffix == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, data in files.items():
                    archive.writestr(name, data)
        elif suffix == ".npz":
            np.savez(path, images=expected(first + 3)[first:])
        elif suffix == ".parquet":
            parquet(path, {"image": list(files.values())})
        else:
            records(path, *({"image": data, "label": 1} for data in files.values()))

    write(0)
    source = opened(path)
    items = items_of(source)
    worker = sent(source)
    write(5)
    os.utime(path, (1, 1))
    with pytest.raises(DataError, match="it has changed since it was listed; pack it again"):
        worker.load(items[0])


@pytest.mark.parametrize("suffix", ["tar.gz", "npz"])
def test_a_stopped_pack_of_a_sequential_source_resumes(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    if suffix == "npz":
        np.savez_compressed(path, images=expected(200))
    else:
        tar(path, {f"{i:03}.png": png(i) for i in range(200)}, "w:gz")

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(opened(path), DataConfig(), SPEC, tmp_path / "set", workers=1, progress=stop, commit_s=0)
    report = pack(opened(path), DataConfig(), SPEC, tmp_path / "set")
    assert report.resumed_from == 25
    np.testing.assert_array_equal(Store.open(tmp_path / "set").whole(), expected(200))
