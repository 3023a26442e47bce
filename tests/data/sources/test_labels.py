"""Labels as people have them: which column, which line for which image, what is refused in which words."""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.app.dataset.prepare import absolute_source
from kantor.config.data import DataConfig
from kantor.config.schema import Config
from kantor.data.packing.scan import cache_key, scan
from kantor.data.reasons import Reason
from kantor.data.sources import label_arrays, label_tables, labels
from kantor.data.sources.label_arrays import label_names
from kantor.data.sources.recognise import open_source
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError
from kantor.types import ImageSpec
from support.pictures import opened, pixels, refusal

COLOURS = ("red", "green", "blue")
IMAGES = [f"train/a{i:03d}.png" for i in range(12)]
TRUTH = {name: COLOURS[i % 3] for i, name in enumerate(IMAGES)}
IDS = [name[6:-4] for name in IMAGES]
ATTRIBUTES = [(-1 if i % 2 else 1, 1, -1 if i % 3 else 1) for i in range(12)]  # Bald, Male, Smiling


def attached(file: object, images: list[str] = IMAGES, notes: list[str] | None = None) -> dict[str, str | None]:
    entries = iter([*(Item(name, i) for i, name in enumerate(images)), Rejected("labels.csv", Reason("not_image", ""))])
    found = list(labels.attach_file(entries, str(file), notes=notes))
    assert isinstance(found[-1], Rejected)
    return {entry.name: entry.label for entry in found if isinstance(entry, Item)}


def refused(file: object, images: list[str] = IMAGES) -> str:
    with pytest.raises(DataError) as caught:
        attached(file, images)
    return str(caught.value)


@pytest.fixture
def table(tmp_path):
    def write(text: str, name: str = "labels.csv") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        return tmp_path / name

    return write


def lines(*rows: object, head: str = "", separator: str = ",") -> str:
    return head + "".join(separator.join(map(str, row)) + "\n" for row in rows)


# --- columns ------------------------------------------------------------------------------------------------------

PAIRS = list(TRUTH.items())


@pytest.mark.parametrize("text", [
    lines(*zip(IDS, TRUTH.values(), strict=True), head="id,breed\n"),
    lines(*zip(IDS, TRUTH.values(), strict=True), head="\ufeffimage_id,label\n"),
    lines(*zip(IDS, TRUTH.values(), strict=True)),
    lines(*((i, f"{IDS[i]}.png", TRUTH[IMAGES[i]]) for i in range(12)), head=",image,label\n"),
    lines(*((i, IDS[i], TRUTH[IMAGES[i]]) for i in range(12)), head="Unnamed: 0,Bild,Farbe\n"),
    lines(*((label, name) for name, label in PAIRS), head="Genre;Datei\n", separator=";"),
    lines(*PAIRS, head="x\ty\n", separator="\t"),
    lines(*PAIRS, separator="   "),
    lines(*((label, "data/set/" + name) for name, label in PAIRS)),
    lines(*((f"C:\\set\\{name}".replace("/", "\\"), label) for name, label in PAIRS)),
    lines(*((f"images/{id}.jpg", TRUTH[name]) for id, name in zip(IDS, IMAGES, strict=True)), head="f,l\n"),
    lines(*((name, '"a disc, ""filled"""', label) for name, label in PAIRS), head="file_name,text,label\n"),
    lines(*((name, label, "0.5", f"1.{i}") for i, (name, label) in enumerate(PAIRS)), head="img,kind,x,y\n"),
    lines(*((name, label, "train") for name, label in PAIRS), head="img,kind,part\n"),
    "\n" + lines(*((name, label, "") for name, label in PAIRS), head="img,kind\n"),
    lines(*PAIRS).replace("\n", "\r\n"),
    lines(*PAIRS).replace("\n", "\r"),
    '"label"\n' + lines(*((f'"{name}"', f'"{label}"') for name, label in PAIRS)),
    lines(*((id, *(int(TRUTH[n] == c) for c in COLOURS)) for id, n in zip(IDS, IMAGES, strict=True)),
          head="image,red,green,blue\n"),
    lines(*((id, *(float(TRUTH[n] == c) for c in COLOURS)) for id, n in zip(IDS, IMAGES, strict=True)),
          head="image,red,green,blue\n"),
    json.dumps(TRUTH),
    json.dumps({"labels": PAIRS}),
    json.dumps({"labels": TRUTH}),
    json.dumps([{"file": name, "label": label, "size": 3} for name, label in PAIRS]),
    json.dumps({name: {"label": label, "size": 3} for name, label in PAIRS}),
    "".join(json.dumps({"file_name": name, "label": label, "objects": {"bbox": []}}) + "\n" for name, label in PAIRS),
])  # fmt: skip
def test_tables_of_any_shape(table, text):
    assert attached(table(text)) == TRUTH


