"""`kantor generate` as a user gets it: seeds, classes, files that are never lost, grids with text."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kantor
from kantor.app.output_paths import new_numbered
from kantor.app.sampling import generate as job
from kantor.app.sampling.classes import file_names
from kantor.app.sampling.options import GenerateOptions
from kantor.data.sources.folder import Folder
from kantor.data.sources.source import Item, Rejected
from kantor.sample.enlarge import enlarged
from kantor.sample.generate import BATCH
from kantor.sample.latents import class_of_seed
from kantor.types import ImageSpec
from support.commands import exit_of
from support.models import write_model

CLASSES = ("cat", "dog", "fish")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional model; tests that name no --out take `model`, a copy."""
    return write_model(tmp_path_factory.mktemp("model"), CLASSES)


@pytest.fixture
def model(shared: Path, here: Path) -> Path:
    (here / "home").mkdir()
    path = here / "home" / shared.name
    path.write_bytes(shared.read_bytes())
    return path


def image(path: Path | str) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def files(folder: Path | str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def labels(path: Path | str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(Path(path).read_text("utf-8"))))


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert exit_of(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


# --- a seed is the same image anywhere ------------------------------------------------------------------------------


def test_the_class_of_a_seed_is_its_remainder() -> None:
    assert [class_of_seed(seed, 3) for seed in (0, 1, 2, 3, 17, 2**64 - 1)] == [0, 1, 2, 0, 2, 0]
    assert class_of_seed(np.uint64(2**64 - 1), 7) == (2**64 - 1) % 7  # type: ignore[arg-type]


def test_a_seed_of_a_conditional_model_is_the_same_image_anywhere(shared: Path) -> None:
    """At any place of a list, across batches, on a walk and in Python; and it is that of its class by name."""
    assert exit_of("generate", shared, "--count", 50, "--out", "many") == 0
    assert exit_of("generate", shared, "--seeds", "42 17", "--out", "two") == 0
    assert exit_of("generate", shared, "--seeds", "17", "--class", "fish", "--out", "named") == 0
    assert exit_of("walk", shared, "--seeds", "42,17", "--frames", 2, "--scale", 1, "--out", "way/") == 0
    loaded = kantor.load(shared)
    alone, among = loaded.generate(17)[0], loaded.generate(range(50))[17]
    assert BATCH < 50
    for other in (
        image("two/seed-00000017.png"), image("named/seed-00000017-fish.png"), image("way/00002.png"), alone, among,
        loaded.walk([42, 17], frames=2)[-1], loaded.generate(iter([3, 17]))[1],  # type: ignore[arg-type]
    ):  # fmt: skip
        np.testing.assert_array_equal(image("many/seed-00000017.png"), other)
    assert (image("many/seed-00000042.png") == image("two/seed-00000042.png")).all()
    assert (loaded.generate(17, "cat")[0] != alone).any()


# --- no file is lost ------------------------------------------------------------------------------------------------


def test_two_classes_of_one_seed_are_two_files(shared: Path) -> None:
    assert exit_of("generate", shared, "--class", "cat,dog", "--seeds", "1,1", "--out", "o") == 0
    assert files("o") == ["labels.csv", "seed-00000001-cat.png", "seed-00000001-dog.png", "sheet.png"]
    assert (image("o/seed-00000001-cat.png") != image("o/seed-00000001-dog.png")).any()
    assert labels("o/labels.csv") == [
        ["file", "class", "seed"], ["seed-00000001-cat.png", "cat", "1"], ["seed-00000001-dog.png", "dog", "1"],
    ]  # fmt: skip


def test_a_repeated_seed_is_written_once_and_shown_as_asked(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        exit_of("generate", shared, "--seeds", "4,4", "--grid", "2x1", "--scale", 1, "--gutter", 0, "--out", "o") == 0
    )
    out = capsys.readouterr().out
    assert "wrote 1 image to o" in out and "repeated seeds: 1; each image is written once" in out
    np.testing.assert_array_equal(image("o/sheet.png")[:, :16], image("o/sheet.png")[:, 16:])


def test_names_of_files_for_any_class() -> None:
    names = file_names(["a/b", "a:b", "A-B", "", "..", "CON", "nul.txt", "sheet.png", "ü " + "x" * 300], ["sheet.png"])
    assert names[:8] == ["a-b", "a-b-2", "A-B-3", "class", "class-2", "CON-", "nul.txt-", "sheet.png-2"]
    assert names[8].startswith("ü x") and len(names[8].encode()) <= 100
    assert len({name.casefold() for name in names}) == len(names)


def test_without_out_every_call_has_a_folder_of_its_own(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        assert exit_of("generate", model, "--count", 2) == 0
        assert f"generated/0000{number}" in capsys.readouterr().out
        assert exit_of("walk", model, "--seeds", "1,2", "--frames", 2) == 0
    assert files(model.parent / "generated") == [
        f"0000{number}/{name}" for number in range(2)
        for name in ("labels.csv", "seed-00000000.png", "seed-00000001.png", "sheet.png")
    ]  # fmt: skip
    assert files(model.parent / "walks") == ["00000/walk.gif", "00001/walk.gif"]


def test_numbered_folders_are_never_shared_and_empty_ones_go(here: Path) -> None:
    def make(_: int) -> Path:
        with new_numbered(here / "n") as folder:
            (folder / "x").write_text("")
            return folder

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(make, range(24)))) == 24
    with pytest.raises(ValueError, match="failed"), new_numbered(here / "n") as folder:
        raise ValueError("failed")
    assert not folder.exists() and len(list((here / "n").iterdir())) == 24


