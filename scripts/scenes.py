"""Makes little scenes of sprites: `python scripts/scenes.py data/emoji data --count 3000`.

A few sprites stand in a row on a plain ground, the nearer the larger: what stands at 45% of the height takes 10% of it, at
92% 26%. OUT/scenes holds these pictures, OUT/grounds as many empty meadows under skies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 128  # pixels
FAR, NEAR = (0.45, 0.1), (0.92, 0.26)  # where a sprite stands, from the top, and its longer side; shares of the height


def main() -> None:
    """Reads the command line and writes both folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sprites", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=3000)
    words = parser.parse_args()
    sprites = sorted(words.sprites.rglob("*.png"))
    for folder in ("scenes", "grounds"):
        (words.out / folder).mkdir(parents=True, exist_ok=True)
    for number in range(words.count):
        random = np.random.default_rng(number)
        scene(sprites, random).save(words.out / "scenes" / f"{number:05}.png")
        ground(random).save(words.out / "grounds" / f"{number:05}.png")


def scene(sprites: list[Path], random: np.random.Generator) -> Image.Image:
    """A row of sprites on a plain ground, without touching each other."""
    picture = Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in random.integers(150, 256, 3)))
    x = random.uniform(0.02, 0.3)
    for _ in range(random.integers(2, 7)):
        depth = random.uniform()
        base, size = (far + depth * (near - far) for far, near in zip(FAR, NEAR, strict=True))
        if x + size > 1:
            break
        with Image.open(sprites[random.integers(len(sprites))]) as file:
            sprite = file.convert("RGBA")
        sprite = sprite.crop(sprite.getchannel("A").getbbox())
        sprite.thumbnail((round(size * SIDE),) * 2, Image.Resampling.LANCZOS)
        picture.paste(sprite, (round(x * SIDE), round(base * SIDE) - sprite.height), sprite)
        x += size + random.uniform(0.05, 0.15)
    return picture


def ground(random: np.random.Generator) -> Image.Image:
    """A meadow under a sky, each a gradient of two colours."""
    horizon = round(random.uniform(0.35, 0.45) * SIDE)
    sky = np.array([[60, 120, 190], [200, 225, 245]]) + random.integers(-40, 41, (1, 3))
    grass = np.array([[150, 190, 90], [40, 110, 40]]) + random.integers(-35, 36, (1, 3))
    rows = [np.linspace(*colours, height) for colours, height in ((sky, horizon), (grass, SIDE - horizon))]
    pixels = np.repeat(np.concatenate(rows)[:, None], SIDE, axis=1)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