def test_excel_writes_utf_16(tmp_path):
    (tmp_path / "l.txt").write_bytes(lines(*PAIRS, separator="\t").encode("utf-16"))
    assert attached(tmp_path / "l.txt") == TRUTH


def test_a_column_by_name(table):
    rows = [(name, label, i % 2, f"{i % 4}.0", i / 8) for i, (name, label) in enumerate(PAIRS)]
    file = table(lines(*rows, head="File,Genre,is:new,Year,Score\n"))
    assert attached(f"{file}:Genre") == attached(f"{file}:genre") == TRUTH
    assert [*attached(f"{file}:Year").values()][:5] == ["0", "1", "2", "3", "0"]
    assert [*attached(f"{file}:is:new").values()][:2] == ["not is:new", "is:new"]
    assert [*attached(f"{file}:Genre,Year").values()][:2] == ["red, 0", "green, 1"]
    assert [*attached(f"{file}:Score").values()][:2] == ["0.0", "0.125"]
    says = refused(file)
    assert "which of its 5 columns holds the labels is not clear: Genre (3 values), is:new (2 values)" in says
    assert f"--labels {file}:Genre or --labels {file}:is:new or --labels {file}:Year" in says and "Score" not in says
    assert "it has no column Foo; choose one of: Genre, is:new, Year, Score" in refused(f"{file}:Foo")
    bare = table(lines(*((name, label, label[0]) for name, label in PAIRS)), "bare.csv")
    assert "no line names them" in refused(bare) and attached(f"{bare}:2") == TRUTH
    other = table(lines(*((name, "x") for name in IMAGES)), "labels.csv:Genre")  # a file of that name comes first
    assert {*attached(other).values()} == {"x"}


def test_celeba(table):
    images = [f"img_align_celeba/{i:06d}.jpg" for i in range(1, 13)]
    names = [name[-10:] for name in images]
    rows = [(name, *(f"{n:2d}" for n in row)) for name, row in zip(names, ATTRIBUTES, strict=True)]
    original = table(lines(*rows, head="12\nBald Male Smiling \n", separator=" "), "list_attr_celeba.txt")
    kaggle = table(lines(*((n, *map(int, r)) for n, *r in rows), head="image_id,Bald,Male,Smiling\n"), "kaggle.csv")
    for file in (original, kaggle):
        bald = ["Bald" if row[0] == 1 else "not Bald" for row in ATTRIBUTES]
        smiling = ["Smiling" if row[2] == 1 else "not Smiling" for row in ATTRIBUTES]
        assert [*attached(f"{file}:Bald", images).values()] == bald
        assert [*attached(f"{file}:Male", images).values()] == ["Male"] * 12
        both = [f"{b}, {s}" for b, s in zip(bald, smiling, strict=True)]
        assert [*attached(f"{file}:Bald,Smiling", images).values()] == both
        assert "is not clear: Bald (2 values), Smiling (2 values); choose" in refused(file, images)
    identity = table(lines(*((name, i % 5) for i, name in enumerate(names)), separator=" "), "identity_CelebA.txt")
    assert [*attached(identity, images).values()] == [str(i % 5) for i in range(12)]
    notes: list[str] = []
    assert len(attached(f"{original}:Male", images[:3], notes)) == 3  # some of the images
    assert "9 of the 12 names in" in notes[-1]


def test_numbers_stay_numbers_under_usual_headers(table):
    file = table(lines(*((name, i % 2) for i, name in enumerate(IMAGES)), head="name,label\n"))
    assert [*attached(file).values()][:2] == ["0", "1"]
    file = table(lines(*((name, f"{i % 3}.0") for i, name in enumerate(IMAGES))))
    assert [*attached(file).values()][:3] == ["0", "1", "2"]


