"""State dicts as PyTorch, NumPy, Keras and Flax users save them, and what the networks say of an input.

Each case holds the bytes of a file (compressed, base64), what a reader has to be told, and either the widths and the
outputs of PyTorch in f64 or words of the error that is due. Files in the names of Keras and Flax are written with NumPy,
their values from the same PyTorch network with its weights transposed.
"""

import base64
import copy
import io
import os
import pickle
import zipfile
import zlib

import numpy as np
import torch
from safetensors.torch import save as save_safetensors
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils import weight_norm as old_weight_norm

from common import write

torch.manual_seed(16)
CASES = []
X = torch.randn(4, 3, dtype=torch.float64)


def saved(value, **how):
    buffer = io.BytesIO()
    torch.save(value, buffer, **how)
    return buffer.getvalue()


def named_bytes(state):
    """As safetensors, the smallest container, where the container does not matter."""
    return save_safetensors({name: tensor.detach().contiguous().clone() for name, tensor in state.items()})


def npz(arrays, writer=np.savez):
    buffer = io.BytesIO()
    writer(buffer, **arrays)
    return buffer.getvalue()


def packed(data):
    return base64.b64encode(zlib.compress(data, 9)).decode()


def case(name, data, model=None, error=None, said=None, **options):
    """`model` gives the expected outputs, `error` words of the message, `said` words of a note."""
    same = next((other["name"] for other in CASES if other.get("file") == packed(data)), None)
    found = {"name": name, "options": options}
    found |= {"file": packed(data)} if same is None else {"file_of": same}
    if error is not None:
        found["error"] = error
    else:
        exact = copy.deepcopy(model).double().eval()
        with torch.no_grad():
            found["y"] = exact(X).numpy()
        found["said"] = said or []
    CASES.append(found)


def dense(activation=nn.ReLU, widths=(3, 5, 4, 2), bias=True, between=()):
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out, bias=bias), *[make(n_out) for make in between], activation()]
    return nn.Sequential(*layers[: -1 - len(between)])


