"""The data sets by name: digits, MNIST, Fashion-MNIST, CIFAR-10; and the user's own files."""

import math
from pathlib import Path

from synflip.data import cifar10, digits, idx
from synflip.data.dataset import Dataset
from synflip.data.feature_file import open_features
from synflip.data.files import load_file
from synflip.data.folder import data_folder
from synflip.data.idx import IdxFile, IdxSource, load_idx
from synflip.data.image_file import open_images
from synflip.data.tables import held_out_by
from synflip.errors import SynflipError
from synflip.spec.model import CompiledModel, Images
from synflip.util.text import one_line

GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

#: Data sets in MNIST's layout. The SHA-256 of each file is that of its decompressed bytes.
IDX_SOURCES = {
    "mnist": IdxSource(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        digits.CLASSES,
        (
            IdxFile(
                "train-images-idx3-ubyte",
                (60000, 28, 28),
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            IdxFile(
                "train-labels-idx1-ubyte",
                (60000,),
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            IdxFile(
                "t10k-images-idx3-ubyte",
                (10000, 28, 28),
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            IdxFile(
                "t10k-labels-idx1-ubyte",
                (10000,),
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        ("MNIST/raw",),
    ),
    "fashion-mnist": IdxSource(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        GARMENTS,
        (
            IdxFile(
                "train-images-idx3-ubyte",
                (60000, 28, 28),
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            IdxFile(
                "train-labels-idx1-ubyte",
                (60000,),
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            IdxFile(
                "t10k-images-idx3-ubyte",
                (10000, 28, 28),
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            IdxFile(
                "t10k-labels-idx1-ubyte",
                (10000,),
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
        ("FashionMNIST/raw",),
    ),
}

NAMES = ("digits", *IDX_SOURCES, "cifar10")


def data_name(model: CompiledModel) -> str | None:
    """The data set that a model was trained on, one of NAMES; None if its file says none of them."""
    name = model.source.get("data")
    if not isinstance(name, str):
        return None
    name = name.partition(" (")[0]  # without the note of ``Dataset.title``
    return name if name in NAMES else None


def image_form(model: CompiledModel) -> tuple[tuple[int, ...] | None, int]:
    """The shape of a model's images, [H, W] or [C, H, W], and the largest pixel.

    Of a model that begins with a convolution and takes images in the order y, x, c it is [H, W, C]. The shape
    is None if neither the model nor the name of the data that it was trained on, ``source["data"]``, say it.
    """
    if model.image_shape is not None:
        return model.image_shape, model.pixel_max
    name = data_name(model)
    shape: tuple[int, ...] = ()
    if name == "digits":
        shape = digits.SHAPE
    elif name == "cifar10":
        shape = cifar10.SHAPE
    elif name is not None:
        shape = IDX_SOURCES[name].files[0].sizes[1:]
    return (shape if shape and math.prod(shape) == model.inputs else None), model.input_max


def data_of(model: CompiledModel) -> str:
    """The data set that a model was trained on, one of NAMES.

    Raises SynflipError if its file does not say it, and for data of the user's, whose path it does not hold.
    """
    name = data_name(model)
    if name is not None and model.input_quantizer is None:  # a table may be called mnist.csv
        return name
    title = model.source.get("data")
    if not isinstance(title, str) or not title:
        raise SynflipError("the model file does not say what data it was trained on: give --data")
    raise SynflipError(
        f"the model was trained on {one_line(title)}, a file or folder of your own: give it with --data"
    )


def open_inputs(path: str | Path, model: CompiledModel, least: int = 1, header: bool = True) -> Images:
    """What a model takes, from a file: images of a ``.npy`` file, or features if it has an input quantizer.

    least: N at least. header: of a CSV file. See ``open_images`` and ``open_features``. Raises SynflipError.
    """
    if model.input_quantizer is None:
        return open_images(path, least, *image_form(model))
    features = open_features(path, model.input_quantizer, header)
    if len(features) < least:
        raise SynflipError(f"{path} has {len(features)} rows; at least {least} are needed")
    return features


def split_seed(model: CompiledModel) -> int | None:
    """The seed that held out the test part of the data that a model was trained on: what their title says, or
    else that of the training. None if the model's file does not say it."""
    title, seed = model.source.get("data"), model.source.get("seed")
    if isinstance(title, str) and (drawn := held_out_by(title)) is not None:
        return drawn
    return seed if type(seed) is int and seed >= 0 else None


def files(data: str = NAMES[0]) -> list[Path]:
    """The files that ``data`` may be read from: its own, those in the folders of a folder of pictures, or of
    a name those in the folder in SYNFLIP_DATA."""
    if data not in NAMES:
        path = Path(data)  # of pictures: a folder for each class, or with train and test above
        return [path, *path.glob("*/*"), *path.glob("*/*/*")] if path.is_dir() else [path]
    try:
        folder = data_folder()
    except SynflipError:  # who reads from it says what is wrong with it
        return []
    if folder is None:
        return []
    found = [
        place
        for name, source in IDX_SOURCES.items()
        for file in source.files
        for place in idx.places(folder, name, source, file)
    ]
    return [place for place in (*found, *cifar10.places(folder)) if place.is_file()]


def load(
    name: str | Path,
    label: str | None = None,
    header: bool = True,
    size: tuple[int, int] | None = None,
    seed: int = 0,
    model: CompiledModel | None = None,
    quantiles: tuple[float, float] | None = None,
) -> Dataset:
    """The data set called ``name``: digits, mnist, fashion-mnist or cifar10; or that of a file or folder.

    digits come with scikit-learn. mnist and fashion-mnist are read from the folder in the environment
    variable SYNFLIP_DATA, or fetched once if it is not set; either way they must be the original files, by
    their SHA-256, with ``.gz`` or without. cifar10 is read from that folder only: its binary batches, or the
    same images packed as JPEG. The folder may be the ``root`` that torchvision keeps its data sets in; ``~``
    in it is the user's own.

    A file is ``.npz`` with x_train, y_train, x_test and y_test, or x and y; ``.csv`` or ``.parquet``. A
    folder has a folder of PNG or JPEG pictures for each class, or the folders train and test of such. The
    other arguments are of these. label: the column of labels of a table; None takes the last, or the model's.
    header: whether the first line of a CSV file has the columns' names. size: height and width that pictures
    are scaled to; None wants them all alike. seed: of what is held out where there is no test part. model:
    compiled, of such data; its columns, categories, ranges and classes are taken in place of the data's own.
    quantiles: two, 0..1, of each feature's training values, between which it ranges; None: 0 and 1.
    Raises SynflipError for another name, and for files that are missing or not the original ones.
    """
    if name not in ("digits", "cifar10", *IDX_SOURCES):
        if not Path(name).exists():
            raise SynflipError(
                f"no data set {str(name)!r}; there are {', '.join(NAMES)}, and no file is called so"
            )
        return load_file(name, label, header, size, seed, model, quantiles)
    if label is not None or size is not None or not header or quantiles is not None:
        raise SynflipError(
            f"{name} has its own labels and sizes: label, header, size and quantiles are of files"
        )
    if name == "digits":
        return digits.load()
    if name == "cifar10":
        return cifar10.load(data_folder())
    return load_idx(str(name), IDX_SOURCES[str(name)])
