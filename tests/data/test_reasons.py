"""Reasons: the kind decides, the sentence is for the user."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from kantor.config.data import DataConfig
from kantor.data.decoding.decode import decode
from kantor.data.decoding.formats import DecodeSettings
from kantor.data.packing.journal import rejected_in
from kantor.data.packing.pack import pack
from kantor.data.packing.scan import is_bad
from kantor.data.reasons import Kind, Reason, Undecodable
from kantor.data.sources import names
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError
from kantor.types import ImageSpec
from support import nasty
from support.pack_fakes import Fake
from support.pictures import listed, opened, png

SETTINGS = DecodeSettings(ImageSpec(16, 16, 3))
BYTES: list[tuple[bytes, Kind]] = [
    (b"", "damaged"), (b"hello", "not_image"), (bytes(64), "not_image"), (b"%PDF-1.4", "not_image"),
    (b"\0\0\0\x18ftypheic", "format"), (b"\0\0\0\x18ftypisom", "format"),
    (nasty.truncated_jpeg(), "damaged"), (nasty.bad_crc_png(), "damaged"), (nasty.bomb_png(), "size"), (nasty.thin_png(), "size"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "kind"), BYTES, ids=range(len(BYTES)))
def test_bytes_that_cannot_be_decoded_have_a_kind(data: bytes, kind: Kind) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(data, SETTINGS)
    assert caught.value.reason.kind == kind


def test_a_sentence_is_the_detail_and_the_remedy() -> None:
    with pytest.raises(Undecodable) as caught:
        decode(np.zeros((5, 5, 7), np.uint8), SETTINGS)
    kind, detail, remedy = reason = caught.value.reason
    assert kind == "content"
    assert remedy.startswith("give [height, width]")
    assert str(caught.value) == str(reason) == f"{detail}; {remedy}"
    assert str(Reason("damaged", "empty")) == "empty"
    assert pickle.loads(pickle.dumps(caught.value)).reason == reason  # noqa: S301


@pytest.mark.parametrize(
    ("name", "reason", "bad"),
    [
        ("a/notes.txt", names.not_image("notes.txt", 2), False),
        ("notes.txt", Reason("access", "dangling link"), False),
        ("a.heic", names.not_image("a.heic", 2), True),
        ("page.jpg", Reason("not_image", "not an image (starts with `<html`)"), True),
        ("README", Reason("not_image", "not an image (starts with `hello`)"), False),
        ("17", Reason("damaged", "empty"), True),
        ("sheet.png", names.SHEET, False),
        ("a.png", Reason("access", "dangling link"), True),
    ],
)
def test_which_rejected_files_count_as_images(name: str, reason: Reason, bad: bool) -> None:
    assert is_bad(Rejected(name, reason)) == bad
    assert not is_bad(Item(name, 0))


def test_all_images_are_smaller_than_the_crop(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        pack(Fake(5), DataConfig(crop=9), ImageSpec(8, 8, 3), tmp_path / "set")
    assert str(caught.value).endswith("is smaller than the crop of 9; use a smaller --crop, or --crop 0 for none")


def test_a_journal_of_an_earlier_version_has_sentences_only() -> None:
    assert rejected_in(["a.png", "empty"]) == Rejected("a.png", Reason("other", "empty"))
    reason = Reason("content", "no image", "give one")
    assert rejected_in(json.loads(json.dumps(["a.png", *reason]))) == Rejected("a.png", reason)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("a.cr2", "export them as JPEG or PNG"),
        ("a.dcm", "save them as 16-bit arrays"),
        ("a.fit", "save them as arrays"),
    ],
)
def test_a_format_that_is_not_read_has_its_own_step_beside_images_too(name: str, step: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(png(0))
    _, rejected = listed(opened(tmp_path))
    assert rejected[name].startswith(f"{Path(name).suffix} images are not read; {step}")
    assert names.NEXT_STEPS[Path(name).suffix].startswith(step)
