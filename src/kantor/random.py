"""Random numbers as functions of a seed.

Every random number of a training run is a function of (seed, purpose, cycle, attempt). No state is kept between cycles:
a resumed run gets the same numbers, and a roll-back, which raises `attempt`, gets others. Numbers that must be the same
on every machine, such as latents of images and the order of data, come from the counter-based generator Philox4x32-10
(Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


def derive(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed for `purpose` at `counters`: a SHA-256 hash, so that the seeds of neighbours are unrelated."""
    text = "/".join([str(seed), purpose, *map(str, counters)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def philox(counters: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox4x32-10: four random words per counter.

    Args:
        counters: [N, 4] uint32.
        key: two 32-bit words.
    Returns:
        [N, 4] uint32, the same on every machine.
    """
    c0, c1, c2, c3 = (counters[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = np.uint32(key[0]), np.uint32(key[1])
    with np.errstate(over="ignore"):
        for _ in range(10):
            p0, p1 = _M0 * c0, _M1 * c2
            c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW
            k0, k1 = k0 + _W0, k1 + _W1
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def words(seed: int, purpose: int, count: int) -> NDArray[np.uint32]:
    """`count` random words of stream (`seed`, `purpose`): counter (i, purpose, 0, 0), key (seed's low, high word)."""
    blocks = -(-count // 4)
    counters = np.zeros((blocks, 4), np.uint32)
    counters[:, 0] = np.arange(blocks)
    counters[:, 1] = purpose
    return philox(counters, (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF)).reshape(-1)[:count]


def uniforms(seed: int, purpose: int, count: int) -> NDArray[np.float64]:
    """`count` numbers in (0, 1), 2^-33 away from both ends, from `words`."""
    return (words(seed, purpose, count).astype(np.float64) + 0.5) * 2.0**-32


def permute(index: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Where a random permutation of range(n), chosen by `seed`, sends each index.

    A balanced Feistel network over the next power of four, applied until the result is below n (Black and Rogaway 2002,
    "Ciphers with arbitrary finite domains"). Every index costs the same, and nothing is stored.

    Args:
        index: int64 in [0, n).
    """
    half = np.uint64(max(1, (max(n - 1, 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = words(seed, 0xFE157E1, 8).astype(np.uint64)
    value = index.astype(np.uint64)
    pending = np.ones(len(value), bool)
    while pending.any():
        left, right = value[pending] >> half, value[pending] & mask
        for key in keys:
            left, right = right, left ^ (_mix(right, key) & mask)
        value[pending] = left << half | right
        pending = value >= n
    return value.astype(np.int64)


def random_rows(total: int, count: int, seed: int) -> NDArray[np.int64]:
    """`count` indices below `total`, all if there are no more, chosen at random: int64, ascending."""
    return np.sort(permute(np.arange(min(count, total)), total, seed))


def _mix(x: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """A 64-bit hash of x under key (the finaliser of MurmurHash3)."""
    with np.errstate(over="ignore"):
        x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) ^ key * np.uint64(0xC2B2AE3D27D4EB4F)
        x = (x ^ x >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)
        x = (x ^ x >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)
        return x ^ x >> np.uint64(33)