def test_a_header_of_three_images(table):
    images = ["a.png", "b.png", "c.png"]
    assert attached(table("id,breed\na,x\nb,y\nc,z\n"), images) == {"a.png": "x", "b.png": "y", "c.png": "z"}
    assert attached(table("a,x\nb,y\nc,z\n"), images) == {"a.png": "x", "b.png": "y", "c.png": "z"}


# --- names --------------------------------------------------------------------------------------------------------


def test_ambiguous_names_are_not_guessed(table):
    images = ["cat/1.png", "cat/2.png", "dog/1.png"]
    says = refused(table("1.png,a\n2.png,b\n"), images)
    assert "cat/1.png and dog/1.png are the same; write the path of each image" in says
    assert attached(table("cat/1.png,a\ncat/2.png,b\ndog/1.png,c\n"), images) == dict(zip(images, "abc", strict=True))
    assert attached(table("x/dog/1,c\nx/cat/1,a\nx/cat/2,b\n"), images) == dict(zip(images, "abc", strict=True))
    says = refused(table("train/1.png,a\ntest/1.png,b\n"), ["1.png"])
    assert "train/1.png and test/1.png are the same" in says
    assert "a.jpg and a.png are the same" in refused(table("a,x\nb,y\n"), ["a.jpg", "a.png", "b.png"])


def test_names_in_two_unicode_forms(table):
    assert attached(table("caf\u00e9.png,x\nb.png,y\n"), ["b.png", "cafe\u0301.png"]) == {
        "b.png": "y",
        "cafe\u0301.png": "x",
    }


def test_a_mismatch_shows_a_name_from_each_side(table):
    says = refused(table("id,breed\nb1,x\nb2,y\n"))
    assert "the table has b1, the images are named train/a000.png" in says
    says = refused(table(lines(*PAIRS[:-1], ("other.png", "red"))))
    assert f"1 image ({IMAGES[-1]}) has no label; the table has other.png, the images are named {IMAGES[-1]}" in says


def test_lines_without_an_image(table):
    notes: list[str] = []
    file = table(lines(*PAIRS, ("b.png", ""), ("labels.csv", "x")))
    assert attached(file, notes=notes) == TRUTH
    assert notes == [f"1 of the 14 names in {file} have no image here"]
    numbers = table(lines(*((i, i % 2) for i in range(50))))
    assert "50 names for 12 images" in refused(numbers, [str(i) for i in range(12)])
    assert attached(numbers, [str(i) for i in range(30)])["3"] == "1"


def test_wrong_labels_name_the_line(table):
    assert "line 3: the label is empty" in refused(table(lines(*PAIRS[:2], (IMAGES[2], ""), *PAIRS[3:])))
    assert "line 13: train/a000.png is blue here and red above" in refused(table(lines(*PAIRS, (IMAGES[0], "blue"))))
    assert attached(table(lines(*PAIRS, PAIRS[0]))) == TRUTH
    assert "line 2: 3 columns, but 2 above" in refused(table("a.png,x\nb.png,x,y\n"))
    assert "one column found" in refused(table("a.png\nb.png\n"))


# --- JSON and Hugging Face ----------------------------------------------------------------------------------------


def test_vectors_are_not_classes(table):
    one_hot = {name: [float(TRUTH[name] == colour) for colour in COLOURS] for name in IMAGES}
    index = {name: str(COLOURS.index(label)) for name, label in TRUTH.items()}
    assert attached(table(json.dumps(one_hot))) == attached(table(json.dumps({"labels": [*one_hot.items()]}))) == index
    vectors = json.dumps({"labels": [[name, [1.0, i % 2]] for i, name in enumerate(IMAGES)]})
    assert "the labels are vectors of 2 numbers, not classes" in refused(table(vectors))
    notes: list[str] = []
    assert labels.parse_dataset_json(vectors.encode(), "dataset.json", notes=notes) == {}
    assert notes == ["dataset.json: the labels are vectors of 2 numbers, not classes; none are used"]
    assert labels.parse_dataset_json(json.dumps({"labels": [*one_hot.items()]}).encode(), "d") == index
    with pytest.raises(DataError, match="the label is"):
        labels.parse_dataset_json(vectors.encode(), "dataset.json", rules=1)


