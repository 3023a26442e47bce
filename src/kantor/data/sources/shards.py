"""Folders that hold one dataset in several files."""

from __future__ import annotations

import re

TAR = re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$")
TFRECORD = re.compile(r"\.tfrecords?([.-]\S*)?$|-of-\d{5}$")
_PARQUET = re.compile(r"\.parquet$")
_TEXTS = (".json", ".txt", ".md", ".csv", ".idx")
_TRAINING = re.compile(r"(?<![a-z])train(ing)?(?![a-z])")
_EVALUATION = re.compile(r"(?<![a-z])(test(ing)?|val(id(ation)?)?|dev|eval)(?![a-z])")


def find(files: list[str]) -> list[str]:
    """The shards of a folder that holds a dataset in parts of one kind, and at most texts next to them; else none."""
    for kind in (TAR, TFRECORD, _PARQUET):
        shards = sorted(name for name in files if kind.search(name.lower()))
        others = [name for name in files if name not in shards and not name.lower().endswith(_TEXTS)]
        if shards and not others:
            return shards
    return []


def for_training(shards: list[str]) -> tuple[list[str], str]:
    """The shards without those for tests, and a note for the user if there are such.

    All of them, if no name says that it is for training.
    """
    others = [name for name in shards if _EVALUATION.search(name.lower()) and not _TRAINING.search(name.lower())]
    rest = [name for name in shards if name not in others]
    if not others or not any(_TRAINING.search(name.lower()) for name in rest):
        return shards, ""
    what = f"{len(rest)} of {len(shards)} files of this folder are used, those for training, not {others[0]}"
    what += " and such" if len(others) > 1 else ""
    return rest, what + "; to use others, move them into a folder of their own"
