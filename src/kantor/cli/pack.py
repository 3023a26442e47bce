"""`kantor pack`."""

from __future__ import annotations

from kantor.app.dataset.options import PackOptions
from kantor.cli.terminal import show, show_progress
from kantor.errors import ConfigError


def pack(options: PackOptions) -> None:
    """Resize images once, into a packed dataset that training reads fast.

    Bad images are skipped and listed, with the reason, in rejected.jsonl. If interrupted, run it again: it continues.
    """
    from kantor.app.dataset.inspect import inspect
    from kantor.app.dataset.pack import pack_source

    if options.inspect and len(options.sources) > 1:
        raise ConfigError("--inspect", "takes one SOURCE", "name one at a time")
    with show_progress() as progress_of:
        progress = progress_of("packing")
        if options.inspect:
            lines = inspect(options.fields, options.out, options.overwrite, progress)
        else:
            lines = pack_source(options, progress)
    for line in lines:
        show(line)
    if not options.inspect:
        show(f"packed dataset: {options.out}" if options.format == "npy" else f"written to {options.out}")
