"""The command serve: the live page."""

from typing import TYPE_CHECKING, Annotated

import typer

from synflip.cli.model_data import load_for
from synflip.cli.options import Header, Label, ModelData, ModelFile, Size
from synflip.errors import SynflipError

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip.inference.device import Device
    from synflip.serve.facts import TestSet
    from synflip.spec.model import CompiledModel

app = typer.Typer()


@app.command()
def serve(
    model: ModelFile,
    device: Annotated[
        list[str],
        typer.Option(
            "--device",
            metavar="NAME",
            help="golden, verilator:16x2, /dev/ttyUSB0, pool:..: as of run. May come again: the page "
            "chooses among them, and compares two.",
        ),
    ] = ["golden"],  # noqa: B006
    data: ModelData = None,
    label: Label = None,
    header: Header = True,
    size: Size = None,
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", min=0, max=65535, help="Port to serve at; 0: any that is free."),
    ] = 8765,
    host: Annotated[
        str,
        typer.Option("--host", metavar="HOST", help="Address to serve at; other machines need --token."),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TEXT",
            envvar="SYNFLIP_TOKEN",
            help="A secret that the printed address has in it, and that every request needs.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve a live page: draw a digit, and watch the samples of a compiled model come in.

    Each sample is a new flip of all coins, and casts a vote: the page shows coins, votes, how sure they are,
    and where early stopping would have stopped. Several people share a device by turns. A second tab has a
    test set's most and least certain images, a third the accelerators.

    Only this machine reaches it, unless --host and --token say otherwise. Ctrl-C ends it.

    Example: synflip serve digits.safetensors --device golden --device verilator:16x2
    """
    from contextlib import ExitStack

    from synflip.cli.run import device_warnings, open_for
    from synflip.modelfile.safetensors import load
    from synflip.util.extras import require
    from synflip.util.progress import waiting

    require("starlette", "uvicorn")
    network = load(model)
    if len(set(device)) < len(device):
        raise SynflipError("the same --device comes twice")
    with waiting("Loading torch"):
        from synflip.serve.app import Hub
        from synflip.serve.server import Server, address_of, listen
    tests = _tests(network, data, label, header, size)

    def open_loaded(name: str) -> "Device":
        with ExitStack() as unless_loaded:
            opened = unless_loaded.enter_context(open_for(network, name))
            opened.load(network)
            unless_loaded.pop_all()
            return opened

    with ExitStack() as stack:
        there = stack.enter_context(listen(host, port, token))
        stack.enter_context(device_warnings())
        devices = {}
        for name in device:
            with waiting(f"Opening {name} (the first time, this builds it)"):
                devices[name] = stack.enter_context(open_loaded(name))
        server = Server(Hub(model.name, network, devices, tests, open_loaded), host, token)
        typer.echo(f"{network.shape} at {address_of(there, host, token)} (Ctrl-C ends it)")
        try:
            server.run(sockets=[there])
        except KeyboardInterrupt:  # uvicorn hands on the signal that it has ended for
            typer.echo("ended")


def _tests(
    network: "CompiledModel", data: str | None, label: str | None, header: bool, size: str | None
) -> "TestSet":
    """The test images of ``data``; without it those of the set that the model names, if nothing has to be
    fetched for it. Raises SynflipError for data that were asked for and are not the model's."""
    from synflip.data.folder import data_folder
    from synflip.data.registry import data_name
    from synflip.inference.request import InferenceRequest
    from synflip.serve.facts import TestSet

    name = data
    if name is None:
        name = data_name(network) if network.input_quantizer is None else None
        if name is None or (name != "digits" and data_folder() is None):
            return TestSet(
                None, "There is no test set here: give synflip serve its name or file with --data."
            )
    try:
        found = load_for(network, name, data is not None, label, header, size)
        InferenceRequest(network, found.for_model(found.test_images[:1], network), 1, 0)
        found.check_classes(network.classes)
    except SynflipError as error:
        if data is not None:
            raise
        return TestSet(None, f"The model's test set cannot be read: {error}")
    return TestSet(found)
