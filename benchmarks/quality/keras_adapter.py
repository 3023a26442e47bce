"""The Keras example of WGAN-GP. Runs in a Python that has TensorFlow, and needs no PyTorch."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

DEFINITIONS = {"conv_block", "get_discriminator_model", "upsample_block", "get_generator_model", "WGAN"}
LOSSES = {"discriminator_loss", "generator_loss"}


class KerasTrainer:
    """Its networks, losses and `train_step` as a graph, as `fit` runs it: Adam 2e-4 (0.5, 0.9), batch 512, three critic steps.

    FOLDER/wgan_gp.py is the example's source, of which the definitions are used. Its networks make 32x32 and cut that to
    28x28; here images are 32x32 already, so the margin is 0, and there are as many channels as the dataset has.
    """

    def __init__(self, images: np.ndarray, options: Mapping[str, str], folder: Path, seed: int) -> None:
        import tensorflow as tf

        tf.keras.utils.set_random_seed(seed)
        if images.shape[1:3] != (32, 32):
            raise SystemExit("keras has networks for 32x32 only")
        given = dict(options)
        lr, beta1, beta2 = (float(given.pop(*pair)) for pair in (("lr", 2e-4), ("beta1", 0.5), ("beta2", 0.9)))
        self._batch, steps = int(given.pop("batch", 512)), int(given.pop("critic_steps", 3))
        if given:
            raise SystemExit(f"unknown options: {', '.join(given)}")
        text = (folder / "wgan_gp.py").read_text().replace("2D((2, 2))(", "2D((0, 0))(")
        parsed = ast.parse(text.replace("x, 1, layers.Activation", "x, IMG_SHAPE[2], layers.Activation"))
        parsed.body = [node for node in parsed.body if getattr(node, "name", None) in DEFINITIONS | LOSSES]
        code: dict[str, Any] = {"tf": tf, "keras": tf.keras, "layers": tf.keras.layers, "noise_dim": 128}
        code["IMG_SHAPE"] = images.shape[1:]
        exec(compile(parsed, "wgan_gp.py", "exec"), code)
        self._generator, self._tf = code["get_generator_model"](), tf
        model = code["WGAN"](code["get_discriminator_model"](), self._generator, 128, discriminator_extra_steps=steps)
        adams = [tf.keras.optimizers.Adam(learning_rate=lr, beta_1=beta1, beta_2=beta2) for _ in range(2)]
        model.compile(*adams, code["discriminator_loss"], code["generator_loss"])
        self._step: Callable[[Any], Any] = tf.function(model.train_step)
        floats = (images.astype(np.float32) - 127.5) / 127.5
        shuffled = tf.data.Dataset.from_tensor_slices(floats).shuffle(len(floats), seed).repeat()
        self._batches = iter(shuffled.batch(self._batch).prefetch(2))
        self.cycle()  # traces the graph, which is start-up

    def cycle(self) -> int:
        """One of its steps: all critic steps see one batch."""
        float(self._step(next(self._batches))["g_loss"])  # waits for it
        return self._batch

    def take(self) -> list[np.ndarray]:
        return list(self._generator.get_weights())

    def generate(self, weights: list[np.ndarray], count: int, channels: int) -> np.ndarray:
        """uint8 [count, H, W, channels], with running statistics, as its callback generates."""
        self._generator.set_weights(weights)
        z = self._tf.random.normal((count, 128))
        parts = [self._generator(z[start : start + 250]).numpy() for start in range(0, count, 250)]
        images: np.ndarray = (np.concatenate(parts) * 127.5 + 127.5).round().clip(0, 255).astype(np.uint8)
        return images
