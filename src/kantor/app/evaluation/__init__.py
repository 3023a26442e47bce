"""Scores of models and of folders of images."""
