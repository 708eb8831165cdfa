"""What the page says of an accelerator, beside a simulated one: cycles, and the share of them it was busy."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import expect
from synflip.data.registry import load
from synflip.devices.registry import open_device
from synflip.golden.cpu import Golden
from synflip.inference.device import Device
from synflip_sim.serial.pty import PtyDevice

from tests.browser import browser, window
from tests.devices.test_serial import BAUD, GEOMETRY, LINE
from tests.serve.helpers import Client, digits_model, hub_of, infer, opened, samples, served
from tests.serve.live import live, sent

MODEL, NAME, SAMPLES = digits_model(), "verilator:16x2", 5
IMAGES = load("digits").test_images

pytestmark = pytest.mark.simulator


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with open_device(NAME) as device, served(hub_of(MODEL, {NAME: device}, data=True)) as found:
        yield found


@pytest.fixture(scope="module")
def alone() -> Iterator[Device]:
    """The same accelerator, which the page knows nothing of."""
    with open_device(NAME) as device:
        device.load(MODEL)
        yield device


def ran(device: Device, pixels: object, seed: int) -> list[tuple[int, int]]:
    """Cycles of the engine and of the clock, of each network sample in a run of its own."""
    found = []
    for sample in range(SAMPLES):
        began = device.clock_cycles()
        cycles = device.infer(pixels, 1, seed, logits=True, first=sample).cycles
        found.append((cycles, device.clock_cycles() - began))
    return found


def test_cycles_that_are_predicted_are_counted(client: Client, alone: Device) -> None:
    (about,) = client.get("/api/accelerators")["devices"]
    assert about["geometry"] == "16x2" and about["fits"] == "as a whole"
    assert [(row["images"], row["samples"]) for row in about["cycles"]] == [
        (1, 1),
        (1, 16),
        (16, 16),
        (16, 64),
    ]
    for row in about["cycles"]:
        assert row["cycles"] == alone.infer(IMAGES[: row["images"]], row["samples"], 0).cycles


def test_cycles_of_a_run_are_those_of_the_simulator(client: Client, alone: Device) -> None:
    found = samples(client.run(pixels=IMAGES[3].tolist(), samples=SAMPLES, seed=9, devices=[NAME]))
    wanted = ran(alone, IMAGES[3:4], 9)
    assert [(event["cycles"], event["clock"]) for event in found] == wanted
    assert all(0 < cycles < clock for cycles, clock in wanted)


def test_the_tab_says_the_share_that_it_was_busy(client: Client, alone: Device) -> None:
    with browser() as chromium, window(chromium) as page, live(page, client.url):
        page.get_by_role("tab", name="Accelerator").click()
        machines = page.locator("#machines")
        expect(machines).to_contain_text("Your last run")
        said, asked = machines.inner_text(), sent(page)
    found = [event for event in samples(client.run(**{**asked, "devices": [NAME]}))]
    engine, clock = (sum(event[name] for event in found) for name in ("cycles", "clock"))
    assert f"{engine:,} cycles of the engine for {len(found)} samples" in said
    assert f"busy {100 * engine / clock:.1f} % of {clock:,} clock cycles" in said


@pytest.mark.parametrize("kind", ["board", "pool"])
def test_boards_and_pools_are_shown(kind: str) -> None:
    with ExitStack() as stack:
        name = "pool:golden,golden:16x2"
        if kind == "board":
            name = f"{stack.enter_context(PtyDevice(GEOMETRY, LINE)).path}@{BAUD}"
        device = stack.enter_context(open_device(name))
        client = stack.enter_context(served(hub_of(MODEL, {name: device, "golden": Golden()}, data=True)))
        found = client.run(
            pixels=IMAGES[5].tolist(), samples=SAMPLES, seed=4, coins=0, devices=[name, "golden"]
        )
        want = infer(MODEL, IMAGES[5:6], SAMPLES, 4)
        for number in (0, 1):
            assert samples(found, number)[-1]["votes"] == want.votes[0].tolist()
        assert found[-1][1]["different"] == 0
        about, _ = client.get("/api/accelerators")["devices"]
        assert about["name"] == name and about["geometry"] == ("16x2" if kind == "board" else "64x8")


def test_a_cable_that_is_pulled_fails_runs_until_it_is_plugged_again(tmp_path: Path) -> None:
    """And nobody else's."""
    port = tmp_path / "port"
    name, asked = f"{port}@{BAUD}", {"pixels": IMAGES[5].tolist(), "samples": 2}
    with ExitStack() as cable:

        def plug() -> None:
            port.unlink(missing_ok=True)
            port.symlink_to(cable.enter_context(PtyDevice(GEOMETRY, LINE)).path)

        plug()
        devices = {name: open_device(name), "golden": Golden()}
        with served(
            hub_of(MODEL, devices, open_again=lambda name: opened(MODEL, open_device(name)))
        ) as client:
            assert len(samples(client.run(**asked))) == 2
            cable.close()
            for _ in range(2):
                found = client.run(**asked)
                assert [event for event, _ in found] == ["start", "failed", "end"] and str(port) in str(
                    found[1]
                )
            assert len(samples(client.run(**asked, devices=["golden"]))) == 2
            plug()
            found = samples(client.run(**asked))
            assert found[-1]["votes"] == infer(MODEL, IMAGES[5:6], 2, 0).votes[0].tolist()
