"""Writes tests/data/inception-layers.json: what a public implementation of the FID Inception network computes.

git clone https://github.com/toshas/torch-fidelity CHECKOUT
python scripts/inception_reference.py CHECKOUT          writes the file
python scripts/inception_reference.py CHECKOUT --check  says whether it is up to date, by its exit code
python scripts/inception_reference.py CHECKOUT --ours   prints how far Kantor's network is from it, layer by layer

The public weights are not needed: both networks are filled by one formula, `weights`, and look at images made by
another, `images`. These have 299 x 299 pixels already, since the ports resize otherwise than Kantor does. All is in
float64. Of each layer that has a name, the file holds the mean, the mean square and five entries of its output.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import math
import subprocess
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

PAGE = Path(__file__).parents[1] / "tests" / "data" / "inception-layers.json"
NEAR = 1e-9  # of a layer's root mean square, in float64


def uniforms(name: str, count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1), the same on every machine: NumPy's Philox, keyed by the name's SHA-256."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    words = np.asarray(np.random.Philox(key=key).random_raw(count), np.uint64)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def weights(shapes: Mapping[str, Iterable[int]]) -> dict[str, Tensor]:
    """float64 weights that keep signals near 1, with no statistic of a normalisation at its default."""
    return {name: _weight(name, tuple(shape)) for name, shape in shapes.items()}


def _weight(name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    u = torch.from_numpy(uniforms(name, math.prod(shape)).reshape(shape))
    if len(shape) > 1:
        gain = 1 if name.startswith("fc.") else 2
        return (2 * u - 1) * math.sqrt(3 * gain / math.prod(shape[1:]))
    if name.endswith(("bn.weight", "running_var")):
        return 0.5 + u
    return u - 0.5


def images() -> NDArray[np.uint8]:
    """uint8 [2, 3, 299, 299]: noise, and squares of 23 x 23 pixels."""
    noise = (256 * uniforms("noise", 3 * 299 * 299)).astype(np.uint8).reshape(3, 299, 299)
    squares = (256 * uniforms("squares", 3 * 13 * 13)).astype(np.uint8).reshape(3, 13, 13)
    return np.stack([noise, squares.repeat(23, 1).repeat(23, 2)])


def outputs(network: nn.Module, call: Any) -> dict[str, Tensor]:
    """The output of each child of `network` that `call` goes through, by its name."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, given, output: found.__setitem__(name, output.detach().clone())

    handles = [child.register_forward_hook(keep(name)) for name, child in network.named_children()]
    with torch.inference_mode():
        call()
    for handle in handles:
        handle.remove()
    return found


def summary(output: Tensor, places: Iterable[int] | None = None) -> dict[str, Any]:
    """places: of the entries, in the flattened output; chosen at random among those that no ReLU has set to 0."""
    flat = output.double().flatten()
    if places is None:
        lots = (uniforms(f"places in {list(output.shape)}", 200) * len(flat)).astype(int).tolist()
        places = [place for place in lots if flat[place] != 0][:5]
    return {
        "shape": list(output.shape),
        "mean": flat.mean().item(),
        "mean square": flat.square().mean().item(),
        "entries": {str(place): flat[place].item() for place in places},
    }


def listing(shapes: Mapping[str, Iterable[int]]) -> str:
    """SHA-256 of all names and shapes."""
    lines = sorted(f"{name}:{list(shape)}" for name, shape in shapes.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def public(checkout: Path) -> Any:
    """torch-fidelity's network, filled by the formula; its package, which needs more than torch, is not imported."""
    package = types.ModuleType("torch_fidelity")
    package.__path__ = [str(checkout / "torch_fidelity")]
    sys.modules["torch_fidelity"] = package
    kind = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    names = ["2048", "logits_unbiased"]
    with mock.patch.object(kind, "load_state_dict"), mock.patch.object(torch, "load"):
        network = kind("reference", names, "no file", "float64")
    network.double().load_state_dict(weights({name: value.shape for name, value in network.state_dict().items()}))
    network.feature_extractor_internal_dtype = torch.float64  # version 0.4.0 takes "float64" for float32
    return network.eval()


def measured(network: Any) -> dict[str, Tensor]:
    """Each layer's output, the features "pool3", and the "logits" without bias."""
    results: list[Any] = []
    found = outputs(network, lambda: results.append(network(torch.from_numpy(images()))))
    with torch.inference_mode():  # the port rounds its results to float32: the last steps again, in float64
        found["pool3"] = found["AvgPool"].flatten(1)
        found["logits"] = found["pool3"] @ network.fc.weight.T
    for mine, theirs in zip((found["pool3"], found["logits"]), results[0], strict=True):
        if not torch.equal(mine.float(), theirs):
            raise SystemExit("the port's results are not those of its last layer")
    return {name: value for name, value in found.items() if name not in ("AvgPool", "fc")}


def reference(checkout: Path, layers: dict[str, Tensor], network: Any) -> dict[str, Any]:
    version: dict[str, str] = {}
    exec((checkout / "torch_fidelity" / "version.py").read_text(), version)
    git = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    state = network.state_dict()
    return {
        "source": {
            "project": "https://github.com/toshas/torch-fidelity",
            "version": version["__version__"],
            "commit": subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip(),
            "file": "torch_fidelity/feature_extractor_inceptionv3.py",
            "licence": "Apache-2.0",
        },
        "state": {
            "entries": len(state),
            "listing": listing({name: value.shape for name, value in state.items()}),
            "parameters": sum(value.numel() for value in network.parameters()),
        },
        "layers": {name: summary(value) for name, value in layers.items()},
    }


def ours() -> dict[str, Tensor]:
    from kantor.metrics.inception import Inception, from_state

    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Inception().state_dict().items()}
    network = from_state(weights(shapes), torch.float64)
    results: list[Any] = []
    found = outputs(network, lambda: results.append(network(torch.from_numpy(images()).double())))
    found |= {"pool3": results[0].features, "logits": results[0].logits["classes"]}
    return {name: value for name, value in found.items() if name != "AvgPool"}


def differs(found: Mapping[str, Tensor], expected: Mapping[str, Any]) -> list[str]:
    """Layers of the file whose numbers are not those of `found`, within `NEAR`."""
    bad = sorted(found.keys() ^ expected.keys())
    for name in found.keys() & expected.keys():
        one, scale = expected[name], expected[name]["mean square"] ** 0.5
        if list(found[name].shape) != one["shape"]:
            bad.append(name)
            continue
        other = summary(found[name], map(int, one["entries"]))
        pairs = [(other["mean"], one["mean"]), (other["mean square"] / scale, one["mean square"] / scale)]
        pairs += [(other["entries"][place], value) for place, value in one["entries"].items()]
        if any(abs(a - b) > NEAR * scale for a, b in pairs):
            bad.append(name)
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--ours", action="store_true")
    flags = parser.parse_args()
    network = public(flags.checkout)
    layers = measured(network)
    if flags.ours:
        mine = ours()
        for name, value in layers.items():
            apart = (mine[name] - value).abs().max() / value.square().mean().sqrt()
            print(f"{name:15} {list(value.shape)!s:20} {apart.item():.1e}")
        return 0
    page = reference(flags.checkout, layers, network)
    if flags.check:
        kept = json.loads(PAGE.read_text())
        return int(bool(differs(layers, kept["layers"])) or page["state"] != kept["state"])
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(json.dumps(page, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
