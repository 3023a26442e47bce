"""What sprites are put on: pictures, a colour, or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kantor.app import units
from kantor.app.output_paths import distinct_name
from kantor.app.sampling.pictures import read_picture
from kantor.data.sources.names import IMAGES, is_clutter
from kantor.errors import ConfigError, DataError
from kantor.types import Images

TRANSPARENT = "transparent"
DEFAULT_SIZE = (512, 512)


@dataclass(frozen=True)
class Ground:
    """A background.

    Attributes:
        name: of the file that is written, without its suffix.
        word: as the user named it, or the path in a folder.
        size: (height, width) of one that is no picture.
        named: whether the user named it, not a folder that it is in.
    """

    name: str
    word: str
    size: tuple[int, int]
    named: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether it is a colour or nothing, not a picture."""
        return _is_plain(self.word)

    def read(self) -> Images:
        """As `read_ground`."""
        if self.word == TRANSPARENT:
            return np.zeros((*self.size, 4), np.uint8)
        if self.is_plain:
            return np.broadcast_to(np.array(units.colour(self.word, "BACKGROUND"), np.uint8), (*self.size, 3)).copy()
        return read_ground(Path(self.word))


def find_grounds(words: Sequence[str], size: tuple[int, int] | None) -> list[Ground]:
    """The backgrounds that a user names: pictures, folders of pictures, "transparent" or "#rrggbb".

    size: (height, width) of those that are no pictures. Raises ConfigError for a word or size without use, DataError for a
    path that cannot be read.
    """
    if size is not None and not any(map(_is_plain, words)):
        raise ConfigError("--size", "pictures keep their size", "leave it out, or name transparent or a colour")
    paths = [path for word in words for path in ([word] if _is_plain(word) else map(str, _pictures(word)))]
    taken = set[str]()
    names = [distinct_name(path.lstrip("#") if _is_plain(path) else Path(path).stem, taken) for path in paths]
    return [Ground(name, path, size or DEFAULT_SIZE, path in words) for name, path in zip(names, paths, strict=True)]


def _is_plain(word: str) -> bool:
    return word == TRANSPARENT or re.fullmatch("#[0-9a-fA-F]{6}", word) is not None


def _pictures(word: str) -> list[Path]:
    """The picture at a path, or those in a folder."""
    path = Path(word)
    if not word or (word.startswith("#") and not path.exists()):
        units.colour(word, "BACKGROUND")  # raises
    try:
        if path.is_file():
            return [path]
        found = sorted(filter(_is_picture, path.iterdir()))
    except FileNotFoundError:
        do = 'name a picture, a folder of pictures, transparent, or a colour such as "#88aacc"'
        raise DataError(word, "does not exist", do) from None
    except OSError as error:
        raise DataError(word, f"cannot be read ({error.strerror})", "check the path") from error
    if not found:
        raise DataError(word, "there are no pictures at its top", "name a folder with pictures, or the pictures")
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGES and not is_clutter(path.name) and path.is_file()


def read_ground(path: Path) -> Images:
    """uint8 [H, W, 3], or [H, W, 4] if some of it is transparent. Raises DataError if it is no image."""
    image = read_picture(path)
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    return image if image.shape[2] == 4 and image[:, :, 3].min() < 255 else image[:, :, :3]
