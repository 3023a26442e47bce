"""Arrow files and streams of pyarrow, polars and pandas, and folders of Hugging Face's datasets."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from kantor.data.reasons import Undecodable
from kantor.data.sources import arrow_file
from kantor.data.sources.arrow import Arrow, is_saved_dataset, saved_dataset
from kantor.errors import DataError, ResourceError
from support.pictures import listed, opened, pixels, png, refusal, require_pixels

pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
ipc = pytest.importorskip("pyarrow.ipc")

IMAGES = [pixels(i) for i in range(9)]
FILES = [png(i) for i in range(9)]
NAMES = ["cat", "dog", "cow"] * 3


def write(path: Path, stream: bool, compression: str | None = None, rows: int = 4, **columns) -> Path:
    table = pyarrow.table(columns)
    new = ipc.new_stream if stream else ipc.new_file
    with new(str(path), table.schema, options=ipc.IpcWriteOptions(compression=compression)) as sink:
        sink.write_table(table, max_chunksize=rows)
    return path


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize("name", ["x.arrow", "x.feather", "unnamed"])
def test_files_and_streams(tmp_path, stream, compression, name):
    path = write(tmp_path / name, stream, compression, image=FILES, label=pyarrow.array(NAMES).dictionary_encode())
    source = opened(path)
    assert isinstance(source, Arrow)
    assert require_pixels(source, IMAGES) == NAMES
    items, _ = listed(source)
    for i in (8, 0, 5, 3, 4):
        assert source.load(items[i]) == FILES[i]


def test_feather_and_polars(tmp_path):
    pytest.importorskip("pyarrow.feather").write_feather(
        pyarrow.table({"image": FILES, "label": NAMES}), str(tmp_path / "x.feather"), compression="zstd"
    )
    assert require_pixels(opened(tmp_path / "x.feather"), IMAGES) == NAMES
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"image": FILES, "label": NAMES, "n": range(9)})
    for compression in ("uncompressed", "zstd", "lz4"):
        frame.write_ipc(tmp_path / "y.arrow", compression=compression)
        assert require_pixels(opened(tmp_path / "y.arrow"), IMAGES) == NAMES
        frame.write_ipc_stream(tmp_path / "z.arrow", compression=compression)
        assert require_pixels(opened(tmp_path / "z.arrow"), IMAGES) == NAMES


def test_numbers_and_a_named_column(tmp_path):
    grey = [pixels(i, (9, 7)) for i in range(9)]
    path = write(tmp_path / "x.arrow", True, image=FILES, mask=[image.tolist() for image in grey], label=[1.0] * 9)
    assert require_pixels(opened(f"{path}:mask"), grey) == ["1"] * 9


def test_damage(tmp_path):
    for stream in (True, False):
        path = write(tmp_path / "x.arrow", stream, image=FILES, label=NAMES)
        whole = path.read_bytes()
        for keep in (4, 40, len(whole) // 2):
            path.write_bytes(whole[:keep])
            assert "not a whole Arrow file" in refusal(path)
        path.write_bytes(b"ARROW1\0\0" + bytes(400))
        assert "not a whole Arrow file" in refusal(path)
    path.write_bytes(b"FEA1" + bytes(400))
    assert "version 1 of Feather" in refusal(path)


@pytest.mark.parametrize("stream", [True, False])
def test_offsets_that_lead_out_of_the_file(tmp_path, stream):
    path = write(tmp_path / "x.arrow", stream, rows=3, image=FILES)
    data = bytearray(path.read_bytes())
    assert len({*map(len, FILES)}) == 1
    offsets = [i * len(FILES[0]) for i in range(4)]
    at = data.index(struct.pack("<4i", *offsets))
    at = data.index(data[at : at + 16], at + 1)  # the images of all batches have the same sizes
    data[at + 4 : at + 8] = struct.pack("<i", 1 << 30)
    path.write_bytes(data)
    source = opened(path)
    items, _ = listed(source)
    assert [source.load(item) for item in items[:3]] == FILES[:3]
    for item in items[3:6]:
        with pytest.raises(Undecodable, match="damaged record batch 1"):
            source.load(item)
    assert [source.load(item) for item in items[6:]] == FILES[6:]


@pytest.mark.parametrize("stream", [True, False])
def test_a_batch_that_unpacks_to_too_much(tmp_path, monkeypatch, stream):
    path = write(tmp_path / "x.arrow", stream, "zstd", image=[bytes(100_000)] * 9)
    monkeypatch.setattr(arrow_file, "MAX_BATCH_BYTES", 300_000)
    assert "a record batch unpacks to" in refusal(path)


def test_random_damage_is_an_error_or_a_rejected_image(tmp_path):
    import numpy as np

    path = write(tmp_path / "x.arrow", False, "lz4", image=FILES, label=NAMES)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 4):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            source = opened(path)
            items, _ = listed(source)
        except DataError:
            continue
        for item in items:
            try:
                source.load(item)
            except Undecodable:
                continue


def test_without_its_package(tmp_path, monkeypatch):
    path = write(tmp_path / "x.arrow", True, image=FILES)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ResourceError, match=r"pip install 'kantor\[parquet\]'"):
        opened(path)


# --- folders of datasets ------------------------------------------------------------------------------------------


def made(numbers: range, names: tuple[str, ...] = ("cat", "dog", "cow")):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
    rows = {"image": [{"bytes": png(i), "path": None} for i in numbers], "label": [i % 3 for i in numbers]}
    return datasets.Dataset.from_dict(rows, features=features)


def saved(folder: Path, **more):
    assert is_saved_dataset(folder)
    return saved_dataset(str(folder), folder, **more)


def test_a_saved_dataset(tmp_path):
    made(range(9)).save_to_disk(tmp_path / "x")
    assert require_pixels(saved(tmp_path / "x"), IMAGES) == NAMES
    made(range(9)).save_to_disk(tmp_path / "y", num_shards=3)
    source = saved(tmp_path / "y")
    assert require_pixels(source, IMAGES) == NAMES
    assert listed(source)[0][0].name == "data-00000-of-00003.arrow/0"
    made(range(20)).select([3, 1, 2]).save_to_disk(tmp_path / "z")
    assert require_pixels(saved(tmp_path / "z"), [pixels(3), pixels(1), pixels(2)]) == ["cat", "dog", "cow"]


def test_a_saved_dataset_of_splits(tmp_path):
    datasets = pytest.importorskip("datasets")
    splits = {"test": made(range(9, 12)), "train": made(range(9))}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "x")
    source = saved(tmp_path / "x")
    assert require_pixels(source, IMAGES) == NAMES
    assert source.note.startswith("images are those of the split train, not of test; ")
    require_pixels(saved(tmp_path / "x" / "test"), [pixels(i) for i in range(9, 12)])
    datasets.DatasetDict({"a": made(range(3)), "b": made(range(3))}).save_to_disk(tmp_path / "y")
    with pytest.raises(DataError, match=r"none is named train \(a, b\); name one of its folders: .*/a"):
        saved(tmp_path / "y")
    datasets.DatasetDict({"all": made(range(9))}).save_to_disk(tmp_path / "z")
    require_pixels(saved(tmp_path / "z"), IMAGES)


def test_the_cache_of_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = tmp_path / "rows"
    for name, numbers in (("train", range(9)), ("test", range(9, 12))):
        made(numbers).to_parquet(rows / f"{name}.parquet")
    files = {name: str(rows / f"{name}.parquet") for name in ("train", "test")}
    datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    source = saved(tmp_path / "cache")
    assert require_pixels(source, IMAGES) == NAMES
    assert "split train, not of test" in source.note


def test_folders_that_are_not_whole(tmp_path):
    made(range(9)).save_to_disk(tmp_path / "x")
    state = tmp_path / "x" / "state.json"
    text = json.loads(state.read_text())
    for name in ("../y.arrow", "gone.arrow", None):
        state.write_text(json.dumps({**text, "_data_files": [{"filename": name}]}))
        with pytest.raises(DataError, match="is not there"):
            saved(tmp_path / "x")
    state.write_text(json.dumps({**text, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(DataError, match="flatten_indices"):
        saved(tmp_path / "x")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["../x"]}')
    with pytest.raises(DataError, match="is not there"):
        saved(tmp_path / "d")
    assert not is_saved_dataset(tmp_path)
