#!/usr/bin/env bash
# libjpeg-turbo and progressive JPEGs of which only the means of the blocks are there, read at an eighth of their size
#
# Expected: a progressive JPEG sends the mean of each block of 8x8 first (the DC coefficients, ITU-T T.81, annex G). At an eighth of the size, as
#   Pillow's Image.draft asks for, a pixel is such a mean. The scans of details can then be left out, to read a preview sooner or from the start
#   of a download, and the pixels stay.
# Seen: they change, by several grey levels on average. libjpeg-turbo takes details that no scan has named for unknown, and smooths the means
#   themselves over 5x5 blocks, at an eighth too. With a scan of some bytes that says "no details" (runs of ends of blocks) the pixels are
#   those of the whole file. With colours at half the size (4:2:0) they still differ: the decoder reads those at a quarter instead of an eighth,
#   so their details count.
# Cure: leave out only the scans of components of the full size, and add empty ones for them.
# Versions: Pillow 13.0.0 (its wheel brings libjpeg-turbo 3.2.0), numpy 2.4.6.
# Seen on 2026-11-29: mean difference without the scans 4.58, with empty ones 0 (4:4:4); 20.38 with empty ones (4:2:0)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
cat > "$folder/means.py" <<'PY'
import io
import re
import struct
import sys

import numpy as np
from PIL import Image

SIDE = 512  # 64 x 64 blocks


def picture():
    """Blurred noise with grain, in colour."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (33, 33, 3), dtype=np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return Image.fromarray(np.clip(np.asarray(coarse) + rng.normal(0, 25, (SIDE, SIDE, 1)), 0, 255).astype(np.uint8))


def segments(data):
    """(marker, bytes) of each, a scan with what follows it."""
    at = 2
    while data[at + 1] != 0xD9:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            end = re.compile(rb"\xff[^\x00\xd0-\xd7]").search(data, end).start()
        yield data[at + 1], data[at:end]
        at = end


def means(data, empty):
    """The file without its scans of details; with empty ones for its components if wanted."""
    kept = [part for marker, part in segments(data) if marker != 0xDA or part[5 + 2 * part[4]] == 0]
    if empty:
        kept.append(b"\xff\xc4" + struct.pack(">HB16B", 20, 0x10, 1, *[0] * 15) + b"\xc0")  # one code, "0": a run of 4096 blocks or more
        for component in range(1, empty + 1):
            run = b"\x00\x07"  # that code, then 12 bits: 4096 of them, which is all or more; the rest fills the byte
            kept.append(struct.pack(">BBHBBBBBB", 0xFF, 0xDA, 8, 1, component, 0, 1, 63, 0) + run)
    return b"\xff\xd8" + b"".join(kept) + b"\xff\xd9"


def at_an_eighth(data):
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (SIDE // 8, SIDE // 8))
    return np.asarray(image).astype(int)


def difference(subsampling, empty):
    file = io.BytesIO()
    picture().save(file, "JPEG", quality=90, progressive=True, subsampling=subsampling)
    whole = file.getvalue()
    return float(np.abs(at_an_eighth(whole) - at_an_eighth(means(whole, empty))).mean())


without, same, halved = difference("4:4:4", 0), difference("4:4:4", 3), difference("4:2:0", 3)
print(f"mean difference without the scans {without:.2f}, with empty ones {same:g} (4:4:4); {halved:.2f} with empty ones (4:2:0)")
as_seen = without > 1 and same == 0 and halved > 0.1
print("as seen on 2026-11-29" if as_seen else "the behaviour has changed")
sys.exit(not as_seen)
PY
"$folder/venv/bin/python" "$folder/means.py"
