"""Why an image is rejected: a kind for the program, a sentence for the user."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal[
    "not_image",  # another kind of file, by its name or its first bytes
    "sheet",  # a grid that `kantor generate` wrote next to the images on it
    "format",  # an image or video format that is not supported
    "damaged",  # cut short, a wrong checksum, or nothing in its place
    "size",  # too many pixels or bytes, too few pixels, too long a side
    "crop",  # smaller than the crop
    "access",  # gone, a link, or not readable
    "decoder",  # out of time or memory, or a crash
    "unlooked",  # numbers of a type whose range nobody has looked for yet; never in rejected.jsonl
    "content",  # a value that is not an image, or not the image that was listed
    "other",
]
_LONGEST = 300  # characters: details can quote foreign names and messages


class Reason(NamedTuple):
    """Why an image is rejected; str() is the sentence."""

    kind: Kind  # what the program decides by
    detail: str  # what is wrong, a few plain words ("truncated at byte 8112")
    remedy: str = ""  # what to do, starting with a verb; "" if there is nothing to say

    def __str__(self) -> str:
        return f"{self.detail}; {self.remedy}" if self.remedy else self.detail


class Undecodable(Exception):
    """Raised for an image that cannot be used; str() is the sentence of its `reason`."""

    def __init__(self, kind: Kind, detail: str, remedy: str = "") -> None:
        super().__init__(kind, detail, remedy)
        self.reason = Reason(kind, detail, remedy)

    def __str__(self) -> str:
        return str(self.reason)


def clipped(error: Exception, otherwise: str, kind: Kind = "other") -> Reason:
    """The reason of an `Undecodable`, else `otherwise`; at most 300 characters of each part."""
    reason = error.reason if isinstance(error, Undecodable) else Reason(kind, otherwise)
    return Reason(reason.kind, reason.detail[:_LONGEST], reason.remedy[:_LONGEST])
