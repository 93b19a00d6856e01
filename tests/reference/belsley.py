"""In which order Belsley's condition indices name units, by two readings.

published  Belsley, Kuh & Welsch (1980), chapter 3. X (m, n) is a design with singular values mu_k and right singular
           vectors v_k. Its condition indices are mu_max / mu_k; var(b_j) is a multiple of sum_k v_jk^2 / mu_k^2, and
           pi_kj is the share of direction k in it. For a covariance Psi = c (X'X)^-1 with eigenvalues l_k = c / mu_k^2
           the index is sqrt(l_k / l_min): the *largest* eigenvalue of Psi has the largest index and goes first.
ascending  the reading of Grabovoy et al. (2019): eigenvalues of Psi in rising order, index l_max / l_k, so that the
           *smallest* eigenvalue of Psi goes first.

In both, direction k names the unit j with the largest share pi_kj = v_jk^2 l_k / Psi_jj that none before it named.
The two go through the same directions, forwards and backwards.

The book scales the columns of X to length one first, without centring; "scaled" is the published reading after that,
which for a covariance means X'X = Psi^-1 with its diagonal scaled to ones. Indices and shares depend on the scaling.
"""

import numpy as np

from common import write

# Longley (1967): year, deflator, GNP, unemployed, armed forces, population. The condition number of the scaled design
# with its constant is well known: 43 275.
LONGLEY = """
1947 83.0 234289 2356 1590 107608
1948 88.5 259426 2325 1456 108632
1949 88.2 258054 3682 1616 109773
1950 89.5 284599 3351 1650 110929
1951 96.2 328975 2099 3099 112075
1952 98.1 346999 1932 3594 113270
1953 99.0 365385 1870 3547 115094
1954 100.0 363112 3578 3350 116219
1955 101.2 397469 2904 3048 117388
1956 104.6 419180 2822 2857 118734
1957 108.4 442769 2936 2798 120445
1958 110.8 444546 4681 2637 121950
1959 112.6 482704 3813 2552 123366
1960 114.2 502601 3931 2514 125368
1961 115.7 518173 4806 2572 127852
1962 116.9 554894 4007 2827 130081
"""


def shares(covariance):
    """Eigenvalues, rising, and pi_kj (direction k, unit j); each column sums to one."""
    values, vectors = np.linalg.eigh(covariance)
    return values, (vectors**2 * values).T / np.diag(covariance)


def greedy(proportions, directions):
    """Each direction names the unit with the largest share among those that none has named yet."""
    order = []
    for k in directions:
        left = [j for j in range(proportions.shape[1]) if j not in order]
        order.append(max(left, key=lambda j: proportions[k, j]))
    return order


def reading(covariance, published):
    """Indices in falling order, the eigenvalue and the shares that belong to each, and the order of the units."""
    values, proportions = shares(covariance)
    n = len(values)
    directions = range(n - 1, -1, -1) if published else range(n)
    indices = np.sqrt(values / values[0]) if published else values[-1] / values
    at = list(directions)
    return {
        "eigenvalues": values[at],
        "indices": indices[at],
        "proportions": proportions[at],
        "order": greedy(proportions, directions),
    }


def scaled(covariance):
    """Psi after the columns of the design were scaled to length one."""
    length = np.sqrt(np.diag(np.linalg.inv(covariance)))
    return covariance * np.outer(length, length)


def check_by_design(x, covariance):
    """The published reading from the singular values of X itself."""
    _, mu, vt = np.linalg.svd(x, full_matrices=False)
    phi = vt**2 / mu[:, None] ** 2
    found = reading(covariance, True)
    assert np.allclose(found["indices"], (mu[0] / mu)[::-1], rtol=1e-8)
    assert np.allclose(found["proportions"], (phi / phi.sum(axis=0))[::-1], rtol=1e-6, atol=1e-12)


def case(name, x, noise_variance=1.0):
    covariance = noise_variance * np.linalg.inv(x.T @ x)
    check_by_design(x, covariance)
    check_by_design(x / np.linalg.norm(x, axis=0), scaled(covariance))
    return {
        "name": name,
        "covariance": covariance,
        "published": reading(covariance, True),
        "ascending": reading(covariance, False),
        "scaled": reading(scaled(covariance), True),
    }


def pair():
    """Four columns; the third is the first but for a little noise."""
    rng = np.random.default_rng(80)
    x = rng.standard_normal((200, 4))
    x[:, 2] = x[:, 0] + 0.0102 * rng.standard_normal(200)
    return x


def check_longley():
    data = np.array([line.split() for line in LONGLEY.split("\n") if line], float)
    x = np.hstack([np.ones((16, 1)), data[:, [1, 2, 3, 4, 5, 0]]])
    mu = np.linalg.svd(x / np.linalg.norm(x, axis=0), compute_uv=False)
    assert abs(mu[0] / mu[-1] - 43275) < 1, mu[0] / mu[-1]


if __name__ == "__main__":
    check_longley()
    cases = [case("a collinear pair, units 0 and 2", pair(), 0.1)]
    for seed, n in enumerate((3, 4, 5, 6, 8)):
        rng = np.random.default_rng(seed)
        mixing = rng.standard_normal((n, n)) * 10 ** rng.uniform(-1, 1, n)
        cases.append(case(f"random, {n} units", rng.standard_normal((50, n)) @ mixing))
    assert cases[0]["published"]["order"][0] in (0, 2)
    write(cases)
