"""``python tests/modelfile/torch_export/export.py``: write the network that lies beside it, in two files.

torch.onnx.export needs the package onnxscript since torch 2.9, which is no package of this project: the files
lie here so that no test needs it. The environment that they were made in: ``pip install torch==2.13.0
onnx==1.23.2 onnxscript==0.7.2``. All arguments are torch's defaults.
"""

from pathlib import Path

import onnx
import torch
from torch import nn

FILE = Path(__file__).parent / "m.onnx"


def main() -> None:
    """Write m.onnx, of 8x8 pixels in ten classes, and m.onnx.data, the weights."""
    torch.manual_seed(1)
    layers = (nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
    network = nn.Sequential(nn.Flatten(), *layers).eval()
    torch.onnx.export(network, (torch.rand(2, 8, 8),), FILE)
    written = onnx.load(FILE, load_external_data=False)
    for node in written.graph.node:
        del node.metadata_props[:]  # for people: with the paths of the machine
    FILE.write_bytes(written.SerializeToString())


if __name__ == "__main__":
    main()
