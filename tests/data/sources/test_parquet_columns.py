"""Which columns of a Parquet file hold images and classes: files of pyarrow, pandas, polars, DuckDB and datasets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kantor.config.data import DataConfig
from kantor.data.packing.scan import cache_key, scan
from kantor.data.sources.parquet import Parquet
from kantor.types import ImageSpec
from support.pictures import listed, opened, pixels, png, refusal, require_pixels

pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
writer = pytest.importorskip("pyarrow.parquet")

IMAGES = [pixels(i) for i in range(6)]
FILES = [png(i) for i in range(6)]
NAMES = ["cat", "dog", "cow"] * 2


def table(path: Path, **columns) -> Path:
    writer.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize("kind", ["binary", "large_binary", "binary_view", "dictionary", "fixed"])
@pytest.mark.parametrize("text", ["string", "large_string", "string_view", "dictionary"])
def test_types_of_binary_and_text(tmp_path, kind, text):
    files = [png(i, (4, 4, 3)) for i in range(6)]
    if kind == "fixed":
        from support import nasty

        files = [nasty.encode(nasty.photo(8, 8), "BMP")] * 6
        images = pyarrow.array(files, pyarrow.binary(len(files[0])))
    elif kind == "dictionary":
        images = pyarrow.array(files).dictionary_encode()
    else:
        images = pyarrow.array(files).cast(getattr(pyarrow, kind)())
    labels = pyarrow.array(NAMES)
    labels = labels.dictionary_encode() if text == "dictionary" else labels.cast(getattr(pyarrow, text)())
    source = opened(table(tmp_path / "x.parquet", image=images, label=labels))
    items, _ = listed(source)
    assert [source.load(item) for item in items] == files
    assert [item.label for item in items] == NAMES


def test_polars_writes_it(tmp_path):
    polars = pytest.importorskip("polars")
    kinds = polars.Series(NAMES, dtype=polars.Categorical)
    polars.DataFrame({"image": FILES, "label": kinds}).write_parquet(tmp_path / "x.parquet")
    assert require_pixels(opened(tmp_path / "x.parquet"), IMAGES) == NAMES
    grey = np.stack([pixels(i, (9, 7)) for i in range(6)])
    polars.DataFrame({"scan": polars.Series(grey), "label": [0.0, 1.0, 2.0] * 2}).write_parquet(tmp_path / "y.parquet")
    source = opened(tmp_path / "y.parquet")
    assert source.exact
    assert require_pixels(source, list(grey)) == ["0", "1", "2"] * 2


def test_duckdb_writes_it(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    connection.register("rows_", pyarrow.table({"image": FILES, "n": [0, 1, 2] * 2}))
    for kind in ("hugeint", "double", "decimal(6, 2)", "utinyint"):
        path = tmp_path / "x.parquet"
        connection.sql(f"copy (select image, n::{kind} as label from rows_) to '{path}' (format parquet)")
        assert require_pixels(opened(path), IMAGES) == ["0", "1", "2"] * 2
    with_first_rules = Parquet(str(tmp_path / "x.parquet"), rules=1)
    assert [item.label for item in listed(with_first_rules)[0]] == ["0", "1", "2"] * 2


def test_pandas_categories(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": FILES, "label": pandas.Categorical(NAMES)})
    frame.to_parquet(tmp_path / "x.parquet")
    assert require_pixels(opened(tmp_path / "x.parquet"), IMAGES) == NAMES


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0, 2.0, float("nan"), None, -1.0], ["0", "1", "2", None, None, "-1"]),
        ([True, False, True, None, True, False], ["True", "False", "True", None, "True", "False"]),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1], None, [1, 0, 0], [0, 1, 0]], ["0", "1", "2", None, "0", "1"]),
        ([[1.0, 0.0], [0.0, 1.0]] * 3, ["0", "1"] * 3),
        ([[True, False], [False, True]] * 3, ["0", "1"] * 3),
        ([[4], [7]] * 3, ["4", "7"] * 3),
    ],
)
def test_numbers_that_are_classes(tmp_path, values, expected):
    path = table(tmp_path / "x.parquet", image=FILES, label=values)
    assert [item.label for item in listed(opened(path))[0]] == expected
    by_first = [item.label for item in listed(opened(path, rules=1))[0]]
    assert by_first == (expected if isinstance(values[0], bool) else [None] * 6)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pyarrow.array([[1, 0, 2, 3, 4]] * 6, pyarrow.list_(pyarrow.int64(), 5)), "is a list of 5 numbers"),
        ([[1, 1, 0]] * 6, "is a list of 3 numbers"),
        ([[1], [1, 0]] * 3, "is a list of numbers, not always as many"),
        ([0.5] * 6, "holds numbers that are not whole (0.5)"),
        ([[b"a"]] * 6, "is a list of binary"),
        ([{"a": 1}] * 6, "is of type struct<a: int64>"),
    ],
)
def test_labels_that_are_no_classes_are_said(tmp_path, values, reason):
    path = table(tmp_path / "x.parquet", image=FILES, label=values)
    source = opened(path)
    assert {item.label for item in listed(source)[0]} == {None}
    assert source.note == f"images are the column image; column label {reason}; not classes"
    assert opened(path, rules=1).note == "images are the column image"
    assert opened(path, labels="none").note == "images are the column image"


def test_names_of_classes_for_whole_fractions(tmp_path):
    names = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    made = pyarrow.table({"image": FILES, "label": [0.0, 1.0] * 3})
    writer.write_table(made.replace_schema_metadata({"huggingface": json.dumps(names)}), tmp_path / "x.parquet")
    assert [item.label for item in listed(opened(tmp_path / "x.parquet"))[0]] == ["cat", "dog"] * 3


@pytest.mark.parametrize("kind", [pyarrow.uint8(), pyarrow.int64(), pyarrow.float32(), pyarrow.float16()])
def test_numbers_that_are_images(tmp_path, kind):
    grey = [pixels(i, (12, 12)).astype(kind.to_pandas_dtype()) for i in range(6)]
    flat = pyarrow.array([image.ravel().tolist() for image in grey], pyarrow.list_(kind))
    source = opened(table(tmp_path / "x.parquet", pixels=flat, label=NAMES))
    assert require_pixels(source, grey) == NAMES
    assert source.load(listed(source)[0][0]).dtype == kind.to_pandas_dtype()
    fixed = pyarrow.array([image.ravel().tolist() for image in grey], pyarrow.list_(kind, 144))
    require_pixels(opened(table(tmp_path / "y.parquet", image=fixed)), grey)
    nested = pyarrow.array([image.tolist() for image in grey], pyarrow.list_(pyarrow.list_(kind)))
    require_pixels(opened(table(tmp_path / "z.parquet", anything=nested)), grey)


def test_colours_beside_each_other_and_in_planes(tmp_path):
    images = [pixels(i, (9, 7, 3)) for i in range(4)]
    require_pixels(opened(table(tmp_path / "x.parquet", image=[image.tolist() for image in images])), images)
    planes = [image.transpose(2, 0, 1).tolist() for image in images]
    require_pixels(opened(table(tmp_path / "y.parquet", image=planes)), images)
    tensors = pyarrow.FixedShapeTensorArray.from_numpy_ndarray(np.stack(images))
    require_pixels(opened(table(tmp_path / "z.parquet", image=tensors)), images)


def test_numbers_without_the_shape_of_an_image(tmp_path):
    text = refusal(table(tmp_path / "x.parquet", image=[list(range(3072))]))
    assert "column image: row 0: a list of 3072 numbers is no square image; store lists [height][width]" in text
    ragged = pyarrow.array([[[1, 2], [3, 4]], [[1, 2], [3]], None, [[1, None], [3, 4]]])
    source = opened(table(tmp_path / "y.parquet", image=ragged))
    items, _ = listed(source)
    assert source.load(items[0]).shape == (2, 2)
    for item, reason in zip(items[1:], ("several lengths", "holds no image", "numbers are missing"), strict=True):
        with pytest.raises(Exception, match=reason):
            source.load(item)
    assert "no column holds encoded images" in refusal(table(tmp_path / "z.parquet", embedding=[[1.0] * 64]))


def test_arrays_of_hugging_face(tmp_path):
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["x", "y"])
    for kind, shape in ((datasets.Array2D, (8, 9)), (datasets.Array3D, (3, 8, 9)), (datasets.Array3D, (8, 9, 3))):
        images = [pixels(i, shape) for i in range(4)]
        features = datasets.Features({"image": kind(shape, "uint8"), "label": names})
        made = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 1, 0]}, features=features)
        made.to_parquet(tmp_path / "x.parquet")
        expected = [image.transpose(1, 2, 0) if shape[0] == 3 else image for image in images]
        assert require_pixels(opened(tmp_path / "x.parquet"), expected) == ["x", "y", "y", "x"]


def test_rows_that_hold_paths(tmp_path):
    datasets = pytest.importorskip("datasets")
    paths = [tmp_path / f"p{i:02}.png" for i in range(3)]
    for path, file in zip(paths, FILES, strict=False):
        path.write_bytes(file)
    made = datasets.Dataset.from_dict({"image": list(map(str, paths))}).cast_column("image", datasets.Image())
    made.to_parquet(tmp_path / "x.parquet")
    text = refusal(tmp_path / "x.parquet")
    assert f"its rows hold paths of images, not the images (the first is {paths[0]})" in text
    assert 'store {"bytes": ..., "path": None}' in text and "python:NAME" in text
    rows = [{"bytes": None, "path": "a.png"}] * 70 + [{"bytes": FILES[0], "path": "b.png"}]
    assert len(listed(opened(table(tmp_path / "y.parquet", image=rows)))[0]) == 71


def test_one_of_several_columns(tmp_path):
    path = table(tmp_path / "x.parquet", left=FILES, right=FILES[::-1], label=NAMES, n=[1] * 6)
    text = refusal(path)
    assert "which column holds images is not clear (left, right)" in text and "x.parquet:left" in text
    assert require_pixels(opened(f"{path}:right"), IMAGES[::-1]) == NAMES
    assert opened(f"{path}:right").note == "images are the column right"
    assert "there is no column rihgt; did you mean" in refusal(f"{path}:rihgt")
    assert "column n is of type int64, not images; choose one of left, right" in refusal(f"{path}:n")
    assert "no such file" in refusal(f"{tmp_path / 'y.parquet'}:right")
    keys = {
        cache_key(source, DataConfig(), ImageSpec(8, 8, 3), scan(source, DataConfig()))
        for source in (opened(f"{path}:left"), opened(f"{path}:right"))
    }
    assert len(keys) == 2
    odd = tmp_path / "x.parquet:left"
    odd.write_bytes(table(tmp_path / "z.parquet", image=FILES[:1]).read_bytes())
    assert len(listed(opened(odd))[0]) == 1


def test_the_only_struct_with_bytes(tmp_path):
    rows = [{"bytes": file, "path": None} for file in FILES]
    require_pixels(opened(table(tmp_path / "x.parquet", photo=rows, code=[b"abc"] * 6)), IMAGES)
    texts = table(tmp_path / "y.parquet", image=["a.png"] * 6, thumb=FILES)
    assert opened(texts).note == "images are the column thumb (column image holds texts: not read)"
    assert "column image holds texts, not images" in refusal(table(tmp_path / "z.parquet", image=["a.png"]))


def test_first_rules_choose_as_before(tmp_path):
    views = pyarrow.array(FILES[::-1]).cast(pyarrow.binary_view())
    path = table(tmp_path / "x.parquet", image=views, scan=FILES, label=[1.0] * 6)
    assert require_pixels(opened(path, rules=1), IMAGES) == [None] * 6
    assert require_pixels(opened(path), IMAGES[::-1]) == ["1"] * 6


def test_many_columns_without_an_image_make_a_short_line(tmp_path: Path) -> None:
    file = table(tmp_path / "x.parquet", **{f"c{i}": [0, 1] for i in range(785)})
    text = refusal(file)
    assert "no column holds encoded images (columns: c0, c1" in text and "and 773 more)" in text
