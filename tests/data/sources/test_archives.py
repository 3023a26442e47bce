"""Tar, .npz, TFRecord, WebDataset and Parquet: read as written, refused where they escape, explode or lie."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.config.data import DataConfig
from kantor.data.decoding import tf_examples, tfrecords
from kantor.data.decoding.decode import DecodeSettings, decode
from kantor.data.decoding.tf_examples import parse_example
from kantor.data.loading.store import Store
from kantor.data.packing.pack import pack
from kantor.data.packing.writers import write_shards
from kantor.data.reasons import Undecodable
from kantor.data.sources.concatenated import Concatenated
from kantor.data.sources.npz import Npz
from kantor.data.sources.parquet import Parquet
from kantor.data.sources.recognise import open_source
from kantor.data.sources.source import Item, Rejected
from kantor.data.sources.tar import Tar
from kantor.data.sources.tfrecord import TfRecord
from kantor.errors import DataError
from kantor.progress import silent
from kantor.types import ImageSpec
from support import nasty
from support.commands import exit_of


def png(number: int, size: tuple[int, int] = (9, 8)) -> bytes:
    rng = np.random.default_rng(number)
    return nasty.encode(Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)), "PNG")


def opened(path: object, **more):
    return open_source(DataConfig(source=str(path), **more))


def sent(source):
    """The source as a worker process gets it."""
    return pickle.loads(pickle.dumps(source))  # noqa: S301


def listed(source) -> tuple[list[Item], dict[str, str]]:
    entries = list(source.items())
    items = [entry for entry in entries if isinstance(entry, Item)]
    return items, {entry.name: str(entry.reason) for entry in entries if isinstance(entry, Rejected)}


def refusal(path: object, **more) -> str:
    with pytest.raises(DataError) as caught:
        list(opened(path, **more).items())
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)  # what to do
    return str(caught.value)


def tar(path: Path, files: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


# --- tar ----------------------------------------------------------------------------------------------------------

LONG = "a/" + "long" * 40 + "/" + "name" * 30 + ".png"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_tar_round_trip(tmp_path, suffix, form):
    files = {"set/cats/b.png": png(1), "set/cats/a.png": png(2), f"set/dogs/{LONG}": png(3), "set/dogs/ü.png": png(4)}
    mode = "w:" + suffix.partition(".")[2]
    path = tar(tmp_path / f"x.{suffix}", {**files, "set/readme.txt": b"hello", "set/.DS_Store": b"x"}, mode, form)
    source = sent(opened(path))
    assert isinstance(source, Tar)
    items, rejected = listed(source)
    assert {item.name: source.load(item) for item in items} == files
    assert {item.name: item.label for item in items} == {name: name.split("/")[1] for name in files}
    assert rejected == {"set/readme.txt": "not an image (.txt)"}
    assert [source.load(item) for item in reversed(items)] == [files[item.name] for item in reversed(items)]
    if suffix == "tar":
        assert [item.name for item in items] == list(files), "as they stand in the archive"
        first = opened(path, rules=1)
        assert [item.name for item in listed(first)[0]] == sorted(files, key=str.encode)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../a.png", "leads out of the archive"),
        ("x/../../a.png", "leads out of the archive"),
        ("/etc/a.png", "absolute path"),
        ("C:/a.png", "absolute path"),
        ("a\\b.png", "backslash"),
    ],
)
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_tar_names_that_escape(tmp_path, name, says, suffix):
    path = tar(tmp_path / f"x.{suffix}", {"ok.png": png(1), name: png(2)}, "w:" + suffix.partition(".")[2])
    assert says in refusal(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_tar_links_and_devices(tmp_path, kind):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert "x.tar: a.png: the archive is refused, since this entry is" in refusal(path)


def test_tar_with_a_repeated_name(tmp_path):
    path = tar(tmp_path / "x.tar", {"a.png": png(1)})
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    assert "two entries have this name" in refusal(path)


@pytest.mark.parametrize("keep", [700, 1300, 1536, 2000])
@pytest.mark.parametrize("zipped", [False, True])
def test_tar_cut_short(tmp_path, keep, zipped):
    whole = tar(tmp_path / "x.tar", {f"{i}.png": png(i) for i in range(3)}).read_bytes()
    path = tmp_path / ("y.tar.gz" if zipped else "y.tar")
    path.write_bytes(gzip.compress(whole)[: keep // 4] if zipped else whole[:keep])
    assert "not a whole tar archive" in refusal(path)


def test_tar_with_a_damaged_header(tmp_path):
    path = tar(tmp_path / "x.tar", {f"{i}.png": png(i) for i in range(3)})
    data = bytearray(path.read_bytes())
    second = data.index(b"1.png")
    data[second + 130] ^= 1
    path.write_bytes(data)
    assert "not a whole tar archive" in refusal(path)


def test_tar_with_a_wrong_size(tmp_path):
    info = tarfile.TarInfo("a.png")
    info.size = 1 << 40
    (tmp_path / "x.tar").write_bytes(info.tobuf() + b"x" * 1024)
    assert "larger than 512 MB" in refusal(tmp_path / "x.tar")
    info.size = 4096
    (tmp_path / "x.tar").write_bytes(info.tobuf() + b"x" * 1024)
    assert "cut short in a.png" in refusal(tmp_path / "x.tar")
    path = tmp_path / "pax.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.png")
        info.pax_headers = {"path": "../../a.png"}
        archive.addfile(info)
    assert "leads out" in refusal(path)


def test_tar_with_an_enormous_header(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "x.tar").write_bytes(info.tobuf() + b"\0" * 1024)
    assert "a header of 1024 MB" in refusal(tmp_path / "x.tar")


def test_tar_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("kantor.data.sources.open_file.ALWAYS_ALLOWED", 1 << 20)
    path = tar(tmp_path / "x.tar.gz", {f"{i}.png": bytes(1 << 19) for i in range(8)}, "w:gz")
    assert "a bomb" in refusal(path)


def test_empty_tars(tmp_path):
    assert "no images" in refusal(tar(tmp_path / "x.tar", {}))
    (tmp_path / "y.tar.gz").write_bytes(gzip.compress(bytes(1 << 20)))
    assert "no images" in refusal(tmp_path / "y.tar.gz")
    inner = tar(tmp_path / "inner.tar", {"a.png": png(1)}).read_bytes()
    assert "found: 1 .tar" in refusal(tar(tmp_path / "z.tar", {"inner.tar": inner}))


def test_a_damaged_image_in_a_tar_is_one_rejected_image(tmp_path):
    path = tar(tmp_path / "x.tar", {f"{i}.png": png(i) if i != 3 else png(i)[:60] for i in range(6)})
    report = pack(opened(path), DataConfig(), ImageSpec(8, 8, 3), tmp_path / "p", workers=1)
    assert (report.count, report.bad) == (5, 1)


# --- WebDataset ---------------------------------------------------------------------------------------------------


def test_webdataset_labels(tmp_path):
    files = {}
    for i in range(4):
        files |= {f"k{i}.png": png(i), f"k{i}.cls": str(i % 2).encode(), f"k{i}.txt": b"a caption"}
    source = opened(tar(tmp_path / "x.tar", files))
    items, rejected = listed(source)
    assert [item.label for item in items] == ["0", "1", "0", "1"]
    assert not rejected
    files |= {f"k{i}.json": json.dumps({"class": "ab"[i % 2]}).encode() for i in range(4)}
    assert [item.label for item in listed(opened(tar(tmp_path / "y.tar", files)))[0]] == ["a", "b", "a", "b"]
    assert all(item.label is None for item in listed(opened(tmp_path / "y.tar", labels="none"))[0])
    files["k1.json"] = b"{broken"
    assert "k1.json: this label cannot be read" in refusal(tar(tmp_path / "z.tar", files))


def test_folder_of_shards(tmp_path):
    for shard in range(3):
        tar(tmp_path / f"part-{shard}.tar", {f"{i}.png": png(10 * shard + i) for i in range(2)})
    (tmp_path / "README.md").write_text("shards")
    source = sent(opened(tmp_path))
    assert isinstance(source, Concatenated)
    items, _ = listed(source)
    assert [item.name for item in items] == [f"part-{s}.tar/{i}.png" for s in range(3) for i in range(2)]
    assert [source.load(item) for item in items] == [png(10 * s + i) for s in range(3) for i in range(2)]


@pytest.mark.parametrize("suffix", ["tar", "tfrecord"])
def test_label_file_for_a_folder_of_shards(tmp_path, suffix):
    folder = tmp_path / "shards"
    folder.mkdir()
    names = ["0.png", "1.png"] if suffix == "tar" else ["0", "1"]
    for shard in range(2):
        if suffix == "tar":
            tar(folder / f"{shard}.tar", {name: png(i) for i, name in enumerate(names)})
        else:
            write_records(folder / f"{shard}.tfrecord", *({"image": png(i)} for i in range(2)))
    (tmp_path / "l.csv").write_text("".join(f"{s}.{suffix}/{n},{s}{n[0]}\n" for s in range(2) for n in names))
    source = opened(folder, labels=str(tmp_path / "l.csv"))
    assert [item.label for item in listed(source)[0]] == ["00", "01", "10", "11"]
    (tmp_path / "l.csv").write_text(f"0.{suffix}/{names[0]},x\n")
    assert f"3 images (0.{suffix}/{names[1]}, 1.{suffix}/{names[0]}, " in refusal(
        folder, labels=str(tmp_path / "l.csv")
    )


@pytest.mark.parametrize(
    ("names", "used"),
    [
        (
            ["test-00000.tar", "train-00000.tar", "train-00001.tar", "validation-00000.tar"],
            ["train-00000.tar", "train-00001.tar"],
        ),
        (["cats-train.tar", "cats-val.tar"], ["cats-train.tar"]),
        (["test-0.tar", "test-1.tar"], ["test-0.tar", "test-1.tar"]),
        (["latest.tar", "trains.tar"], ["latest.tar", "trains.tar"]),
    ],
)
def test_evaluation_shards_are_left_out(tmp_path, names, used):
    for number, name in enumerate(names):
        tar(tmp_path / name, {f"{number}.png": png(number)})
    source = opened(tmp_path)
    assert len(listed(source)[0]) == len(used)
    assert (source.prefixes if len(used) > 1 else [Path(source.path).name]) == used
    note = f"{len(used)} of {len(names)} files of this folder are used, those for training, not {names[0]}"
    assert (note[:30] in source.note) == (len(used) < len(names))


def test_equal_notes_of_shards_appear_once(tmp_path):
    for number in range(3):
        parquet(tmp_path / f"{number}.parquet", {"image": [png(number)]})
    assert opened(tmp_path).note == "images are the column image"


# --- npz ----------------------------------------------------------------------------------------------------------

STACK = np.random.default_rng(0).integers(0, 256, (30, 8, 9, 3), np.uint8)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train"), ("arr_0", "arr_1"), ("odd", "labels")])
def test_npz_round_trip(tmp_path, save, names):
    labels = np.arange(30) % 4
    save(tmp_path / "x.npz", **{names[0]: STACK, names[1]: labels, "x_test": STACK[:5, 0, 0]})
    source = sent(opened(tmp_path / "x.npz"))
    assert isinstance(source, Npz)
    assert f"the array {names[0]}" in source.note
    items, _ = listed(source)
    assert [item.label for item in items] == [str(n) for n in labels]
    for item in [*items, items[3], items[29], items[0]]:
        np.testing.assert_array_equal(source.load(item), STACK[item.position])


def test_npz_faults(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, images=np.array([{}, 1], dtype=object))
    assert "Python objects" in refusal(path)
    np.savez(path, images=STACK.astype(np.complex64))
    assert "complex64" in refusal(path)
    np.savez(path, a=STACK, b=STACK)
    assert "which of its arrays" in refusal(path)
    np.savez(path, images=STACK, labels=np.arange(29))
    assert "29 labels for 30 images" in refusal(path)
    path.write_bytes(b"PK\x03\x04 and nothing")
    assert "not a whole zip archive" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no array")
    assert "no array" in refusal(path)
    buffer = io.BytesIO()
    np.save(buffer, STACK)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", buffer.getvalue()[:-100])
    assert "cut off" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../images.npy", buffer.getvalue())
    assert "leads out of the archive; save it again with np.savez" in refusal(path)


def test_npz_with_other_arrays(tmp_path):
    path = tmp_path / "x.npz"
    odd = {"names": np.array([{}, 1], dtype=object), "masks": np.asfortranarray(np.zeros((4, 5)))}
    np.savez(path, images=STACK, labels=np.arange(30) % 3, **odd)
    assert [item.label for item in listed(opened(path))[0]] == [str(i % 3) for i in range(30)]
    np.savez(path, images_of_mine=STACK, **odd)
    assert "the array images_of_mine" in opened(path).note
    np.savez(path, odd["names"], STACK)
    assert "Python objects" in refusal(path)


def test_npz_of_two_arrays_of_images(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, STACK, STACK[:5])
    items, _ = listed(opened(path))
    assert [item.label for item in items] == [None] * 30
    np.savez(path, STACK, np.arange(30, dtype=np.float32))
    assert listed(opened(path))[0][3].label is None


def test_npz_with_many_equal_labels(tmp_path):
    np.savez_compressed(
        tmp_path / "x.npz", images=np.zeros((1_000_000, 2, 2), np.uint8), labels=np.zeros(1_000_000, int)
    )
    assert next(opened(tmp_path / "x.npz").items()).label == "0"


# --- TFRecord -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
)
def test_crc32c_of_known_texts(text, value):
    """The check value of the CRC catalogue, and RFC 3720, appendix B.4."""
    assert tfrecords.crc32c(text) == value


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 70_000])
def test_crc32c_by_tables_equals_crc32c_bit_by_bit(length):
    data = np.random.default_rng(length).bytes(length)
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert tfrecords.crc32c(data) == crc ^ 0xFFFFFFFF


def write_records(path: Path, *features: dict[str, bytes | str | int]) -> Path:
    data = b"".join(tfrecords.record(tf_examples.example(f)) for f in features)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["x.tfrecord", "x.tfrecord.gz", "train.tfrecord-00000-of-00001", "unnamed"])
def test_tfrecord_round_trip(tmp_path, name):
    features = [{"image/encoded": png(i), "image/class/label": i % 3} for i in range(7)]
    source = sent(opened(write_records(tmp_path / name, *features)))
    assert isinstance(source, TfRecord)
    items, _ = listed(source)
    assert [item.label for item in items] == [str(i % 3) for i in range(7)]
    assert [source.load(item) for item in [*items, items[0]]] == [*(png(i) for i in range(7)), png(0)]


def test_tfrecord_of_bare_pixels(tmp_path):
    """As the CelebA study wrote them: nothing but the bytes of a square image. And with their size next to them."""
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    source = opened(write_records(tmp_path / "x.tfrecord.gz", *[{"image": image.tobytes()}] * 3))
    items, _ = listed(source)
    np.testing.assert_array_equal(source.load(items[2]), image)
    wide = {"image_raw": image.tobytes(), "height": 8, "width": 32, "depth": 3, "label": 5}
    source = opened(write_records(tmp_path / "y.tfrecord", wide))
    items, _ = listed(source)
    np.testing.assert_array_equal(source.load(items[0]), image.reshape(8, 32, 3))
    assert items[0].label == "5"
    wide["width"] = 31
    assert "neither an encoded image nor one of 8x31" in refusal(write_records(tmp_path / "z.tfrecord", wide))


def test_tfrecord_of_pixels_that_start_like_a_file(tmp_path):
    size = {"height": 16, "width": 16, "channels": 3}
    for start in (b"BM", b"\xff\xd8\xff"):
        pixels = start + np.random.default_rng(0).bytes(768 - len(start))
        source = opened(write_records(tmp_path / "x.tfrecord", {"image_raw": pixels, **size}))
        image = source.load(listed(source)[0][0])
        assert isinstance(image, np.ndarray) and image.tobytes() == pixels
    file = nasty.encode(nasty.photo(16, 16), "BMP")
    source = opened(
        write_records(tmp_path / "y.tfrecord", {"image": file, **size, "width": 1, "height": len(file) // 3})
    )
    assert source.load(listed(source)[0][0]) == file


def test_tfrecord_against_another_library(tmp_path):
    """Both ways, with the package tfrecord (MIT)."""
    library = pytest.importorskip("tfrecord", reason="the package tfrecord is not installed")
    from tfrecord.reader import tfrecord_loader

    writer = library.TFRecordWriter(str(tmp_path / "theirs.tfrecord"))
    for i in range(5):
        writer.write({"image": (png(i), "byte"), "label": (i - 2, "int"), "weights": ([0.5, i], "float")})
    writer.close()
    source = opened(tmp_path / "theirs.tfrecord")
    items, _ = listed(source)
    assert [source.load(item) for item in items] == [png(i) for i in range(5)]
    assert [item.label for item in items] == ["-2", "-1", "0", "1", "2"]
    with (tmp_path / "theirs.tfrecord").open("rb") as file:
        weights = parse_example(tfrecords.read_record(file, items[3].position, items[3].size))["weights"]
    assert weights == [0.5, 3.0]
    for name in ("ours.tfrecord", "ours.tfrecord.gz"):
        features = [{"image": png(i), "label": i, "text": f"klasse {i}"} for i in range(300, 305)]
        path = write_records(tmp_path / name, *features)
        kind = "gzip" if name.endswith("gz") else None
        theirs = tfrecord_loader(
            str(path), None, {"image": "byte", "label": "int", "text": "byte"}, compression_type=kind
        )
        for i, record in zip(range(300, 305), theirs, strict=True):
            assert bytes(record["image"]) == png(i)
            assert int(record["label"][0]) == i
            assert bytes(record["text"]) == f"klasse {i}".encode()


def test_tfrecord_faults(tmp_path):
    path = write_records(tmp_path / "x.tfrecord", *({"image": png(i), "label": i} for i in range(3)))
    whole = path.read_bytes()
    for keep in (5, 14, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        assert "not a whole TFRecord file (cut short in record" in refusal(path)
    path.write_bytes(whole[:8] + b"\0\0\0\0" + whole[12:])
    assert "the length of record 0 does not verify" in refusal(path)
    head = struct.pack("<Q", 1 << 60)
    path.write_bytes(head + struct.pack("<I", tfrecords.masked_crc(head)) + whole)
    assert "record 0 claims" in refusal(path)
    path.write_bytes(b"")
    assert "empty file" in refusal(path)
    data = bytearray(whole)
    data[len(whole) // 3 + 20] ^= 1  # in the second image
    path.write_bytes(data)
    items, rejected = listed(opened(path))
    assert rejected == {"1": "damaged record (its checksum is wrong)"}
    assert [item.name for item in items] == ["0", "2"]
    source = opened(path, labels="none")
    with pytest.raises(Undecodable, match="damaged record"):
        source.load(listed(source)[0][1])
    assert "features found: 'height', 'width'" in refusal(write_records(path, {"height": 3, "width": 4}))


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0a\x7f", b"\x0b", b"\xff" * 40]
)
def test_messages_that_break_the_format(data):
    with pytest.raises(tfrecords.Malformed):
        parse_example(data)


# --- Parquet ------------------------------------------------------------------------------------------------------


def parquet(path: Path, columns: dict, metadata: dict | None = None, **more) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    writer = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table(columns)
    if metadata:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    writer.write_table(table, path, **more)
    return path


def test_parquet_as_hugging_face_writes_it(tmp_path):
    columns = {"image": [{"bytes": png(i), "path": f"{i}.png"} for i in range(7)], "label": [i % 2 for i in range(7)]}
    names = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    source = sent(opened(parquet(tmp_path / "x.parquet", columns, names, row_group_size=3)))
    assert isinstance(source, Parquet)
    items, _ = listed(source)
    assert [item.label for item in items] == ["cat", "dog"] * 3 + ["cat"]
    assert [source.load(item) for item in [*items, items[1]]] == [*(png(i) for i in range(7)), png(1)]
    report = pack(opened(tmp_path / "x.parquet"), DataConfig(), ImageSpec(8, 8, 3), tmp_path / "p")
    assert report.count == 7


def test_parquet_of_binary_and_its_faults(tmp_path):
    source = opened(parquet(tmp_path / "x.parquet", {"scan": [png(0), None, png(2)], "name": ["a", "b", "c"]}))
    items, _ = listed(source)
    assert source.load(items[2]) == png(2)
    assert all(item.label is None for item in items)
    with pytest.raises(Undecodable, match="holds no image"):
        source.load(items[1])
    assert "columns: a, b" in refusal(parquet(tmp_path / "y.parquet", {"a": [1], "b": ["x"]}))
    data = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "z.parquet").write_bytes(data[: len(data) // 2])
    assert "not a whole Parquet file" in refusal(tmp_path / "z.parquet")


def test_parquet_without_its_package(tmp_path, monkeypatch, capsys):
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + b"x" * 600)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert exit_of("pack", tmp_path / "x.parquet", "--out", tmp_path / "p") == 5
    assert "pip install 'kantor[parquet]'" in capsys.readouterr().err


# --- targets ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(11):
        path = folder / "in" / ("ägypten" if i % 3 else "b c") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i, (12, 10)))
    pack(opened(folder / "in"), DataConfig(), ImageSpec(12, 10, 3), folder / "set", workers=1)
    return Store.open(folder / "set")


@pytest.mark.parametrize("kind", ["tfrecord", "webdataset"])
def test_targets_read_back_equal(tmp_path, packed, kind):
    """Pixel for pixel, with their classes; more than one shard."""
    write_shards(kind, packed, tmp_path / "out", silent, lambda: None, shard_bytes=3000)
    assert len(list((tmp_path / "out").iterdir())) > 2
    source = opened(tmp_path / "out")
    items, rejected = listed(source)
    assert not rejected
    labels = packed.labels(np.arange(11))
    assert labels is not None
    assert [item.label for item in items] == [packed.class_names[n] for n in labels]
    for row, item in enumerate(items):
        image = decode(source.load(item), DecodeSettings(ImageSpec(12, 10, 3)))[0]
        np.testing.assert_array_equal(image, packed.images(np.array([row]))[0])


def test_webdataset_is_a_tar_to_others(tmp_path, packed):
    write_shards("webdataset", packed, tmp_path / "out", silent, lambda: None)
    with tarfile.open(tmp_path / "out" / "pictures-00000.tar") as archive:
        names = archive.getnames()
        assert names[:3] == ["000000000.png", "000000000.cls", "000000000.json"]
        assert len(names) == 33
        image = Image.open(archive.extractfile("000000004.png"))  # type: ignore[arg-type]
        np.testing.assert_array_equal(np.asarray(image), packed.images(np.array([4]))[0])


@pytest.mark.parametrize("kind", ["tfrecord", "webdataset"])
def test_pack_writes_them_and_training_reads_them(tmp_path, packed, kind, capsys):
    folder = packed.path.parent / "in"
    words = ["--format", kind, "--size", "12x10", "--cache", tmp_path / "cache"]
    assert exit_of("pack", folder, "--out", tmp_path / "out", *words) == 0
    assert f"wrote 11 images, 12x10 RGB, as {kind}" in capsys.readouterr().out
    assert exit_of("pack", folder, "--out", tmp_path / "out", *words) == 2
    assert "already exists" in capsys.readouterr().err
    assert exit_of("pack", tmp_path / "out", "--out", tmp_path / "again", "--size", "12x10") == 0
    again = Store.open(tmp_path / "again")
    np.testing.assert_array_equal(np.sort(again.whole(), axis=0), np.sort(packed.whole(), axis=0))
    assert again.class_names == packed.class_names
    assert exit_of("pack", folder, "--out", tmp_path / "o", "--format", "tfrecords") == 2
    for kind in ("tfrecord", "webdataset"):  # a folder of the user's is never replaced, one of ours is
        words = ["--format", kind, "--cache", tmp_path / "cache", "--overwrite"]
        mine = tmp_path / f"mine-{kind}"
        assert exit_of("pack", folder, "--out", mine, *words) == 0
        assert exit_of("pack", folder, "--out", mine, *words) == 0
        (mine / "thesis.txt").write_text("precious")
        assert exit_of("pack", folder, "--out", mine, *words) == 2
        assert (mine / "thesis.txt").read_text() == "precious"
    assert "did you mean" in capsys.readouterr().err
