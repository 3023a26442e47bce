"""[data]: the images and how they are brought to one size."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from kantor.config.base import Count, Section, Size, share


class GlyphsConfig(Section):
    """The built-in set: coloured letters and digits in many typefaces."""

    count: Annotated[int, Field(gt=0, le=10_000_000)] = 20_000
    """How many images to draw."""
    seed: Count = 0
    """Chooses the images."""


Degrees = Annotated[float, Field(ge=0, le=180)]
Factor = Annotated[float, Field(gt=0, le=10)]


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("from and to: the second number must be no smaller than the first")
    return value


Range = Annotated[tuple[Factor, Factor], AfterValidator(_rising)]


class AugmentConfig(Section):
    """Each real image is shown otherwise each time: turned, moved, in other colours. All at once, on the device."""

    rotation: Degrees = 0.0
    """Turned by up to so many degrees, either way."""
    shift_x: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Moved sideways by up to this share of the width."""
    shift_y: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Moved up or down by up to this share of the height."""
    shear: Annotated[float, Field(ge=0, le=80)] = 0.0
    """Slanted by up to so many degrees, either way."""
    zoom: Range = (1.0, 1.0)
    """From and to: pixels move together by this factor, for width and height apart; above 1 the image shrinks."""
    brightness: Range = (1.0, 1.0)
    """From and to: values from black are multiplied by this."""
    colour: Range = (1.0, 1.0)
    """From and to: each channel is multiplied by a number of its own, most often near the middle (triangular)."""


class DataConfig(Section):
    """The images and how they are brought to one size."""

    source: str = "glyphs"
    """Folder (class = sub-folder), zip, tar, .npy, .npz, IDX, TFRecord, Parquet, packed set, or "glyphs"."""
    size: Size = "auto"
    """Size of an image: "64", or height x width: "48x96". Any size from 8 to 1024."""
    pack_size: Size = "auto"
    """Size of the images in the packed set, brought down to `size` for each batch; "auto" is `size`."""
    crop: Annotated[int, Field(ge=0, le=65536)] = 0
    """Side of the square cut from the middle before resizing; 0 cuts nothing."""
    pad: Annotated[int, Field(ge=0, le=65536)] = 0
    """Side of the square that smaller images are padded to before resizing, where `fit` is "replicate" or "mirror"; 0 pads
    no more than the shape needs."""
    fit: Literal["cover", "contain", "stretch", "replicate", "mirror"] = "cover"
    """How an image of another shape is fitted: cut, padded with `background`, stretched, padded with its outermost pixels,
    or with its mirrored border, jittered and fading."""
    channels: Literal["auto", "gray", "rgb", "rgba"] = "auto"
    """Colour channels; "auto" looks at the images."""
    background: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#ffffff"
    """Colour behind transparent images and around padded ones."""
    labels: str = "auto"
    """"auto" takes sub-folders or the labels beside the data, "none" ignores them, else a CSV or JSON file."""
    limit: Count = 0
    """Use only this many images; 0 uses all."""
    choose: Literal["first", "random"] = "first"
    """Which ones: the first in order, or some by chance, without repetition."""
    choose_seed: Count = 0
    """Chooses those by chance."""
    stack: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Make so many colour images of three grey ones each, one a channel: digits become 1000 modes. 0 leaves them."""
    holdout: Annotated[float, Field(ge=0, lt=1), BeforeValidator(share)] = 0.0
    """Share of the images that is never trained on, chosen by their bytes: 0.1, "10%"."""
    edges: Literal["none", "canny"] = "none"
    """Show the outlines of images in their place, dark on white (Canny 1986)."""
    edges_sigma: Annotated[float, Field(ge=0, le=20)] = 1.0
    """How far an image is blurred before its outlines are looked for, in pixels of the packed size."""
    condition: Literal["none", "edges"] = "none"
    """What a generator is given beside the latent, and the critic beside the image: the outlines of each image."""
    mirror: bool = False
    """Show images mirrored as often as not. Not for letters."""
    augment: AugmentConfig = AugmentConfig()
    """How real images are changed each time they are shown."""
    dequantise: bool = False
    """Add U(0, 1/128) to each number, in [-1, 1]: 256 levels become a continuous range."""
    min_size: Annotated[int, Field(ge=1, le=1024)] = 8
    """Images with a side shorter than this, in pixels, are left out."""
    max_bad: Annotated[float, Field(ge=0, le=1), BeforeValidator(share)] = 0.01
    """Share of unreadable images above which packing stops with an error."""
    glyphs: GlyphsConfig = GlyphsConfig()
    """The built-in set, where it is the source."""
