"""Archives that were made to hurt, or that rot has got at: each is refused in one line, in little memory."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.config.data import DataConfig
from kantor.data.decoding import tfrecords
from kantor.data.decoding.tf_examples import example, field, parse_example
from kantor.data.packing.scan import scan
from kantor.data.reasons import Undecodable
from kantor.data.sources.recognise import open_source
from kantor.data.sources.source import Item
from kantor.errors import DataError
from support import nasty

STACK = np.random.default_rng(0).integers(0, 256, (30, 8, 9, 3), np.uint8)
PNG = nasty.encode(Image.fromarray(STACK[0]), "PNG")


def opened(path: object, **more):
    return open_source(DataConfig(source=str(path), **more))


def items_of(source) -> list[Item]:
    return [entry for entry in source.items() if isinstance(entry, Item)]


def refusal(path: object, **more) -> str:
    with pytest.raises(DataError) as caught:
        list(opened(path, **more).items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


LIST = """
import resource, sys
from kantor.config.data import DataConfig
from kantor.data.sources.recognise import open_source
from kantor.errors import DataError
import pyarrow.parquet
started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    source = open_source(DataConfig(source=sys.argv[1]))
    for entry in source.items():
        pass
except DataError as error:
    print(error, file=sys.stderr)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started) >> 10)
