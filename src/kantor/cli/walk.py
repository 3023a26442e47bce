"""`kantor walk`."""

from __future__ import annotations

from kantor.app.sampling.options import WalkOptions
from kantor.cli.terminal import show, show_progress


def walk(options: WalkOptions) -> None:
    """Walk from image to image: an animation, a video, or a strip of images.

    Seeds are those of kantor generate, and the image of each seed is part of the walk.
    """
    from kantor.app.sampling import walk as job

    with show_progress() as progress_of:
        path, count = job.make_walk(options, progress_of("generating"), show)
    show(f"{count:,} images: {path}")
