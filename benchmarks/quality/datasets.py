"""Datasets as one array each, which all contestants read: NAME.npy, uint8 [N, H, W, C]."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from quality.plan import Dataset


def prepared(dataset: Dataset, work: Path, root: Path) -> Path:
    """The array of a dataset, packed by Kantor (once). Of stacked digits also NAME-digits.npy, int64 [N, 3].

    Args:
        root: which relative sources are meant from, if they are not there.
    """
    settings = json.dumps([dataset.source, sorted(dataset.fields.items())])
    name = f"{dataset.name}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"
    path = work / "data" / f"{name}.npy"
    if path.exists():
        return path
    from kantor.app.dataset.cache import DatasetCache, cache_folder
    from kantor.app.dataset.prepare import open_set
    from kantor.config.io import parse_override, resolve

    source = root / dataset.source
    overrides = {"data.source": str(source) if source.exists() else dataset.source}
    overrides |= dict(parse_override(f"data.{field}={value}") for field, value in dataset.fields.items())
    store, _, _ = open_set(resolve(overrides=overrides), 32, DatasetCache(cache_folder(None), note=print))
    rows = np.arange(store.count)
    path.parent.mkdir(parents=True, exist_ok=True)
    if "stack" in dataset.fields:
        digits = np.array([[int(digit) for digit in name.split()] for name in store.class_names])
        labels = store.labels(rows)
        assert labels is not None
        np.save(digits_of(path), digits[labels])
    partial = path.with_suffix(".partial.npy")
    np.save(partial, store.images(rows))
    partial.replace(path)
    return path


def channels(path: Path) -> list[str]:
    """The flag with which `kantor train` keeps the alpha of an array, which it would otherwise lay on white."""
    return ["--set", "data.channels=rgba"] if np.load(path, mmap_mode="r").shape[-1] == 4 else []


def digits_of(path: Path) -> Path:
    """The file of the digits that the images of a stacked dataset show."""
    return path.with_name(f"{path.stem}-digits.npy")
