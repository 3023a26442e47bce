"""Which files of a folder hold the images, by the first version of data.rules."""

from __future__ import annotations

import re

from kantor.data.sources import idx

_KINDS = (
    re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$"),
    re.compile(r"\.tfrecords?([.-]\S*)?$|-of-\d{5}$"),
    re.compile(r"\.parquet$"),
)
_TEXTS = (".json", ".txt", ".md", ".csv", ".idx")
_TRAINING = re.compile(r"(?<![a-z])train(ing)?(?![a-z])")
_EVALUATION = re.compile(r"(?<![a-z])(test(ing)?|val(id(ation)?)?|dev|eval)(?![a-z])")
_IDX = re.compile(r"(.*)(images|labels)([-.])idx(\d)-ubyte(\.gz)?$")


def idx_file(files: list[str], where: str) -> str | None:
    """The IDX file with the training images; None unless all files are IDX."""
    return idx.choose(files, where) if files and all(map(_IDX.match, files)) else None


def shards(files: list[str]) -> tuple[list[str], str]:
    """The shards of a folder that holds a dataset in parts of one kind, and at most texts next to them; else none.

    Those for evaluation are left out if others are named for training; then the note is not empty.
    """
    for kind in _KINDS:
        found = sorted(name for name in files if kind.search(name.lower()))
        if found and all(kind.search(name.lower()) or name.lower().endswith(_TEXTS) for name in files):
            break
    else:
        return [], ""
    training = [name for name in found if _TRAINING.search(name.lower())]
    used = [name for name in found if name in training or not _EVALUATION.search(name.lower())]
    others = [name for name in found if name not in used]
    if not training or not others:
        return found, ""
    note = f"{len(used)} of {len(found)} files of this folder are used, those for training, not {others[0]}"
    note += " and such" if len(others) > 1 else ""
    return used, note + "; to use others, move them into a folder of their own"
