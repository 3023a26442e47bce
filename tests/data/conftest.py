"""What tests of data share."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.packing import Packer


@pytest.fixture
def pack(tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]) -> Packer:
    return Packer(tmp_path_factory.mktemp("packs"), capfd)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder for a dataset."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"
