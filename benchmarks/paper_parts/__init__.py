"""Statements of the WGAN papers, tried at a size that fits a laptop: parts of benchmarks/papers.py."""
