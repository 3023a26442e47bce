"""Names, spooled members, samples of archives, pieces of files, and what is said where there are no images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from kantor.data.decoding.pieces import Frame, Tile, frame_count, is_video, occupied, tile_of
from kantor.data.reasons import Reason
from kantor.data.sources import names
from kantor.data.sources.no_images import Found
from kantor.data.sources.pieces import Pieces
from kantor.data.sources.samples import Samples, first_key, kind_of, last_key
from kantor.data.sources.source import Item
from kantor.data.sources.spool import Member, Spool
from kantor.errors import DataError
from support.pack_fakes import Fake
from support.pictures import listed


@pytest.mark.parametrize(
    ("name", "extension"),
    [("a/b.PNG", ".png"), ("scan.0001", ""), ("Mr. Smith", ""), (".png", ""), ("a.tar.gz", ".gz"), ("v1.2/noend", ""), ("x.ünï", "")],
)  # fmt: skip
def test_endings(name: str, extension: str) -> None:
    assert names.extension(name) == extension


def test_names_that_are_no_images() -> None:
    assert names.not_image("a.heic", 2) == Reason("format", ".heic images are not read", names.NEXT_STEPS[".heic"])
    assert names.not_image("a.txt", 2) == Reason("not_image", "not an image (.txt)")
    assert names.not_image("a.pgm", 2) is None and names.not_image("a.pgm", 1) is not None
    assert (
        names.is_placeholder(".a.jpg.icloud")
        and not names.is_placeholder("a.icloud")
        and not names.is_placeholder(".icloud")
    )
    assert names.is_clutter("__MACOSX") and names.left_out("@eaDir") and not names.left_out("thumb")


def test_a_spool_gives_back_its_members_to_several_readers() -> None:
    members = [
        Member(f"{'x' * (70_000 if i == 500 else i % 90)}\n\udcff{i}.png", i, 2 * i, "image", None) for i in range(3000)
    ]
    spool = Spool()
    for member in members:
        spool.add(member)
    assert [a for a, b in zip(spool, spool, strict=True) if a == b] == members
    assert list(Spool()) == []


def test_keys_and_kinds() -> None:
    assert (first_key("a.b/1.input.png"), last_key("a.b/1.input.png")) == ("a.b/1", "a.b/1.input")
    assert (kind_of("1.input.png"), kind_of("1.jpg"), kind_of("1")) == ("input", "", "")


def members(*found: tuple[str, str | None]) -> list[Member]:
    return [Member(name, 1, i, "image" if text is None else "label", text) for i, (name, text) in enumerate(found)]


def test_labels_next_to_images_and_far_from_them() -> None:
    near = members(("1.png", None), ("1.cls", "a"), ("2.png", None), ("2.cls", "b"))
    far = [near[i] for i in (0, 2, 1, 3)]
    for found in (near, far):
        assert {m.name: label for m, label in Samples(found, "here") if m.role == "image"} == {
            "1.png": "a",
            "2.png": "b",
        }


def test_versions_of_an_image_are_no_kinds() -> None:
    assert Samples(members(*((f"{i}.{k}.png", None) for i in range(3) for k in ("v1", "v2"))), "here").kinds == {}
    assert Samples(members(*((f"{i}.{k}.png", None) for i in range(3) for k in ("rgb", "depth"))), "here").kinds == {
        "rgb": 3,
        "depth": 3,
    }


def test_kinds_have_different_names() -> None:
    found = Samples(members(*((f"{i}{end}", None) for i in range(3) for end in (".jpg", ".image.png"))), "here")
    assert found.kinds == {"jpg": 3, "image.png": 3}
    assert (found.kind_of("1.jpg"), found.kind_of("1.image.png")) == ("jpg", "image.png")


def test_labels_that_contradict_each_other() -> None:
    found = Samples(members(("1.png", None), ("1.a.cls", "x"), ("1.b.cls", "y")), "here")
    with pytest.raises(DataError, match=r"two label files of different classes belong to 1\.png"):
        list(found)


@pytest.mark.parametrize(
    ("entries", "words"),
    [({"a.mp4": "not_image"}, "take their frames"), ({"a.heic": "format", "b.heic": "format"}, "magick mogrify -format jpg *.heic"),
     ({"a.hif": "format"}, "magick mogrify -format jpg *.hif"), ({"a.hdr": "format"}, "save them as 16-bit PNG"),
     ({"a.npy": "not_image", "x.txt": "not_image", "y.txt": "not_image"}, "name one of these files: here/a.npy"), ({}, "found: nothing")],
)  # fmt: skip
def test_what_is_said_without_images(entries: dict[str, str], words: str) -> None:
    found = Found()
    for name, kind in entries.items():
        found.add(name, Reason(kind, "no"))  # type: ignore[arg-type]
    assert words in str(found.error("here", False))


def test_a_common_reason_comes_with_its_remedy() -> None:
    found = Found()
    for i in range(3):
        found.add(f"{i}.png", Reason("access", "in a safe", "open it"))
    assert str(found.error("here", False)) == "here: none of its 3 images can be used: in a safe (0.png); open it"


def test_pieces_are_named_by_file_and_number_and_keep_its_class() -> None:
    inner = Fake(3, classes=2, side_files=("a.txt",))
    pieces = Pieces(inner, list(inner.items()), [[0, 2], [], [1]], 4, "")
    items, rejected = listed(pieces)
    assert [(item.name, item.label) for item in items] == [
        ("0000#0000.png", "0"),
        ("0000#0002.png", "0"),
        ("0002#0001.png", "0"),
    ]
    assert list(rejected) == ["a.txt"]
    last = pieces.load(items[2])
    assert isinstance(last, Tile) and (last.number, last.side) == (1, 4)
    np.testing.assert_array_equal(last.data, inner.load(Item("0002.png", 2)))


def test_tiles_that_show_something() -> None:
    sheet = np.zeros((9, 13, 4), np.uint8)
    sheet[4:8, 4:8] = np.arange(64).reshape(4, 4, 4)
    sheet[0:4, 8:12, :3] = np.arange(48).reshape(4, 4, 3)  # transparent
    assert occupied(sheet, 4) == [4]
    np.testing.assert_array_equal(tile_of(sheet, 4, 4), sheet[4:8, 4:8])


def test_frames_are_counted() -> None:
    file = io.BytesIO()
    frames = [Image.new("L", (8, 8), 50 * i) for i in range(3)]
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:])
    assert frame_count(file.getvalue()) == 3
    assert Frame(file.getvalue(), 2).number == 2


@pytest.mark.parametrize(
    ("start", "video"),
    [(b"\0\0\0\x18ftypisom", True), (b"\0\0\0\x18ftypavif", False), (b"RIFF\0\0\0\0AVI LIST", True), (b"RIFF\0\0\0\0WEBPVP8 ", False), (b"\x1a\x45\xdf\xa3", True)],
)  # fmt: skip
def test_first_bytes_of_videos(start: bytes, video: bool) -> None:
    assert is_video(start) == video