def test_no_labels_in_json(table):
    assert {*attached(table('{"labels": null}')).values()} == {None}
    assert (
        labels.parse_dataset_json(b'{"labels": null}', "d") == labels.parse_dataset_json(b'{"images": []}', "d") == {}
    )


def test_metadata_of_hugging_face():
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ("file_name", "text", "label"))
    writer.writeheader()
    rows = [{"file_name": f"{i}.png", "text": "a disc, filled", "label": COLOURS[i % 3]} for i in range(6)]
    writer.writerows(rows)
    for name, text in (
        ("metadata.csv", stream.getvalue()),
        ("metadata.jsonl", "\n".join(map(json.dumps, rows))),
        ("metadata.jsonl", json.dumps(rows[0])),
    ):
        found = labels.parse_metadata(text.encode(), name)
        assert found is not None
        images = [row["file_name"] for row in rows[: len(found.rows)]]
        chosen, notes = labels.choose_labels(found, images, None, name)
        assert [*chosen.values()] == [COLOURS[i % 3] for i in range(len(images))] and not notes
    captions = "file_name,text\n0.png,a disc\n1.png,a disc\n2.png,a ring\n"
    assert labels.parse_metadata(captions.encode(), "metadata.csv") is None
    assert labels.parse_metadata(b"id,label\n1,2\n", "metadata.csv") is None
    breeds = "file_name,text,breed\n0.png,a disc,x\n1.png,a disc,y\n2.png,a ring,x\n"
    found = labels.parse_metadata(breeds.encode(), "metadata.csv")
    assert found is not None and found.header == ("file_name", "breed")
    found = labels.parse_metadata(breeds.encode(), "metadata.csv", "text")
    assert found is not None
    assert labels.choose_labels(found, ["1.png"], "text", "m")[0] == {"1.png": "a disc"}
    objects = b'{"file_name": "0.png", "objects": {"bbox": [1, 2]}}\n{"file_name": "1.png", "objects": {"bbox": [1]}}\n'
    assert labels.parse_metadata(objects, "metadata.jsonl") is None
    with pytest.raises(DataError, match=r"metadata\.jsonl, line 2: not JSON"):
        labels.parse_metadata(b'{"file_name": "0.png"}\n{"file', "metadata.jsonl")


# --- arrays -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [
    np.array([2, 0, 1]), np.array([[2], [0], [1]], np.uint8), np.array([2.0, 0.0, 1.0], np.float32), np.array([[2, 0, 1]]),
    np.eye(3)[[2, 0, 1]], np.eye(3, dtype=bool)[[2, 0, 1]], np.array(["2", "0 ", "1"]), np.array([b"2", b"0", b"1"]),
    np.asfortranarray(np.eye(3, dtype=np.uint8)[[2, 0, 1]]),
])  # fmt: skip
def test_arrays(tmp_path, array):
    assert label_names(array, "x", 3) == ["2", "0", "1"]
    images = ["a.png", "b.png", "c.png"]
    np.save(tmp_path / "y.npy", array)
    np.savez(tmp_path / "y.npz", y_train=array, y_test=np.zeros(2))
    np.savez_compressed(tmp_path / "k49.npz", array)
    for file in ("y.npy", "y.npz", "y.npz:y_train", "k49.npz"):
        assert attached(tmp_path / file, images) == {"a.png": "2", "b.png": "0", "c.png": "1"}, file


@pytest.mark.parametrize(("array", "words"), [
    (np.array([[1, 1], [0, 1], [1, 0]]), "label 0 names 2 of 2 classes, not one; .* --labels none"),
    (np.array([[0, 1], [0, 0], [1, 0]]), "label 1 names 0 of 2 classes"),
    (np.full((3, 2), 0.5), "a row of 2 numbers other than 0 and 1"),
    (np.array([1.0, 0.5, 2.0]), "label 1 is 0.5"),
    (np.array([1.0, 2.0, np.nan]), "label 2 is nan"),
    (np.array([1, -1, 0]), "label 1 is negative"),
    (np.array(["a", " ", "b"]), "label 1 is empty"),
    (np.zeros(4, int), "4 labels for 3 images"),
    (np.zeros((3, 2, 2)), r"labels of shape \(3, 2, 2\)"),
    (np.array([1j, 2, 3]), "complex128"),
    (np.array(3), r"labels of shape \(\)"),
])  # fmt: skip
def test_arrays_that_are_not_labels(array, words):
    with pytest.raises(DataError, match=words):
        label_names(array, "x", 3)


