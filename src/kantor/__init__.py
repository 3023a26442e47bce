"""Kantor: train a Wasserstein GAN on your own pictures, and trust it."""

__version__ = "0.1.0"
