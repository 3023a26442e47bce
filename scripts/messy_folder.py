"""Makes a typical folder: images of many sizes, formats and modes, with broken files among them.

    python scripts/messy_folder.py FOLDER_OF_PNG... --out messy

The images are those of the folders (for the gallery: Debian's openclipart-png, unpacked with dpkg-deb -x); each
becomes a PNG, JPEG, WebP, GIF, BMP or TIFF in RGBA, RGB, palette, grey or CMYK, some rotated by an Exif tag.
The broken ones come from tests/support/nasty.py.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support import nasty

KINDS = (
    ("png", "RGBA"), ("jpg", "RGB"), ("webp", "RGBA"), ("gif", "P"), ("jpg", "CMYK"), ("bmp", "RGB"), ("tiff", "RGB"),
    ("png", "P"), ("jpg", "RGB"), ("png", "RGB"), ("png", "LA"), ("jpeg", "RGB"),
)  # fmt: skip
FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "tiff": "TIFF"}


MAX_PIXELS = 1_000_000  # larger images are copied under their new name


def pixels(data: bytes) -> int:
    """Number of pixels, from the header."""
    return int.from_bytes(data[16:20]) * int.from_bytes(data[20:24])


def rewritten(data: bytes, kind: str, mode: str, turned: bool) -> bytes:
    """The image in another format and mode; on white if the mode has no transparency."""
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    if mode not in ("RGBA", "LA"):
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image).convert("RGB")
    image = image.quantize() if mode == "P" else image.convert(mode)
    options = {}
    if turned and kind in ("jpg", "jpeg"):
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[274] = 6  # viewers rotate it back, clockwise
        options["exif"] = exif
    out = io.BytesIO()
    image.save(out, FORMATS.get(kind, kind.upper()), **options)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    files = sorted(path for folder in options.folders for path in folder.rglob("*.png"))
    for number, path in enumerate(files):
        kind, mode = KINDS[number % len(KINDS)]
        data = path.read_bytes()
        if pixels(data) <= MAX_PIXELS:
            data = rewritten(data, kind, mode, turned=number % 36 == 1)
        (options.out / f"{number:05d} {path.stem}.{kind}").write_bytes(data)
    for name, make in nasty.BROKEN.items():
        (options.out / f"broken {name}").write_bytes(make())
    print(f"{len(files)} images and {len(nasty.BROKEN)} broken files in {options.out}")


if __name__ == "__main__":
    main()
