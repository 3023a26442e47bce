#!/usr/bin/env bash
# Pillow and TIFFs in which the smallest value is white
#
# Expected: the tag PhotometricInterpretation = 0 (WhiteIsZero, TIFF 6.0, section 4) is honoured whatever the number type. An image of 8
#   bits comes out as one can look at it: a stored 0 is 255. One of 16 bits should then give 65535 for a stored 0.
# Seen: 1 and 8 bits are inverted; 16 bits and float32 are not, compressed or not, and nothing in the image says so: a set in which both
#   occur, such as scans of films, is half negative. Signed 16 bits with this tag are not recognised as an image at all, though those with
#   BlackIsZero are.
# Cure: look at image.tag_v2[262] before the values are used, and invert those of more than 8 bits.
# Versions: Pillow 13.0.0, tifffile 2026.3.3 (the writer), numpy 2.4.6.
# Seen on 2026-11-29, for a stored 0: 8 bits 255, 16 bits 0, 16 bits in zlib 0, float32 0, signed 16 bits UnidentifiedImageError
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 numpy==2.4.6 tifffile==2026.3.3
cat > "$folder/white.py" <<'PY'
import io
import sys

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError


def first_value(dtype, **how):
    """What Pillow reads where 0 is stored, in a ramp from 0 up."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.arange(64).reshape(8, 8).astype(dtype), photometric="miniswhite", **how)
    try:
        with Image.open(io.BytesIO(file.getvalue())) as image:
            return float(np.asarray(image)[0, 0])
    except UnidentifiedImageError as error:
        return type(error).__name__


kinds = {"8 bits": ("u1", {}), "16 bits": ("u2", {}), "16 bits in zlib": ("u2", {"compression": "zlib"}), "float32": ("f4", {}), "signed 16 bits": ("i2", {})}
seen = {name: first_value(dtype, **how) for name, (dtype, how) in kinds.items()}
print("for a stored 0: " + ", ".join(f"{name} {value if isinstance(value, str) else f'{value:g}'}" for name, value in seen.items()))
as_seen = list(seen.values()) == [255, 0, 0, 0, "UnidentifiedImageError"]
print("as seen on 2026-11-29" if as_seen else "the behaviour has changed")
sys.exit(0 if as_seen else 1)
PY
"$folder/venv/bin/python" "$folder/white.py"
