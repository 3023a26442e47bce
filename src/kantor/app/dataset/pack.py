"""Packing for its own sake."""

from __future__ import annotations

from pathlib import Path

from kantor.app.dataset.options import PackOptions
from kantor.app.dataset.prepare import cache_folder, default_side, look, open_set, report_lines
from kantor.app.output_paths import require_free, target
from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.data.loading.store import Store, is_packed
from kantor.data.packing.pack import pack
from kantor.data.packing.writers import FORMATS, write_tfrecord, write_webdataset
from kantor.data.sources import GLYPHS
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, nearest
from kantor.progress import Progress


def pack_source(options: PackOptions, progress: Progress) -> list[str]:
    """Packs the sources into the folder `options.out`. Classes of the same name are one.

    Returns:
        Lines for the user: what was chosen, how many images, what was left out.
    """
    config, kind = resolve(overrides=options.fields), options.format
    more = options.sources[1:]
    if kind not in FORMATS:
        raise ConfigError(f"--format {kind}", "there is no such format", nearest(kind, FORMATS))
    if more and kind != "npy":
        raise ConfigError(f"--format {kind}", "takes one SOURCE", "pack them together first, then write that set")
    if more and config.data.labels not in ("auto", "none"):
        raise ConfigError("--labels", "a file of labels is for one SOURCE", "use sub-folders, or --labels none")
    remade = config.data.stack or config.data.edges != "none"  # other images are made of those
    paths = [Path(source) for source in (config.data.source, *more) if source != GLYPHS]
    for path in paths:
        if is_packed(path) and (kind == "npy" or more) and (more or not remade):
            raise ConfigError(path, "is a packed set already", "train on it as it is, or pack its images")
    out = target(options.out, paths)
    lines: list[str] = []
    if kind != "npy":
        return _convert(config, out, options.overwrite, progress, kind, cache_folder(options.cache))
    config, spec, source, listing, filled = look(config, default_side(choose_device("auto").type), lines.append, more)
    report = pack(source, config.data, spec, out, overwrite=options.overwrite, progress=progress, listing=listing)
    return lines + [str(one) for one in filled] + report_lines(report, str(out / "rejected.jsonl"))


def _convert(config: Config, out: Path, overwrite: bool, progress: Progress, kind: str, cache: Path) -> list[str]:
    """Writes a set in another program's format."""
    ours = r"pictures-\d{5}\.(tfrecord|tar)"
    require_free(out, overwrite, ours)
    lines: list[str] = []
    if config.data.holdout:
        do = "leave it out; the program that reads the set splits it"
        raise ConfigError("data.holdout", f"does not go with --format {kind}", do)
    store, config, filled = open_set(config, default_side(choose_device("auto").type), cache, progress, lines.append)
    write = write_tfrecord if kind == "tfrecord" else write_webdataset
    assert isinstance(store, Store)
    write(store, out, progress, check=lambda: require_free(out, overwrite, ours))  # once more: it may have taken long
    return [*lines, *map(str, filled), f"wrote {store.count:,} images, {store.spec}, as {kind}"]
