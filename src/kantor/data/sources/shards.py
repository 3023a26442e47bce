"""Folders that hold one set in several files."""

from __future__ import annotations

import re

TAR = re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$")
TFRECORD = re.compile(r"\.tfrecords?([.-]\S*)?$|-of-\d{5}$")
_PARQUET = re.compile(r"\.parquet$")
_BESIDE = (".json", ".txt", ".md", ".csv", ".idx")
_TRAINING = re.compile(r"(?<![a-z])train(ing)?(?![a-z])")
_OTHER_PART = re.compile(r"(?<![a-z])(test(ing)?|val(id(ation)?)?|dev|eval)(?![a-z])")


def find(inside: list[str]) -> list[str]:
    """The files of a folder that holds a set in parts, all of one kind, and at most texts beside them; else none."""
    for kind in (TAR, TFRECORD, _PARQUET):
        shards = sorted(name for name in inside if kind.search(name.lower()))
        others = [name for name in inside if name not in shards and not name.lower().endswith(_BESIDE)]
        if shards and not others:
            return shards
    return []


def for_training(shards: list[str]) -> tuple[list[str], str]:
    """Those without the images that somebody has set apart for tests, and a note for the user where there are such.

    Where no name says that it is for training, all are taken.
    """
    others = [name for name in shards if _OTHER_PART.search(name.lower()) and not _TRAINING.search(name.lower())]
    rest = [name for name in shards if name not in others]
    if not others or not any(_TRAINING.search(name.lower()) for name in rest):
        return shards, ""
    what = f"{len(rest)} of {len(shards)} files of this folder are used, those for training, not {others[0]}"
    return rest, what + (
        " and such" if len(others) > 1 else ""
    ) + "; to use others, move them into a folder of their own"
