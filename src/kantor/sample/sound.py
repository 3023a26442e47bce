"""Images as sound: the place of a dot is that of a pixel, its timbre the channel, its pitch and level the value.

Three modes, after the `sonify.py` of a public GAN project; docs/sound.md says what is heard, and when. All of them take
the image stretched to a square of n x n, on black where it is transparent, with values v = value / (largest value +
0.01) between 0 and 1. A scan whose peak would be over -1 dB is made quieter as a whole, so nothing clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Samples = NDArray[np.float32]
"""float32 [N, 2] in [-1, 1]: left and right."""

RATE = 48_000
MODES = ("colour", "gray", "stacked")
CHANNELS = ("Red", "Green", "Blue")
RESOLUTION = 64
PEAK = 10 ** (-1 / 20)
RANGE_DB = 28
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_FADE = RATE * 5 // 1000
_PAUSE = RATE // 2


class Timbre(NamedTuple):
    """A kind of tone."""

    wave: Callable[[NDArray[Any]], NDArray[Any]]  # cycles -> [-1, 1], zero at zero
    gain: float  # of the loudest tone
    shift: float  # in Hz, added to the pitch of dots
    fade: float  # of a dot, at each end, as a fraction of it


def _fraction(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(x - np.floor(x))  # five times as fast as np.mod


SINE = Timbre(lambda cycles: np.sin(2 * np.pi * cycles), 10 ** (-12 / 20), 400, 0.1)
TRIANGLE = Timbre(lambda cycles: 1 - 4 * np.abs(_fraction(cycles + 0.25) - 0.5), 10 ** (-12 / 20), 0, 0.2)
SAWTOOTH = Timbre(lambda cycles: 2 * _fraction(cycles + 0.5) - 1, 10 ** (-24 / 20), 0, 0.2)
RANKS = (SINE, TRIANGLE, SAWTOOTH)


def sonify(
    image: NDArray[np.uint8],
    mode: str = "colour",
    resolution: int = RESOLUTION,
    title: str = "",
    spoken: Mapping[str, NDArray[np.float32]] | None = None,
) -> Samples:
    """An image as sound, at RATE.

    Args:
        image: uint8 [H, W, C] with C of 1, 3 or 4.
        mode: one of MODES.
        resolution: rows and columns that are heard, 2 or more.
        title: a sentence to begin with, if `spoken` has it.
        spoken: by sentence, how it sounds, float32 [N] in [-1, 1]: the title and the names in CHANNELS; missing ones
            are skipped. Voices come from the left.
    Raises:
        ValueError: another shape, mode or resolution.
    """
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or not image.size or image.dtype != np.uint8:
        raise ValueError(f"an image must be uint8 [H, W, 1, 3 or 4], not {image.dtype} {list(image.shape)}")
    if mode not in MODES or resolution < 2:
        raise ValueError(f"mode must be one of {MODES} and resolution 2 or more, not {mode!r} and {resolution}")
    pixels, spoken = _square(image, resolution), spoken or {}
    values = pixels if mode == "colour" else pixels @ _LUMA
    values = values / (values.max() + 0.01)
    header: list[Samples] = []
    if mode == "colour":
        order = ranks(pixels)
        header, scan = _header(order, spoken), _colour_scan(values, order)
    else:
        scan = _glide(values) if mode == "gray" else _stacked(values)
    peak = float(np.abs(scan).max())
    if peak > PEAK:
        scan = scan * np.float32(PEAK / peak)
    return np.concatenate([_voice(spoken, title), *header, scan]).astype(np.float32)


def ranks(pixels: NDArray[Any]) -> tuple[int, ...]:
    """The channels by the number of pixels in which they are the largest, most first; [H, W, 3].

    A pixel with several largest channels divides its vote. Equal channels keep the order red, green, blue.
    """
    largest = pixels == pixels.max(axis=2, keepdims=True)
    votes = (largest * (6 // largest.sum(axis=2, keepdims=True))).sum(axis=(0, 1))
    return tuple(int(channel) for channel in np.argsort(-votes, kind="stable"))


def _square(image: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """float64 [side, side, 3] of 0 to 255: on black, stretched, antialiased."""
    if image.shape[2] == 4:
        alpha = image[:, :, 3:].astype(np.float32) / 255
        image = np.rint(image[:, :, :3] * alpha).astype(np.uint8)
    if image.shape[2] == 1:
        image = image.repeat(3, axis=2)
    if image.shape[:2] != (side, side):
        opened = Image.fromarray(np.ascontiguousarray(image))
        image = np.asarray(opened.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0))
    return image.astype(np.float64)


def _level(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """In dB: 0 for the brightest, -28 for black."""
    return -np.floor((1 - values) * RANGE_DB)


def _amplitude(db: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(10 ** (db / 20))


def _pan(count: int) -> NDArray[np.float32]:
    """Gains [count, 2] of left and right, from -1 to 1: their squares add up to one."""
    angle = np.linspace(0, np.pi / 2, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def _voice(spoken: Mapping[str, NDArray[np.float32]], text: str) -> Samples:
    """A spoken sentence, from the left; nothing if it is missing."""
    voice = spoken.get(text, np.zeros(0, np.float32))
    return np.stack([voice, np.zeros_like(voice)], axis=1)


def _header(order: tuple[int, ...], spoken: Mapping[str, NDArray[np.float32]]) -> list[Samples]:
    """For each channel its name and a tone of its rank, from the middle; then silence."""
    cycles = 440 * np.arange(RATE * 8 // 10) / RATE
    envelope = _envelope(len(cycles), 2 * _FADE)
    parts = []
    for channel, name in enumerate(CHANNELS):
        timbre = RANKS[order.index(channel)]
        tone = timbre.wave(cycles) * envelope * timbre.gain * np.sqrt(0.5)
        parts += [_voice(spoken, name), np.stack([tone, tone], axis=1)]
    return [*parts, np.zeros((_PAUSE, 2), np.float32)]


def _colour_scan(values: NDArray[np.float64], order: tuple[int, ...]) -> Samples:
    """Dots of three oscillators; values [n, n, 3]."""
    side = len(values)
    dot = 2000 // side * RATE // 1000
    step = dot * 4 // 5
    row = (side - 1) * step + dot
    track = np.zeros((row + (side - 1) * (row // 8), 2), np.float32)
    time, pan = np.arange(dot, dtype=np.float32) / RATE, _pan(side)
    voices = [(RANKS[rank], channel) for rank, channel in enumerate(order)]
    envelopes = [_envelope(dot, round(dot * timbre.fade)) * timbre.gain for timbre, _ in voices]
    for y in range(side):
        starts = y * (row // 8) + step * np.arange(side)
        dots = np.zeros((side, dot), np.float32)
        for (timbre, channel), envelope in zip(voices, envelopes, strict=True):
            value = values[y, :, channel]
            level = _amplitude(_level(value)).astype(np.float32)[:, None]
            cycles = _cycles(440 * value + timbre.shift, starts, time)
            dots += timbre.wave(cycles) * level * envelope.astype(np.float32)
        for x, start in enumerate(starts):
            track[start : start + dot] += dots[x, :, None] * pan[x]
    return track


def _glide(values: NDArray[np.float64]) -> Samples:
    """A sine that glides along each row; values [n, n]."""
    side, length = len(values), RATE // 4
    place = (np.arange(length) + 0.5) * side / length - 0.5

    def between(per_pixel: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolates between the centres of pixels: [n, n] -> [n, length]."""
        return np.stack([np.interp(place, np.arange(side), row) for row in per_pixel])

    cycles = np.cumsum(SINE.shift + 440 * between(values), axis=1) / RATE
    tones = SINE.wave(cycles) * _amplitude(between(_level(values))) * _envelope(length, _FADE) * SINE.gain
    apart, pan = length * 3 // 4, _pan(length)
    track = np.zeros((length + (side - 1) * apart, 2), np.float32)
    for y in range(side):
        track[y * apart : y * apart + length] += tones[y, :, None] * pan
    return track


