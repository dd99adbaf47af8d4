"""Which optima `fit` refuses: 20 designs with a genuine component that looks suspicious, 20 with none.

python experiments/spurious.py --replicates 10 --seed 2

A planted design counts as wrong where the fit with the right number of components is refused, or does not
reach the likelihood that EM reaches from the truth. A plain design counts as wrong where a fit that is not
refused has a component that is no part of the truth: its sigma is below a fifth of the least in the truth, or
it rests on fewer rows than twice its coefficients. Errors are binomial.
"""

import argparse
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from jaxmlr import Mixture
from jaxmlr._xla import cache
from jaxmlr.batch import Fit, em, fit


class Rows(NamedTuple):
    phi: np.ndarray
    y: np.ndarray
    truth: Mixture
    components: int  # to fit


Design = Callable[[np.random.Generator], Rows]


def mixture(
    rng: np.random.Generator,
    n: int,
    lines: list[list[float]],
    shares: list[float],
    sigmas: list[float],
    *,
    span: tuple[float, float] = (0, 10),
    extra: int = 0,
    digits: int | None = None,
    noise: str = "normal",
) -> Rows:
    """Rows of lines in x, uniform over `span`, with `extra` more components than there are."""
    d = len(lines[0])
    x = rng.uniform(*span, (n, d - 1)) if noise != "t_regressors" else rng.standard_t(3, (n, d - 1))
    if digits is not None:
        x = x.round(digits)
    phi = np.column_stack([np.ones(n), x])
    label = rng.choice(len(shares), n, p=shares)
    draw = {"laplace": rng.laplace, "t3": lambda size: rng.standard_t(3, size)}.get(noise)
    e = rng.normal(size=n) if draw is None else draw(size=n)
    y = np.sum(phi * np.array(lines)[label], axis=1) + np.array(sigmas)[label] * e
    if digits is not None:
        y = y.round(digits)
    truth = Mixture(np.array(lines), np.array(shares), np.maximum(np.array(sigmas), 1e-9) ** 2)
    return Rows(phi, y, truth, len(shares) + extra)


CROSS = [[2.0, 1.0], [8.0, -0.6]]


def silent(rng: np.random.Generator, n: int, share: float) -> Rows:
    """Responses that are exactly 0 in some rows, as where a process is switched off."""
    x = rng.normal(size=n)
    y = np.where(rng.random(n) < share, 0.0, 1 + 2 * x + rng.normal(size=n))
    truth = Mixture(np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([1 - share, share]), np.array([1, 1e-18]))
    return Rows(np.column_stack([np.ones(n), x]), y, truth, 2)


