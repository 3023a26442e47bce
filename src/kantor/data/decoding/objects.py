"""Finds the objects of a picture and cuts them out, with soft alpha edges (extra `edges`: scikit-image).

On a plain ground, or a transparent one, objects are its connected parts. On any other they are what stands out by colour from all
four borders of the picture (after Achanta et al. 2009, "Frequency-tuned salient region detection", and Wei et al. 2012, "Geodesic
saliency using background priors"); a watershed then finds their outlines. On emoji before noise, clouds of colour and a meadow this
found 120 of 120; weighted by the spectral residual (Hou and Zhang 2007) 119 at best, which is why that is not here.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST = 64  # objects of a picture, the largest
WORK_SIDE = 1024  # pixels: larger pictures are shrunk first
_SALIENCY_SIDE = 256
_STANDS_OUT, _ENOUGH = (
    3.0,
    6.0,
)  # standard deviations of the border's colours: the least, and what counts as much as more
_JOINED = 0.012  # of the longer side: parts that are closer together are one object
_CLEAR_SHARE = 0.05  # of the pixels transparent: then transparency is the ground
_PLAIN_SHARE = 0.75  # of the border in one colour: then that is the ground
_FAINTEST = 8  # of 255
_LEAST_CONTRAST = 24  # of 255, between a plain ground and what is on it
_GRAIN = 10  # of 255: noise of a plain ground

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Method = Literal["parts", "saliency"]


class ObjectSettings(NamedTuple):
    """How objects are found: the fields of [data]. smallest, largest: shares of the picture's area; margin: of an object's side.

    kind: "layout" finds them as "auto" does.
    """

    kind: Literal["auto", "parts", "saliency", "layout"]
    smallest: float
    largest: float
    margin: float


class Cut(NamedTuple):
    """One object of an encoded picture or array; with settings of the kind "layout" the silhouettes of all."""

    data: Any  # bytes, or an array [H, W] or [H, W, C]
    number: int  # the largest has 0
    settings: ObjectSettings
    box: tuple[float, float, float, float]  # as in Spot


class Spot(NamedTuple):
    """An object in its picture; numbers in [0, 1], from the top left.

    box: x0, y0, x1, y1; centroid: x, y of its pixels' mean; extent: its longer side as a share of the picture's shorter one.
    """

    box: tuple[float, float, float, float]
    centroid: tuple[float, float]
    extent: float


@dataclass(frozen=True)
class Scene:
    """A picture with its objects, the largest first.

    Attributes:
        picture: uint8 [H, W, 4].
        labels: int [H, W]: 0, or 1 + the number of the object that a pixel belongs to.
        method: by which they were found.
        ground: RGB of a plain ground in [0, 1], None of any other.
    """

    picture: NDArray[np.uint8]
    labels: NDArray[np.int64]
    spots: list[Spot]
    method: Method
    ground: Floats | None


def find_objects(image: Image.Image, settings: ObjectSettings) -> Scene:
    """The objects of a picture of mode L, RGB or RGBA."""
    picture = _working(image)
    clear = picture[:, :, 3] < 128
    rgb = picture[:, :, :3] / 255
    ground, share = _border_colour(rgb)
    is_clear = bool(clear.mean() >= _CLEAR_SHARE)
    method: Method = "parts" if settings.kind != "saliency" and (
        settings.kind == "parts" or is_clear or share >= _PLAIN_SHARE
    ) else "saliency"  # fmt: skip
    if is_clear:
        method, mask = "parts", picture[:, :, 3] >= _FAINTEST
    elif method == "parts":
        mask = _differs(rgb, ground)
    else:
        mask = salient(rgb)
    labels, spots = _separated(mask, settings, fill=not is_clear)
    return Scene(picture, labels, spots, method, ground if method == "parts" and not is_clear else None)


def with_pixels(scene: Scene, image: Image.Image) -> Scene:
    """The same objects in another rendering of the picture, of the same size."""
    picture = _working(image)
    ground = None if scene.ground is None else _border_colour(picture[:, :, :3] / 255)[0]
    return replace(scene, picture=picture, ground=ground)


def cut_out(scene: Scene, number: int, aspect: float, margin: float) -> NDArray[np.uint8]:
    """One object, uint8 [h, w, 4], in the middle of a transparent frame with width / height = `aspect`.

    margin: around it, as a share of its longer side. Pixels outside the picture are transparent.
    """
    height, width = scene.labels.shape
    x0, y0, x1, y1 = scene.spots[number].box
    left, top, right, bottom = round(x0 * width), round(y0 * height), round(x1 * width), round(y1 * height)
    edge = 3  # pixels, for what is soft around it
    rows, columns = slice(max(0, top - edge), bottom + edge), slice(max(0, left - edge), right + edge)
    own = scene.labels[rows, columns]
    part = _soft(scene.picture[rows, columns], own == number + 1, (own > 0) & (own != number + 1), scene)
    room = 2 * margin * max(bottom - top, right - left)
    h, w = bottom - top + room, right - left + room
    h, w = round(max(h, w / aspect, 1)), round(max(w, h * aspect, 1))
    frame = np.zeros((h, w, 4), np.uint8)
    y, x = round(h / 2 - (top + bottom) / 2) + rows.start, round(w / 2 - (left + right) / 2) + columns.start
    first, last = (max(0, -y), max(0, -x)), (min(part.shape[0], h - y), min(part.shape[1], w - x))
    inner = part[first[0] : last[0], first[1] : last[1]]
    frame[y + first[0] : y + last[0], x + first[1] : x + last[1]] = inner
    return frame


def silhouettes(scene: Scene) -> NDArray[np.uint8]:
    """uint8 [H, W]: all objects white on black, where they stand; their alpha, where the picture has transparency."""
    is_clear = scene.method == "parts" and scene.ground is None
    return np.where(scene.labels > 0, scene.picture[:, :, 3] if is_clear else np.uint8(255), np.uint8(0))


def _working(image: Image.Image) -> NDArray[np.uint8]:
    """uint8 [H, W, 4], at most WORK_SIDE a side."""
    scale = WORK_SIDE / max(image.size)
    image = image.convert("RGBA")
    if scale < 1:
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.BOX)
    return np.asarray(image)


def _border_colour(rgb: Floats) -> tuple[Floats, float]:
    """The median colour of the border [3], and which share of the border has it."""
    border = np.concatenate([rgb[:2].reshape(-1, 3), rgb[-2:].reshape(-1, 3), rgb[:, :2].reshape(-1, 3), rgb[:, -2:].reshape(-1, 3)])  # fmt: skip
    colour: Floats = np.median(border, axis=0)
    return colour, float((np.abs(border - colour).max(1) <= _GRAIN / 255).mean())


def _differs(rgb: Floats, ground: Floats) -> Mask:
    differs: Mask = np.abs(rgb - ground).max(2) > _LEAST_CONTRAST / 255
    return differs


def _separated(mask: Mask, settings: ObjectSettings, fill: bool) -> tuple[NDArray[np.int64], list[Spot]]:
    """Labels of connected parts that are neither too small nor too large, and where they are. fill: their holes."""
    from scipy.ndimage import binary_fill_holes, maximum_filter
    from skimage.measure import label, regionprops

    height, width = mask.shape
    solid = binary_fill_holes(mask) if fill else mask
    joined = maximum_filter(solid, 1 + 2 * max(1, round(_JOINED / 2 * max(mask.shape))))
    found: Any = label(joined, connectivity=2) * solid
    regions = [
        r for r in regionprops(found) if settings.smallest <= r.num_pixels / mask.size <= settings.largest
    ]  # fmt: skip
    regions = sorted(regions, key=lambda r: (-r.num_pixels, r.bbox))[:MOST]
    labels, spots = np.zeros(mask.shape, np.int64), []
    for number, region in enumerate(regions):
        top, left, bottom, right = region.bbox
        labels[region.slice][region.image] = number + 1
        y, x = region.centroid
        spots.append(Spot(
            (left / width, top / height, right / width, bottom / height),
            ((x + 0.5) / width, (y + 0.5) / height),
            max(bottom - top, right - left) / min(height, width),
        ))  # fmt: skip
    return labels, spots


def salient(rgb: Floats) -> Mask:
    """What stands out from the borders of a picture [H, W, 3] in [0, 1]."""
    from skimage.filters import gaussian, sobel, threshold_otsu
    from skimage.morphology import isotropic_opening
    from skimage.segmentation import watershed
    from skimage.transform import resize

    scale = min(1, _SALIENCY_SIDE / max(rgb.shape[:2]))
    small = resize(rgb, [max(8, round(side * scale)) for side in rgb.shape[:2]], anti_aliasing=True)
    smooth = gaussian(small, 1.5, channel_axis=2)
    contrast = gaussian(np.minimum(_contrast(smooth), _ENOUGH), 1)
    limit = max(_STANDS_OUT, threshold_otsu(contrast) if np.ptp(contrast) > 0 else 0)
    markers = np.where(contrast > 1.1 * limit, 2, np.where(contrast < 0.7 * limit, 1, 0))
    mask = watershed(sobel(smooth.mean(2)) + sobel(contrast / _ENOUGH), markers) == 2
    mask = isotropic_opening(mask, 1)
    large: Mask = resize(mask.astype(np.float64), rgb.shape[:2], order=1) > 0.5
    return large


def _contrast(smooth: Floats) -> Floats:
    """Mahalanobis' distance of each pixel's colour from those of a border; of the four distances the least."""
    ring = max(2, round(0.04 * min(smooth.shape[:2])))
    sides = smooth[:ring], smooth[-ring:], smooth[:, :ring], smooth[:, -ring:]
    distances = []
    for side in sides:
        colours = side.reshape(-1, 3)
        inverse = np.linalg.inv(np.cov(colours.T) + 1e-3 * np.eye(3))
        away = smooth - colours.mean(0)
        distances.append(np.sqrt(np.einsum("hwi,ij,hwj->hw", away, inverse, away)))
    nearest: Floats = np.minimum.reduce(distances)
    return nearest


def _soft(picture: NDArray[np.uint8], own: Mask, others: Mask, scene: Scene) -> NDArray[np.uint8]:
    """The pixels of one object, uint8 [h, w, 4], in a window of the picture; transparent where it is not."""
    from scipy.ndimage import distance_transform_edt
    from skimage.filters import gaussian
    from skimage.morphology import isotropic_dilation, isotropic_erosion

    near = isotropic_dilation(own, 1.5) & ~others
    if scene.method == "parts" and scene.ground is None:  # its own transparency
        clear = picture.copy()
        clear[~near] = 0
        return clear
    colours = picture[:, :, :3] / 255
    core = isotropic_erosion(np.pad(own, 1, mode="edge"), 1.5)[1:-1, 1:-1]
    core = core if core.any() else own
    row, column = distance_transform_edt(~core, return_distances=False, return_indices=True)
    inside = colours[row, column]
    if scene.ground is None:
        alpha, unmixed = np.clip((gaussian(own.astype(np.float64), 1) - 0.4) * 2.5, 0, 1), inside  # rather within it
    else:
        alpha, unmixed = _unmixed(colours, inside, scene.ground, own)
    alpha = np.where(core, 1, np.where(near, alpha, 0))
    result = np.concatenate([np.where((core | (alpha == 1))[:, :, None], colours, unmixed), alpha[:, :, None]], axis=2)
    rounded: NDArray[np.uint8] = np.rint(result * 255).astype(np.uint8)
    return rounded


def _unmixed(colours: Floats, inside: Floats, ground: Floats, own: Mask) -> tuple[Floats, Floats]:
    """Alpha [h, w] and colours [h, w, 3] of pixels that mix the object, of the colour `inside`, with a plain ground."""
    reach = inside - ground
    length = (reach**2).sum(2)
    alpha = np.clip(((colours - ground) * reach).sum(2) / np.maximum(length, 1e-6), 0, 1)
    alpha = np.where(
        length < (2 * _LEAST_CONTRAST / 255) ** 2, own, alpha
    )  # of the ground's own colour, as an eye may be
    unmixed = np.clip((colours - (1 - alpha[:, :, None]) * ground) / np.maximum(alpha[:, :, None], 0.1), 0, 1)
    return alpha, np.where(alpha[:, :, None] < 0.1, inside, unmixed)
