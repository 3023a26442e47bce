#!/usr/bin/env bash
# safetensors.numpy.save_file() of an array in Fortran order
#
# Expected: load_file() returns the saved values, or save_file() raises as safetensors.torch does for tensors that are not
#   contiguous. Up to 0.7.0 the values come back, for any memory order.
# Seen: since 0.8.0 the bytes are taken from memory as they lie and labelled with the logical shape. A transposed array, a
#   column-major one (LAPACK results, scikit-learn's PCA) and a strided view come back with the right shape, dtype and, for the
#   first two, the right multiset of values, in the wrong places. No error, no warning; save() does the same.
# Cure: np.ascontiguousarray() before saving. The PyTorch functions are not affected: they refuse such tensors.
# Versions: safetensors 0.8.0 (0.4.5, 0.5.3, 0.6.2 and 0.7.0 are right), numpy 2.4.6, Python 3.11. Reported upstream as issue 825.
# Seen on 2026-11-28:
#   0.7.0  C order: same values   Fortran order: same values   transposed: same values   every second column: same values
#   0.8.0  C order: same values   Fortran order: WRONG values  transposed: WRONG values  every second column: WRONG values
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cat > "$folder/layouts.py" <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load_file, save_file

rows = np.arange(12.0).reshape(3, 4)
arrays = {"C order": rows, "Fortran order": np.asfortranarray(rows), "transposed": rows.T, "every second column": rows[:, ::2]}
wrong = []
for name, array in arrays.items():
    save_file({"x": array}, sys.argv[1])
    if not np.array_equal(load_file(sys.argv[1])["x"], array):
        wrong.append(name)
print(version("safetensors"), *(f" {name}: {'WRONG' if name in wrong else 'same'} values" for name in arrays))
expected = list(arrays)[1:] if version("safetensors") == "0.8.0" else []
sys.exit(wrong != expected)
PY
for release in 0.7.0 0.8.0; do
  "$folder/venv/bin/pip" install -q --disable-pip-version-check "safetensors==$release" numpy==2.4.6
  "$folder/venv/bin/python" "$folder/layouts.py" "$folder/x.safetensors"
done