def repeated(rng: np.random.Generator, n: int, times: int, sigma: float) -> Rows:
    """Every row measured several times at the same regressors, half of the responses alike."""
    rows = mixture(rng, n // times, CROSS, [0.7, 0.3], [1.0, sigma])
    return rows._replace(phi=np.repeat(rows.phi, times, axis=0), y=np.repeat(rows.y, times))


def settings(rng: np.random.Generator, n: int) -> Rows:
    """A designed experiment: six settings of x, responses read off to one decimal."""
    x = rng.integers(0, 6, n).astype(float)
    narrow = rng.random(n) < 0.25
    y = np.where(narrow, 1 + 2 * x + 0.03 * rng.normal(size=n), 12 - x + rng.normal(size=n)).round(1)
    truth = Mixture(np.array([[12.0, -1], [1, 2]]), np.array([0.75, 0.25]), np.array([1, 0.05**2]))
    return Rows(np.column_stack([np.ones(n), x]), y, truth, 2)


def copies(rng: np.random.Generator, n: int, times: int) -> Rows:
    """One line, and one of its rows several times."""
    rows = mixture(rng, n, [[1.0, 2.0]], [1.0], [1.0], span=(-2, 2), extra=1)
    rows.phi[:times], rows.y[:times] = rows.phi[0], rows.y[0]
    return rows


THREE = [[2.0, 1.0, 0.5], [8.0, -0.6, 1.0], [0.0, 2.0, -1.0]]
FIVE = [[1.0, 2, 0, -1, 1], [-2.0, 0, 3, 1, -1]]
ONE, PAIR = [[1.0, 2.0]], [[1.0, 1.5], [-1.0, -1.5]]

PLANTED: dict[str, Design] = {
    "10 %, sigma .06, n = 200": lambda r: mixture(r, 200, CROSS, [0.9, 0.1], [1, 0.06]),
    "10 %, sigma .06, n = 2,000": lambda r: mixture(r, 2000, CROSS, [0.9, 0.1], [1, 0.06]),
    "10 %, sigma .06, n = 10,000": lambda r: mixture(r, 10_000, CROSS, [0.9, 0.1], [1, 0.06]),
    "5 %, sigma .02, n = 1,000": lambda r: mixture(r, 1000, CROSS, [0.95, 0.05], [1, 0.02]),
    "5 %, sigma .08, n = 3,000": lambda r: mixture(r, 3000, CROSS, [0.95, 0.05], [1, 0.08]),
    "2 %, sigma .01, n = 5,000": lambda r: mixture(r, 5000, CROSS, [0.98, 0.02], [1, 0.01]),
    "30 %, sigma .001, n = 100": lambda r: mixture(r, 100, CROSS, [0.7, 0.3], [1, 0.001]),
    "20 %, sigma .05, n = 100": lambda r: mixture(r, 100, CROSS, [0.8, 0.2], [1, 0.05]),
    "40 % zeros, n = 400": lambda r: silent(r, 400, 0.4),
    "15 % zeros, n = 200": lambda r: silent(r, 200, 0.15),
    "40 % zeros, n = 10,000": lambda r: silent(r, 10_000, 0.4),
    "rounded to .1, n = 500": lambda r: mixture(r, 500, CROSS, [0.7, 0.3], [1, 0.04], digits=1),
    "settings, rounded, n = 300": lambda r: settings(r, 300),
    "rows three times, n = 600": lambda r: repeated(r, 600, 3, 0.05),
    "rows ten times, n = 1,000": lambda r: repeated(r, 1000, 10, 0.02),
    "K = 3, 10 and 5 % narrow, n = 3,000": lambda r: mixture(
        r, 3000, THREE, [0.85, 0.1, 0.05], [1, 0.06, 0.03]
    ),
    "K = 3, one narrow, n = 600": lambda r: mixture(r, 600, THREE, [0.5, 0.35, 0.15], [1, 1, 0.05]),
    "d = 5, 10 %, sigma .05, n = 2,000": lambda r: mixture(
        r, 2000, FIVE, [0.9, 0.1], [1, 0.05], span=(-2, 2)
    ),
    "d = 5, 20 %, sigma .02, n = 400": lambda r: mixture(r, 400, FIVE, [0.8, 0.2], [1, 0.02], span=(-2, 2)),
    "97 to 3, sigma .5, n = 3,000": lambda r: mixture(r, 3000, CROSS, [0.97, 0.03], [0.5, 0.5]),
}
PLAIN: dict[str, Design] = {
    **{
        f"one line, n = {n:,}": functools.partial(lambda r, n: mixture(r, n, ONE, [1.0], [1.0], extra=1), n=n)
        for n in (30, 60, 100, 500, 2000)
    },
    **{
        f"noise, n = {n:,}": functools.partial(
            lambda r, n: mixture(r, n, [[0.0, 0.0]], [1.0], [1.0], span=(-1, 1), extra=1), n=n
        )
        for n in (50, 200, 1000)
    },
    "noise, K = 3, n = 100": lambda r: mixture(r, 100, [[0.0, 0.0]], [1.0], [1.0], span=(-1, 1), extra=2),
    "noise, d = 4, n = 100": lambda r: mixture(r, 100, [[0.0] * 4], [1.0], [1.0], span=(-1, 1), extra=1),
    "one line, d = 6, n = 200": lambda r: mixture(r, 200, [[1.0] * 6], [1.0], [1.0], span=(-1, 1), extra=1),
    "one line, d = 8, n = 80": lambda r: mixture(r, 80, [[1.0] * 8], [1.0], [1.0], span=(-1, 1), extra=1),
    "t with 3 degrees, n = 100": lambda r: mixture(r, 100, ONE, [1.0], [1.0], noise="t3", extra=1),
    "t with 3 degrees, n = 1,000": lambda r: mixture(r, 1000, ONE, [1.0], [1.0], noise="t3", extra=1),
    "Laplace, n = 300": lambda r: mixture(r, 300, ONE, [1.0], [1.0], noise="laplace", extra=1),
    "regressors t with 3 degrees, n = 200": lambda r: mixture(
        r, 200, ONE, [1.0], [1.0], noise="t_regressors", extra=1
    ),
    "rounded to .1, n = 100": lambda r: mixture(r, 100, ONE, [1.0], [1.0], digits=1, extra=1),
    "ten rows alike, n = 110": lambda r: copies(r, 110, 10),
    "two lines, K = 3, n = 100": lambda r: mixture(r, 100, PAIR, [0.5, 0.5], [1, 1], span=(-2, 2), extra=1),
    "two lines, K = 3, n = 1,000": lambda r: mixture(
        r, 1000, PAIR, [0.5, 0.5], [1, 1], span=(-2, 2), extra=1
    ),
}


def refused_or_missed(rows: Rows, done: Fit) -> bool:
    """Whether a planted component is not in the answer."""
    if bool(done.spurious()):
        return True
    floor = done.options.variance_floor if done.options is not None else 0.0
    best = em(rows.phi, rows.y, rows.truth, variance_floor=floor).log_likelihood
    return bool(done.log_likelihood < best - 1e-6 * abs(best) - 0.01)


def chance(rows: Rows, done: Fit) -> bool:
    """Whether an answer that is not refused has a component that chance made."""
    if bool(done.spurious()):
        return False
    sigma = np.sqrt(np.asarray(done.mixture.noise_variance))
    size = len(rows.y) * np.asarray(done.mixture.weights)
    least = np.sqrt(np.min(np.asarray(rows.truth.noise_variance)))
    return bool(np.any((sigma < least / 5) | (size < 2 * rows.phi.shape[1])))


def answers(design: Design, replicates: int, seed: int) -> Iterator[tuple[Rows, Fit]]:
    for number in range(replicates):
        rows = design(np.random.default_rng((seed, number)))
        yield rows, fit(rows.phi, rows.y, rows.components, jax.random.key(number))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--replicates", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="designs whose name has this in it")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    cache.keep()
    for title, designs, wrong in (
        ("planted", PLANTED, refused_or_missed),
        ("plain", PLAIN, chance),
    ):
        total, counts = 0, np.zeros(2, int)
        print(f"{title:<40} refused  wrong  of")
        for place, (name, design) in enumerate(designs.items()):
            if arguments.only not in name:
                continue
            pairs = list(answers(design, arguments.replicates, 1000 * arguments.seed + place))
            count = np.array(
                [sum(bool(done.spurious()) for _, done in pairs), sum(wrong(*pair) for pair in pairs)]
            )
            counts, total = counts + count, total + len(pairs)
            print(f"{name:<40} {count[0]:7}  {count[1]:5}  {len(pairs)}", flush=True)
        share = counts[1] / max(total, 1)
        error = np.sqrt(share * (1 - share) / max(total, 1))
        print(f"{'all':<40} {counts[0]:7}  {counts[1]:5}  {total}   wrong {share:.2%} +- {error:.2%}\n")


if __name__ == "__main__":
    main()
