"""The error for a source without images: what is there instead, and the next step for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from kantor.data.reasons import Reason
from kantor.data.sources.names import NEXT_STEPS, VIDEOS, extension
from kantor.errors import DataError

_NAME_ONE = (
    ".npy", ".npz", ".h5", ".hdf5", ".mat", ".parquet", ".arrow", ".feather", ".tar", ".tgz", ".gz", ".zip", ".tfrecord", ".tfrecords",
    ".mdb", ".csv", ".bin",
)  # fmt: skip
_OTHERWISE = "name a folder, archive or file with images, such as PNG or JPEG"


@dataclass
class Found:
    """What a source lists that are no images."""

    extensions: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)  # a name with each extension
    reasons: Counter[Reason] = field(default_factory=Counter)  # of images that cannot be used
    example: dict[Reason, str] = field(default_factory=dict)

    def add(self, name: str, reason: Reason) -> None:
        if reason.kind in ("not_image", "format"):
            suffix = extension(name)
            self.extensions[suffix] += 1
            self.first.setdefault(suffix, name)
        elif reason in self.reasons or len(self.reasons) < 50:
            self.reasons[reason] += 1
            self.example.setdefault(reason, name)

    def error(self, where: str, in_archive: bool) -> DataError:
        """Names what there is most of."""
        if self.reasons and self.reasons.total() >= self.extensions.total():
            reason, count = self.reasons.most_common(1)[0]
            images = "image" if count == 1 else "images"
            what = f"none of its {count:,} {images} can be used: {reason.detail} ({self.example[reason]})"
            return DataError(where, what, reason.remedy or "check the files")
        contents = ", ".join(
            f"{n:,} {suffix or f'without an ending, such as {self.first[suffix]}'}"
            for suffix, n in self.extensions.most_common(6)
        )
        what = f"there are no images in it (found: {contents or 'nothing'})"
        suffix = next(
            (suffix for suffix, _ in self.extensions.most_common() if self._step(suffix, where, in_archive)), ""
        )
        return DataError(where, what, self._step(suffix, where, in_archive) or _OTHERWISE)

    def _step(self, suffix: str, where: str, in_archive: bool) -> str:
        """What to do with files of this extension."""
        if suffix in _NAME_ONE and in_archive:
            return f"unpack it, and name the folder or {self.first[suffix]}"
        if suffix in _NAME_ONE:
            return f"name one of these files: {where}/{self.first[suffix]}"
        if suffix in VIDEOS:
            return "take their frames: --set data.frames=10 uses every tenth"
        return NEXT_STEPS.get(suffix, "")
