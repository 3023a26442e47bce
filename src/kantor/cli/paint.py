"""`kantor paint`."""

from __future__ import annotations

from kantor.app.sampling.options import PaintOptions
from kantor.cli.terminal import counted, show


def paint(options: PaintOptions) -> None:
    """Generate lines with one model and colour them with another; or colour your own lines.

    Writes each painting with its lines, and a sheet of all.
    """
    from kantor.app.sampling import paint as job

    sheet, folder, count = job.paint(options)
    show(f"{counted(count, 'painting')} in {folder}")
    show(f"sheet: {sheet}")
