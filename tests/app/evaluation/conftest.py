"""Tests here check runs, not their plots."""

from support.figures import blank_figures

__all__ = ["blank_figures"]
