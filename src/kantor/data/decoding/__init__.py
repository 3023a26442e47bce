"""Bytes and arrays to uint8 images of one size."""
