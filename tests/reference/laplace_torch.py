"""Laplace posteriors of small perceptrons: laplace-torch, each number checked against a dense formula.

Every number of a posterior is computed twice: by the formula, in 80-bit floats with nothing but sums, products
and Gauss-Jordan elimination, and by laplace-torch in f64. Where both define the same posterior they must agree; the
formula's number is written, with what confirmed it and how far it was off. x, y and weights are multiples of 2^-10,
so they are exact in f32 as well.
"""

import copy
import warnings

import numpy as np
import torch
from laplace import DiagLaplace, FullLaplace, KronLaplace
from laplace.curvature import BackPackGGN, CurvlinopsGGN
from torch import nn

from common import write
from kronecker_projection import project

torch.set_default_dtype(torch.float64)
warnings.filterwarnings("ignore")
REAL = np.longdouble  # 64 bits of mantissa on x86
PRIOR_PRECISIONS = (1e-4, 1.0, 1e2)
TOLERANCE = 1e-9


# Networks and data.


def network(widths, bias):
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def coarse(values, step=2.0**-10):
    return torch.round(values / step) * step


def drawn(name, seed, widths, bias, task, n_objects, noise_variance=None, dead_unit=False):
    """A network after some steps of Adam, its data and three new inputs."""
    torch.manual_seed(seed)
    net = network(widths, bias)
    x = coarse(torch.randn(n_objects, widths[0]))
    hidden = torch.tanh(x @ torch.randn(widths[0], 6)) @ torch.randn(6, widths[-1])
    if task == "regression":
        y = coarse(hidden + noise_variance**0.5 * torch.randn(hidden.shape))
        loss = nn.MSELoss()
    else:
        y = (hidden + 0.5 * torch.randn(hidden.shape)).argmax(1)
        loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        if dead_unit:
            net[0].bias[0] = -50.0
        for parameter in net.parameters():
            parameter.copy_(coarse(parameter))
    x_new = coarse(1.5 * torch.randn(3, widths[0]))
    return dict(name=name, widths=widths, bias=bias, task=task, noise_variance=noise_variance,
                net=net, x=x, y=y, x_new=x_new)  # fmt: skip


# The formula.


def blocks_of(net):
    """[W, b] of each layer; our vec order goes through them row by row."""
    blocks = []
    for layer in net:
        if isinstance(layer, nn.Linear):
            block = layer.weight.detach().numpy()
            if layer.bias is not None:
                block = np.hstack([block, layer.bias.detach().numpy()[:, None]])
            blocks.append(block.astype(REAL))
    return blocks


def positions(net):
    """Where each parameter of torch's order (weights, then biases, of each layer) stands in our vec order."""
    places, start = [], 0
    for layer in net:
        if isinstance(layer, nn.Linear):
            rows, cols = layer.weight.shape
            width = cols + (layer.bias is not None)
            at = start + np.arange(rows * width).reshape(rows, width)
            places += [*at[:, :cols].ravel(), *at[:, cols:].ravel()]
            start += rows * width
    return np.array(places)


def run(blocks, bias, x):
    """Scores (m, k); for each layer its inputs (m, cols) and d scores / d sums (m, k, rows)."""
    z, inputs, masks = np.asarray(x, REAL), [], []
    for block in blocks:
        inputs.append(np.hstack([z, np.ones((len(z), 1), REAL)]) if bias else z)
        sums = inputs[-1] @ block.T
        masks.append(sums > 0)
        z = np.where(masks[-1], sums, 0)
    m, k = sums.shape
    back = np.broadcast_to(np.eye(k, dtype=REAL), (m, k, k))
    slopes = [back]
    for block, mask in zip(blocks[:0:-1], masks[-2::-1]):
        back = (back @ block[:, : mask.shape[1]]) * mask[:, None, :]
        slopes.insert(0, back)
    return sums, inputs, slopes


def jacobian(inputs, slopes):
    """d scores / d vec(weights), (m, k, p)."""
    parts = [np.einsum("ikr,ic->ikrc", s, z) for z, s in zip(inputs, slopes)]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=2)


