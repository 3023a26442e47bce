"""Where the repository and its real datasets are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data"  # filled by `make data`
