"""``python tests/modelfile/keras/export.py``: write the networks of Keras that lie beside it.

Keras is no package of this project: the files lie here so that no test needs it. The environment that they
were made in: ``pip install keras==3.15.1 torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2``.
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from keras import layers

HERE = Path(__file__).parent


def main() -> None:
    """Write image.onnx, of 8x8 pixels in ten classes, and table.onnx, of six columns in two."""
    keras.utils.set_random_seed(1)
    draw = np.random.default_rng(1)
    image = (
        layers.Input((8, 8)), layers.Rescaling(1 / 16), layers.Flatten(),
        layers.Dense(16, use_bias=False), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    )  # fmt: skip
    columns = layers.Normalization(mean=np.arange(6.0), variance=np.arange(1.0, 7.0))
    table = (
        layers.Input((6,)), columns, layers.Dense(8, activation="relu6"),
        layers.Dense(1, activation="sigmoid"),
    )  # fmt: skip
    for name, parts, loss in (
        ("image", image, "sparse_categorical_crossentropy"), ("table", table, "binary_crossentropy"),
    ):  # fmt: skip
        network = keras.Sequential(parts)
        network.compile("adam", loss)
        rows = draw.random((64, *network.input_shape[1:]), dtype=np.float32)
        network.fit(rows, draw.integers(0, network.output_shape[1] + (name == "table"), 64), verbose=0)
        network.export(HERE / f"{name}.onnx", format="onnx", verbose=False)


if __name__ == "__main__":
    main()
