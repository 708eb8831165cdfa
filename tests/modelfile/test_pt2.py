"""Networks of torch.export.save: read as they are, and nothing in a file is run."""

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from synflip.errors import SynflipError
from synflip.modelfile import pt2
from synflip.modelfile.aten import operations, program_of
from synflip.modelfile.operations import Affine, Clamp, Linear
from synflip.training.ordinary import Ordinary
from torch import nn


class Mixed(nn.Module):
    """A bit of everything: a buffer that is not saved with the rest, sizes, branches."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding="same"), nn.BatchNorm2d(3), nn.ReLU(inplace=True)
        )
        self.register_buffer("shift", torch.tensor([0.5]), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x) + self.shift
        z = torch.cat([y, nn.functional.max_pool2d(y, 3, stride=1, padding=1)], 1).transpose(2, 3)
        return torch.relu(z.reshape(x.size(0), -1)[:, 4:] * 0.25)


def exported(network: nn.Module, *shape: int, decomposed: bool = False) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sizes = ({0: torch.export.Dim("n")},)
        program = torch.export.export(network.eval(), (torch.zeros(2, *shape),), dynamic_shapes=sizes)
        torch.export.save(program.run_decompositions() if decomposed else program, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def mixed() -> tuple[nn.Module, bytes]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Mixed()
        network.first[1].running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
    return network, exported(network, 1, 6, 5)


@pytest.fixture(scope="module")
def layers() -> tuple[nn.Sequential, bytes]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = nn.Sequential(
            nn.Flatten(),
            nn.Linear(12, 8, bias=False),
            nn.BatchNorm1d(8, eps=0.25, affine=False),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(8, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.Linear(6, 4),
        )
        for norm in (network[2], network[6]):
            norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.1, 2)  # type: ignore[union-attr]
        nn.init.uniform_(network[6].weight, 0.5, 2)
        nn.init.uniform_(network[6].bias)
    return network, exported(network, 3, 4)


def changed(content: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The archive with other entries, stored as they are."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, value in entries.items():
            archive.writestr(name, value)
    return out.getvalue()


def with_json(part: str, change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def apply(entries: dict[str, bytes]) -> None:
        (name,) = [name for name in entries if part in name]
        value = json.loads(entries[name])
        change(value)
        entries[name] = json.dumps(value).encode()

    return apply


def refusal(content: bytes) -> str:
    with pytest.raises(SynflipError) as caught:
        pt2.output_shape(pt2.parse(content), (2, 1, 6, 5))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_graph_gives_what_the_network_gives(mixed: tuple[nn.Module, bytes]) -> None:
    network, content = mixed
    x = torch.rand(7, 1, 6, 5, generator=torch.Generator().manual_seed(2))
    program = pt2.parse(content)
    with torch.no_grad():
        assert torch.equal(program(x), network(x))
    assert pt2.output_shape(program, (7, 1, 6, 5)) == tuple(network(x).shape) == (7, 176)


def test_layers_are_found_again(layers: tuple[nn.Sequential, bytes], tmp_path: Path) -> None:
    network, content = layers
    (tmp_path / "m.pt2").write_bytes(content)
    found = operations(pt2.load_chain(tmp_path / "m.pt2"), (2, 3, 4))
    assert [type(one) for one in found] == [Linear, Affine, Clamp, Linear, Affine, Clamp, Linear]
    x = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(2))
    y = x.flatten(1).double()
    for one in found:
        if isinstance(one, Linear):
            y = y @ one.weight.T + one.bias
        else:
            y = (y - one.mean) * one.factor + one.bias if isinstance(one, Affine) else y.clamp(0)
    with torch.no_grad():
        assert torch.allclose(y.float(), network(x), atol=1e-6)


def test_decomposed_graphs(mixed: tuple[nn.Module, bytes]) -> None:
    """As run_decompositions leaves them: other names, and batch normalisations with three results."""
    extractor = pt2.parse(exported(mixed[0], 1, 6, 5, decomposed=True))
    pt2.check_extractor(extractor)
    images = torch.rand(7, 1, 6, 5)
    with torch.no_grad():
        assert torch.equal(extractor(images), mixed[0](images))
    hidden = (nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout())
    network = nn.Sequential(nn.BatchNorm1d(6), *hidden, nn.Linear(5, 3), nn.Softmax(1))
    for statistics in (network[0], network[2]):
        statistics.running_mean.uniform_(-1, 1)  # type: ignore[union-attr, operator]
        statistics.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    whole, parts = (
        Ordinary(pt2.parse(exported(network, 6, decomposed=decomposed)), (6,)) for decomposed in (False, True)
    )
    parts.check(torch.rand(64, 6).double())
    for one, other in zip(whole.layers, parts.layers, strict=True):
        assert torch.equal(one.weight, other.weight) and torch.equal(one.bias, other.bias)
    batch = nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 2))
    with pytest.raises(SynflipError, match=r"operation 0 \(batch_norm\) has no running statistics"):
        operations(pt2.parse(exported(batch, 6, decomposed=True)), (2, 6))
    for other in (nn.ConvTranspose2d(1, 1, 2), nn.Conv3d(1, 1, 2)):
        shape = (1, 4, 4, 4)[: 5 - isinstance(other, nn.ConvTranspose2d) - 1]
        with pytest.raises(
            SynflipError, match=r"operation 0 is torch\.ops\.aten\.convolution\.default; allowed"
        ):
            pt2.parse(exported(other, *shape, decomposed=True))


def test_an_onnx_file_is_no_extractor(tmp_path: Path) -> None:
    (tmp_path / "front.onnx").write_bytes(b"any")
    with pytest.raises(
        SynflipError, match=r"front\.onnx: an extractor is a \.pt2 file, which runs in float64"
    ):
        pt2.load(tmp_path / "front.onnx")


def test_other_graphs_are_no_layers(mixed: tuple[nn.Module, bytes], tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(mixed[1])
    with pytest.raises(SynflipError, match=r"m\.pt2: operation \d \(max_pool2d\) has windows of \[3, 3\]"):
        Ordinary(pt2.load_chain(tmp_path / "m.pt2"), (30,), (1, 6, 5))

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) + x

    with pytest.raises(SynflipError, match=r"operation 1 \(add\) combines results of the network"):
        operations(pt2.parse(exported(Around(), 4)), (2, 4))


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled(layers: tuple[nn.Sequential, bytes], tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))

    def sample_inputs(entries: dict[str, bytes]) -> None:
        entries["archive/data/sample_inputs/model.pt"] = trap

    assert pt2.parse(changed(layers[1], sample_inputs)).nodes  # not looked at

    def weights(entries: dict[str, bytes]) -> None:
        with_json("weights_config", lambda value: value["config"]["1.weight"].update(use_pickle=True))(
            entries
        )
        entries["archive/data/weights/weight_0"] = trap

    assert "tensor 1.weight is pickled" in refusal(changed(layers[1], weights))
    saved = io.BytesIO()
    torch.save(nn.Linear(2, 2), saved)
    for content in (trap, saved.getvalue()):
        assert "a pickle, as torch.save writes it, which could run anything" in refusal(content)
    assert not sprung.exists()


def node(index: int, **values: Any) -> Callable[[dict[str, bytes]], None]:
    return with_json("models/", lambda model: model["graph_module"]["graph"]["nodes"][index].update(values))


def weight(**values: Any) -> Callable[[dict[str, bytes]], None]:
    def change(value: Any) -> None:
        value["config"]["first.0.weight"]["tensor_meta"].update(values)

    return with_json("weights_config", change)


def sizes(*values: int) -> list[dict[str, int]]:
    return [{"as_int": value} for value in values]


def padding(amount: int) -> Callable[[dict[str, bytes]], None]:
    def change(model: Any) -> None:
        for item in model["graph_module"]["graph"]["nodes"]:
            if "max_pool2d" in item["target"]:
                item["target"] = "torch.ops.aten.pad.default"
                pads = {"name": "pad", "arg": {"as_ints": [0, amount, 0, amount]}, "kind": 1}
                item["inputs"] = [item["inputs"][0], pads]

    return with_json("models/", change)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            node(1, target="torch.ops.aten.from_file.default"),
            "operation 1 is torch.ops.aten.from_file.default; ",
        ),
        (node(1, target="os.system"), "operation 1 is os.system; allowed are abs, "),
        (node(1, inputs=[]), "operation 1 (conv2d): "),
        (node(1, outputs=[]), "not what torch 2.13 writes"),
        (node(1, inputs=7), "not what torch 2.13 writes"),
        (
            node(1, inputs=[{"name": "self", "arg": {"as_tensor": {"name": "later"}}, "kind": 1}]),
            "there is no 'later' before it",
        ),
        (
            node(1, inputs=[{"name": "self", "arg": {"as_custom_obj": {}}, "kind": 1}]),
            "an argument of kind as_custom_obj",
        ),
        (padding(1 << 16), "is too large"),
        (
            with_json("models/", lambda model: model["schema_version"].update(major=7)),
            "graph version 7; this",
        ),
        (with_json("models/", lambda model: model.clear()), "not what torch 2.13 writes ('schema_version')"),
        (weight(sizes=sizes(1 << 40, 1, 3, 3)), "is beyond its 108 bytes"),
        (weight(sizes=sizes(3, 1, 3, 3), strides=sizes(9, 9, 3, 2)), "is beyond its 108 bytes"),
        (weight(sizes=sizes(1 << 40, 1, 1, 1), strides=sizes(0, 0, 0, 0)), "is beyond its 108 bytes"),
        (weight(storage_offset={"as_int": -1}), "has sizes [3, 1, 3, 3] and strides"),
        (weight(dtype=4), "tensor first.0.weight is not one of floats"),
        (lambda entries: entries.pop("archive/data/weights/weight_0"), "no data/weights/weight_0 in it"),
        (
            lambda entries: [entries.pop(name) for name in list(entries) if "/models/" in name],
            "not one network of torch.export.save, but 0",
        ),
        (lambda entries: entries.update({"archive/models/model.json": b"{"}), "model.json in it is not JSON"),
        (
            lambda entries: entries.update({"archive/models/model.json": b"[" * 100_000}),
            "model.json in it is not JSON",
        ),
    ],
)
def test_hostile_archives(
    mixed: tuple[nn.Module, bytes], change: Callable[[dict[str, bytes]], None], expected: str
) -> None:
    assert expected in refusal(changed(mixed[1], change))


def test_nothing_too_large_is_computed(mixed: tuple[nn.Module, bytes]) -> None:
    """Also not to find out which inputs a network takes."""
    with pytest.raises(SynflipError, match="is too large"):
        Ordinary(pt2.parse(changed(mixed[1], padding(1 << 12))), (1, 6, 5))
    network = program_of(nn.Conv2d(1, 1, 200, padding=900).eval(), torch.zeros(2, 1, 4, 4))
    with pytest.raises(SynflipError, match=r"weights \[1, 1, 200, 200\] at 2576025 positions"):
        Ordinary(network, (1, 4, 4))


class Doubled(nn.Module):
    """Weights that are computed of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        for _ in range(8):
            weight = weight * 2
        return x @ weight


