"""The pair R x C nearest to a damped Kronecker posterior.

q = N(w, R x C), p = N(w, (N G x A + d I)^-1); minimised is KL(q || p), with G (m, m) for rows, A (n, n) for columns:

    2 KL = N tr(G R) tr(A C) + d tr R tr C - n log|R| - m log|C| - log|N G x A + d I| - m n.

Setting the derivative by R to 0 gives n R^-1 = N tr(A C) G + d tr(C) I, and by C m C^-1 = N tr(G R) A + d tr(R) I:
R has the eigenvectors of G, C those of A, and with h_ij = N g_i a_j + d the eigenvalues solve

    u_i = n / sum_j h_ij v_j,    v_j = m / sum_i h_ij u_i,

that is, u_i h_ij v_j has rows that sum to n and columns that sum to m (Sinkhorn). Since h > 0 such u and v exist and
are unique but for one factor (u c, v / c). So C^-1 is a multiple of A + l I and R^-1 one of G + k I with

    l = d sum_i u_i / (N sum_i g_i u_i),    k = d sum_j v_j / (N sum_j a_j v_j),

two numbers that determine each other. l(k) and k(l) both fall, so l(k(l)) = l is one equation in one unknown with one
root; bisection finds it also where Sinkhorn's iteration takes thousands of steps.
"""

import mpmath as mp
import numpy as np
from scipy.optimize import minimize

from common import write

DIGITS = 60


def ridge(eigenvalues, other, ratio):
    """d sum 1/(e + other) / (N sum e/(e + other)) with ratio = d / N."""
    weights = [1 / (e + other) for e in eigenvalues]
    return ratio * mp.fsum(weights) / mp.fsum(e * w for e, w in zip(eigenvalues, weights))


def fixed_point(g, a, n_objects, prior_precision):
    """u, v, l and k, in mpmath; u and v are scaled to have equal sums of logarithms per entry."""
    g, a = [mp.mpf(x) for x in g], [mp.mpf(x) for x in a]
    ratio = mp.mpf(prior_precision) / n_objects
    # A mean of eigenvalues with falling weights is at most their plain mean.
    lowest_l = ratio * len(g) / mp.fsum(g)
    lowest_k = ratio * len(a) / mp.fsum(a)
    low, high = lowest_l, ridge(g, lowest_k, ratio)
    while high / low - 1 > mp.mpf(10) ** (5 - mp.mp.dps):
        middle = mp.sqrt(low * high)
        if ridge(g, ridge(a, middle, ratio), ratio) > middle:
            low = middle
        else:
            high = middle
    l = mp.sqrt(low * high)
    k = ridge(a, l, ratio)
    v = [1 / (x + l) for x in a]
    row = [mp.fsum((n_objects * x * y + prior_precision) * w for y, w in zip(a, v)) for x in g]
    u = [len(a) / s for s in row]
    shift = mp.fsum(map(mp.log, u)) / len(u) - mp.fsum(map(mp.log, v)) / len(v)
    u = [x * mp.exp(-shift / 2) for x in u]
    v = [x * mp.exp(shift / 2) for x in v]
    return u, v, l, k


def project(a, g, n_objects, prior_precision):
    """R, C, log|R x C|, KL and l, as numpy arrays; eigenvectors in f64."""
    mp.mp.dps = DIGITS
    (g, qg), (a, qa) = (np.linalg.eigh(np.asarray(x, float)) for x in (g, a))
    g, a = np.maximum(g, 0), np.maximum(a, 0)
    if g.max() <= 1e-14 or a.max() <= 1e-14:  # no curvature at all: p itself is N(w, I / d)
        r, c = np.eye(len(g)) / np.sqrt(prior_precision), np.eye(len(a)) / np.sqrt(prior_precision)
        return {"R": r, "C": c, "log_det": -len(g) * len(a) * np.log(prior_precision), "kl": 0.0, "lambda": None}
    u, v, l, _ = fixed_point(g, a, n_objects, prior_precision)
    log_det = len(a) * mp.fsum(map(mp.log, u)) + len(g) * mp.fsum(map(mp.log, v))
    log_h = mp.fsum(mp.log(n_objects * mp.mpf(x) * mp.mpf(y) + prior_precision) for x in g for y in a)
    # The trace of p's precision by q's covariance is m n at the optimum.
    kl = max(-(log_det + log_h) / 2, mp.mpf(0))  # 0 but for rounding where p itself is a pair
    u, v = (np.array([float(x) for x in values]) for values in (u, v))
    return {
        "R": (qg * u) @ qg.T,
        "C": (qa * v) @ qa.T,
        "log_det": float(log_det),
        "kl": float(kl),
        "lambda": float(l),
    }


