#!/usr/bin/env bash
# What only a GPU can show, in under nine minutes; run it first on a machine with an NVIDIA GPU:
#
#     bash benchmarks/gpu_check.sh [--peer NAME=FOLDER ...] [--only PART,PART] [--seconds 530] [--cpu]
#
# Results go to $OUT (default: ./gpu-check): results.csv, summary.txt, log.txt, environment.json, samples.png, losses.png,
# metrics.csv. benchmarks/gpu_check.py says what the columns and the exit codes mean.
#
# Python is $PYTHON, else a python3 that has torch, else .venv/bin/python. Packages it lacks are installed from the wheels in
# $WHEELS (default: ./.wheels) to a temporary folder, without the network. To fill that folder on another machine, for
# Python 3.12 on x86-64 Linux (torch, numpy, matplotlib, pillow and the rest have to be there; 3 MB):
#
#     python3 -m pip download --only-binary=:all: --python-version 3.12 --implementation cp \
#         --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d .wheels pydantic tomli-w platformdirs
set -uo pipefail
started=$(date +%s)
root=$(cd "$(dirname "$0")/.." && pwd)
export OUT=${OUT:-$PWD/gpu-check} PYTHONUNBUFFERED=1
needed="torch numpy PIL pydantic tomli_w safetensors typer rich jinja2 matplotlib platformdirs"

missing() { # which packages this Python lacks, without importing them
	"$1" -c 'import importlib.util as u, sys; print(*(n for n in sys.argv[1:] if u.find_spec(n) is None))' $needed
}

python=${PYTHON:-}
if [ -z "$python" ]; then
	python=$root/.venv/bin/python
	if python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' 2>/dev/null; then python=python3; fi
fi
export PYTHONPATH=$root/src${PYTHONPATH:+:$PYTHONPATH}
lacking=$(missing "$python") || { echo "error: $python: does not run; set PYTHON, or run \`make test\` once for .venv" >&2; exit 5; }
wheels=${WHEELS:-$root/.wheels}
if [ -n "$lacking" ] && ls "$wheels"/*.whl >/dev/null 2>&1; then
	site=$(mktemp -d) && trap 'rm -rf "$site"' EXIT
	"$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
		--target "$site" "$wheels"/*.whl || exit 5
	export PYTHONPATH=$PYTHONPATH:$site
	lacking=$(missing "$python")
fi
if [ -n "$lacking" ]; then
	echo "error: $python: lacks $lacking; put their wheels into $wheels (the head of $0 says how)" >&2
	exit 5
fi
mkdir -p "$OUT" || exit 5
"$python" "$root/benchmarks/gpu_check.py" --started "$started" "$@" 2>&1 | tee "$OUT/log.txt"