def test_what_is_made_of_constants_is_limited(
    mixed: tuple[nn.Module, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = pt2.parse(exported(Doubled(), 6))
    assert operations(program, (2, 6)) and pt2.output_shape(program, (2, 6)) == (2, 4)
    monkeypatch.setattr(pt2, "MAX_MADE", 500)
    for read in (operations, pt2.output_shape):
        with pytest.raises(SynflipError, match=r"\(mul\): more than 500 bytes are made of the"):
            read(program, (2, 6))
    monkeypatch.setattr(pt2, "MAX_MADE", 107)
    assert "tensor first.0.weight: more than 107 bytes" in refusal(mixed[1])


def test_what_is_no_archive(mixed: tuple[nn.Module, bytes], tmp_path: Path) -> None:
    for content in (b"", b"hello", mixed[1][:100], mixed[1][:-30]):
        assert "not a" in refusal(content)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/models/model.json", b"0" * 1000)
    assert "compressed" in refusal(packed.getvalue())
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for index in range(pt2.MAX_ENTRIES + 1):
            archive.writestr(f"a/{index}", b"")
    assert "not a network of torch.export.save" in refusal(many.getvalue())
    with pytest.raises(SynflipError, match=r"cannot read .*none\.pt2"):
        pt2.load(tmp_path / "none.pt2")


def test_size_is_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.pt2").write_bytes(bytes(1001))
    monkeypatch.setattr(pt2, "MAX_FILE_BYTES", 1000)
    with pytest.raises(SynflipError, match=r"m\.pt2 has 1001 bytes; a network may have 1000"):
        pt2.load(tmp_path / "m.pt2")


def test_networks_in_training_are_refused() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network.train(), (torch.rand(2, 4),)), buffer)
    with pytest.raises(SynflipError, match=r"network\.eval\(\)"):
        operations(pt2.parse(buffer.getvalue()), (2, 4))


