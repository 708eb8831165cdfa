"""``python -m tests.modelfile.peers``: read networks that others made, and write a table of the docs.

Models of scikit-learn by skl2onnx, files that ship in the package onnx, files that Keras wrote, networks of
torch's examples and networks that people write, as modules and as what torch writes of them as ONNX.
"""

import io
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from skl2onnx import to_onnx
from sklearn import base, ensemble, linear_model, naive_bayes, neural_network, preprocessing, svm
from sklearn.pipeline import make_pipeline
from synflip.data import load
from synflip.errors import SynflipError
from synflip.modelfile.network import load_network
from synflip.modelfile.onnx import Onnx
from synflip.report.sections import replace_section
from synflip.report.tables import markdown_table
from synflip.training.ordinary import Ordinary
from torch import nn

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "convert.md"
SECTION = "peers"
FILES = Path(onnx.__file__).parent / "backend" / "test" / "data"


@dataclass(frozen=True)
class Peer:
    """A network that others made. shape: of an input. made: gives it, when it is asked for."""

    name: str
    source: str
    shape: tuple[int, ...]
    made: Callable[[], nn.Module]

    def verdict(self) -> str:
        """Its layers, read and compared with what it computes, or the line that refuses it."""
        rows = torch.rand(64, int(np.prod(self.shape)), generator=torch.Generator().manual_seed(1)).double()
        try:
            with warnings.catch_warnings(), torch.random.fork_rng():
                warnings.simplefilter("ignore")
                torch.manual_seed(0)
                ordinary = Ordinary(self.made().eval(), self.shape)
            ordinary.check(rows)
        except SynflipError as error:
            return "refused: " + str(error).split("; allowed are")[0].removeprefix(f"{FILES / self.name}: ")
        first = ordinary.layers[0]
        sizes = [first.weight.shape[1] if first.place is None else "x".join(map(str, first.place.input))]
        for layer in ordinary.layers:
            sizes.append(len(layer.bias) if layer.place is None else f"{len(layer.bias)}({layer.place})")
        return f"read: {'-'.join(map(str, sizes))}"


def fitted(model: base.BaseEstimator, binary: bool = False) -> nn.Module:
    """A model of scikit-learn that was trained for a moment on the digits, as ONNX."""
    data = load("digits")
    x, y = data.train_images[:300].astype(np.float32), np.asarray(data.train_labels[:300])
    model.fit(x, y > 4 if binary else y)  # type: ignore[attr-defined]
    return Onnx(to_onnx(model, x[:1]).SerializeToString())


def written(network: nn.Module, shape: Sequence[int]) -> nn.Module:
    """What torch writes of a module as ONNX."""
    content = io.BytesIO()
    torch.onnx.export(network.eval(), (torch.zeros(1, *shape),), content, dynamo=False)
    return Onnx(content.getvalue())


