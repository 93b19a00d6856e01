"""A linear regression of three weights without bias, where G x A is all of H: full and Kronecker posteriors agree.

With the factored damping (G + sqrt(a) p I) x (A + sqrt(a) / p I) they do not: the variance of the third weight,
whose feature hardly varies, comes out four times too small. The data are those of a case that came from a report
on factored damping (github.com/f-dangel/curvlinops/issues/92), with numbers drawn anew.
"""

import numpy as np

from common import write

NOISE_VARIANCE, PRIOR_PRECISION = 0.1, 1.0
WEIGHTS = (1.25, 0.78, 0.96)
DATA = """
-1.08,2.6,-0.03,0.37
-0.19,3.36,-0.09,2.58
-1.28,-1.41,-0.24,-3.13
-1.84,-0.44,0.08,-2.45
-2.16,0.04,0.05,-2.64
0.17,-3.81,-0.06,-2.77
-0.19,1.3,-0.26,0.26
0.38,2.98,-0.46,2.22
0.22,-4.58,-0.03,-3.35
-0.68,3.82,0.01,2.27
0.8,-3.14,0.09,-1.25
1.42,-2.12,0.13,-0.11
0.48,-0.19,-0.25,0.11
0.28,-0.81,0.12,0.12
0.78,4.6,-0.17,4.6
0.87,2.1,0.02,2.57
0.61,0.4,0.13,1.04
0.39,-1.69,0.02,-0.35
0.66,-2.55,-0.08,-1.03
1.31,0.97,-0.12,1.76
-0.56,4.26,0.09,3.33
-1.89,1.58,-0.18,-1.1
-0.1,-4.75,-0.05,-3.8
-0.76,-3.59,0.18,-3.73
2.48,1.7,0.04,4.13
-1.23,-0.76,-0.13,-2.45
-1.87,1.65,-0.01,-1.3
-0.73,-4.49,0.09,-4.68
1.35,0.29,-0.1,1.2
0.61,-2.93,-0.44,-1.53
1.71,5.06,-0.06,6.42
0.07,5.0,-0.22,3.95
0.12,2.6,0.35,2.55
-0.8,-2.45,0.04,-3.06
-0.58,4.64,-0.15,2.61
0.19,0.52,-0.05,0.58
-1.68,3.97,0.04,0.77
0.68,1.78,-0.11,2.22
-0.44,-1.32,0.23,-1.38
-0.52,-6.75,-0.06,-6.07
"""


def posterior(x, y, w):
    h = x.T @ x / NOISE_VARIANCE
    fit = (-((y - x @ w) ** 2) / NOISE_VARIANCE - np.log(2 * np.pi * NOISE_VARIANCE)).sum() / 2
    log_prior = (len(w) * np.log(PRIOR_PRECISION) - PRIOR_PRECISION * w @ w) / 2

    def of(covariance):
        evidence = fit + log_prior + np.linalg.slogdet(covariance)[1] / 2
        return {"log_evidence": evidence, "variances": np.diag(covariance)}

    g, a = len(x) / NOISE_VARIANCE, x.T @ x / len(x)
    ratio, damping = np.sqrt(g / (np.trace(a) / len(w))), np.sqrt(PRIOR_PRECISION)
    factored = (g + damping * ratio) * (a + damping / ratio * np.eye(len(w)))
    return {
        "log_likelihood": fit,
        "full": of(np.linalg.inv(h + PRIOR_PRECISION * np.eye(len(w)))),
        "kronecker": of(np.linalg.inv(np.kron([[g]], a) + PRIOR_PRECISION * np.eye(len(w)))),
        "kronecker_factored_damping": of(np.linalg.inv(factored)),
        "diagonal": of(np.diag(1 / (np.diag(h) + PRIOR_PRECISION))),
    }


if __name__ == "__main__":
    data = np.array([line.split(",") for line in DATA.split()], float)
    w = np.array(WEIGHTS, np.float32).astype(float)
    cases = []
    for name, table in (("data in f64", data), ("data rounded to f32", data.astype(np.float32).astype(float))):
        x, y = table[:, :-1], table[:, -1]
        sizes = {"noise_variance": NOISE_VARIANCE, "prior_precision": PRIOR_PRECISION}
        cases.append({"name": name, **sizes, "x": x, "y": y, "weights": w, **posterior(x, y, w)})
    expected = [0.0022401399713700377, 0.0002731665579080263, 0.08504958163591106]
    for structure in ("full", "kronecker"):
        assert np.allclose(cases[0][structure]["variances"], expected, rtol=1e-13)
        assert abs(cases[0][structure]["log_evidence"] + 14.884023) < 5e-7
    write(cases)
