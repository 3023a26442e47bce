"""`kantor sonify`."""

from __future__ import annotations

from kantor.app.sampling.options import SonifyOptions
from kantor.cli.terminal import counted, show, show_progress


def sonify(options: SonifyOptions) -> None:
    """Turn images into sound, scanning from top left to bottom right.

    Left and right are heard left and right; pitch and loudness tell brightness, and timbre tells colour.
    """
    from kantor.app.sampling import sonify as job

    with show_progress() as progress_of:
        count, notes = job.make_sounds(options, progress_of("making sounds"))
    for note in notes:
        show(f"note: {note}")
    show(f"{counted(count, 'sound')} in {options.out}")
