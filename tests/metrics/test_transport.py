"""Wasserstein distances against closed forms, against scipy, and their intervals against repeated samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from kantor.errors import ConfigError
from kantor.metrics import sliced, transport
from kantor.metrics.bootstrap import Interval, counts
from kantor.metrics.sliced import laplacian_descriptors, laplacian_pyramid, swd
from kantor.metrics.transport import default_blur, exact_w2, potential_interval, sinkhorn_divergence


def points(seed: int, n: int, dimension: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng([7, seed]).normal(size=(n, dimension)) + shift


def divergence(x: np.ndarray, y: np.ndarray, blur: float | None = None) -> float:
    return sinkhorn_divergence(torch.from_numpy(x), torch.from_numpy(y), blur)[0]


def covered(draw: Callable[[int], tuple[float, Interval]], times: int) -> float:
    """Fraction of `times` samples whose interval contains the mean of all."""
    found = [draw(i) for i in range(times)]
    mean = np.mean([value for value, _ in found])
    return float(np.mean([low <= mean <= high for _, (low, high) in found]))


# exact


def check_exact(x: np.ndarray, y: np.ndarray) -> None:
    """`exact_w2` finds the same optimum as scipy, and its potentials prove it."""
    distance, f, g, match = exact_w2(x, y)
    cost = cdist(x, y, "sqeuclidean")
    slack = 1e-12 * max(1.0, float(((x - y.mean(0)) ** 2).sum(1).max()), float(cost.max()))
    rows, columns = linear_sum_assignment(cost)
    assert sorted(match) == list(range(len(x)))
    assert distance**2 == pytest.approx(cost[rows, columns].mean(), rel=1e-9, abs=slack)
    assert (cost - f[:, None] - g).min() >= -slack
    assert np.abs(cost[rows, match] - f - g[match]).max() <= slack
    assert f.sum() + g.sum() == pytest.approx(len(x) * distance**2, rel=1e-9, abs=slack * len(x))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 2**31), st.sampled_from([0.01, 1.0, 1000.0]))
def test_exact_agrees_with_scipy(n: int, dimension: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    check_exact(rng.normal(size=(n, dimension)) * scale + 5, rng.standard_cauchy(size=(n, dimension)))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**31))
def test_exact_with_ties_and_duplicates(n: int, dimension: int, side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    check_exact(*(rng.integers(0, side, size=(n, dimension)).astype(float) for _ in range(2)))


@pytest.mark.parametrize(("n", "dimension"), [(400, 2), (400, 64)])
def test_exact_of_many(n: int, dimension: int) -> None:
    check_exact(points(0, n, dimension, 0.3), points(1, n, dimension))


def test_exact_of_a_shifted_set_is_the_length_of_the_shift() -> None:
    y = points(0, 150, 5)
    shift = np.array([3.0, -1.0, 0.5, 0.0, 2.0])
    shuffled = np.random.default_rng(1).permutation(150)
    distance, _, _, match = exact_w2((y + shift)[shuffled], y)
    assert distance == pytest.approx(np.linalg.norm(shift), rel=1e-12)
    assert (match == shuffled).all()


def test_exact_far_from_the_origin() -> None:
    y = points(0, 50, 3, 1e6)
    assert exact_w2(y + 1, y)[0] == pytest.approx(math.sqrt(3), rel=1e-9)


def test_exact_on_a_line_matches_sorted_points() -> None:
    x, y = points(0, 200, 1), points(1, 200, 1) ** 3
    expected = math.sqrt(float(((np.sort(x, 0) - np.sort(y, 0)) ** 2).mean()))
    assert exact_w2(x, y)[0] == pytest.approx(expected, rel=1e-12)


def test_exact_of_a_set_with_itself_is_zero() -> None:
    x = points(0, 100, 4)
    assert exact_w2(x, x)[0] == 0
    assert exact_w2(x[::-1].copy(), x)[0] == 0


def test_intervals_of_a_potential() -> None:
    f = points(0, 300, 1)[:, 0]
    low, high = potential_interval(9.0, f, 3)
    assert high - low == pytest.approx(2 * 1.96 * f.std() / math.sqrt(300), rel=0.25)
    assert potential_interval(3.0, f, 3, root=True) == (math.sqrt(low), math.sqrt(high))
    assert potential_interval(9.0, f + 1000, 3) == pytest.approx((low, high))
    assert potential_interval(0.0, f, 3, root=True)[0] == 0


@pytest.mark.parametrize(("dimension", "shift"), [(2, 0.5), (16, 0.3), (32, 0.0)])
def test_exact_intervals_cover_the_mean(dimension: int, shift: float) -> None:
    y = points(0, 80, dimension)

    def draw(i: int) -> tuple[float, Interval]:
        distance, f, _, _ = exact_w2(points(i + 1, 80, dimension, shift), y)
        return distance, potential_interval(distance, f, i, root=True)

    assert covered(draw, 60) >= 0.85


# entropic


def gaussian_divergence(a: float, b: float, shift: float, blur: float) -> float:
    """The debiased divergence of N(0, a) and N(shift, b) on a line (Janati et al. 2020, theorem 1)."""

    def entropic(a: float, b: float) -> float:
        root = math.sqrt(4 * a * b + blur**4)
        return a + b - root + blur**2 * math.log(root + blur**2)

    return shift**2 + entropic(a, b) - entropic(a, a) / 2 - entropic(b, b) / 2


@pytest.mark.parametrize("blur", [0.2, 0.5, 1.0, 3.0])
def test_divergence_of_gaussians(blur: float) -> None:
    quantiles = stats.norm.ppf((np.arange(600) + 0.5) / 600)[:, None]
    found = divergence(quantiles * 0.7, quantiles * 1.5 + 0.4, blur)
    assert found == pytest.approx(gaussian_divergence(0.49, 2.25, 0.4, blur), rel=0.01)


def test_divergence_is_zero_for_equal_sets_and_positive_for_others() -> None:
    x = points(0, 100, 4)
    assert divergence(x, x) == pytest.approx(0, abs=1e-5)
    assert divergence(x[::-1].copy(), x) == pytest.approx(0, abs=1e-5)
    assert divergence(points(1, 100, 4), x) > 0.01
    assert divergence(np.repeat(x, 2, 0), x, 0.5) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("dimension", [2, 16])
def test_divergence_tends_to_the_exact_cost(dimension: int) -> None:
    x, y = points(0, 50, dimension, 0.5), points(1, 50, dimension)
    exact = exact_w2(x, y)[0] ** 2
    off = [abs(divergence(x, y, blur * dimension**0.5) - exact) / exact for blur in (0.4, 0.2, 0.1, 0.05)]
    assert off == sorted(off, reverse=True)
    assert off[-1] < 5e-3


def test_divergence_with_much_blur_is_the_distance_of_the_means() -> None:
    x, y = points(0, 60, 3, 0.7), points(1, 90, 3)
    expected = float(((x.mean(0) - y.mean(0)) ** 2).sum())
    assert divergence(x, y, 300.0) == pytest.approx(expected, rel=1e-3)


def test_divergence_of_a_shifted_set_is_the_squared_shift() -> None:
    y = points(0, 80, 3)
    for blur in (0.3, 1.0):
        assert divergence(y + 2, y, blur) == pytest.approx(12, rel=1e-5)


def test_divergence_is_symmetric_and_independent_of_order_and_size() -> None:
    x, y = points(0, 40, 3, 1.0), points(1, 130, 3)
    found = divergence(x, y, 0.4)
    assert divergence(y, x, 0.4) == pytest.approx(found, rel=1e-5)
    assert divergence(x[::-1].copy(), y, 0.4) == pytest.approx(found, rel=1e-5)
    assert divergence(np.repeat(x, 3, 0), np.repeat(y, 2, 0), 0.4) == pytest.approx(found, rel=1e-5)
    assert divergence(x * 10, y * 10, 4.0) == pytest.approx(100 * found, rel=1e-5)


def test_the_potential_is_the_derivative_in_the_mass() -> None:
    """One more point at x_0 changes the divergence as the potential predicts."""
    x, y = points(0, 200, 2, 0.5), points(1, 150, 2)
    value, f = sinkhorn_divergence(torch.from_numpy(x), torch.from_numpy(y), 0.5)
    for i in (0, 1, 2):
        more = divergence(np.concatenate([x, x[i : i + 1]]), y, 0.5)
        assert more - value == pytest.approx((f[i] - f.mean()) / 201, rel=0.05, abs=1e-5)


def test_default_blur_comes_from_the_real_images() -> None:
    y = torch.from_numpy(points(0, 400, 10))
    distances = torch.cdist(y, y).square().mean().sqrt()
    assert default_blur(y) == pytest.approx(transport.BLUR * float(distances))
    x = points(1, 60, 10, 0.4)
    assert divergence(x, y.numpy()) == divergence(x, y.numpy(), default_blur(y))
    assert default_blur(torch.ones(5, 2)) == 1.0
    assert divergence(np.zeros((4, 2)), np.ones((5, 2))) == pytest.approx(2)


def test_divergence_takes_float32() -> None:
    x, y = torch.from_numpy(points(0, 50, 3)).float(), torch.from_numpy(points(1, 60, 3)).float()
    assert sinkhorn_divergence(x, y)[0] == sinkhorn_divergence(x.double(), y.double())[0]


def test_divergence_that_does_not_converge_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ROUNDS", 12)
    with pytest.raises(ConfigError, match=r"has not converged at a blur of 0\.01"):
        divergence(points(0, 50, 2), points(1, 50, 2), 0.01)


def test_divergence_intervals_cover_the_mean() -> None:
    y = points(0, 60, 2)

    def draw(i: int) -> tuple[float, Interval]:
        value, f = sinkhorn_divergence(torch.from_numpy(points(i + 1, 60, 2, 0.4)), torch.from_numpy(y))
        return value, potential_interval(value, f, i)

    assert covered(draw, 40) >= 0.85


# patches of images


def images(seed: int, n: int, size: tuple[int, int] = (32, 32), channels: int = 3, noise: float = 8.0) -> np.ndarray:
    """uint8 [n, H, W, C]: smooth shapes, each of its own brightness, and noise."""
    rng = np.random.default_rng([11, seed])
    rough = rng.normal(size=(n, -(-size[0] // 4), -(-size[1] // 4), channels)) * 40
    smooth = rough.repeat(4, 1).repeat(4, 2)[:, : size[0], : size[1]]
    light = rng.normal(size=(n, 1, 1, channels)) * 15 + 128
    return (smooth + light + rng.normal(size=(n, *size, channels)) * noise).clip(0, 255).astype(np.uint8)


def scipy_pyramid(x: np.ndarray, levels: int) -> list[np.ndarray]:
    """float64 [N, C, H, W] -> levels, as in Karras et al. 2018, for odd sizes too."""
    line = np.array([1, 4, 6, 4, 1]) / 16
    kernel = np.outer(line, line)[None, None]
    found = [x]
    for _ in range(levels - 1):
        small = ndimage.convolve(found[-1], kernel, mode="mirror")[:, :, ::2, ::2]
        spread = np.zeros_like(found[-1])
        spread[:, :, ::2, ::2] = small
        found[-1] = found[-1] - ndimage.convolve(spread, 4 * kernel, mode="mirror")
        found.append(small)
    return found


@pytest.mark.parametrize(
    ("size", "heights"),
    [
        ((16, 16), [16]),
        ((31, 32), [31, 16]),
        ((32, 32), [32, 16]),
        ((64, 40), [64, 32]),
        ((33, 70), [33, 17]),
        ((65, 129), [65, 33, 17]),
        ((128, 16), [128]),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pyramid_agrees_with_scipy(size: tuple[int, int], heights: list[int], channels: int) -> None:
    x = images(0, 3, size, channels)
    levels = laplacian_pyramid(x)
    assert [level.shape[2] for level in levels] == heights
    seen = x.transpose(0, 3, 1, 2).astype(np.float64)
    if channels == 4:  # on mid-grey
        seen[:, :3] = 127.5 + (seen[:, :3] - 127.5) * seen[:, 3:] / 255
    expected = scipy_pyramid(seen, len(levels))
    for level, one in zip(levels, expected, strict=True):
        assert level.shape == one.shape
        assert np.abs(level.numpy() - one).max() < 1e-4


def test_positions_of_patches_depend_on_seed_and_rank() -> None:
    x = images(0, 30, (33, 45))
    whole = laplacian_descriptors(x, 3, 8)
    assert {height: list(found.shape) for height, found in whole.items()} == {h: [240, 3, 7, 7] for h in (33, 17)}
    for start, stop in [(0, 7), (7, 8), (8, 30)]:
        part = laplacian_descriptors(x[start:stop], 3, 8, first=start)
        for height, found in part.items():
            assert found.equal(whole[height][8 * start : 8 * stop])
    assert not laplacian_descriptors(x, 4, 8)[33].equal(whole[33])
    assert not laplacian_descriptors(x, 3, 8, first=1)[33].equal(whole[33])


def test_patches_are_windows_at_uniform_positions() -> None:
    x = np.arange(18 * 20, dtype=np.int64).reshape(18, 20) % 251
    x = np.repeat(x[None, :, :, None], 100, 0).astype(np.uint8)
    found = laplacian_descriptors(x, 0, 20)[18][:, 0].numpy().astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(x[0, :, :, 0], (7, 7)).reshape(-1, 49).astype(np.int64)
    known = {tuple(window): place for place, window in enumerate(windows)}
    places = [known[tuple(one.reshape(-1))] for one in found]
    assert len(windows) == 12 * 14
    often = np.bincount(places, minlength=168)
    assert stats.chisquare(often).pvalue > 1e-3


def plain_swd(fakes: np.ndarray, reals: np.ndarray, seed: int, patches: int, directions: int) -> list[float]:
    """As Karras et al. 2018 define it, in float64 with SciPy, from our patches and directions."""

    def normalised(x: torch.Tensor) -> np.ndarray:
        a = x.double().numpy()
        return ((a - a.mean((0, 2, 3), keepdims=True)) / a.std((0, 2, 3), keepdims=True)).reshape(len(a), -1)

    found = []
    sets = zip(*(laplacian_descriptors(one, seed, patches).values() for one in (fakes, reals)), strict=True)
    for level, (fake, real) in enumerate(sets):
        lines = sliced.random_lines(fake[0].numel(), directions, sliced.derive(seed, "level", level)).numpy()
        assert np.linalg.norm(lines, axis=1) == pytest.approx(1)
        a, b = (normalised(x) @ lines.T for x in (fake, real))
        found.append(1000 * float(np.mean([stats.wasserstein_distance(*pair) for pair in zip(a.T, b.T, strict=True)])))
    return found


@pytest.mark.parametrize("dimension", [2, 3, 20])
def test_lines_are_uniform_on_the_sphere(dimension: int) -> None:
    """The mean length of a unit vector along a uniform line has a closed form."""
    vector = np.random.default_rng(dimension).standard_normal(dimension)
    along = np.abs(sliced.random_lines(dimension, 20000, 1).numpy() @ vector) / np.linalg.norm(vector)
    closed = math.exp(math.lgamma(dimension / 2) - math.lgamma((dimension + 1) / 2)) / math.sqrt(math.pi)
    assert along.mean() == pytest.approx(closed, rel=0.02)
    assert not torch.equal(sliced.random_lines(dimension, 5, 1), sliced.random_lines(dimension, 5, 2))


@pytest.mark.parametrize(("size", "channels"), [((32, 32), 3), ((33, 48), 1), ((64, 64), 4)])
def test_swd_equals_a_plain_implementation(size: tuple[int, int], channels: int) -> None:
    fakes, reals = images(0, 40, size, channels, noise=20), images(1, 40, size, channels)
    found = swd(fakes, reals, 5, patches=10, directions=24)
    expected = plain_swd(fakes, reals, 5, 10, 24)
    assert list(found.levels.values()) == pytest.approx(expected, rel=1e-4)
    assert found.mean == pytest.approx(np.mean(expected), rel=1e-4)
    for height, (low, high) in found.intervals.items():
        assert 0 <= low < found.levels[height] < high
    assert found.interval[0] < found.mean < found.interval[1]


def test_swd_of_a_set_with_itself_is_zero() -> None:
    x = images(0, 50)
    assert swd(x, x, 0, 8, 16).levels == {32: 0.0, 16: 0.0}
    assert swd(x, x, 0, 8, 16).interval[0] == 0


def test_swd_reacts_to_noise_at_the_finest_level_and_to_blur() -> None:
    reals = images(0, 300)
    same = swd(images(1, 300), reals, 0, 16, 32)
    noisy = [swd(images(1, 300, noise=noise), reals, 0, 16, 32) for noise in (12, 18, 30)]
    fine = [same.levels[32], *(one.levels[32] for one in noisy)]
    assert fine == sorted(fine)
    assert max(one.levels[16] for one in noisy) < 1.1 * same.levels[16]
    assert noisy[-1].intervals[32][0] > same.intervals[32][1]
    blurred = ndimage.gaussian_filter(images(1, 300).astype(float), (0, 1, 1, 0)).astype(np.uint8)
    assert swd(blurred, reals, 0, 16, 32).intervals[32][0] > same.intervals[32][1]


def test_swd_does_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes, reals = images(0, 40), images(1, 40)
    whole = swd(fakes, reals, 0, 8, 16)
    monkeypatch.setattr(sliced, "PIXELS", 32 * 32 * 3 * 7)
    assert swd(fakes, reals, 0, 8, 16) == whole
    assert swd(fakes, reals, 1, 8, 16) != whole


def test_swd_with_a_constant_channel() -> None:
    """Opaque images have an alpha of 255 everywhere."""
    fakes, reals = images(0, 40, channels=4), images(1, 40, channels=4)
    fakes[..., 3] = reals[..., 3] = 255
    found = swd(fakes, reals, 0, 8, 16)
    assert 0 < found.mean < 1000
    grey = np.full((10, 16, 16, 1), 77, np.uint8)
    assert swd(grey, grey, 0, 8, 16).mean == 0


def test_resampled_projections_equal_those_of_resampled_images() -> None:
    """For grey images the shortcut is exact: it equals projecting the resampled patches themselves."""
    fakes, reals = images(0, 30, channels=1, noise=20), images(1, 30, channels=1)
    fake, real = (laplacian_descriptors(x, 0, 12)[32] for x in (fakes, reals))
    lines, drawn = sliced.random_lines(49, 6, 0).float(), counts(30, 0, 5)
    y = np.sort(sliced._projected(sliced._normalised(real.clone(), 30)[0], lines), axis=1)
    expected = []
    for often in drawn.astype(int):
        again = fake.view(30, 12, 1, 7, 7)[np.repeat(np.arange(30), often)].reshape(-1, 1, 7, 7)
        projected = np.sort(sliced._projected(sliced._normalised(again, 30)[0], lines), axis=1)
        expected.append(np.abs(projected - y).mean())
    fake, mean, square = sliced._normalised(fake, 30)
    found = sliced._resampled(sliced._projected(fake, lines), y, mean, square, lines, drawn)
    assert found == pytest.approx(expected, rel=1e-4)


def test_swd_intervals_cover_the_mean() -> None:
    reals = images(0, 64)

    def draw(i: int) -> tuple[float, Interval]:
        found = swd(images(i + 1, 64, noise=14), reals, 0, 8, 16)
        return found.levels[32], found.intervals[32]

    assert covered(draw, 40) >= 0.85


def test_swd_takes_read_only_views() -> None:
    x, y = images(0, 20), images(1, 20)
    expected = swd(x, y, 0, 8, 16)
    x.flags.writeable = False
    assert swd(x, y[::-1].copy()[::-1], 0, 8, 16) == expected
