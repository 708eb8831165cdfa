"""Trained networks in files, of whatever format."""

from pathlib import Path

from synflip.modelfile import onnx, pt2
from synflip.modelfile.onnx import Onnx
from synflip.modelfile.pt2 import Program


def load_network(path: str | Path) -> Program | Onnx:
    """The network in a ``.onnx`` file, or in a ``.pt2`` file of torch. Raises SynflipError, naming the file
    and what is wrong with it."""
    return onnx.load(path) if Path(path).suffix.lower() == ".onnx" else pt2.load_chain(path)
