"""`kantor generate`."""

from __future__ import annotations

from kantor.app.sampling.options import GenerateOptions
from kantor.cli.terminal import counted, show


def generate(options: GenerateOptions) -> None:
    """Generate images from a trained generator: a sheet, and one file per seed.

    A seed always gives the same image of a model, however many are generated together.
    """
    from kantor.app.sampling import generate as job

    sheet, folder, count = job.generate(options)
    show(f"{counted(count, 'image')} in {folder}")
    show(f"sheet: {sheet}")
