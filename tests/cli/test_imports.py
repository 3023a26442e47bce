"""Garbage collection around imports."""

from __future__ import annotations

import gc

import pytest

from kantor.cli.imports import without_collection


def test_collection_pauses_and_goes_on() -> None:
    gc.unfreeze()  # as in a new process
    with pytest.raises(ImportError), without_collection():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() and gc.get_freeze_count() > 0
    gc.unfreeze()