def test_arrays_that_are_not_read(tmp_path, monkeypatch):
    images = ["a.png", "b.png"]
    np.save(tmp_path / "o.npy", np.array([{}, []], object), allow_pickle=True)
    assert "Python objects" in refused(tmp_path / "o.npy", images)
    np.savez(tmp_path / "y.npz", first=np.zeros(2, int), second=np.ones(2, int))
    says = refused(tmp_path / "y.npz", images)
    assert "is not clear" in says and f"--labels {tmp_path}/y.npz:first or --labels {tmp_path}/y.npz:second" in says
    assert attached(f"{tmp_path}/y.npz:second", images) == {"a.png": "1", "b.png": "1"}
    assert "there is no array third in it" in refused(f"{tmp_path}/y.npz:third", images)
    monkeypatch.setattr(label_arrays, "MAX_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", y=np.zeros(1 << 18))
    assert "it is larger than 1 MB" in refused(tmp_path / "bomb.npz", images)
    whole = (tmp_path / "o.npy").read_bytes()
    np.save(tmp_path / "cut.npy", np.zeros(100))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:200])
    assert "cut off" in refused(tmp_path / "cut.npy", images)
    (tmp_path / "bad.npy").write_bytes(whole[:8] + b"\xff" * 100)
    assert "damaged" in refused(tmp_path / "bad.npy", images)


# --- limits -------------------------------------------------------------------------------------------------------


def test_limits(table, monkeypatch):
    monkeypatch.setattr(label_tables, "MAX_ROWS", 11)
    assert "more than 11 lines" in refused(table(lines(*PAIRS)))
    monkeypatch.setattr(label_tables, "MAX_ROWS", 100)
    monkeypatch.setattr(label_tables, "MAX_COLUMNS", 20)
    assert "20 columns" in refused(table(lines(range(30))))
    assert "12 entries with 30 names" in refused(table(json.dumps([dict.fromkeys(map(str, range(30)), 1)] * 12)))
    monkeypatch.setattr("kantor.data.sources.label_limits.MAX_TABLE_BYTES", 100)
    assert "larger than" in refused(table(lines(*PAIRS)))


def test_a_line_without_end(table):
    assert "longer than" in refused(table("a.png," + "," * 2_000_000))
    assert "not CSV" in refused(table('a.png,"' + "x" * 200_000 + '"\nb.png,x\n'))


@pytest.mark.parametrize("cell", ["a/" * 2_000_000, "1" * 3_000_000 + "x", "./" * 2_000_000, " " * 3_000_000 + "x"])
def test_long_names_and_labels_take_no_time(table, cell):
    start = time.monotonic()
    file = table(json.dumps([[cell, "x"], *([name, cell if name == IMAGES[3] else "y"] for name in IMAGES)]))
    assert attached(file)[IMAGES[0]] == "y"
    assert time.monotonic() - start < 5


def test_few_texts_do_not_make_many_cells(table):
    text = json.dumps(dict.fromkeys(map(str, range(9_000)), 1)) + "\n{}" * 3_000
    assert "3,001 entries with 9,000 names" in refused(table(text, "l.jsonl"))


# --- where labels are named ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "parts"), [
    ("l.csv", ("l.csv", None)), ("l.csv:Male", ("l.csv", "Male")), ("l.csv:a:b", ("l.csv", "a:b")),
    ("C:\\l.csv", ("C:\\l.csv", None)), ("C:/l.csv", ("C:/l.csv", None)), ("C:\\l.csv:Male", ("C:\\l.csv", "Male")),
    ("auto", ("auto", None)), ("x:y", ("x:y", None)), ("l.csv:", ("l.csv:", None)),
])  # fmt: skip
def test_split_column(tmp_path, monkeypatch, text, parts):
    monkeypatch.chdir(tmp_path)
    Path("l.csv").touch()
    Path("x:y").touch()
    assert labels.split_column(text) == parts