def divergence(r, c, precision):
    """KL(N(0, R x C) || N(0, precision^-1)) from dense matrices."""
    covariance = np.kron(r, c)
    trace = np.sum(precision * covariance)
    log_det = len(c) * np.linalg.slogdet(r)[1] + len(r) * np.linalg.slogdet(c)[1]
    return (trace - len(precision) - log_det - np.linalg.slogdet(precision)[1]) / 2


def searched(m, n, precision, rng, starts=4):
    """The least divergence over Cholesky factors of R and C; knows of no eigenvectors."""
    rows, cols = np.tril_indices(m), np.tril_indices(n)

    def factor(theta, size, at):
        lower = np.zeros((size, size))
        lower[at] = theta
        lower[np.diag_indices(size)] = np.exp(np.diag(lower))
        return lower

    def pair(theta):
        return factor(theta[: len(rows[0])], m, rows), factor(theta[len(rows[0]) :], n, cols)

    four = precision.reshape(m, n, m, n)

    def value(theta):
        """KL and its gradient by the entries of both factors."""
        lr, lc = pair(theta)
        r, c = lr @ lr.T, lc @ lc.T
        by_r = np.einsum("iajb,ba->ij", four, c)  # derivative of the trace by R
        by_c = np.einsum("iajb,ji->ab", four, r)
        log_det = 2 * n * np.log(np.diag(lr)).sum() + 2 * m * np.log(np.diag(lc)).sum()
        kl = (np.sum(by_r * r) - m * n - log_det - np.linalg.slogdet(precision)[1]) / 2
        gradients = []
        for lower, by, other, at in ((lr, by_r, n, rows), (lc, by_c, m, cols)):
            gradient = by @ lower
            on_diagonal = np.diag(gradient) * np.diag(lower) - other
            gradient[np.diag_indices(len(lower))] = on_diagonal
            gradients.append(gradient[at])
        return kl, np.concatenate(gradients)

    best = None
    for _ in range(starts):
        start = 0.5 * rng.standard_normal(len(rows[0]) + len(cols[0]))
        found = minimize(value, start, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 20000})
        if best is None or found.fun < best.fun:
            best = found
    lr, lc = pair(best.x)
    return best.fun, np.kron(lr @ lr.T, lc @ lc.T)


def moment(rng, size, rank, spread=1.0):
    """A second moment of the given rank with column scales up to 10^spread."""
    z = rng.standard_normal((rank, size)) * 10 ** (spread * rng.uniform(-1, 1, size))
    return z.T @ z / rank


def sinkhorn_steps(h, wanted=1e-12, most=100000):
    """How many iterations until all sums of rows are right."""
    m, n = h.shape
    u = np.ones(m)
    for step in range(1, most + 1):
        v = m / (h.T @ u)
        error = np.abs(u * (h @ v) / n - 1).max()
        u = n / (h @ v)
        if error < wanted:
            return step
    return None