"""


def listing_mb(path: Path) -> tuple[int, str]:
    """What listing `path` adds to the largest memory of a process, in MB; and what it says."""
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    done = subprocess.run([sys.executable, "-c", LIST, str(path)], capture_output=True, text=True, timeout=100)
    return int(done.stdout), done.stderr


# --- tar ----------------------------------------------------------------------------------------------------------


def header(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + b"\0" * (-len(data) % 512)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_tar_with_a_chain_of_headers(tmp_path, kind, suffix):
    path = tmp_path / f"x{suffix}"
    data = header("x", kind, b"16 comment=hello") * 3000 + header("a.png", data=PNG) + bytes(1024)
    path.write_bytes(gzip.compress(data) if suffix == ".tar.gz" else data)
    assert "not a whole tar archive (more than 16 headers for one entry)" in refusal(path)


def test_tar_with_endless_headers_for_all_entries(tmp_path):
    pairs = b"".join(
        header("x", tarfile.XGLTYPE, b"16 comment=hello") + header(f"{i}.png", data=PNG) for i in range(99)
    )
    (tmp_path / "x.tar").write_bytes(pairs + bytes(1024))
    assert "headers for all entries" in refusal(tmp_path / "x.tar")


def sparse_header(extended: bool) -> bytes:
    """An old GNU header of a file with holes, whose table goes on in the next block."""
    block = bytearray(header("a.png", tarfile.GNUTYPE_SPARSE))
    block[257:265] = b"ustar  \0"
    block[386:410] = b"00000000001\0" * 2
    block[482] = extended
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_tar_that_ends_inside_a_table_of_holes(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    data = sparse_header(True)
    path.write_bytes(gzip.compress(data) if suffix == ".tar.gz" else data)
    assert "x.tar" in refusal(path)
    assert "a.png: the archive is refused, since this entry is a file with holes" in refusal(path)


def test_tar_with_an_endless_table_of_holes(tmp_path):
    more = bytearray((b"00000000001\0" * 2) * 21 + b"\1" + bytes(7))
    path = tmp_path / "x.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(sparse_header(True))
        for _ in range(300):
            file.write(bytes(more) * 1000)
    added, says = listing_mb(path)
    assert "a file with holes" in says
    assert added < 60


@pytest.mark.parametrize(
    "headers", [{"GNU.sparse.map": "0,1"}, {"GNU.sparse.size": "9"}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}]
)
def test_tar_with_holes_in_newer_headers(tmp_path, headers):
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.png")
        info.pax_headers, info.size = headers, len(PNG)
        archive.addfile(info, io.BytesIO(PNG))
    assert "a.png: the archive is refused, since this entry is a file with holes" in refusal(tmp_path / "x.tar")


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_a_flipped_bit_in_a_compressed_tar_is_seen(tmp_path, suffix):
    """The checksum lies behind the zeros that end the archive. Stored without compression, a bit is one wrong pixel."""
    path = tmp_path / f"x.tar.{suffix}"
    raw = nasty.encode(nasty.photo(120, 120), "BMP")
    plain = b"".join(header(f"{i}.bmp", data=raw) for i in range(5)) + bytes(10240)
    if suffix == "gz":
        whole = bytearray(gzip.compress(plain, 0))
    else:
        import bz2

        whole = bytearray(bz2.compress(plain) if suffix == "bz2" else lzma.compress(plain))
    path.write_bytes(whole)
    assert len(items_of(opened(path))) == 5
    whole[len(whole) // 3] ^= 8
    path.write_bytes(whole)
    assert "not a whole tar archive" in refusal(path)


def test_a_compressed_tar_with_data_after_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("kantor.data.sources.open_file.ALWAYS_ALLOWED", 1 << 20)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(header("a.png", data=PNG) + bytes(8 << 20)))
    assert "a bomb" in refusal(path)


# --- zip and npz --------------------------------------------------------------------------------------------------


def rotten_zip(path: Path, name: str, data: bytes, method: int) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, data)
    whole = bytearray(path.read_bytes())
    start = 30 + len(name)
    for at in range(start + 20, start + 60):
        whole[at] ^= 0x5A
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_a_zip(tmp_path, method):
    data = nasty.encode(nasty.photo(100, 100), "BMP")
    source = opened(rotten_zip(tmp_path / "x.zip", "a.bmp", data, method))
    with pytest.raises(Undecodable, match="damaged in the archive"):
        source.load(items_of(source)[0])
    assert ".npy" in refusal(rotten_zip(tmp_path / "x.npz", "images.npy", data, method))


def test_damage_in_the_labels_of_an_npz(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, images=np.zeros((20_000, 2, 2), np.uint8), labels=np.arange(20_000) % 7)
    whole = bytearray(path.read_bytes())
    whole[-1000] ^= 1
    path.write_bytes(whole)
    assert "x.npz: labels: is damaged" in refusal(path)


def test_too_many_labels_in_an_npz_are_not_read(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=STACK, labels=np.zeros(60_000_000, np.int32))
    added, says = listing_mb(path)
    assert "60000000 labels for 30 images" in says
    assert added < 60


def test_a_large_table_of_labels(tmp_path, monkeypatch):
    monkeypatch.setattr("kantor.data.sources.label_limits.MAX_TABLE_BYTES", 1000)
    table = json.dumps({"labels": [["a.png", 1]], "more": "x" * 1000})
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", PNG)
        archive.writestr("dataset.json", table)
    assert "x.zip: dataset.json: it is larger than" in refusal(tmp_path / "x.zip")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.png").write_bytes(PNG)
    (tmp_path / "d" / "dataset.json").write_text(table)
    assert "dataset.json: it is larger than" in refusal(tmp_path / "d")


def test_a_table_of_labels_is_parsed_once(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "dataset.json").write_text('{"labels": [["a.png", 1]]}')
    calls: list[int] = []
    real = json.loads
    monkeypatch.setattr(json, "loads", lambda *a, **k: calls.append(1) or real(*a, **k))
    assert [item.label for item in items_of(opened(tmp_path))] == ["1"]
    assert len(calls) == 1


# --- TFRecord -----------------------------------------------------------------------------------------------------


def message(name: bytes, feature: bytes) -> bytes:
    return field(1, field(1, field(1, name) + field(2, feature)))


def test_a_long_list_of_numbers_is_not_read_to_its_end(tmp_path):
    message_ = message(b"weights", field(3, field(1, b"\1" * (30 << 20)))) + message(b"image", field(1, field(1, PNG)))
    path = tmp_path / "x.tfrecord.gz"
    path.write_bytes(gzip.compress(tfrecords.record(message_)))
    added, says = listing_mb(path)
    assert says == ""
    assert added < 180  # the record itself, and what a checksum needs
    assert len(parse_example(message_)["weights"]) == 16


def test_a_message_of_endless_fields():
    with pytest.raises(tfrecords.Malformed, match="more than 100,000 fields"):
        parse_example(b"\x50\1" * 200_000)


def test_a_record_that_claims_too_much(tmp_path):
    head = struct.pack("<Q", 200 << 20)
    (tmp_path / "x.tfrecord").write_bytes(head + struct.pack("<I", tfrecords.masked_crc(head)) + bytes(600))
    assert "record 0 claims 200 MB" in refusal(tmp_path / "x.tfrecord")


@pytest.mark.parametrize(
    ("suffix", "do"), [(".tar.xz", "make a new archive of the folder"), (".tfrecord.gz", "copy or write it again")]
)
def test_endless_entries_with_nothing_in_them(tmp_path, monkeypatch, suffix, do):
    monkeypatch.setattr("kantor.data.sources.open_file.ALWAYS_LISTED", 100)
    path = tmp_path / f"x{suffix}"
    if suffix == ".tar.xz":
        path.write_bytes(lzma.compress(header("a.png", data=PNG) + header("b") * 50_000, preset=1))
    else:
        first = tfrecords.record(example({"image": PNG}))
        path.write_bytes(gzip.compress(first + tfrecords.record(b"") * 200_000))
    assert f"than bytes: a bomb; {do}" in refusal(path)


# --- Parquet ------------------------------------------------------------------------------------------------------


def write_table(path: Path, columns: dict, **more) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path, **more)
    return path


@pytest.mark.parametrize("coded", [True, False])
def test_long_labels_that_are_stored_once(tmp_path, coded):
    """coded: the file says that the column is coded; else reading it shows that."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    labels = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 3000, "int32"), ["x" * (1 << 20)])
    more = {"store_schema": coded, "dictionary_pagesize_limit": 8 << 20}
    path = write_table(tmp_path / "x.parquet", {"image": [PNG] * 3000, "label": labels}, **more)
    assert path.stat().st_size < 200_000
    added, says = listing_mb(path)
    assert "a label is 1,048,576 bytes long" in says
    assert added < 60