def used(model):
    """Statistics and scales of batch normalizations that are not those of a new one."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            n = module.num_features
            module.running_mean.copy_(torch.randn(n))
            module.running_var.copy_(torch.rand(n) + 0.5)
            if module.affine:
                module.weight.data.copy_(torch.randn(n))
                module.bias.data.copy_(torch.randn(n))
    return model


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.bn1 = nn.Linear(3, 5), nn.BatchNorm1d(5)
        self.fc2, self.bn2 = nn.Linear(5, 5), nn.BatchNorm1d(5)
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        x = torch.relu(self.bn1(self.fc1(x)))
        return self.out(torch.relu(self.bn2(self.fc2(x))))


class NamedAfter(Named):
    def forward(self, x):
        x = self.bn1(torch.relu(self.fc1(x)))
        return self.out(self.bn2(torch.relu(self.fc2(x))))


class System:
    def __reduce__(self):
        return os.system, ("true",)


# Containers.

plain = dense()
state = plain.state_dict()
case("plain", saved(state), plain, said=["relu between the layers"])
case("legacy", saved(state, _use_new_zipfile_serialization=False), plain)
case("protocol 4", saved(state, pickle_protocol=4), plain)
case("parameters", saved(dict(plain.named_parameters()), _use_new_zipfile_serialization=False), plain)
case("safetensors", save_safetensors(state), plain)
for dtype in (torch.float16, torch.bfloat16, torch.float64):
    model = dense().to(dtype)
    case(str(dtype), saved(model.state_dict(), _use_new_zipfile_serialization=dtype == torch.float16), model)
numbers = {name: tensor.numpy() for name, tensor in state.items()}
case("npz", npz(numbers), plain)
case("npz, compressed", npz(numbers, np.savez_compressed), plain)
odd = {name: np.asfortranarray(value.astype(">f8")) for name, value in numbers.items()}
case("npz, big-endian, columns first", npz(odd), plain)
model = dense().half()
case("npz, f16", npz({name: tensor.numpy() for name, tensor in model.state_dict().items()}), model)

# Views: one storage for all, transposed and strided parts.
model = dense()
flat = torch.cat([tensor.flatten() for tensor in model.state_dict().values()])
views, at = {}, 0
for name, tensor in model.state_dict().items():
    views[name] = flat[at : at + tensor.numel()].view_as(tensor)
    at += tensor.numel()
case("one storage", saved(views), model)
case("one storage, legacy", saved(views, _use_new_zipfile_serialization=False), model)
turned = {}
for name, tensor in model.state_dict().items():
    if tensor.dim() == 2:
        wide = torch.zeros(tensor.shape[1] * 2, tensor.shape[0] + 1)
        wide[::2, 1:] = tensor.t()
        turned[name] = wide[::2, 1:].t()
    else:
        turned[name] = tensor
case("strided", saved(turned, _use_new_zipfile_serialization=False), model)

# Around the weights.

optimizer = torch.optim.Adam([plain[4].bias])
plain(X.float()).sum().backward()
optimizer.step()
checkpoint = {
    "epoch": 3,
    "loss": 0.25,
    "state_dict": plain.state_dict(),
    "optimizer": optimizer.state_dict(),
    "lr_schedulers": [{"gamma": 0.1, "milestones": [1, 2], "done": True, "none": None}],
    "hyper_parameters": {"lr": 1e-3, "device": torch.device("cpu"), "sizes": torch.Size([2, 3])},
}
case("checkpoint", saved(checkpoint), plain, said=["left out `epoch`", "`optimizer`"])
state = plain.state_dict()
prefixed = {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}
case("DataParallel and compile", named_bytes(prefixed), plain)
averaged = torch.optim.swa_utils.AveragedModel(plain)
case("AveragedModel", named_bytes(averaged.state_dict()), plain, said=["`n_averaged`"])
model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
case("one without a bias", named_bytes(model.state_dict()), model, said=["zeros as the biases of `0`"])
for name, kind in [
    ("tanh", nn.Tanh),
    ("gelu", nn.GELU),
    ("silu", nn.SiLU),
    ("sigmoid", nn.Sigmoid),
    ("leaky-relu", nn.LeakyReLU),
    ("identity", nn.Identity),
]:
    model = dense(kind)
    case(name, save_safetensors(model.state_dict()), model, activation=name)

# Weights made of parts.

model = dense()
for layer in (model[0], model[2]):
    old_weight_norm(layer)
    layer.weight_g.data.mul_(1.5)
with torch.no_grad():
    plainly = dense()
    for ours, theirs in zip(plainly, model):
        if isinstance(ours, nn.Linear):
            w = theirs.weight
            if hasattr(theirs, "weight_g"):
                w = theirs.weight_g.double() * theirs.weight_v.double()
                w = w / theirs.weight_v.double().norm(dim=1, keepdim=True)
            ours.double()
            ours.weight.copy_(w)
            ours.bias.copy_(theirs.bias)
case("weight_norm of old", named_bytes(model.state_dict()), plainly)
model = dense()
for layer in (model[0], model[4]):
    parametrizations.weight_norm(layer)
    layer.parametrizations.weight.original0.data.mul_(0.5)
case("weight_norm", named_bytes(model.state_dict()), model)
model = dense()
prune.l1_unstructured(model[0], "weight", 0.5)
prune.l1_unstructured(model[2], "bias", 0.5)
data = named_bytes(model.state_dict())
prune.remove(model[0], "weight")
prune.remove(model[2], "bias")
case("pruned", data, model)

# Batch normalization.

norm = nn.BatchNorm1d
before = used(dense(between=[norm]))
case("batch norm before", named_bytes(before.state_dict()), before, said=["`1` behind `0`, before its activation", "1e-5"])
after = used(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), norm(5), nn.Linear(5, 4), nn.Tanh(), norm(4), nn.Linear(4, 2)))
after[4] = nn.ReLU()
case("batch norm after", named_bytes(after.state_dict()), after, said=["`2` behind the activation of `0`"])
first = used(nn.Sequential(norm(3), nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)))
case("batch norm on the inputs", named_bytes(first.state_dict()), first, said=["`0` on the inputs"])
bare = used(nn.Sequential(nn.Linear(3, 5, bias=False), norm(5, affine=False, eps=0.1), nn.ReLU(), nn.Linear(5, 2)))
case("batch norm without scales", named_bytes(bare.state_dict()), bare, batch_norm_epsilon=0.1)
named = used(Named())
case("batch norm by names", named_bytes(named.state_dict()), named, said=["`bn2` behind `fc2`", "--batch-norm overrules"])
swapped = NamedAfter()
swapped.load_state_dict(named.state_dict())
case("batch norm by names, after", named_bytes(named.state_dict()), swapped, batch_norm="after")
gap = used(nn.Sequential(nn.Linear(3, 5), nn.Dropout(), norm(5), nn.ReLU(), nn.Linear(5, 2)))
case("batch norm behind a dropout", named_bytes(gap.state_dict()), gap, batch_norm="before")

# Names of Keras and Flax: kernels are (in, out).

keras = {}
for name, layer in zip(["dense", "dense_1", "dense_2"], [plain[0], plain[2], plain[4]]):
    keras[f"{name}/kernel:0"] = layer.weight.detach().numpy().T
    keras[f"{name}/bias:0"] = layer.bias.detach().numpy()
case("Keras", npz(keras), plain)
keras = {}
for name, layer in zip(["dense", "dense_1", "dense_2"], [plain[0], plain[2], plain[4]]):
    keras[f"layers/{name}/vars/0"] = layer.weight.detach().numpy().T
    keras[f"layers/{name}/vars/1"] = layer.bias.detach().numpy()
keras["optimizer/vars/0"] = np.int64(3)
keras["optimizer/vars/1"] = np.zeros((3, 5), np.float32)
case("Keras 3", npz(keras), plain, said=["left out `optimizer`"])
keras = {}
for i, (layer, bn) in enumerate([(named.fc1, named.bn1), (named.fc2, named.bn2), (named.out, None)]):
    end = f"_{i}" if i else ""
    keras[f"dense{end}/kernel"] = layer.weight.detach().numpy().T
    keras[f"dense{end}/bias"] = layer.bias.detach().numpy()
    if bn is not None:
        for theirs, ours in [
            ("gamma", bn.weight),
            ("beta", bn.bias),
            ("moving_mean", bn.running_mean),
            ("moving_variance", bn.running_var),
        ]:
            keras[f"batch_normalization{end}/{theirs}"] = ours.detach().numpy()
other = copy.deepcopy(named)
other.bn1.eps = other.bn2.eps = 1e-3
case("Keras with batch norm", npz(keras), other, said=["epsilon 1e-3"])
flax = {}
for i, (layer, bn) in enumerate([(named.fc1, named.bn1), (named.fc2, named.bn2), (named.out, None)]):
    flax[f"params/Dense_{i}/kernel"] = layer.weight.detach().numpy().T
    flax[f"params/Dense_{i}/bias"] = layer.bias.detach().numpy()
    if bn is not None:
        flax[f"params/BatchNorm_{i}/scale"] = bn.weight.detach().numpy()
        flax[f"params/BatchNorm_{i}/bias"] = bn.bias.detach().numpy()
        flax[f"batch_stats/BatchNorm_{i}/mean"] = bn.running_mean.numpy()
        flax[f"batch_stats/BatchNorm_{i}/var"] = bn.running_var.numpy()
case("Flax", npz(flax), named, said=["epsilon 1e-5"])
turned = {name: (tensor.t().contiguous() if tensor.dim() == 2 else tensor) for name, tensor in state.items()}
case("stored as (in, out)", named_bytes(turned), plain, said=["transposed"])

# More than one network, or order.

ema = {f"online.{name}": tensor for name, tensor in state.items()}
ema |= {f"ema.module.{name}": tensor + 1 for name, tensor in state.items()}
case("EMA copy", named_bytes(ema), error=["2 networks", "`ema` [3, 5, 4, 2]", "--prefix ema"])
case("EMA copy, chosen", named_bytes(ema), plain, prefix="online")
tied = {}
for name in ("online", "target"):
    tied |= {f"{name}.{key}": tensor for key, tensor in dense(widths=(3, 5, 3)).state_dict().items()}
case("target network", named_bytes(tied), error=["2 networks", "--prefix"])
trunk, a, b = nn.Linear(3, 5), nn.Linear(5, 2), nn.Linear(5, 4)
heads = {}
for name, layer in [("trunk", trunk), ("head_a", a), ("head_b", b)]:
    heads |= {f"{name}.{key}": tensor for key, tensor in layer.state_dict().items()}
case("two heads", named_bytes(heads), error=["trunk,head_a ([3, 5, 2])", "trunk,head_b ([3, 5, 4])", "--layers"])
model = nn.Sequential(trunk, nn.ReLU(), b)
case("two heads, chosen", named_bytes(heads), model, layers=["trunk", "head_b"])
equal = nn.ModuleDict({name: nn.Linear(3, 3) for name in ["input", "hidden", "output"]})
model = nn.Sequential(equal["input"], nn.ReLU(), equal["hidden"], nn.ReLU(), equal["output"])
case("equal widths", named_bytes(equal.state_dict()), error=["order of the layers is unclear", "--layers"])
case("equal widths, chosen", named_bytes(equal.state_dict()), model, layers=["input", "hidden", "output"])
alias = {"first.weight": state["0.weight"], "first.bias": state["0.bias"], **state}
case("one layer under two names", named_bytes(alias), error=["hold the same numbers", "--layers"])

# What is refused.

case("whole module", saved(plain), error=["torch.nn.modules.container.Sequential", "state_dict()"])
case("code", saved({"0.weight": torch.zeros(2, 2), "hidden": System()}), error=["posix.system"])
case("code, legacy", saved({"a": System()}, _use_new_zipfile_serialization=False), error=["posix.system"])
case("code, a pickle alone", pickle.dumps({"a": System()}, 4), error=["posix.system"])
case("a pickle alone", pickle.dumps({"a": [1.0]}, 4), error=["another pickle"])
case("one tensor", saved(torch.zeros(3)), error=["one tensor"])
case("no tensors", saved({"epoch": 1}), error=["no tensors"])
bad = dict(state)
bad["2.weight"] = bad["2.weight"].clone()
bad["2.weight"][1, 2] = float("nan")
case("NaN", named_bytes(bad), error=["`2.weight` holds NaN at place 7"])
model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 5)), nn.ReLU(), nn.Linear(5, 2))
case("spectral norm", named_bytes(model.state_dict()), error=["remove_parametrizations"])
case("layer norm", named_bytes(dense(between=[nn.LayerNorm]).state_dict()), error=["`1.weight`", "normalisation"])
case("convolution", named_bytes(nn.Conv2d(1, 2, 3).state_dict()), error=["`weight`", "convolution"])
case("sparse", saved({"weight": torch.eye(3).to_sparse()}), error=["_rebuild_sparse_tensor"])
case("whole numbers", named_bytes({"weight": torch.ones(2, 3, dtype=torch.int64)}), error=["holds I64"])
wide = torch.zeros(1).expand(1 << 20, 1 << 10)
case("one number without end", saved({"weight": wide}), error=["64 times"])
single = io.BytesIO()
np.save(single, numbers["0.weight"])
case("npy", single.getvalue(), error=["numpy.savez"])
case("objects", npz({"a": np.array({"b": 1}, dtype=object)}), error=["Python objects"])
case("arrays without names", npz({}, lambda f: np.savez(f, *numbers.values())), error=["without a name"])
script = io.BytesIO()
with zipfile.ZipFile(script, "w") as archive:
    archive.writestr("net/data.pkl", pickle.dumps({}, 2))
    archive.writestr("net/constants.pkl", pickle.dumps((), 2))
case("TorchScript", script.getvalue(), error=["TorchScript"])

write([{"x": X.numpy()}] + CASES)
