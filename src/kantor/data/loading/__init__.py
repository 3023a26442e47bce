"""Packed datasets, in order, on the training device."""
