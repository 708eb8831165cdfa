"""The driver over pyusb, whose device is a simulated host with the gateware at its cable."""

import errno

import numpy as np
import pytest
from synflip.cli.app import main
from synflip.devices import serial, usb
from synflip.devices.registry import DeviceName, listed, open_device
from synflip.devices.transport import BusError
from synflip.errors import SynflipError
from synflip.spec.usb import IN_DIRECTION, TITLE, VENDOR
from synflip.util import extras

from tests.hdl.usb.test_usb import infer_as_golden, open_host

core = pytest.importorskip("usb.core")


class Fake:
    """A device of pyusb. host: None for one that never answers. left: transfers until it is unplugged."""

    def __init__(self, host=None, serial_number="one", product=TITLE):
        self.host, self.serial_number, self.product = host, serial_number, product
        self.left, self.refusal = 1 << 60, None
        self.claimed = 0

    def transfer(self):
        self.left -= 1
        if self.left < 0:
            raise core.USBError("No such device (it may have been disconnected)", -4, errno.ENODEV)

    def set_configuration(self, value):
        if self.refusal:
            raise core.USBError(*self.refusal)
        if self.host:
            self.host.configure(value)

    def write(self, endpoint, content, timeout):
        assert endpoint == 1 and timeout >= 1000
        self.transfer()
        if self.host:
            self.host.write(content)
        return len(content)

    def read(self, endpoint, size, timeout):
        """As libusb: a transfer ends with a short packet."""
        assert endpoint == IN_DIRECTION | 1 and size % 512 == 0
        self.transfer()
        content = b""
        end = self.host.bench.cycles + timeout * 60_000
        while self.host.bench.cycles < end and len(content) < size:
            packet = self.host.read()
            content += packet or b""
            if packet is not None and len(packet) < 512:
                return content
            self.host.idle(60)
        if content:
            return content
        raise core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)


@pytest.fixture
def plug(monkeypatch):
    """Plugs fake devices in, in place of all others."""

    def find(find_all, idVendor, idProduct):
        assert find_all and idVendor == VENDOR
        return iter(plugged)

    def claim(device, interface):
        device.claimed += 1

    def release(device, interface):
        device.claimed -= 1

    plugged = []
    util = pytest.importorskip("usb.util")
    monkeypatch.setattr(core, "find", find)
    monkeypatch.setattr(util, "claim_interface", claim)
    monkeypatch.setattr(util, "release_interface", release)
    monkeypatch.setattr(util, "dispose_resources", lambda device: None)
    return lambda *devices: plugged.extend(devices) or plugged


@pytest.mark.simulator
def test_runs_equal_golden_and_unplugging_in_one_is_one_error(plug, monkeypatch):
    pytest.importorskip("luna")
    host, _ = open_host()

    class Time:
        monotonic = staticmethod(lambda: host.bench.cycles / 60e6)
        sleep = staticmethod(lambda seconds: host.idle(round(seconds * 60e6)))

    monkeypatch.setattr(serial, "time", Time)
    fake = Fake(host)
    plug(fake)
    with open_device("usb:one") as device:
        assert device.name == "usb:one" and fake.claimed == 1
        infer_as_golden(device)
        fake.left = 3
        with pytest.raises(BusError, match=r"^usb:one failed: .*No such device"):
            device.infer(np.zeros((2, 20), np.uint8), 1, 1)
        with pytest.raises(BusError, match=r"^usb:one failed: .*No such device"):
            device.infer(np.zeros((2, 20), np.uint8), 1, 1)
    assert fake.claimed == 0
    fake.left = 1 << 60
    with open_device("usb") as device:
        infer_as_golden(device)
    host.bench.close()


def test_what_is_plugged_in_is_listed(plug, capsys):
    plug(Fake(serial_number="two\n"), Fake(), Fake(product="another test"), Fake(serial_number=None))
    assert [item for item in listed() if item[0].startswith("usb")] == [
        ("usb:one", TITLE),
        ("usb:two\\n", TITLE),
    ]
    assert main(["devices"]) == 0
    assert "usb:one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("usb:three", "usb:three: no such accelerator is plugged in; `synflip devices` lists them"),
        ("usb", "usb is one of usb:one, usb:two: name the one, by a serial number of its own"),
    ],
)
def test_a_name_that_is_not_one_of_them(plug, name, line):
    plug(Fake(), Fake(serial_number="two"), Fake(product="another test"))
    with pytest.raises(BusError) as error:
        open_device(name)
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (
            ("Access denied", -3, errno.EACCES),
            r"usb:one: a device on USB may not be opened; docs/guide/usb\.md",
        ),
        (("Resource busy", -6, errno.EBUSY), "usb:one cannot be opened: .*; another program holds it"),
    ],
)
def test_a_device_that_is_refused(plug, refusal, line):
    fake = Fake()
    fake.refusal = refusal
    plug(fake)
    with pytest.raises(BusError, match=line):
        open_device("usb:one")
    assert fake.claimed == 0


def test_a_device_whose_serial_number_may_not_be_read(plug):
    class Closed:
        @property
        def product(self):
            raise ValueError("The device has no langid (permission issue, no string descriptors supported)")

    plug(Closed())
    assert not [name for name, _ in listed() if name.startswith("usb")]
    with pytest.raises(
        BusError, match=r"usb:one: a device on USB may not be opened; docs/guide/usb\.md says how"
    ):
        open_device("usb:one")


def test_without_pyusb_or_libusb(monkeypatch):
    def find(**_):
        raise core.NoBackendError("No backend available")

    monkeypatch.setattr(core, "find", find)
    assert usb.listed() == []
    with pytest.raises(BusError, match="USB needs the library libusb"):
        open_device("usb")
    monkeypatch.setattr(extras, "available", lambda *modules: False)
    with pytest.raises(SynflipError, match=r"the package usb is missing: pip install 'synflip\[usb\]'"):
        open_device("usb")


def test_its_name_in_parts():
    assert DeviceName.parse("usb:a@b") == DeviceName("usb:a@b", port=True)
    assert DeviceName.parse("pool:usb:a,golden").members == ("usb:a", "golden")
    with pytest.raises(SynflipError, match="is twice"):
        DeviceName.parse("pool:usb:a,usb:a")
