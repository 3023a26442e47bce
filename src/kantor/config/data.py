"""[data]: the images, and how they are brought to one size."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from kantor.config.base import Count, Positive, Section, Size, fraction


class GlyphsConfig(Section):
    """The built-in dataset: coloured letters and digits in many typefaces."""

    count: Annotated[int, Field(gt=0, le=10_000_000)] = 20_000
    """Number of images."""
    seed: Count = 0
    """Seed that selects letters, typefaces and colours."""


Degrees = Annotated[float, Field(ge=0, le=180)]
Factor = Annotated[float, Field(gt=0, le=10)]


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the second number must not be smaller than the first")
    return value


Range = Annotated[tuple[Factor, Factor], AfterValidator(_rising)]


class AugmentConfig(Section):
    """Random changes of each real image each time it is shown: rotation, shift, shear, zoom, colour. Applied on the device."""

    rotation: Degrees = 0.0
    """Largest rotation in degrees, either way."""
    shift_x: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Largest horizontal shift, as a fraction of the width."""
    shift_y: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Largest vertical shift, as a fraction of the height."""
    shear: Annotated[float, Field(ge=0, le=80)] = 0.0
    """Largest shear in degrees, either way."""
    zoom: Range = (1.0, 1.0)
    """Lowest and highest zoom factor, sampled separately for width and height; above 1 the image shrinks."""
    brightness: Range = (1.0, 1.0)
    """Lowest and highest factor of the brightness; black stays black."""
    colour: Range = (1.0, 1.0)
    """Lowest and highest factor of each channel, sampled separately, most often near the middle (triangular)."""


def _range(value: Any) -> Any:
    """Accepts [0, 4095], "0..4095" and "-1024, 3071"."""
    if isinstance(value, str) and value not in ("auto", "type"):
        value = re.split(r"\s*(?:\.\.|,)\s*", value.strip(" []"))
    return value


def _darkest_first(value: Any) -> Any:
    if isinstance(value, tuple) and not value[0] < value[1]:
        raise ValueError("the second number, which becomes white, must be larger than the first, which becomes black")
    return value


def _frames(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Number = Annotated[float, Field(allow_inf_nan=False)]
Values = Annotated[
    Literal["auto", "type"] | tuple[Number, Number], BeforeValidator(_range), AfterValidator(_darkest_first)
]


class DataConfig(Section):
    """The images, and how they are brought to one size."""

    source: str = "glyphs"
    """Folder of images, archive, array (.npy, .npz, HDF5, Zarr, IDX, CIFAR, CSV of pixels), records (TFRecord, Parquet, Arrow,
    LMDB), packed dataset, or "glyphs"; SOURCE:NAME names an array, a column or a part in it."""
    size: Size = "auto"
    """Image size in pixels: "64", or height x width: "48x96"; 8 to 1024 a side."""
    pack_size: Size = "auto"
    """Size of the packed images, resized to `size` for each batch; "auto" takes `size`."""
    crop: Annotated[int, Field(ge=0, le=65536)] = 0
    """Side of the square cropped from the centre before resizing, in pixels; 0 does not crop."""
    pad: Annotated[int, Field(ge=0, le=65536)] = 0
    """Side of the square that smaller images are padded to before resizing, in pixels, if `fit` is "replicate" or "mirror"; 0
    pads only as much as the shape needs."""
    fit: Literal["cover", "contain", "stretch", "replicate", "mirror"] = "cover"
    """Resize mode for images of another shape: crop, pad with `background`, stretch, pad with the outermost pixels, or pad
    with the mirrored border, jittered and fading."""
    channels: Literal["auto", "gray", "rgb", "rgba"] = "auto"
    """Colour channels; "auto" detects them."""
    range: Values = "auto"
    """Values that become black and white: "auto" finds them in all images of each number type, "type" takes the limits of the
    type, else two numbers for images of every type: "0..4095"."""
    nodata: Literal["reject", "fill"] | Number = "reject"
    """Pixels without a value (NaN, or a file's own no-data value): "reject" leaves such images out, "fill" puts `background` there;
    a number is one more value that means none, and is filled."""
    background: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#ffffff"
    """Colour behind transparent images and around padded ones, as #rrggbb."""
    labels: str = "auto"
    """Class labels: "auto" takes sub-folders or the labels stored with the data, "none" ignores them, else a file of labels (CSV,
    JSON, CelebA's lists, .npy, .npz), or FILE:COLUMN."""
    limit: Count = 0
    """Use only this many images; 0 uses all."""
    choose: Literal["first", "random"] = "first"
    """Which images `limit` keeps: the first in order, or a random subset."""
    choose_seed: Count = 0
    """Seed of the random subset."""
    stack: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Number of colour images to stack from three grey ones each, one per channel: digits become 1000 modes. 0 does not stack."""
    holdout: Annotated[float, Field(ge=0, lt=1), BeforeValidator(fraction)] = 0.0
    """Fraction of the images held out from training, chosen by their bytes: 0.1, "10%"."""
    edges: Literal["none", "canny"] = "none"
    """Train on the outlines of the images instead, dark on white (Canny 1986)."""
    edges_sigma: Annotated[float, Field(ge=0, le=20)] = 1.0
    """Standard deviation of the blur before outlines are detected, in pixels of the packed size."""
    condition: Annotated[str, Field(min_length=1)] = "none"
    """Condition that the generator gets with the latent, and the critic with the image: "edges", the outlines of each image;
    "smaller", the image itself, reduced; else an image of the same name, in this folder or of this kind in the source ("masks"),
    or in another source ("a/masks"); "left-half" or "right-half" of images that show both."""
    smaller: Literal[2, 4] = 2
    """Factor by which "smaller" conditions are reduced: each of their pixels is the mean of that many by that many."""
    mirror: bool = False
    """Mirror half of the images left to right, at random. Not for letters."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of real images each time they are shown."""
    dequantise: bool = False
    """Add U(0, 1/128) to each value in [-1, 1]: 256 levels become a continuous range."""
    min_size: Annotated[int, Field(ge=1, le=1024)] = 8
    """Shortest side of an image, in pixels; smaller images are rejected."""
    max_bad: Annotated[float, Field(ge=0, le=1), BeforeValidator(fraction)] = 0.01
    """Fraction of unreadable images above which packing stops with an error."""
    transpose: bool = False
    """Exchange rows and columns of each image: EMNIST stores its letters so."""
    frames: Annotated[Literal["first", "all"] | Positive, BeforeValidator(_frames)] = "first"
    """Frames of animations and videos and pages of TIFFs that become images: "first" (no videos), "all", or one of every so many: 10."""
    tile: Annotated[int, Field(ge=0, le=4096)] = 0
    """Side of the square tiles that each image is cut into, in pixels; tiles of one colour are left out. 0 does not cut."""
    objects: Literal["none", "auto", "parts", "saliency", "layout"] = "none"
    """Objects that each image is cut into, with transparency: connected "parts" on a plain or transparent ground, what stands out
    from any other ("saliency"), or "auto" for either; "layout" makes of each image one grey image of their silhouettes, white on
    black, where they stand; "none" does not cut."""
    objects_smallest: Annotated[float, Field(ge=0, le=1), BeforeValidator(fraction)] = 0.005
    """Smallest object, as a fraction of the image's area; smaller ones are specks."""
    objects_largest: Annotated[float, Field(gt=0, le=1), BeforeValidator(fraction)] = 0.9
    """Largest object, as a fraction of the image's area; a larger one is the image itself."""
    objects_margin: Annotated[float, Field(ge=0, le=1), BeforeValidator(fraction)] = 0.05
    """Transparent margin around each object, as a fraction of its longer side."""
    split: Annotated[str, Field(min_length=1)] = "auto"
    """Part of a dataset that is divided into folders or files such as train, val and test: "auto" takes those for training, "all"
    all, else "train", "val", "test" or "other", or the name of a folder."""
    links: Literal["inside", "follow"] = "inside"
    """Links in folders: "inside" follows those to files inside the folder and rejects the others, "follow" follows all."""
    rules: Literal[1, 2] = 2
    """Version of the rules by which images are found, labelled and converted; a whole configuration that does not name it has 1."""
    glyphs: GlyphsConfig = GlyphsConfig()
    """The built-in dataset, if it is the source."""
