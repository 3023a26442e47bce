"""2-Wasserstein distances between sets of points: exact, and entropic (debiased)."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kantor.errors import ConfigError
from kantor.metrics.bootstrap import Interval, counts, interval

Floats = NDArray[np.float64]

BLUR = 0.1
TOLERANCE = 1e-6
ROUNDS = 200
STEPS = 20


def exact_w2(x: Floats, y: Floats) -> tuple[float, Floats, Floats, NDArray[np.int64]]:
    """The 2-Wasserstein distance of two sets of n points, from the assignment of least squared distance c_ij.

    Shortest augmenting paths (Jonker and Volgenant 1987; Crouse 2016, "On implementing 2D rectangular assignment
    algorithms"), O(n^3).

    Args:
        x, y: float64 [n, D], finite.
    Returns:
        The root of the mean squared distance of the match; the potentials f [n] of x and g [n] of y, with
        f_i + g_j <= c_ij, and equality on the match, so that sum(f) + sum(g) is the total cost; and the match: x_i goes
        to y[match[i]].
    """
    middle = y.mean(0)
    a, b = x - middle, y - middle
    cost = np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, 0)
    f, g, match = _assign(cost)
    return math.sqrt(float(((x - y[match]) ** 2).sum(1).mean())), f, g, match


def _assign(cost: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """The dual potentials and the cheapest assignment of a cost [n, n]."""
    n = len(cost)
    g = cost.min(0)
    f = (cost - g).min(1)
    match, owner = np.full(n, -1), np.full(n, -1)
    for i, j in zip(*np.nonzero(cost - f[:, None] - g == 0), strict=True):
        if match[i] < 0 and owner[j] < 0:
            match[i], owner[j] = j, i
    for start in map(int, np.flatnonzero(match < 0)):
        length = np.full(n, np.inf)  # of the shortest path to each column
        ahead = length.copy()  # the same, but infinite where the column has been reached
        before = np.full(n, -1)  # the row that this path comes from
        closed = np.zeros(n, bool)
        rows, i, lowest = [start], start, 0.0
        while True:
            through = cost[i] - (f[i] - lowest) - g
            shorter = through < length
            shorter &= ~closed
            np.copyto(length, through, where=shorter)
            np.copyto(ahead, through, where=shorter)
            before[shorter] = i
            j = int(ahead.argmin())
            lowest = float(length[j])
            closed[j], ahead[j] = True, np.inf
            if owner[j] < 0:
                break
            i = int(owner[j])
            rows.append(i)
        f[start] += lowest
        f[rows[1:]] += lowest - length[match[rows[1:]]]
        g[closed] -= lowest - length[closed]
        while True:
            i = before[j]
            owner[j] = i
            match[i], j = j, match[i]
            if i == start:
                break
    return f, g, match


def potential_interval(value: float, potential: Floats, seed: int, root: bool = False) -> Interval:
    """The 95% interval of a transport cost, from the potential f [n] of the generated images.

    To first order, resampling them moves the cost as it moves the mean of f (del Barrio and Loubes 2019, "Central limit
    theorems for empirical transportation cost in general dimension"), so no further problem is solved.

    Args:
        root: `value` and the interval are roots of costs, as of `exact_w2`.
    """
    means = counts(len(potential), seed) @ potential / len(potential)
    low, high = interval(value**2 if root else value, means, low=0.0)
    return (math.sqrt(low), math.sqrt(max(high, 0.0))) if root else (low, high)


def default_blur(real: Tensor) -> float:
    """`BLUR` times the root mean squared distance between two of `real` [m, D]: independent of the generated images."""
    spread = float(real.double().var(0, correction=0).sum())
    return BLUR * math.sqrt(2 * spread) if spread > 0 else 1.0


def sinkhorn_divergence(x: Tensor, y: Tensor, blur: float | None = None) -> tuple[float, Floats]:
    """The debiased entropic transport cost of x [n, D] and y [m, D], and its potential on x.

    OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2, where OT is the least mean of |x - y|^2 plus 2 blur^2 times the plan's
    relative entropy (Genevay et al. 2018; Feydy et al. 2019, whose cost is half of ours at the same blur). It tends to
    the squared 2-Wasserstein distance as the blur tends to 0. Computed in float64, in the log domain, with a decreasing
    blur, until the plan's marginals are exact to `TOLERANCE` in total variation.

    Args:
        x, y: finite.
        blur: a length above 0 in the space of the points; detail below it counts less. None: `default_blur` of y.
    Returns:
        The divergence, and its derivative with respect to the mass on each x: [n], up to a constant.
    Raises:
        ConfigError: not converged after `ROUNDS` rounds: the blur is too small.
    """
    x, y = x.double(), y.double()
    blur = default_blur(y) if blur is None else blur
    xx, _ = _sinkhorn(_squared(x, x), blur, same=True)
    yy, _ = _sinkhorn(_squared(y, y), blur, same=True)
    xy, yx = _sinkhorn(_squared(x, y), blur, same=False)
    potential = xy - xx
    return float(potential.mean() + (yx - yy).mean()), potential.cpu().numpy()


def _squared(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances [n, m]."""
    a, b = x - y.mean(0), y - y.mean(0)
    return ((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T).clamp_(min=0)


def _sinkhorn(cost: Tensor, blur: float, same: bool) -> tuple[Tensor, Tensor]:
    """The potentials f [n], g [m] of a cost [n, m] between uniform weights; `same`: of a set and itself, so f is g.

    A set with itself is solved by averaged steps, which keep f = g and converge fast (Feydy et al. 2019, section 3.2).
    Otherwise a round is one step in the log domain, then scaling steps of the kernel of its potentials, which absorb
    them (Schmitzer 2019, "Stabilized sparse scaling algorithms"), and at the final blur, where nearly one-to-one plans
    make these slow, a Newton step (Brauer et al. 2017, "A Sinkhorn-Newton method").
    """
    n, m = cost.shape
    f, g = cost.new_zeros(n), cost.new_zeros(m)
    last = 2 * blur**2
    epsilon = max(last, float(cost.max()))
    error = math.inf
    for _ in range(ROUNDS):
        to_f = _softmin(cost, g, epsilon)
        if epsilon == last:  # column marginals are exact: the error is that of the rows
            error = float(((f - to_f) / epsilon).exp().sub(1).abs().mean()) / 2
            if error <= TOLERANCE:
                return f, g
        if same:
            f = g = (g + to_f) / 2
        else:
            g = _softmin(cost.T, to_f, epsilon)
            f, g = _scaled(cost, to_f, g, epsilon)
            if epsilon == last:
                f, g = _newton(cost, f, g, epsilon)
        epsilon = max(last, epsilon / 2)
    what = f"has not converged at a blur of {blur:.3g}: the plan is wrong by {error:.1e} after {ROUNDS} rounds"
    raise ConfigError("sinkhorn_divergence", what, "raise the blur")


def _softmin(cost: Tensor, potential: Tensor, epsilon: float) -> Tensor:
    """The optimal potential [n], given that of the columns [m] of a cost [n, m]."""
    return -epsilon * (torch.logsumexp((potential - cost) / epsilon, 1) - math.log(cost.shape[1]))


def _scaled(cost: Tensor, f: Tensor, g: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """f and g after `STEPS` more steps; unchanged if the kernel underflows."""
    n, m = cost.shape
    kernel = ((f[:, None] + g - cost) / epsilon).exp()
    v = torch.ones_like(g)
    for _ in range(STEPS):
        u = m / (kernel @ v)
        v = n / (u @ kernel)
    to_f, to_g = f + epsilon * u.log(), g + epsilon * v.log()
    return (to_f, to_g) if bool(to_f.isfinite().all() and to_g.isfinite().all()) else (f, g)


def _newton(cost: Tensor, f: Tensor, g: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """f and g after a Newton step that raises the dual mean(f) + mean(g), g optimal given f; unchanged if none does."""
    n, m = cost.shape
    plan = ((f[:, None] + g - cost) / epsilon).exp() / (n * m)
    rows = plan.sum(1)
    curvature = rows.diag() - m * plan @ plan.T + 1 / n**2  # 1 / n^2 fixes the free constant of f
    step, failed = torch.linalg.solve_ex(curvature, epsilon * (1 / n - rows))
    value = float(f.mean() + g.mean())
    for share in (1.0, 0.25, 0.0625):
        to_f = f + share * step
        to_g = _softmin(cost.T, to_f, epsilon)
        if not failed and float(to_f.mean() + to_g.mean()) >= value:
            return to_f, to_g
    return f, g