def test_the_cache_knows_file_and_column(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("d").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(f"d/{name}.png")
    Path("l.csv").write_text("id,one,two\na,1,0\nb,0,1\n")

    def key(column: str) -> str:
        config = DataConfig(source="d", labels=column)
        return cache_key(
            source := open_source(config), config, ImageSpec(8, 8, 3), replace(scan(source, config), digest="")
        )

    before = key("l.csv:one"), key("l.csv:two")
    assert before[0] != before[1] and before[0] == key(f"{tmp_path}/l.csv:one")
    Path("l.csv").write_text("id,one,two\na,0,1\nb,0,1\n")
    assert key("l.csv:one") not in before
    config = Config(data=DataConfig(source="d", labels="l.csv:one"))
    assert absolute_source(config).data.labels == f"{tmp_path.resolve()}/l.csv:one"


def test_first_rules_stay(table):
    entries = [Item("a.png", 0), Item("b.png", 1)]
    file = str(table("id,breed\na,x\nb,y\n"))
    with pytest.raises(DataError, match="have no label"):
        list(labels.attach_file(iter(entries), file, rules=1))
    file = str(table("name,label\na.png,1.0\nb.png,2.0\n"))
    assert [entry.label for entry in labels.attach_file(iter(entries), file, rules=1)] == ["1.0", "2.0"]
    assert [entry.label for entry in labels.attach_file(iter(entries), file, rules=2)] == ["1", "2"]


def test_the_table_of_attributes_is_proposed_before_that_of_persons(tmp_path: Path) -> None:
    Image.fromarray(pixels(0)).save(tmp_path / "1.png")
    for name in ("identity_CelebA.txt", "list_attr_celeba.txt", "list_bbox_celeba.csv"):
        (tmp_path / name).write_text("x")
    source = opened(tmp_path)
    list(source.items())
    (line,) = (line for line in source.all_listing_notes if line.startswith("not used"))
    assert line.startswith("not used: list_attr_celeba.txt, identity_CelebA.txt") and line.endswith(
        "list_attr_celeba.txt"
    )


@pytest.mark.parametrize(
    "name", ["sample_submission.csv", "label_num_to_disease_map.json", "_annotations.coco.json", "classes.txt", "test/labels.csv"]
)  # fmt: skip
def test_tables_that_name_no_image_are_not_proposed(tmp_path: Path, name: str) -> None:
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        Image.fromarray(pixels(0)).save(tmp_path / part / "1.png")
    (tmp_path / name).write_text("x")
    source = opened(tmp_path)
    list(source.items())
    assert not any(line.startswith("not used") for line in source.all_listing_notes)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [("imagelabels.mat", b"MATLAB 5.0 MAT-file" + bytes(120), "a MATLAB file, not a table"), ("labels.db", b"SQLite format 3\0", "not a table of text"),
     ("instances.json", b'{"images": [{"file_name": "1.png"}], "annotations": []}', "annotations of objects")],
)  # fmt: skip
def test_files_that_are_no_tables_of_labels(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels(0)).save(tmp_path / "images" / "1.png")
    (tmp_path / name).write_bytes(data)
    assert words in refusal(tmp_path / "images", labels=str(tmp_path / name))


def test_captions_are_no_classes_unless_named(table) -> None:
    images = [f"{i}.jpg" for i in range(12)]
    file = table("image,caption\n" + "".join(f"{name},a dog number {name}\n" for name in images))
    with pytest.raises(DataError, match="its column caption has another text in each of 12 lines"):
        attached(file, images)
    assert attached(f"{file}:caption", images)["0.jpg"] == "a dog number 0.jpg"


def test_labels_of_western_excel(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("a.png;käse\r\nb.png;wurst\r\n".encode("cp1252"))
    assert attached(tmp_path / "labels.csv", ["a.png", "b.png"]) == {"a.png": "käse", "b.png": "wurst"}


def test_a_spreadsheet_is_to_be_saved_as_csv(tmp_path: Path) -> None:
    (tmp_path / "labels.xlsx").write_bytes(b"PK\3\4")
    with pytest.raises(DataError, match="a spreadsheet"):
        attached(tmp_path / "labels.xlsx", ["a.png"])