def _stacked(values: NDArray[np.float64]) -> Samples:
    """A sawtooth for each row, columns one after the other; values [n, n]."""
    side = len(values)
    length = 4 * RATE // side
    time, pan = np.arange(length + _FADE, dtype=np.float32) / RATE, _pan(side)
    envelope, level = _envelope(len(time), _FADE) * SAWTOOTH.gain, _amplitude(_level(values))
    track = np.zeros((side * length + _FADE, 2), np.float32)
    for x in range(side):
        tones = SAWTOOTH.wave(_cycles(83 * (values[:, x] + 0.5), np.array(x * length), time))
        column = level[:, x].astype(np.float32) @ tones * envelope
        track[x * length : x * length + len(time)] += column[:, None] * pan[x]
    return track


def _cycles(pitch: NDArray[np.float64], start: NDArray[Any], time: NDArray[Any]) -> NDArray[np.float32]:
    """Cycles of tones of `pitch` [n] Hz, as if they had started with the track: float32 [n, time].

    So neighbours of one value are one tone; if each started anew, 40 starts per second would be the pitch.
    """
    phase = _fraction(pitch * start / RATE).astype(np.float32)
    return np.asarray(phase[:, None] + pitch.astype(np.float32)[:, None] * time)


def _envelope(length: int, fade: int) -> NDArray[np.float64]:
    """From 0 to 1 and back in straight lines; two that overlap by a fade add up to 1."""
    ramp = (np.arange(length) + 0.5) / max(fade, 1)
    return np.minimum(1, np.minimum(ramp, ramp[::-1]))
