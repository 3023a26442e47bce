#!/usr/bin/env bash
# A GIF whose first frame has no transparent pixel
#
# Expected: every frame of an animated GIF is stored whole, with disposal 2 ("clear my area before the next frame"). Frame k then
#   has exactly the opaque pixels that were saved, whatever came before, and all decoders agree.
# Seen: the order of the frames decides. If the first frame is opaque everywhere (a sprite that fills its box, then shrinks),
#   Pillow reads every later frame as opaque, its own file included; libvips and ffmpeg do so until a frame that follows one
#   with a transparent colour, and for ever if opaque frames recur; OpenCV reads all frames as saved. The same frames backwards
#   are read as saved by Pillow, libvips and ffmpeg, and without any transparency by OpenCV. The reason is one sentence of
#   GIF89a, "restore to background colour": three of them take the background for transparent only if the frame to be cleared
#   names a transparent colour. The file itself is right: each later frame names one.
#   Who trains on frames of sprite GIFs gets boxes with a black or coloured ground instead of sprites, without a warning.
#   What helps the first three is a transparent pixel in every frame.
# Versions: Pillow 13.0.0, pyvips 3.1.1 with libvips 8.18.7 (pyvips-binary), imageio-ffmpeg 0.8.1, opencv-python-headless
#   5.0.0.93, numpy 2.4.6, Python 3.11.
# Seen on 2026-11-29 (opaque pixels of each frame; "-": no alpha at all):
#   shrinking    saved 256 144 64 16    Pillow 256 256 256 256   libvips 256 256 64 16     ffmpeg 256 256 64 16     OpenCV 256 144 64 16
#   pulsing      saved 256 64 256 64    Pillow 256 256 256 256   libvips 256 256 256 256   ffmpeg 256 256 256 256   OpenCV 256 64 256 64
#   growing      saved 16 64 144 256    Pillow 16 64 144 256     libvips 16 64 144 256     ffmpeg 16 64 144 256     OpenCV - - - -
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 pyvips==3.1.1 pyvips-binary==8.18.7 \
  imageio-ffmpeg==0.8.1 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$folder/gifs.py" <<'PY'
import subprocess
import sys

import cv2
import imageio_ffmpeg
import numpy as np
import pyvips
from PIL import Image

SIDE = 16
MARGINS = {"shrinking": (0, 2, 4, 6), "pulsing": (0, 4, 0, 4), "growing": (6, 4, 2, 0)}
EXPECTED = {
    "shrinking": ([256, 256, 256, 256], [256, 256, 64, 16], [256, 256, 64, 16], [256, 144, 64, 16]),
    "pulsing": ([256, 256, 256, 256], [256, 256, 256, 256], [256, 256, 256, 256], [256, 64, 256, 64]),
    "growing": ([16, 64, 144, 256], [16, 64, 144, 256], [16, 64, 144, 256], [None] * 4),
}


def square(margin):
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    pixels[margin : SIDE - margin, margin : SIDE - margin] = 10, 200, 10, 255
    return pixels


def by_pillow(path):
    with Image.open(path) as image:
        for index in range(image.n_frames):
            image.seek(index)
            yield np.asarray(image.convert("RGBA"))


def by_libvips(path):
    image = pyvips.Image.new_from_file(path, n=-1)
    return image.numpy().reshape(-1, SIDE, SIDE, image.bands)


def by_ffmpeg(path):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgba", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, SIDE, SIDE, 4)


def by_opencv(path):
    return cv2.imreadmulti(path, flags=cv2.IMREAD_UNCHANGED)[1]


def opaque(frames):
    return [int((frame[..., 3] == 255).sum()) if frame.shape[2] == 4 else None for frame in frames]


readers = {"Pillow": by_pillow, "libvips": by_libvips, "ffmpeg": by_ffmpeg, "OpenCV": by_opencv}
same = True
for name, margins in MARGINS.items():
    path = f"{sys.argv[1]}/{name}.gif"
    first, *others = (Image.fromarray(square(margin)) for margin in margins)
    first.save(path, save_all=True, append_images=others, duration=40, loop=0, disposal=2)
    counts = [opaque(read(path)) for read in readers.values()]
    same = same and tuple(counts) == EXPECTED[name]
    cells = {"saved": opaque(map(square, margins)), **dict(zip(readers, counts, strict=True))}
    line = "".join(f"{f'{label} ' + ' '.join('-' if n is None else str(n) for n in c):25}" for label, c in cells.items())
    print(f"{name:13}{line.rstrip()}")
sys.exit(not same)
PY
"$folder/venv/bin/python" "$folder/gifs.py" "$folder"
