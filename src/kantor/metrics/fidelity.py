"""How closely an image reproduces another, pixel by pixel: PSNR, and SSIM (Wang et al. 2004)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

HIGHEST_PSNR = 100.0
"""Of images that are equal, or nearly."""
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of float [N, C, H, W] in [0, 255] -> [N], at most `HIGHEST_PSNR`."""
    mse = (a - b).square().mean((1, 2, 3))
    return (10 * torch.log10(255**2 / mse)).clamp(max=HIGHEST_PSNR)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of float [N, C, H, W] in [0, 255] -> float64 [N], 1 for equal images.

    Means over channels and all positions of a Gaussian window of 11x11 pixels, sigma 1.5, that lies in the image; of images
    with a shorter side the window is as narrow as that.
    """
    a, b = a.double(), b.double()  # variances are small differences of large numbers
    channels, side = a.shape[1], min(_WINDOW, *a.shape[2:])
    at = torch.arange(side, dtype=a.dtype, device=a.device) - (side - 1) / 2
    line = torch.exp(-at.square() / (2 * _SIGMA**2))
    line = line / line.sum()
    window = (line[:, None] * line).expand(channels, 1, side, side)

    def local(x: Tensor) -> Tensor:
        return F.conv2d(x, window, groups=channels)

    mean_a, mean_b = local(a), local(b)
    var_a, var_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    covariance = local(a * b) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    alike = alike * (2 * covariance + _C2) / (var_a + var_b + _C2)
    return alike.mean((1, 2, 3))
