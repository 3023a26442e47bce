"""Size and channels of images in text and configuration; data/packing/choose_size.py chooses them from the images."""

from __future__ import annotations

from kantor.app.decisions import Decision, Decisions
from kantor.config.base import parse_size
from kantor.config.schema import Config
from kantor.data.loading.image_set import ImageSet
from kantor.errors import ConfigError
from kantor.types import ImageSpec

CHANNELS = {1: "gray", 3: "rgb", 4: "rgba"}


def default_side(device_type: str) -> int:
    """Returns the side of images where neither user nor images decide: a CPU takes four times as long for 64."""
    return 32 if device_type == "cpu" else 64


def side_here(config: Config) -> int:
    """The default side on this machine; 1 if the user decides on the size: finding a device takes a second."""
    if config.data.size != "auto":
        return 1
    from kantor.engine.device import choose_device  # imports PyTorch

    return default_side(choose_device("auto").type)


def configured_spec(config: Config) -> ImageSpec | None:
    """Size and channels as the configuration has them; None if one is "auto"."""
    data = config.data
    if data.size == "auto" or data.channels == "auto":
        return None
    return ImageSpec(*parse_size(data.size), {name: count for count, name in CHANNELS.items()}[data.channels])


def size_text(spec: ImageSpec) -> str:
    """Returns the size as the field data.size has it: "64", or "48x96" for height x width."""
    return str(spec.height) if spec.height == spec.width else f"{spec.height}x{spec.width}"


def spec_of(config: Config, images: ImageSet) -> ImageSpec:
    """Returns the spec that networks see; the packed images may be larger."""
    return ImageSpec(*parse_size(config.data.size), images.spec.channels)


def fill_from_images(config: Config, spec: ImageSpec, reasons: dict[str, str]) -> tuple[Config, list[Decision]]:
    """Fills those of size and channels that `reasons` name."""
    decisions = Decisions(config)
    for name, value in (("size", size_text(spec)), ("channels", CHANNELS[spec.channels])):
        if name in reasons:
            decisions.set(f"data.{name}", value, reasons[name])
    return decisions.config, decisions.entries


def fill_from_packed(config: Config, images: ImageSet) -> tuple[Config, list[Decision]]:
    """Fills size and channels from a packed dataset; data.pack_size may name a larger size of its images.

    Raises ConfigError if the user requests another size or other channels.
    """
    data, size, channels = config.data, size_text(images.spec), CHANNELS[images.spec.channels]
    for name, value in (("channels", channels), ("size" if data.pack_size == "auto" else "pack_size", size)):
        requested = getattr(data, name)
        if requested not in ("auto", value):
            flag = "--size" if name == "pack_size" else f"--{name}"
            remedy = f"pack the images again with {flag} {requested}, or leave that out"
            if name == "size":
                remedy += f"; images packed larger are resized with --set data.pack_size={value}"
            what = f"{requested} requested, but {data.source} was packed with {value}"
            raise ConfigError(f"data.{name}", what, remedy)
    reasons = {name: "as packed" for name in ("size", "channels") if getattr(data, name) == "auto"}
    config, filled = fill_from_images(config, images.spec, reasons)
    packed_spec(config, spec_of(config, images))
    return config, filled


def packed_spec(config: Config, spec: ImageSpec) -> ImageSpec:
    """Returns the spec of packed images, which the feed shrinks to `spec`.

    Raises ConfigError if data.pack_size is smaller, or has another aspect ratio.
    """
    if config.data.pack_size == "auto":
        return spec
    packed = ImageSpec(*parse_size(config.data.pack_size), spec.channels)
    if packed.height < spec.height or packed.width < spec.width:
        what = f"{config.data.pack_size} is smaller than data.size, {size_text(spec)}"
        raise ConfigError("data.pack_size", what, "make it larger, or leave it out")
    if packed.height * spec.width != packed.width * spec.height:
        what = f"{config.data.pack_size} has another aspect ratio than data.size, {size_text(spec)}"
        twice = ImageSpec(2 * spec.height, 2 * spec.width, spec.channels)
        raise ConfigError("data.pack_size", what, f"choose a multiple of that, such as {size_text(twice)}")
    return packed