def test_overwrite_replaces_only_what_is_written_anew(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("generate", shared, "--seeds", "1,2", "--out", "o") == 0
    before = Path("o/seed-00000001.png").read_bytes()
    assert "already exists" in refusal(capsys, "generate", shared, "--seeds", "2,3", "--out", "o")
    assert exit_of("generate", shared, "--seeds", "2,3", "--class", "cat", "--out", "o", "--overwrite") == 0
    assert Path("o/seed-00000001.png").read_bytes() == before
    assert labels("o/labels.csv")[1:] == [
        ["seed-00000001.png", "dog", "1"], ["seed-00000002-cat.png", "cat", "2"],
        ["seed-00000002.png", "fish", "2"], ["seed-00000003-cat.png", "cat", "3"],
    ]  # fmt: skip
    Path("o/labels.csv").write_text("my,own\n1,2\n")
    refused = refusal(capsys, "generate", shared, "--seeds", "9", "--out", "o", "--overwrite")
    assert "labels.csv: is not a file that this command wrote" in refused
    assert Path("o/labels.csv").read_text() == "my,own\n1,2\n" and not Path("o/seed-00000009.png").exists()


# --- every class ----------------------------------------------------------------------------------------------------


def test_a_folder_for_each_class_can_be_trained_on(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("generate", shared, "--per-class", 4, "--out", "o") == 0
    assert "wrote 12 images to o" in capsys.readouterr().out
    assert files("o/dog") == [f"seed-0000000{seed}.png" for seed in range(4)]
    assert labels("o/labels.csv")[5] == ["dog/seed-00000000.png", "dog", "0"]
    np.testing.assert_array_equal(image("o/dog/seed-00000002.png"), kantor.load(shared).generate(2, "dog")[0])
    entries = list(Folder("o").items())
    found = [(entry.name.partition("/")[0], entry.label) for entry in entries if isinstance(entry, Item)]
    assert found == [(name, name) for name in CLASSES for _ in range(4)]
    assert "sheet.png" in [entry.name for entry in entries if isinstance(entry, Rejected)]
    by_table = [entry.label for entry in Folder("o", "o/labels.csv:class").items() if isinstance(entry, Item)]
    assert by_table == [name for name, _ in found]
    assert exit_of("generate", shared, "--per-class", 6, "--class", "dog", "--out", "o", "--overwrite") == 0
    assert len(files("o")) == 4 + 6 + 4 + 2
    assert "contains cat" in refusal(capsys, "generate", shared, "--count", 2, "--out", "o", "--overwrite")
    Path("o/dog/mine.jpg").write_bytes(b"x")
    assert "contains mine.jpg" in refusal(capsys, "generate", shared, "--per-class", 1, "--out", "o", "--overwrite")


def test_the_grid_has_a_row_for_each_class(shared: Path) -> None:
    """With the name of the class to its left."""
    assert exit_of("generate", shared, "--per-class", 4, "--scale", 4, "--out", "o") == 0
    assert exit_of("generate", shared, "--seeds", "0-11", "--grid", "4x3", "--scale", 4, "--out", "p") == 0
    named, plain = image("o/sheet.png"), image("p/sheet.png")
    assert named.shape[0] == plain.shape[0] and named.shape[1] > plain.shape[1]
    dog = image("o/dog/seed-00000003.png")
    np.testing.assert_array_equal(named[2 + 66 : 2 + 66 + 64, -66:-2], dog)
    margin = named[:, : named.shape[1] - plain.shape[1]].astype(int)
    for row in range(3):
        assert (margin[66 * row : 66 * row + 66].max(2) < 150).any()  # letters


def test_a_zip_of_classes(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("generate", shared, "--per-class", 2, "--out", "new/x.zip") == 0
    assert "wrote 6 images to new/x.zip" in capsys.readouterr().out
    with zipfile.ZipFile("new/x.zip") as archive:
        entries = archive.infolist()
        assert [entry.filename for entry in entries][-2:] == ["fish/seed-00000001.png", "labels.csv"]
        assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
        dog = image(io.BytesIO(archive.read("dog/seed-00000001.png")))  # type: ignore[arg-type]
        assert archive.read("labels.csv").decode().splitlines()[1] == "cat/seed-00000000.png,cat,0"
    np.testing.assert_array_equal(dog, kantor.load(shared).generate(1, "dog")[0])
    before = Path("new/x.zip").read_bytes()
    assert "already exists" in refusal(capsys, "generate", shared, "--per-class", 2, "--out", "new/x.zip")
    assert exit_of("generate", shared, "--per-class", 2, "--out", "new/x.zip", "--overwrite") == 0
    assert Path("new/x.zip").read_bytes() == before
    assert files("new") == ["x.zip"]
    assert "a zip holds images alone" in refusal(capsys, "generate", shared, "--captions", "--out", "y.zip")


def test_a_zip_of_something_else_is_never_replaced(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.writestr("seed-00000000.png", b"")
        archive.writestr("thesis.txt", b"years of work")
    Path("y.zip").write_text("no zip")
    for name, held in (("x.zip", "thesis.txt"), ("y.zip", "something else")):
        before = Path(name).read_bytes()
        assert f"{name}: holds {held}" in refusal(
            capsys, "generate", shared, "--count", 1, "--out", name, "--overwrite"
        )
        assert Path(name).read_bytes() == before


def test_a_zip_that_fails_leaves_nothing(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[np.ndarray]:
        yield np.zeros((16, 16, 3), np.uint8)
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "_images", broken)
    assert exit_of("generate", shared, "--count", 2, "--out", "x.zip") == 130
    assert [path.name for path in Path().iterdir()] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--per-class", "2", "--count", "3"], "--count: cannot be combined with --per-class"),
        (["--per-class", "2", "--grid", "2x2"], "makes a grid with a row for each class"),
        (["--per-class", "0"], "out of range"),
        (["--per-class", "400000"], "1,200,000 images in all; stay below 1,000,000"),
        (["--per-class", "2", "--class", "cow"], "there is no such class"),
        (["--seeds", "3;9"], '"3;9" is not a seed'),
        (["--class", "cat,dog"], "2 classes for 64 seeds"),
    ],
)
def test_refused(shared: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in refusal(capsys, "generate", shared, *words, "--out", "o")
    assert not Path("o").exists()


def test_a_model_without_classes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = write_model(here / "plain")
    assert "trained without classes; use --count" in refusal(capsys, "generate", plain, "--per-class", 2)
    assert exit_of("generate", plain, "--count", 2, "--captions", "--out", "o") == 0
    assert files("o") == ["seed-00000000.png", "seed-00000001.png", "sheet.png"]
    assert exit_of("generate", plain, "--count", 2, "--out", "x.zip") == 0
    with zipfile.ZipFile("x.zip") as archive:
        assert archive.namelist() == ["seed-00000000.png", "seed-00000001.png"]
    capsys.readouterr()
    assert exit_of("classes", plain) == 0
    assert capsys.readouterr().out == "no classes: the model was trained without --conditional\n"


# --- many, large and captioned images -------------------------------------------------------------------------------


def test_many_images_are_made_and_written_batch_by_batch(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those of the grid are kept, which says that it does not show all."""
    made, at_writing = [], []
    generate_images, png_bytes = job.generate_images, job.png_bytes

    def counting(*words: Any) -> np.ndarray:
        made.append(1)
        return generate_images(*words)

    def watching(pixels: np.ndarray) -> bytes:
        at_writing.append(len(made))
        return png_bytes(pixels)

    monkeypatch.setattr(job, "generate_images", counting)
    monkeypatch.setattr(job, "png_bytes", watching)
    monkeypatch.setattr(job, "MOST_ON_SHEET", 10)
    monkeypatch.setattr(job, "DEFAULT_COUNT", 10)
    options = GenerateOptions(model=str(shared), count=3 * BATCH, out=Path("o.zip"))
    assert job.generate(options).count == 3 * BATCH
    assert at_writing == [1] * BATCH + [2] * BATCH + [3] * BATCH
    notes = list[str]()
    job.generate(GenerateOptions(model=str(shared), count=30, out=Path("o"), scale=1), note=notes.append)
    assert notes == ["model: after 0 images", "the grid shows 10 of 30 images"]
    assert image("o/sheet.png").shape == (2 + 2 * 18, 2 + 5 * 18, 3)
    job.generate(GenerateOptions(model=str(shared), count=30, out=Path("p"), grid=(6, 5)), note=notes.append)
    assert notes[2:] == ["model: after 0 images"]


def test_captions_are_under_the_images_and_leave_them_as_they_are(shared: Path) -> None:
    """16 pixels enlarged 6 times, two lines of text: seed and class."""
    assert exit_of("generate", shared, "--seeds", "0-3", "--grid", "4x1", "--captions", "--out", "o") == 0
    sheet, cell = image("o/sheet.png"), image("o/seed-00000002.png").repeat(6, 0).repeat(6, 1)
    left = 2 + 2 * 98
    np.testing.assert_array_equal(sheet[2:98, left : left + 96], cell)
    for column in range(4):
        strip = sheet[98:, 98 * column : 98 * column + 98].astype(int)
        dark = np.flatnonzero((strip.max(2) < 150).any(1))
        assert len(dark) > 12 and (np.diff(dark) > 1).any()  # two lines with a gap
    assert sheet.shape[0] < 98 + 50


def test_smooth_enlargement(shared: Path, here: Path) -> None:
    assert exit_of("generate", shared, "--seeds", "5", "--scale", 8, "--smooth", "--out", "o") == 0
    assert exit_of("generate", shared, "--seeds", "5", "--scale", 8, "--out", "p") == 0
    assert exit_of("generate", shared, "--seeds", "5", "--out", "q") == 0
    smooth, squares, small = (image(f"{folder}/seed-00000005.png") for folder in "opq")
    assert smooth.shape == squares.shape == (128, 128, 3)
    np.testing.assert_array_equal(squares[::8, ::8], small)
    steps = [np.abs(np.diff(large.astype(int), axis=0)).max() for large in (smooth, squares)]
    assert steps[0] < steps[1] / 2
    assert abs(smooth.astype(int).mean() - small.astype(int).mean()) < 2


def test_smooth_edges_of_transparent_images_have_no_fringe() -> None:
    """Red next to transparent black: what is between is red, half transparent."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, :2] = (200, 0, 0, 255)
    large = enlarged(pixels, 8, smooth=True)
    edge = (large[..., 3] > 60) & (large[..., 3] < 200)
    assert edge.any()
    assert (np.abs(large[edge][:, 0].astype(int) - 200) <= 4).all()
    grey = enlarged(np.full((3, 5, 1), 7, np.uint8), 2, smooth=True)
    assert grey.shape == (6, 10, 1) and (grey == 7).all()


# --- kantor classes -------------------------------------------------------------------------------------------------


def test_classes_with_the_counts_that_the_run_recorded(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("classes", model) == 0
    assert capsys.readouterr().out.splitlines() == [
        "class  name  training images", "    0  cat           unknown", "    1  dog           unknown",
        "    2  fish          unknown",
    ]  # fmt: skip
    (model.parent / "environment.json").write_text(json.dumps({"class_counts": {"cat": 1200, "fish": 3}}))
    assert exit_of("classes", model, "--json") == 0
    found = json.loads(capsys.readouterr().out)["classes"]
    assert [(one["number"], one["name"], one["images"]) for one in found] == [
        (0, "cat", 1200), (1, "dog", None), (2, "fish", 3),
    ]  # fmt: skip
    (model.parent / "environment.json").write_text(json.dumps({"class_counts": {"cat": "many"}}))
    assert exit_of("classes", model) == 0
    assert capsys.readouterr().out.count("unknown") == 3
    assert exit_of("classes", "nothing.safetensors") == 4


def test_a_run_records_the_images_of_each_class(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from support.commands import TINY

    for name, count in (("a", 3), ("b", 5)):
        (here / "set" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (16, 16), (i * 40, 9, len(name))).save(here / "set" / name / f"{i}.png")
    assert exit_of("train", "set", *TINY, "--conditional", "--images", 4, "--name", "ab") == 0
    capsys.readouterr()
    assert exit_of("classes", "ab", "--json") == 0
    assert [one["images"] for one in json.loads(capsys.readouterr().out)["classes"]] == [3, 5]


def test_transparent_images_stay_transparent(here: Path) -> None:
    clear = write_model(here / "clear", spec=ImageSpec(16, 16, 4))
    assert exit_of("generate", clear, "--seeds", "1", "--scale", 2, "--smooth", "--out", "o") == 0
    assert image("o/seed-00000001.png").shape == (32, 32, 4)
    assert image("o/sheet.png").shape[2] == 3