class Front(nn.Module):
    """An extractor whose view takes the number of images that it was exported with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.conv(x))
        return y.view(x.size(0), -1)


def saved(path: Path, network: nn.Module, count: int, dynamic: bool = False) -> Path:
    """``network`` exported for ``count`` images of 1x4x4 pixels, or for any number of them."""
    sizes = ({0: torch.export.Dim.AUTO},) if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (torch.zeros(count, 1, 4, 4),), dynamic_shapes=sizes)
        torch.export.save(program, path)
    return path


@pytest.mark.parametrize("flat", [Front(), nn.Sequential(nn.Flatten(), nn.ReLU())])
@pytest.mark.parametrize(("count", "many"), [(1, "1 image:"), (2, "2 images:"), (3, "3 images:")])
def test_an_extractor_takes_any_number_of_images(
    tmp_path: Path, flat: nn.Module, count: int, many: str
) -> None:
    path = saved(tmp_path / "m.pt2", flat.eval(), count)
    if not isinstance(flat, Front):  # its graph keeps the images apart, whatever their number was
        assert pt2.output_shape(pt2.load(path), (7, 1, 4, 4)) == (7, 16)
        return
    with pytest.raises(SynflipError) as caught:
        pt2.load(path)
    assert f"m.pt2: it was exported for {many} export it with a dynamic batch" in str(caught.value)
    # What is advised is right.
    assert pt2.HOW_TO_EXPORT in str(caught.value) and "Dim.AUTO" in pt2.HOW_TO_EXPORT
    again = saved(path, flat.eval(), 2, dynamic=True)
    assert pt2.output_shape(pt2.load(again), (7, 1, 4, 4)) == (7, 32)


def test_normalisation_without_running_statistics(tmp_path: Path) -> None:
    """It takes the statistics of the images beside, so an image has other features in another batch."""
    conv = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten())
    path = saved(tmp_path / "m.pt2", conv.eval(), 2, True)
    cause = r"operation 1 \(batch_norm\) has no running statistics \(track_running_stats=False\)"
    with pytest.raises(SynflipError, match=cause):
        pt2.load(path)
    dense = nn.Sequential(
        nn.Flatten(),
        nn.Linear(16, 3),
        nn.BatchNorm1d(3, track_running_stats=False),
        nn.ReLU(),
        nn.Linear(3, 2),
    )
    with pytest.raises(SynflipError, match=r"\(batch_norm\) has no running statistics"):
        operations(pt2.load_chain(saved(tmp_path / "d.pt2", dense.eval(), 2, True)), (2, 1, 4, 4))


def test_random_extractors_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pt2", nn.Sequential(nn.Dropout(0.5), nn.Flatten()).train(), 2, True)
    with pytest.raises(SynflipError, match=r"\(dropout\) is as in training; call network\.eval\(\) first"):
        pt2.load(path)


def test_files_of_other_torches_name_them(mixed: tuple[nn.Module, bytes]) -> None:
    def older(version: str) -> Callable[[Any], None]:
        return lambda model: (model["schema_version"].update(major=7), model.update(torch_version=version))

    message = refusal(changed(mixed[1], with_json("models/", older("2.6.0+cpu"))))
    assert "graph version 7" in message and "written by torch 2.6.0+cpu" in message
    assert "save it with torch 2.13" in message
    # Before torch had folders in its archives.
    flat = io.BytesIO()
    with zipfile.ZipFile(flat, "w") as archive:
        archive.writestr("version", b"5.1")
        archive.writestr("serialized_state_dict.pt", b"PK")
        archive.writestr("serialized_exported_program.json", b'{"torch_version": "2.5.1"}')
    assert "written by torch 2.5.1;" in refusal(flat.getvalue())
    # With folders, and with pickled tensors in them.
    pickled = changed(mixed[1], lambda entries: entries.update({"archive/data/weights/model.pt": b"PK"}))
    assert "pickled" in refusal(pickled) and f"written by torch {torch.__version__};" in refusal(pickled)