def dense_case(name, seed, m, n, rank_g, rank_a, n_objects, prior_precision, spread=0.5):
    rng = np.random.default_rng(seed)
    g, a = moment(rng, m, rank_g, spread), moment(rng, n, rank_a, spread)
    found = project(a, g, n_objects, prior_precision)
    r, c = found["R"], found["C"]
    precision = n_objects * np.kron(g, a) + prior_precision * np.eye(m * n)
    kl, covariance = searched(m, n, precision, rng)
    assert abs(divergence(r, c, precision) - found["kl"]) < 1e-9 * max(1, found["kl"]), name
    assert abs(kl - found["kl"]) < 1e-8 * max(1, found["kl"]), (name, kl, found["kl"])
    off = np.abs(covariance - np.kron(r, c)).max() / np.abs(covariance).max()
    assert off < 1e-5, (name, off)
    shifted = a + found["lambda"] * np.eye(n)
    scale = n_objects * np.trace(g @ r) / m
    assert np.abs(np.linalg.inv(c) / scale - shifted).max() < 1e-8 * np.abs(shifted).max(), name
    h = n_objects * np.outer(np.linalg.eigvalsh(g).clip(0), np.linalg.eigvalsh(a).clip(0)) + prior_precision
    return {
        "name": name,
        "A": a,
        "G": g,
        "N": n_objects,
        "prior_precision": prior_precision,
        "covariance": np.kron(r, c),
        "log_det_covariance": found["log_det"],
        "kl": found["kl"],
        "lambda": found["lambda"],
        "sinkhorn_steps": sinkhorn_steps(h),
        "searched_kl": kl,
    }


def spread_case(name, g, a, n_objects, prior_precision):
    """Diagonal factors, so that u_i v_j is the covariance's diagonal; 60 digits."""
    mp.mp.dps = DIGITS
    u, v, l, k = fixed_point(g, a, n_objects, prior_precision)
    h = [[n_objects * mp.mpf(x) * mp.mpf(y) + mp.mpf(prior_precision) for y in a] for x in g]
    rows = [mp.fsum(x * p * y for p, y in zip(row, v)) for x, row in zip(u, h)]
    columns = [mp.fsum(x * row[j] * v[j] for x, row in zip(u, h)) for j in range(len(a))]
    assert max(abs(s / len(a) - 1) for s in rows) < mp.mpf(10) ** -40, name
    assert max(abs(s / len(g) - 1) for s in columns) < mp.mpf(10) ** -40, name
    kl = -mp.fsum(mp.log(x * row[j] * v[j]) for x, row in zip(u, h) for j in range(len(a))) / 2
    return {
        "name": name,
        "A": np.diag(np.array(a, float)),
        "G": np.diag(np.array(g, float)),
        "N": n_objects,
        "prior_precision": prior_precision,
        "diagonal": [float(x * y) for x in u for y in v],
        "kl": float(kl),
        "lambda": float(l),
        "kappa": float(k),
        "sinkhorn_steps": sinkhorn_steps(np.array([[float(x) for x in row] for row in h])),
    }


if __name__ == "__main__":
    write(
        [
            dense_case("one row, where the pair is exact", 1, 1, 3, 1, 3, 40, 1.0),
            dense_case("one column, where the pair is exact", 2, 3, 1, 3, 1, 40, 0.5),
            dense_case("two by three", 3, 2, 3, 2, 3, 20, 1.0),
            dense_case("three by four, weak prior", 4, 3, 4, 3, 6, 50, 1e-3),
            dense_case("three by four, strong prior", 5, 3, 4, 3, 6, 50, 1e3),
            dense_case("G of rank one", 6, 3, 4, 1, 8, 30, 0.3),
            dense_case("G and A of rank two", 7, 4, 4, 2, 2, 30, 0.1),
            dense_case("spread factors", 8, 3, 3, 3, 3, 100, 1e-2, 1.0),
            spread_case("G over 24 decades", [1e-12, 1.0, 1e12], [1e-3, 1.0, 1e3], 1, 1.0),
            spread_case("both over 24 decades", [1e-12, 1.0, 1e12], [1e-12, 1e-6, 1.0, 1e12], 100, 1e-4),
            spread_case("two by two over 24 decades", [1e-12, 1e12], [1e-12, 1e12], 1, 1e-8),
            spread_case("no curvature in two rows", [0.0, 0.0, 5.0], [1e-12, 1.0, 1e12], 10, 1e-6),
            spread_case("tiny everywhere", [1e-12, 2e-12], [1e-12, 3e-12, 0.0], 10, 1.0),
        ]
    )
