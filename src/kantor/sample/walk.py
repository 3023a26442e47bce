"""Walks between latents."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Easing = Literal["linear", "smooth"]


def walk(
    points: NDArray[np.float32], frames: int, straight: bool = False, loop: bool = False, easing: Easing = "linear"
) -> NDArray[np.float32]:
    """Latents on the way from point to point.

    Args:
        points: float32 [K, D], K > 1.
        frames: latents in a leg, including its first point but not its last.
        straight: along straight lines, else along the sphere: see `arc`.
        loop: adds a leg back to the first point. Otherwise the last latent is the last point.
        easing: "linear" moves at an even pace, "smooth" starts and ends each leg slowly.
    Returns:
        float32 [K frames, D] of a loop, else [(K - 1) frames + 1, D], with the points themselves unchanged.
    """
    stops = [*points, points[0]] if loop else [*points]
    share = ease(np.arange(frames) / frames, easing)[:, None]
    between = line if straight else arc
    legs = []
    for start, end in itertools.pairwise(stops):
        leg = between(start.astype(np.float64), end.astype(np.float64), share).astype(np.float32)
        leg[0] = start
        legs.append(leg)
    return np.concatenate(legs if loop else [*legs, points[-1:]])


def loop_of_four(lengths: NDArray[np.float64], longest: bool) -> tuple[int, int, int, int]:
    """Four of N > 3 points with the shortest or longest round trip, in its order; lengths: their distances [N, N]."""
    trips = (
        trip
        for a, b, c, d in itertools.combinations(range(len(lengths)), 4)
        for trip in ((a, b, c, d), (a, b, d, c), (a, c, b, d))
    )
    choose = max if longest else min
    return choose(trips, key=lambda trip: sum(lengths[trip[i], trip[(i + 1) % 4]] for i in range(4)))


def ease(t: NDArray[np.float64], easing: Easing) -> NDArray[np.float64]:
    """[F] in [0, 1] -> the same range; "smooth" is 3 t^2 - 2 t^3, whose slope is zero at both ends."""
    return t if easing == "linear" else t * t * (3 - 2 * t)


def line(a: NDArray[np.float64], b: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """a + t (b - a): a, b [D], t [F, 1] -> [F, D]."""
    return a + t * (b - a)


def arc(a: NDArray[np.float64], b: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns the direction evenly from a's to b's (Shoemake 1985), and changes the length evenly from a's to b's.

    Normal latents of many dimensions all lie near one sphere; a straight line would lead through its inside, where the
    generator was never trained. Between opposite points, one of the many ways is chosen.

    a, b: [D]; t: [F, 1] -> [F, D].
    """
    long_a, long_b = np.linalg.norm(a), np.linalg.norm(b)
    if not long_a or not long_b:
        return line(a, b, t)
    u, v = a / long_a, b / long_b
    across = v - (v @ u) * u
    sine = np.linalg.norm(across)
    if sine < 1e-8 and (len(a) == 1 or v @ u > 0):
        return line(a, b, t)
    if sine < 1e-8:
        across = np.eye(1, len(a), int(np.abs(u).argmin()))[0]
        across -= (across @ u) * u
    across /= np.linalg.norm(across)
    angle = np.arctan2(sine, v @ u) * t
    length = long_a + t * (long_b - long_a)
    way: NDArray[np.float64] = length * (np.cos(angle) * u + np.sin(angle) * across)
    return way
