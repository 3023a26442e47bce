"""The runs in a folder: as a list, and the best of them."""
