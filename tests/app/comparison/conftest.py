"""Tests here look at plots."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def blank_figures() -> None:
    """In the place of that of all other tests."""