def quickstart() -> nn.Module:
    """Of torch's tutorial for beginners."""
    layers = (nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def normalised() -> nn.Module:
    """As tables are learned: normalised in front and between."""
    front = (nn.BatchNorm1d(30), nn.Linear(30, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Dropout())
    return nn.Sequential(*front, nn.Linear(64, 1), nn.Sigmoid())


def mobile() -> nn.Module:
    """With the activation of MobileNet."""
    front = (nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU6())
    return nn.Sequential(*front, nn.Linear(32, 10), nn.LogSoftmax(1))


def lenet() -> nn.Module:
    """Of torch's example on MNIST, in short."""
    front = (nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(*front, nn.Linear(5408, 128), nn.ReLU(), nn.Linear(128, 10))


class Encoder(nn.Module):
    """The classifier of an embedding: scaled by hand, and sizes asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(784, 100, bias=False), nn.Linear(100, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of images in 0..1."""
        x = (x.view(x.size(0), -1) - 0.1307) / 0.3081
        return torch.log_softmax(self.head(torch.relu(self.hidden(x))), dim=-1)


class Residual(nn.Module):
    """A block with a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(x + self.second(self.first(x).relu()))


class Recurrent(nn.Module):
    """The last state of a recurrent network over an image's rows."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of images [N, 8, 8]."""
        return self.head(self.lstm(x)[0][:, -1])


def gelu() -> nn.Module:
    """The block of transformers."""
    return nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10))


mlp = partial(neural_network.MLPClassifier, max_iter=3, random_state=0)
SCIKIT = "scikit-learn, skl2onnx"
SHIPPED = "the package onnx"
KERAS = "Keras 3 on torch, exported as ONNX"
TORCH = "a module of torch"


def sklearn(name: str, model: base.BaseEstimator, binary: bool = False) -> Peer:
    """A model of scikit-learn on the digits' 64 pixels."""
    return Peer(name, SCIKIT, (64,), partial(fitted, model, binary))


def shipped(name: str, *shape: int) -> Peer:
    """A file that ships in the package onnx."""
    return Peer(name, SHIPPED, shape, lambda: load_network(FILES / name))


def here(name: str, source: str, file: str, *shape: int) -> Peer:
    """A file in a folder of this one, which the export.py there wrote."""
    return Peer(name, source, shape, lambda: load_network(Path(__file__).parent / file))


PEERS = (
    sklearn("MLPClassifier (32, 16)", mlp((32, 16))),
    sklearn("MLPClassifier (16), two classes", mlp((16,)), True),
    sklearn("MLPClassifier, tanh", mlp((16,), activation="tanh")),
    sklearn("LogisticRegression", linear_model.LogisticRegression(max_iter=5)),
    sklearn("LogisticRegression, two classes", linear_model.LogisticRegression(max_iter=5), True),
    sklearn("Perceptron", linear_model.Perceptron(max_iter=3, random_state=0)),
    sklearn("RidgeClassifier", linear_model.RidgeClassifier()),
    sklearn("LinearSVC", svm.LinearSVC(max_iter=5, random_state=0)),
    sklearn("LinearSVC, two classes", svm.LinearSVC(max_iter=5, random_state=0), True),
    sklearn("StandardScaler, MLPClassifier", make_pipeline(preprocessing.StandardScaler(), mlp((16,)))),
    sklearn(
        "MinMaxScaler, LogisticRegression",
        make_pipeline(preprocessing.MinMaxScaler(), linear_model.LogisticRegression(max_iter=5)),
    ),
    sklearn("SVC with a kernel", svm.SVC()),
    sklearn("GaussianNB", naive_bayes.GaussianNB()),
    sklearn("RandomForestClassifier", ensemble.RandomForestClassifier(3, random_state=0)),
    shipped("pytorch-converted/test_Linear/model.onnx", 10),
    shipped("pytorch-converted/test_Linear_no_bias/model.onnx", 10),
    shipped("pytorch-converted/test_BatchNorm2d_eval/model.onnx", 3, 6, 6),
    shipped("pytorch-converted/test_Conv2d/model.onnx", 3, 7, 5),
    shipped("pytorch-operator/test_operator_addmm/model.onnx", 3),
    shipped("light/light_squeezenet.onnx", 3, 224, 224),
    shipped("simple/test_single_relu_model/model.onnx", 2),
    here("Rescaling, BatchNormalization, ReLU, Dropout, softmax", KERAS, "keras/image.onnx", 8, 8),
    here("Normalization, relu6, one output with a sigmoid", KERAS, "keras/table.onnx", 6),
    here("BatchNorm and ReLU", "torch.onnx by default, two files", "torch_export/m.onnx", 8, 8),
    Peer("the beginners' tutorial of torch, 784-512-512-10", TORCH, (28, 28), quickstart),
    Peer("the same, as ONNX", "torch.onnx", (28, 28), lambda: written(quickstart(), (28, 28))),
    Peer("a table's network: BatchNorm in front and behind a ReLU, one output", TORCH, (30,), normalised),
    Peer("the same, as ONNX", "torch.onnx", (30,), lambda: written(normalised(), (30,))),
    Peer("BatchNorm and ReLU6", TORCH, (64,), mobile),
    Peer("the same, as ONNX", "torch.onnx", (64,), lambda: written(mobile(), (64,))),
    Peer("a forward of its own: scaled by hand, x.view(x.size(0), -1)", TORCH, (1, 28, 28), Encoder),
    Peer("the same, as ONNX", "torch.onnx", (1, 28, 28), lambda: written(Encoder(), (1, 28, 28))),
    Peer("convolutions, torch's example on MNIST in short", TORCH, (1, 28, 28), lenet),
    Peer("a skip connection", TORCH, (64,), Residual),
    Peer("an LSTM over rows", TORCH, (8, 8), Recurrent),
    Peer("LayerNorm and GELU", TORCH, (64,), gelu),
)


def table() -> str:
    """The table: what was read, as the sizes of its layers, and what was refused, by which line."""
    rows = [(peer.name, peer.source, peer.verdict()) for peer in PEERS]
    return markdown_table(["network", "made by", "result"], rows)


if __name__ == "__main__":
    replace_section(PAGE, SECTION, table())
    sys.exit(0)
