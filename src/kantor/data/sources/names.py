"""What a file's name says: whether it is an image's, and which class it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from kantor.data.reasons import Reason

IMAGES = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff")
)
MORE_IMAGES = IMAGES | {  # by the rules from 2 on: what Pillow decodes without another program
    ".pbm", ".pgm", ".ppm", ".pnm", ".pfm", ".avif", ".avifs", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".qoi", ".tga", ".mpo",
    ".psd", ".dds", ".pcx", ".dcx", ".sgi", ".rgb", ".rgba", ".bw", ".icb", ".vda", ".vst", ".ico", ".icns", ".ras", ".blp", ".xpm",
    ".xbm",
}  # fmt: skip
_UNSUPPORTED = frozenset((
    ".heic", ".heif", ".avif", ".svg", ".psd", ".eps", ".raw", ".dng", ".cr2", ".nef", ".jp2", ".jxl", ".tga", ".ico",
    ".exr", ".hdr",
))  # fmt: skip
_MORE_UNSUPPORTED = (_UNSUPPORTED - MORE_IMAGES) | {
    ".cr3", ".arw", ".orf", ".rw2", ".raf", ".pef", ".wmf", ".emf", ".ai", ".xcf", ".kra", ".fits", ".fit", ".dcm", ".dicom", ".nii",
    ".cur", ".ani", ".pcd", ".pxr", ".fli", ".flc", ".ftu", ".ftc", ".gbr", ".mrc", ".czi", ".lif", ".nd2", ".svs", ".fpx", ".djvu",
    ".bpg", ".flif", ".insp", ".hif", ".pam",
}  # fmt: skip
NEXT_STEPS = {  # for files that hold images, but are not read
    **{suffix: f"convert them: magick mogrify -format jpg *{suffix}" for suffix in (".heic", ".heif", ".hif")},
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".dng", ".arw", ".orf", ".rw2", ".raf", ".pef"), "export them as JPEG or PNG"),
    **dict.fromkeys((".dcm", ".dicom"), "save them as 16-bit arrays: numpy.save('x.npy', pydicom.dcmread(FILE).pixel_array)"),
    **dict.fromkeys((".fits", ".fit"), "save them as arrays: numpy.save('x.npy', astropy.io.fits.getdata(FILE))"),
    **dict.fromkeys((".pkl", ".pt"), "save their arrays with numpy.savez('new.npz', images=x): pickles could run code"),
    **dict.fromkeys((".7z", ".rar"), "unpack them"),
    ".svg": "draw them: for f in *.svg; do rsvg-convert -w 256 $f -o ${f%.svg}.png; done",
    ".pdf": "draw their pages: pdftoppm -png FILE.pdf page",
    ".nii": "save their slices: numpy.save('x.npy', nibabel.load(FILE).get_fdata().transpose(2, 0, 1))",
    ".mrc": "save them as arrays: numpy.save('x.npy', mrcfile.read(FILE))",
    ".exr": "save them as 16-bit PNG", ".hdr": "save them as 16-bit PNG",
}  # fmt: skip
_CLUTTER = frozenset(("__MACOSX", "Thumbs.db", "desktop.ini"))
LABEL_FILE = "dataset.json"
GENERATED, GRID = re.compile(r"seed-[0-9]{8,20}\.png"), "sheet.png"  # files that `kantor generate` writes
SHEET = Reason("sheet", "a grid of the images next to it")  # written by `kantor generate`


_LEFT_OUT = {
    "@eadir": "thumbnails of a NAS", "#recycle": "a bin", "$recycle.bin": "a bin", "@recycle": "a bin", "recycler": "a bin",
    "lost+found": "files that a disk check found", "system volume information": "files of the system", "thumbs": "thumbnails",
    "thumbnails": "thumbnails", "_thumbs": "thumbnails", "@recently-snapshot": "snapshots of a NAS", "#snapshot": "snapshots of a NAS",
}  # fmt: skip
ICLOUD = ".icloud"  # .NAME.icloud stands for NAME, which is not on this disk


def left_out(part: str) -> str | None:
    """Why all files in a folder of this name are left out, None if they are not (by the rules from 2 on)."""
    return _LEFT_OUT.get(part.lower())


def is_placeholder(part: str) -> bool:
    """Whether a file of this name stands for one that is in iCloud."""
    return part.startswith(".") and part.endswith(ICLOUD) and len(part) > len(ICLOUD) + 1


def is_clutter(part: str) -> bool:
    """Whether a file or folder of this name is skipped in silence: hidden, or left by the file manager."""
    return part.startswith(".") or part in _CLUTTER


def extension(name: str) -> str:
    """The extension in lower case, "" if there is none: "scan.0001" and "Mr. Smith" have none."""
    stem, _, tail = name.rsplit("/", 1)[-1].rpartition(".")
    if not stem or not 1 <= len(tail) <= 10 or tail.isdigit() or not tail.isascii() or " " in tail:
        return ""
    return "." + tail.lower()


VIDEOS = frozenset((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp"))


def images(rules: int, videos: bool = False) -> frozenset[str]:
    """The extensions of images, and of videos of which frames are used."""
    return (MORE_IMAGES | VIDEOS if videos else MORE_IMAGES) if rules >= 2 else IMAGES


def not_image(name: str, rules: int) -> Reason | None:
    """Why a file of this name is rejected unread, or None if it may be an image."""
    suffix = extension(name)
    if suffix in (_MORE_UNSUPPORTED if rules >= 2 else _UNSUPPORTED):
        step = NEXT_STEPS.get(suffix, "save them as PNG")
        return Reason("format", f"{suffix} images are not read", step if rules >= 2 else "")
    return None if suffix == "" or suffix in images(rules) else Reason("not_image", f"not an image ({suffix})")


def class_depth(names: Iterable[str]) -> int | None:
    """The part of the names that is the class: 0 for the first folder; None if an image is next to folders.

    Single folders around everything are skipped.
    """
    folders: list[set[str]] = []
    shortest = 1 << 30
    for name in names:
        parts = name.split("/")[:-1]
        shortest = min(shortest, len(parts))
        for depth, part in enumerate(parts[:shortest]):
            if depth == len(folders):
                folders.append(set())
            if depth == 0 or len(folders[depth - 1]) == 1:
                folders[depth].add(part)
    return next((d for d, parts in enumerate(folders[:shortest]) if len(parts) > 1), None)


def class_of(parts: Sequence[str], depth: int | None) -> str | None:
    """The class of an image with these parts of a path, None if no folder names it."""
    return parts[depth] if depth is not None and len(parts) > depth + 1 else None
