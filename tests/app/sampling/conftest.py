"""Tests here look at runs, not at their plots."""

from support.figures import blank_figures

__all__ = ["blank_figures"]
