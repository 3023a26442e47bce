#!/usr/bin/env bash
# Pillow's reducing_gap, and transparency
#
# Expected: Image.resize(..., reducing_gap=2.0), which Image.thumbnail passes unless told otherwise, first averages a large picture
#   in blocks and then resamples what is left. That is several times faster, for pictures with an alpha channel too, and two
#   releases make the same pixels of the same picture.
# Seen: up to Pillow 12.3 the argument has no effect on RGBA and LA: the pixels are those without it, and so is the time. Pillow 13.0
#   (October 2026) passes it on: three times faster, and other pixels. A set of large transparent pictures that is reduced
#   with the same code by 12.3 and by 13.0 has other bytes, so whoever identifies data by a hash of pixels, or compares scores of real
#   images to a level, sees a new dataset after the update. RGB has not changed.
# Versions: Pillow 12.3.0 and 13.0.0, numpy 2.4.6, Python 3.11.
# Seen on 2026-11-29 (2048x2048 to 64x64, Lanczos; milliseconds depend on the machine):
#   Pillow 12.3.0  RGB 29 ms, with a gap 3 ms, other pixels    RGBA 53 ms, with a gap 54 ms, same pixels
#   Pillow 13.0.0  RGB 29 ms, with a gap 3 ms, other pixels    RGBA 63 ms, with a gap 17 ms, other pixels
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6
cat > "$folder/gap.py" <<'PY'
import sys
import time

import numpy as np
import PIL
from PIL import Image

y, x = np.mgrid[:2048, :2048]
rgb = np.stack([x % 256, y % 256, (x + y) // 16 % 256], -1).astype(np.uint8)
alpha = np.where(np.hypot(y - 1024, x - 1024) < 900, 255, 0).astype(np.uint8)


def reduced(image, gap):
    began_s = time.perf_counter()
    small = image.resize((64, 64), Image.Resampling.LANCZOS, reducing_gap=gap)
    return small.tobytes(), 1000 * (time.perf_counter() - began_s)


cells, same = [], []
for image in map(Image.fromarray, (rgb, np.dstack([rgb, alpha]))):
    plain, gapped = ([reduced(image, gap) for _ in range(5)] for gap in (None, 2.0))
    same.append(plain[0][0] == gapped[0][0])
    times = [min(ms for _, ms in runs) for runs in (plain, gapped)]
    cells.append(f"{image.mode} {times[0]:.0f} ms, with a gap {times[1]:.0f} ms, {'same' if same[-1] else 'other'} pixels")
print(f"Pillow {PIL.__version__}  {'    '.join(cells)}")
sys.exit(same != [False, int(PIL.__version__.split(".")[0]) < 13])
PY
same=0
for version in 12.3.0 13.0.0; do
  "$folder/venv/bin/pip" install -q --disable-pip-version-check --no-deps --target "$folder/$version" "pillow==$version"
  PYTHONPATH="$folder/$version" "$folder/venv/bin/python" "$folder/gap.py" || same=1
done
exit "$same"
