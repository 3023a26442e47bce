"""Starts and resumes runs, and decides what is "auto"."""
