"""`kantor pack`: packs sources into a folder of the user's."""

from __future__ import annotations

from pathlib import Path

from kantor.app.dataset.cache import DatasetCache, cache_folder
from kantor.app.dataset.image_size import side_here
from kantor.app.dataset.options import PackOptions
from kantor.app.dataset.prepare import open_set, plan_pack
from kantor.app.output_paths import require_free, target
from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.data.loading.store import is_packed
from kantor.data.packing.pack import pack
from kantor.data.packing.writers import WRITTEN_FORMATS, write_shards
from kantor.data.sources.recognise import GLYPHS
from kantor.errors import ConfigError, nearest
from kantor.progress import Progress


def pack_source(options: PackOptions, progress: Progress) -> list[str]:
    """Packs the sources into the folder `options.out`; classes of the same name are one. Returns lines for the user."""
    config, more = resolve(overrides=options.fields), options.sources[1:]
    flag, for_kantor = f"--format {options.format}", options.format == "npy"
    if not for_kantor and options.format not in WRITTEN_FORMATS:
        raise ConfigError(flag, "there is no such format", nearest(options.format, ("npy", *WRITTEN_FORMATS)))
    if more and not for_kantor:
        raise ConfigError(flag, "takes one SOURCE", "pack them together first, then convert the result")
    if more and config.data.labels not in ("auto", "none"):
        raise ConfigError("--labels", "a file of labels is for one SOURCE", "use sub-folders, or --labels none")
    replaced = config.data.stack or config.data.edges != "none"  # other images are made from the packed ones
    paths = [Path(source) for source in (config.data.source, *more) if source != GLYPHS]
    for path in paths:
        if is_packed(path) and (for_kantor or more) and (more or not replaced):
            raise ConfigError(path, "is a packed dataset already", "train on it as it is, or pack its images")
    out, side = target(options.out, paths), side_here(config)
    if not for_kantor:
        return _convert(config, side, options, out, progress)
    lines: list[str] = []
    if config.data.condition not in ("none", "smaller"):
        lines.append(
            "only the images are packed; kantor train on the same DATA packs their conditions too (data.condition)"
        )
    plan = plan_pack(config, side, lines.append, more, DatasetCache(cache_folder(options.cache)).looks)
    data, overwrite = plan.config.data, options.overwrite
    report = pack(plan.source, data, plan.spec, out, overwrite=overwrite, progress=progress, listing=plan.listing)
    return [*lines, *map(str, plan.filled), *report.lines(str(out / "rejected.jsonl"))]


def _convert(config: Config, side: int, options: PackOptions, out: Path, progress: Progress) -> list[str]:
    """Writes the images in another program's format, from a packed dataset in the cache."""
    our_files = r"pictures-\d{5}\.(tfrecord|tar)"

    def require_free_out() -> None:
        require_free(out, options.overwrite, our_files)

    require_free_out()
    if config.data.holdout:
        remedy = "leave it out; the program that reads the dataset splits it"
        raise ConfigError("data.holdout", f"does not go with --format {options.format}", remedy)
    lines: list[str] = []
    dataset, _, filled = open_set(
        config, side, DatasetCache(cache_folder(options.cache), progress, lines.append), training=False
    )
    write_shards(options.format, dataset, out, progress, require_free_out)  # again: writing takes long
    written = f"wrote {dataset.count:,} images, {dataset.spec}, as {options.format} to {options.out}"
    return [*lines, *map(str, filled), written]