def softmax(f):
    e = np.exp(f - f.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def entropy(p):
    return -(p * np.log(p)).sum(axis=1)


def likelihood(case, f):
    """Log-likelihood and Lambda, (m, k, k): the Hessian of -log p(y | f) in f."""
    m, k = f.shape
    if case["task"] == "regression":
        v = REAL(case["noise_variance"])
        gap = case["y"].numpy().astype(REAL) - f
        return (-(gap**2) / v - np.log(2 * REAL(np.pi) * v)).sum() / 2, np.broadcast_to(np.eye(k) / v, (m, k, k))
    p = softmax(f)
    fit = np.log(p[np.arange(m), case["y"].numpy()]).sum()
    return fit, p[:, :, None] * np.eye(k) - p[:, :, None] * p[:, None, :]


def inverse(matrix):
    """Inverse and log-determinant of a positive definite matrix by Gauss-Jordan elimination."""
    p = len(matrix)
    both, log_det = np.hstack([matrix, np.eye(p)]).astype(REAL), REAL(0)
    for i in range(p):
        pivot = both[i, i]
        log_det += np.log(pivot)
        both[i] /= pivot
        factors = both[:, i].copy()
        factors[i] = 0
        both -= factors[:, None] * both[i]
    return both[:, p:], log_det


def block_diagonal(blocks):
    p = sum(len(block) for block in blocks)
    out, start = np.zeros((p, p), REAL), 0
    for block in blocks:
        out[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return out


def moments(inputs, slopes, hessians):
    """G (a sum over objects) and A (a mean over objects) of each layer."""
    g = [np.einsum("ikr,ikl,ils->rs", s, hessians, s) for s in slopes]
    a = [z.T @ z / len(z) for z in inputs]
    return list(zip(g, a))


def low_rank(h, rank):
    """Leading directions of H and the diagonal of the rest; in f64, as the eigenvectors are."""
    values, vectors = np.linalg.eigh(h.astype(float))
    kept = (vectors[:, -rank:] * values[-rank:]) @ vectors[:, -rank:].T
    return kept + np.diag(np.maximum(np.diag(h) - np.diag(kept), 0))


def posterior(case, point, covariance, log_det_covariance, prior_precision):
    """What the formula says of N(w, covariance); v = diag J covariance J^T at the new inputs."""
    w, f_new, j_new = point["w"], point["f_new"], point["j_new"]
    functional = np.einsum("ikp,pq,ilq->ikl", j_new, covariance, j_new)
    out = {
        "log_likelihood": point["log_likelihood"],
        "log_evidence": point["log_likelihood"]
        + (len(w) * np.log(REAL(prior_precision)) - prior_precision * (w @ w)) / 2
        + log_det_covariance / 2,
        "log_det_covariance": log_det_covariance,
        "variances": np.diag(covariance),
        "functional_variance": functional,
    }
    v = np.einsum("ikk->ik", functional)
    if case["task"] == "classification":
        mean = softmax(f_new / np.sqrt(1 + REAL(np.pi) * v / 8))
        return out | {
            "probit_mean": mean,
            "entropy": entropy(mean),
            "mutual_information": np.maximum(entropy(mean) - entropy(softmax(f_new)), 0),
        }
    noise = REAL(case["noise_variance"])
    return out | {
        "mean": f_new,
        "predictive_variance": v + noise,
        "entropy": (np.log(2 * REAL(np.pi) * np.e * (v + noise)) / 2).sum(axis=1),
        "mutual_information": (np.log1p(v / noise) / 2).sum(axis=1),
    }


# laplace-torch.


def fitted(kind, case, prior_precision, backend=CurvlinopsGGN):
    data = torch.utils.data.TensorDataset(case["x"], case["y"])
    variance = case["noise_variance"]
    # A copy, since BackPACK leaves hooks in a network that torch.func cannot see through.
    la = kind(copy.deepcopy(case["net"]), case["task"], prior_precision=prior_precision, backend=backend,
              sigma_noise=1.0 if variance is None else variance**0.5)  # fmt: skip
    la.fit(torch.utils.data.DataLoader(data, batch_size=len(data)))
    return la


def theirs(la, case):
    """The same quantities from laplace-torch, in our vec order."""
    if isinstance(la, FullLaplace):
        covariance = la.posterior_covariance
    elif isinstance(la, KronLaplace):
        covariance = la.posterior_precision.to_matrix(exponent=-1)
    else:
        covariance = torch.diag(la.posterior_variance)
    order = np.argsort(positions(case["net"]))
    covariance = covariance.detach().numpy()[np.ix_(order, order)]
    j_new, _ = la.backend.jacobians(case["x_new"])
    out = {
        "log_likelihood": la.log_likelihood.item(),
        "log_evidence": la.log_marginal_likelihood().item(),
        "log_det_covariance": -la.log_det_posterior_precision.item(),
        "variances": np.diag(covariance),
        "functional_variance": la.functional_variance(j_new).detach().numpy(),
    }
    said = la(case["x_new"], pred_type="glm", link_approx="probit")
    if case["task"] == "classification":
        return out | {"probit_mean": said.detach().numpy()}, covariance
    return out | {"mean": said[0].detach().numpy()}, covariance


def deviation(a, b):
    """Largest difference, relative to the largest number of the quantity."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    return np.abs(a - b).max() / max(np.abs(b).max(), 1.0 if a.ndim == 0 else 1e-300)


def confirmed(dense, dense_covariance, la, case):
    """The formula's numbers; laplace-torch's must be the same, but for f64's rounding times the condition number."""
    values, covariance = theirs(la, case)
    worst = max(deviation(values[key], dense[key]) for key in values)
    worst = max(worst, deviation(covariance, dense_covariance))
    relative = np.abs(values["variances"] / dense["variances"].astype(float) - 1).max()
    worst = max(worst, relative)
    tolerance = max(TOLERANCE, np.finfo(float).eps * np.linalg.cond(dense_covariance.astype(float)))
    assert worst < tolerance, (case["name"], type(la).__name__, worst)
    return {"source": "dense numpy", "confirmed_by": "laplace-torch", "deviation": worst} | dense


def check_curvature(case, h):
    """H is laplace-torch's exact generalised Gauss-Newton matrix, by two backends, whole and on the diagonal."""
    order = np.argsort(positions(case["net"]))
    for backend in (CurvlinopsGGN, BackPackGGN):
        full, diagonal = (fitted(kind, case, 1.0, backend) for kind in (FullLaplace, DiagLaplace))
        factor = full._H_factor
        assert deviation((factor * full.H).numpy()[np.ix_(order, order)], h) < TOLERANCE
        assert deviation((factor * diagonal.H).detach().numpy()[order], np.diag(h)) < TOLERANCE
    # And by torch.func: J of the whole network, Lambda by differentiating the loss twice.
    net, names = case["net"], [name for name, _ in case["net"].named_parameters()]

    def outputs(parameters, x):
        return torch.func.functional_call(net, parameters, x[None])[0]

    def loss(f, y):
        if case["task"] == "regression":
            return ((y - f) ** 2).sum() / (2 * case["noise_variance"])
        return nn.functional.cross_entropy(f[None], y[None])

    total = 0
    parameters = {name: parameter.detach() for name, parameter in net.named_parameters()}
    for x, y in zip(case["x"], case["y"]):
        parts = torch.func.jacrev(outputs)(parameters, x)
        j = torch.cat([parts[name].flatten(1) for name in names], dim=1)
        hessian = torch.func.hessian(loss)(outputs(parameters, x), y)
        total = total + j.T @ hessian @ j
    assert deviation(total.numpy()[np.ix_(order, order)], h) < TOLERANCE


def separate_bias(case, factors, point, prior_precision):
    """laplace-torch gives a bias a block of its own: G x A without the means of z between weights and bias."""
    parts = []
    for g, a in factors:
        a = a.copy()
        a[-1, :-1] = a[:-1, -1] = 0
        parts.append(np.kron(g, a))
    precision = block_diagonal(parts)
    covariance, log_det = inverse(precision + prior_precision * np.eye(len(precision)))
    dense = posterior(case, point, covariance, -log_det, prior_precision)
    return confirmed(dense, covariance, fitted(KronLaplace, case, prior_precision), case)


def cases_of(case):
    blocks = blocks_of(case["net"])
    w = np.concatenate([block.ravel() for block in blocks])
    f, inputs, slopes = run(blocks, case["bias"], case["x"].numpy())
    log_likelihood, hessians = likelihood(case, f)
    j = jacobian(inputs, slopes)
    h = np.einsum("ikp,ikl,ilq->pq", j, hessians, j)
    check_curvature(case, h)
    f_new, *rest = run(blocks, case["bias"], case["x_new"].numpy())
    point = {"w": w, "log_likelihood": log_likelihood, "f_new": f_new, "j_new": jacobian(*rest)}
    factors = moments(inputs, slopes, hessians)
    kron = block_diagonal([np.kron(g, a) for g, a in factors])
    for prior_precision in PRIOR_PRECISIONS:
        damped = {"full": h, "diagonal": np.diag(np.diag(h)), "kronecker": kron}
        # Our directions come in portions of 64 rows of S^T J: with one portion they are those of H.
        n_rows = f.size
        rank = 2 if case["task"] == "regression" else 5
        if n_rows <= 64:
            damped[f"low_rank_{rank}"] = low_rank(h, rank)
        structures = {}
        for name, curvature in damped.items():
            covariance, log_det = inverse(curvature + prior_precision * np.eye(len(w)))
            dense = posterior(case, point, covariance, -log_det, prior_precision)
            kind = {"full": FullLaplace, "diagonal": DiagLaplace, "kronecker": KronLaplace}.get(name)
            if kind is None or (name == "kronecker" and case["bias"]):
                structures[name] = {"source": "dense numpy"} | dense
            else:
                structures[name] = confirmed(dense, covariance, fitted(kind, case, prior_precision), case)
            if name in ("full", "kronecker") and len(w) <= 4:
                structures[name]["covariance"] = covariance
        if case["bias"]:
            separate = separate_bias(case, factors, point, prior_precision)
            kept = ("source", "confirmed_by", "deviation", "log_evidence", "log_det_covariance")
            structures["kronecker_separate_bias"] = {key: separate[key] for key in kept}
        structures["kronecker_projection"] = projected(case, point, factors, prior_precision)
        for values in structures.values():  # what all structures share stands once, at the case
            for key in ("log_likelihood", "mean"):
                values.pop(key, None)
        yield {
            "name": case["name"],
            "widths": case["widths"],
            "bias": case["bias"],
            "task": case["task"],
            "noise_variance": case["noise_variance"],
            "prior_precision": prior_precision,
            "x": case["x"].numpy(),
            "y": case["y"].numpy(),
            "weights": w,
            "x_new": case["x_new"].numpy(),
            "f_new": f_new,
            "log_likelihood": log_likelihood,
            "structures": structures,
        }


def projected(case, point, factors, prior_precision):
    """The nearest R x C of every layer, as kronecker_projection.py defines it; G is a sum, so N = 1."""
    pairs = [project(a, g, 1, prior_precision) for g, a in factors]
    covariance = block_diagonal([np.kron(pair["R"], pair["C"]) for pair in pairs])
    log_det = sum(pair["log_det"] for pair in pairs)
    dense = posterior(case, point, covariance, log_det, prior_precision)
    del dense["log_evidence"]  # that of the exact posterior stands under "kronecker"
    return {"source": "dense numpy", "kl": sum(pair["kl"] for pair in pairs)} | dense


if __name__ == "__main__":
    networks = [
        drawn("linear", 1, [3, 1], False, "regression", 20, 0.3),
        drawn("linear with bias", 2, [3, 1], True, "regression", 20, 0.3),
        drawn("regression", 3, [2, 4, 1], False, "regression", 24, 0.3),
        drawn("regression with bias", 4, [2, 4, 1], True, "regression", 24, 0.3),
        drawn("regression with a dead unit", 5, [2, 4, 1], True, "regression", 20, 0.3, dead_unit=True),
        drawn("two outputs", 6, [2, 4, 2], False, "regression", 24, 0.05),
        drawn("two outputs with bias", 7, [2, 4, 2], True, "regression", 24, 0.05),
        drawn("classification", 8, [3, 5, 3], False, "classification", 20),
        drawn("classification with bias", 9, [3, 5, 3], True, "classification", 20),
        drawn("few objects", 10, [3, 5, 3], True, "classification", 5),
        drawn("deep", 11, [4, 6, 5, 3], False, "classification", 30),
        drawn("deep with bias", 12, [4, 6, 5, 3], True, "classification", 30),
    ]
    write([case for drawing in networks for case in cases_of(drawing)])
