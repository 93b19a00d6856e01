"""Uncertainty of a linearised classifier f ~ N(mean, covariance): the probit's, and exact by quadrature.

"probit" is what `predictive::probit` defines: p = softmax(f_c / sqrt(1 + pi v_c / 8)), entropy H(p), and
mutual information max(0, H(p) - H(softmax f)). The difference may be negative: where variances differ by class, the
scaling may push a close rival down and leave a sharper p. "exact" is E softmax(f), its entropy, and the mutual
information H(E softmax f) - E H(softmax f), which never is, for the same mean and the full covariance.
"""

import itertools

import numpy as np

from common import write


def softmax(f):
    e = np.exp(f - f.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def entropy(p):
    return -np.sum(p * np.log(np.maximum(p, 1e-300)), axis=-1)


def probit(mean, covariance):
    p = softmax(mean / np.sqrt(1 + np.pi * np.diag(covariance) / 8))
    difference = entropy(p) - entropy(softmax(mean))
    return {
        "mean": p,
        "entropy": entropy(p),
        "entropy_difference": difference,
        "mutual_information": max(difference, 0.0),
    }


def trapezium(mean, covariance, n_nodes, reach=8.5):
    """E softmax(f) and E H(softmax f). Only differences of f matter, so one dimension is integrated out first;
    the trapezium rule converges exponentially for a smooth integrand under a Gaussian."""
    k = len(mean)
    to_differences = np.hstack([np.eye(k - 1), -np.ones((k - 1, 1))])
    root = np.linalg.cholesky(to_differences @ covariance @ to_differences.T)
    nodes = np.linspace(-reach, reach, n_nodes)
    weights = np.exp(-(nodes**2) / 2)
    weights /= weights.sum()
    grid = np.array(list(itertools.product(range(n_nodes), repeat=k - 1)))
    f = np.hstack([to_differences @ mean + nodes[grid] @ root.T, np.zeros((len(grid), 1))])
    w = weights[grid].prod(axis=1)
    p = softmax(f)
    return w @ p, w @ entropy(p)


def exact(mean, covariance):
    (p, inner), (coarse, coarse_inner) = (trapezium(mean, covariance, n) for n in (1201, 901))
    assert np.abs(p - coarse).max() < 1e-11 and abs(inner - coarse_inner) < 1e-11
    return {"mean": p, "entropy": entropy(p), "mutual_information": entropy(p) - inner}


def case(name, mean, covariance):
    mean, covariance = np.array(mean, float), np.array(covariance, float)
    if covariance.ndim == 1:
        covariance = np.diag(covariance)
    return {
        "name": name,
        "f": mean,
        "covariance": covariance,
        "probit": probit(mean, covariance),
        "exact": exact(mean, covariance),
    }


if __name__ == "__main__":
    cases = [
        case("sure network, small variance", [4.0, 0.0], [0.1, 0.1]),
        case("sure network, large variance", [4.0, 0.0], [10.0, 10.0]),
        case("equal scores: the proxy is 0, the information is not", [0.0, 0.0], [4.0, 4.0]),
        case("close rival of large variance: negative difference", [5.0, 4.9], [0.01, 20.0]),
        case("three classes", [2.0, 1.0, -1.0], [1.0, 2.0, 0.5]),
        case("three classes, negative difference", [3.0, 2.9, -2.0], [0.01, 25.0, 0.01]),
        case("correlated", [1.0, 0.5, -0.5], [[2.0, 1.5, 0.0], [1.5, 2.0, -0.3], [0.0, -0.3, 1.0]]),
        case("shared variance alone", [1.5, -0.5], [[9.01, 9.0], [9.0, 9.01]]),
    ]
    assert any(c["probit"]["entropy_difference"] < 0 for c in cases)
    write(cases)
