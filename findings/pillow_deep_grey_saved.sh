#!/usr/bin/env bash
# Pillow and 16-bit grey, integers and fractions, saved in formats of 8 bits
#
# Expected: where a format cannot hold the numbers, saving raises, as Pillow does for JPEG, BMP and TGA ("cannot write mode I;16 as JPEG"); or
#   they are scaled to 8 bits.
# Seen: WebP, AVIF and GIF are written without a word, and the image is gone. A ramp from 256 to 65535 is one even white in WebP, AVIF and GIF; a ramp
#   of fractions from 0 to 1 is one even black in WebP and AVIF, and black but for its last step in GIF. Numbers are clipped to 255 and cut to whole ones.
#   Who converts a folder of scans or maps to WebP to save space trains on blank images.
# Cure: scale before saving, (values - low) * 255 / (high - low), or keep PNG, TIFF or JPEG 2000, which hold 16 bits.
# Versions: Pillow 13.0.0, numpy 2.4.6.
# Seen on 2026-11-29, smallest and largest grey read back:
SEEN='16-bit grey: PNG 256..65535, JPEG OSError, BMP OSError, TGA OSError, WEBP 255..255, AVIF 255..255, GIF 255..255; fractions: PNG OSError, JPEG OSError, BMP OSError, TGA OSError, WEBP 0..0, AVIF 0..0, GIF 0..1'
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
cat > "$folder/deep.py" <<'PY'
import io
import sys

import numpy as np
from PIL import Image

STEPS = np.linspace(256, 65535, 64).round()


def ends(values, kind):
    """Smallest and largest grey value that comes back."""
    file = io.BytesIO()
    try:
        Image.fromarray(values).save(file, kind)
    except OSError as error:
        return type(error).__name__
    with Image.open(io.BytesIO(file.getvalue())) as image:
        grey = np.asarray(image if image.mode.startswith("I;16") else image.convert("L"))
    return f"{grey.min()}..{grey.max()}"


ramp = STEPS.reshape(8, 8).repeat(8, axis=0).repeat(8, axis=1)
inputs = {"16-bit grey": ramp.astype(np.uint16), "fractions": ((ramp - 256) / (65535 - 256)).astype(np.float32)}
kinds = ("PNG", "JPEG", "BMP", "TGA", "WEBP", "AVIF", "GIF")
seen = "; ".join(f"{name}: " + ", ".join(f"{kind} {ends(values, kind)}" for kind in kinds) for name, values in inputs.items())
print(seen)
print("as seen on 2026-11-29" if seen == sys.argv[1] else "the behaviour has changed")
sys.exit(seen != sys.argv[1])
PY
"$folder/venv/bin/python" "$folder/deep.py" "$SEEN"