def test_long_labels_that_are_stored_each(tmp_path):
    columns = {"image": [PNG] * 300, "label": ["x" * (1 << 20)] * 300}
    path = write_table(tmp_path / "x.parquet", columns, use_dictionary=False, compression="zstd")
    added, says = listing_mb(path)
    assert "too large to hold names of classes" in says
    assert added < 60


def test_a_footer_that_claims_too_many_rows(tmp_path):
    path = write_table(tmp_path / "x.parquet", {"image": [PNG] * 77})
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -8].replace(b"\x16\x9a\x01", b"\x16\x80\xa8\xd6\xb9\x07")  # 77, as the format writes it
    path.write_bytes(data[: -8 - size] + footer + struct.pack("<I", len(footer)) + b"PAR1")
    assert "its footer claims 1,000,000,000 rows, more than it has bytes" in refusal(path)


# --- classes ------------------------------------------------------------------------------------------------------


def test_too_many_classes(tmp_path, monkeypatch):
    monkeypatch.setattr("kantor.data.sources.label_limits.MAX_CLASSES", 8)
    data = b"".join(tfrecords.record(example({"image": PNG, "label": i})) for i in range(9))
    (tmp_path / "x.tfrecord").write_bytes(data)
    config = DataConfig(source=str(tmp_path / "x.tfrecord"))
    source = open_source(config)
    with pytest.raises(DataError, match="9 different labels, at most 8 are possible"):
        scan(source, config).class_ids(source, config)
