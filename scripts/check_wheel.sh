#!/usr/bin/env bash
# Builds the wheel, installs it in a bare environment and uses it as a user would: help, presets, a short training, images.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m build --wheel --outdir "$folder/dist" . >"$folder/build.log" 2>&1 || { cat "$folder/build.log"; exit 1; }
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt "$folder"/dist/*.whl
cd "$folder"  # away from the source tree
venv/bin/kantor --version
venv/bin/kantor presets >/dev/null
venv/bin/kantor selftest
venv/bin/kantor train --size 16 --batch 8 --images 64 --set generator.width=4 --set critic.width=4 --set data.glyphs.count=60
venv/bin/kantor generate latest --count 4
test -s runs/00000-*/report.html
echo "Results: $(basename dist/*.whl) works in a bare environment"
