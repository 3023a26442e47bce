#!/usr/bin/env bash
# OpenCV 4.13 warps some arrays backwards
#
# Expected: cv2.warpAffine(image, M, size) moves the content by M (unless WARP_INVERSE_MAP is set), whatever the type of the array
#   and however many channels it has: a mask moves with its image.
# Seen: with INTER_NEAREST, OpenCV 4.13.0 takes M for its inverse where the array is int16 or float64 with 1, 3 or 4 channels, or
#   uint16 with 4. "Two to the right" goes two to the left; a rotation turns the other way. Two channels, the other types and the
#   other interpolations are right, and so are 4.12, 4.14 and 5.0. Nothing is raised: a picture of 8 bits and its map of classes in
#   int16, or its depth in float64, are turned in opposite directions.
#   For float64 this is opencv/opencv issue 28554; the types and channels are those that go through Intel's IPP, so builds without
#   it (other processors) may be right.
# Versions: opencv-python-headless 4.12.0.88, 4.13.0.92, 4.14.0.94, 5.0.0.93, numpy 2.4.6, Python 3.11, x86-64.
# Seen on 2026-11-29 (which way "two to the right" goes, for 1, 2, 3 and 4 channels):
#   4.13.0  uint8 right right right right   uint16 right right right LEFT   int16 LEFT right LEFT LEFT
#           float32 right right right right   float64 LEFT right LEFT LEFT
#   4.12.0, 4.14.0, 5.0.0  right for all
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6
cat > "$folder/warps.py" <<'PY'
import sys

import cv2
import numpy as np

LEFT = {"uint16": (4,), "int16": (1, 3, 4), "float64": (1, 3, 4)} if cv2.__version__.startswith("4.13.") else {}
two_to_the_right = np.array([[1.0, 0, 2], [0, 1, 0]])
same, cells = True, []
for kind in ("uint8", "uint16", "int16", "float32", "float64"):
    ways = []
    for channels in (1, 2, 3, 4):
        image = np.zeros((9, 9, channels), kind)
        image[4, 4] = 1
        moved = cv2.warpAffine(image, two_to_the_right, (9, 9), flags=cv2.INTER_NEAREST).reshape(9, 9, channels)
        ways.append({6: "right", 2: "LEFT"}.get(int(moved[4, :, 0].argmax()), "?"))
    same = same and all((way == "LEFT") == (n in LEFT.get(kind, ())) for n, way in enumerate(ways, 1))
    cells.append(f"{kind} {' '.join(ways)}")
print(f"{cv2.__version__:8}" + "   ".join(cells))
sys.exit(not same)
PY
same=0
for version in 4.12.0.88 4.13.0.92 4.14.0.94 5.0.0.93; do
  "$folder/venv/bin/pip" install -q --disable-pip-version-check --no-deps --target "$folder/$version" "opencv-python-headless==$version"
  PYTHONPATH="$folder/$version" "$folder/venv/bin/python" "$folder/warps.py" || same=1
done
exit "$same"
