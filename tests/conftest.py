"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.figures import blank_figures

__all__ = ["blank_figures", "cache"]

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: two test processes share two cores


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of all tests that name no other: equal datasets are packed once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KANTOR_CACHE", str(folder))
        yield folder
