"""Inverse of D + F F^T at 160 digits: its diagonal, log-determinant, quadratic forms, over many orders of magnitude.

1/d_i - |L^-1 F_i|^2 / d_i^2, the formula for the diagonal, subtracts two numbers of which all f64 digits may agree:
with F = (1e4, 1e4) and d = (1e-10, 1e-10) they are 1e10 and 5e9 and the right value is 5e9 (one direction of two stays
free), but with one weight they are 1e10 and 1e10 less 1e-8, and the right value is 1e-8.
The inputs are the f64 next to the decimal shown, as a program reads them.
"""

import random

import mpmath as mp

from common import write

mp.mp.dps = 160  # condition numbers reach 10^36


def case(name, factor, diagonal, x=None):
    p, r = len(factor), len(factor[0])
    x = x or [1.0 / (i + 1) for i in range(p)]
    matrix = mp.matrix(p, p)
    for i in range(p):
        for j in range(p):
            matrix[i, j] = mp.fsum(mp.mpf(factor[i][c]) * mp.mpf(factor[j][c]) for c in range(r))
        matrix[i, i] += mp.mpf(diagonal[i])
    inverse = matrix**-1
    log_det = mp.log(mp.det(matrix))
    check = matrix * inverse
    assert max(abs(check[i, j] - (i == j)) for i in range(p) for j in range(p)) < mp.mpf(10) ** -60
    vector = mp.matrix(x)
    return {
        "name": name,
        "F": factor,
        "d": diagonal,
        "x": x,
        "sum_diagonal": [matrix[i, i] for i in range(p)],
        "inverse_diagonal": [inverse[i, i] for i in range(p)],
        "log_det": log_det,
        "quadratic": (vector.T * matrix * vector)[0],
        "inverse_quadratic": (vector.T * inverse * vector)[0],
        "inverse_times_x": list(inverse * vector),
    }


def laplace_case():
    """A linear regression of rank 2 in 5 weights, H = X^T X / s^2 = F F^T, prior precision 1e-6."""
    rows = [[1.0, 2.0, -0.5, 0.25, 3.0], [0.5, -1.0, 2.0, 1.5, -0.75]]
    s = 0.01  # standard deviation of the noise
    factor = [[rows[c][i] / s for c in range(2)] for i in range(5)]
    return case("Laplace of rank 2, prior precision 1e-6", factor, [1e-6] * 5)


def random_case(seed, p, r):
    rng = random.Random(seed)
    scales = [10 ** rng.uniform(-12, 12) for _ in range(r)]
    factor = [[rng.gauss(0, 1) * scale for scale in scales] for _ in range(p)]
    return case(f"random {seed}, p = {p}, r = {r}", factor, [10 ** rng.uniform(-12, 12) for _ in range(p)])


if __name__ == "__main__":
    write(
        [
            case("one weight", [[1e4]], [1e-10]),
            case("two equal weights", [[1e4], [1e4]], [1e-10, 1e-10]),
            case("two weights, one direction", [[1e4], [2e4]], [1e-10, 1e-10]),
            case("three weights, two directions", [[1e4, 0.0], [1e4, 1.0], [0.0, 1e4]], [1e-10] * 3),
            case("two equal directions", [[1e6, 1e6], [1.0, 1.0]], [1.0, 1e-6]),
            case("directions of very different length", [[1e8, 1e-8], [1e8, -1e-8], [1e8, 0.0]], [1e-6] * 3),
            case("tiny factor", [[1e-12], [2e-12]], [1e12, 1e-12]),
            case("largest over smallest", [[1e12], [1e12]], [1e-12, 1e12]),
            case("all large", [[1e12], [3e12]], [1e12, 1e12]),
            case("one free weight", [[1e9], [0.0], [1e-9]], [1e-9, 1e-3, 1e-12]),
            laplace_case(),
            *[random_case(seed, p, r) for seed, (p, r) in enumerate([(2, 1), (3, 1), (3, 2), (5, 1), (5, 2), (5, 2)])],
        ]
    )
