"""The driver: one class over a transport that reads and writes the memory map."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from synflip.devices import ahead, in_turn, mtj_source, parted
from synflip.devices.transport import (
    BusError,
    ImageWrite,
    LineTransport,
    NoAccelerator,
    QueuedTransport,
    SimulatedTransport,
    Transport,
    Write,
)
from synflip.errors import SynflipError
from synflip.inference.device import Device
from synflip.inference.parts import Parts, cut, runs_of
from synflip.inference.plan import (
    check_words,
    class_shift,
    fits,
    logged,
    soft_on_chip,
)
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result, Tally
from synflip.spec import memory_map
from synflip.spec.coins import widen
from synflip.spec.geometry import Geometry
from synflip.spec.lfsr import first_states
from synflip.spec.maps import image_shift, image_taps, programs
from synflip.spec.memory_map import (
    REGISTERS,
    STATUS_ALARM,
    STATUS_BUSY,
    VERSION,
    LayerField,
    Region,
    address,
    register,
)
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import SOFT_ENTRIES, ceil_div, key_offsets, log2_ceil, padded_rows
from synflip.uncertainty.soft_votes import SoftTable

MAY_BE_ZERO = ("DEVICES", "SOFT_CLASSES", "MAP_DEPTH")  # of the registers that say what the hardware is


class Accelerator(Device):
    """An accelerator behind a memory map, of whatever geometry it says that it has."""

    def __init__(self, transport: Transport, name: str = "accelerator", timeout: float = 600.0) -> None:
        """timeout: seconds that one run may take without an end. Raises SynflipError if there is no
        accelerator. Too few working junctions are an error of the runs that would use their keys, not of
        opening: the host's keys still run, and the junctions can be calibrated."""
        self.transport = transport
        self.name = name
        self.timeout = timeout
        self.run_cycles = 0  # of the last run
        self._running = False  # a run was started, and its end not seen
        self._whole = False  # the whole model is in the memories
        self.geometry = self._discover()
        self.numbered = not self.geometry.devices
        if self.geometry.devices:
            with suppress(mtj_source.SourceAlarm):
                mtj_source.prepare(self)

    def close(self) -> None:
        """End what runs, and close the transport."""
        try:
            with suppress(SynflipError):  # a device that is not there any more is not waited for
                self.abort()
        finally:
            self.transport.close()

    def _discover(self) -> Geometry:
        known = self._identity(["MAGIC", "VERSION"])  # maps of other versions may have no more
        if (magic := known["MAGIC"]) != memory_map.MAGIC:
            raise NoAccelerator(self.name, f"its first word is {magic:#010x}, not {memory_map.MAGIC:#010x}")
        if (version := known["VERSION"]) != VERSION:
            raise SynflipError(
                f"{self.name} has version {version} of the memory map; this synflip speaks {VERSION}: "
                f"{'build its bitstream anew' if version < VERSION else 'install a newer synflip'}"
            )
        names = [name for name, item in REGISTERS.items() if item.offset < REGISTERS["CONTROL"].offset]
        words = self._identity([name for name in names if name not in known])
        for name, value in words.items():
            if not value and name not in MAY_BE_ZERO:  # which Geometry would take for a default
                raise NoAccelerator(self.name, f"its register {name} holds 0")
            if value >> REGISTERS[name].bits:
                raise NoAccelerator(self.name, f"its register {name} holds {value}, which is too large")
        try:
            return Geometry(**{name.lower(): value for name, value in words.items()})
        except SynflipError as error:
            raise NoAccelerator(self.name, f"its registers make no sense: {error}") from None

    def _identity(self, names: list[str]) -> dict[str, int]:
        """What registers that lie side by side say, by name."""
        try:
            found = self.transport.read(register(names[0]), len(names)).tolist()
        except BusError as error:
            raise NoAccelerator(self.name, str(error)) from None
        if len(found) != len(names):
            raise NoAccelerator(self.name, f"{len(found)} words came for {len(names)} that were asked for")
        return dict(zip(names, found, strict=True))

    # Loading a model

    def prepare(self, model: CompiledModel, weight_base: int = 0, bias_base: int = 0) -> None:
        """Write weights, biases and the layer table of ``model``. One that does not fit is written part by
        part when it runs. Raises SynflipError, saying what is short, if not even its parts fit.

        weight_base, bias_base: entry and group of biases to begin at. That it fits there is not checked.
        """
        check_words(model.bits, model.activation_bits, self.geometry)
        if not (whole := fits(model, self.geometry)):
            cut(model, self.geometry)
        self.abort()
        self.model = None  # half a model is none
        if whole:
            self.write_weights(model, weight_base, bias_base)
            self.place(model, weight_base, bias_base)
            if model.convolutional:
                self._write_maps(model)
        self.model, self._whole = model, whole

    def write_weights(self, model: CompiledModel, weight_base: int = 0, bias_base: int = 0) -> None:
        """Write weights and biases of a ``model`` that fits. Raises BusError if a write is refused.

        weight_base, bias_base: entry and group of biases to begin at.
        """
        geometry = self.geometry
        weight, bias = weight_base, bias_base
        for index, layer in enumerate(model.layers):
            blocks = padded_rows(layer.rows) // geometry.banks
            tiles = ceil_div(layer.outputs, geometry.lanes)
            self._write_weights(weight, self._weight_entries(model, index, tiles, blocks))
            biases = np.zeros(tiles * geometry.lanes, dtype=np.int64)
            biases[: layer.outputs] = layer.bias
            if index < len(model.shifts):
                biases[: layer.outputs] += (1 << model.shifts[index]) >> 1
            self.transport.write(
                address(Region.BIASES, bias * geometry.banks), biases.astype(np.int32).view(np.uint32)
            )
            weight += tiles * blocks
            bias += tiles * geometry.lanes // geometry.banks

    def _write_maps(self, model: CompiledModel) -> None:
        """Write the segments of a ``model`` with convolutions, and where the rows of its first kernel are."""
        banks = self.geometry.banks
        segments = [program.words() for program in programs(model, banks) if program is not None]
        place = memory_map.segments_offset(self.geometry)
        self.transport.write(address(Region.LAYERS, place), np.concatenate(segments).reshape(-1))
        first = model.layers[0].convolution
        assert first is not None  # a convolution follows images or another one
        taps = image_taps(first, banks)
        _, room = memory_map.entry_words(memory_map.TAP_BITS * banks)
        halves = np.zeros((len(taps), 2 << room), dtype="<u2")
        halves[:, :banks] = taps
        self.transport.write(address(Region.LAYERS, 2 * place), halves.view("<u4").reshape(-1))

    def place(self, model: CompiledModel, weight_base: int = 0, bias_base: int = 0, lead: int = 0) -> None:
        """Make a ``model`` that was loaded to this place the one that runs: write the layer table.

        weight_base, bias_base: as they were when it was loaded. lead: tiles that run before its own, of one
        layer; the addresses of their weights and biases lie before the model's, and wrap around. Raises
        BusError if a write is refused.
        """
        geometry = self.geometry
        offsets, _ = key_offsets(model.rows)
        segment = 0
        for index, (layer, program) in enumerate(
            zip(model.layers, programs(model, geometry.banks), strict=True)
        ):
            shift = model.shifts[index] if index < len(model.shifts) else 0
            if program is not None:
                shift |= 1 << memory_map.CONVOLUTION_BIT | segment << memory_map.FIRST_SEGMENT_BIT
                segment += len(program)
            blocks = padded_rows(layer.rows) // geometry.banks
            tiles = ceil_div(layer.outputs, geometry.lanes)
            fields = np.zeros(memory_map.LAYER_WORDS, dtype=np.int64)
            fields[LayerField.WEIGHT_BASE] = weight_base - lead * blocks
            fields[LayerField.ROW_BLOCKS] = blocks
            fields[LayerField.KEY_BASE] = offsets[index] // geometry.banks
            fields[LayerField.KEY_END] = offsets[index] // geometry.banks + blocks
            fields[LayerField.TILES] = lead + tiles - 1
            fields[LayerField.BIAS_BASE] = bias_base - lead * geometry.lanes // geometry.banks
            fields[LayerField.LAST_STEPS] = (
                ceil_div(layer.outputs - (tiles - 1) * geometry.lanes, geometry.banks) - 1
            )
            fields[LayerField.SHIFT] = shift
            self.transport.write(
                address(Region.LAYERS, index * memory_map.LAYER_WORDS), fields.astype(np.uint32)
            )
            weight_base += tiles * blocks
            bias_base += tiles * geometry.lanes // geometry.banks

    def _weight_entries(
        self, model: CompiledModel, index: int, tiles: int, blocks: int
    ) -> NDArray[np.uint32]:
        """uint32 [banks, tiles * blocks, room]: a layer's weight entries as the memory map wants them."""
        layer, geometry = model.layers[index], self.geometry
        lanes, banks, bits = geometry.lanes, geometry.banks, geometry.bits
        fields = np.zeros((tiles * lanes, blocks * banks), dtype=np.uint32)
        words = widen(layer.q, model.bits, bits).astype(np.uint32)
        fields[: layer.outputs, : layer.rows] = words | layer.sign.astype(np.uint32) << np.uint32(bits)
        order = np.argsort([memory_map.lane_position(lane, lanes) for lane in range(lanes)])
        grid = fields.reshape(tiles, lanes, blocks, banks)[:, order].transpose(3, 0, 2, 1)
        planes = np.stack([grid >> np.uint32(bit) & 1 for bit in range(bits + 1)], axis=3).astype(np.uint8)
        packed = np.packbits(planes.reshape(banks, tiles * blocks, -1), axis=-1, bitorder="little")
        count, _ = memory_map.entry_words(memory_map.weight_bits(geometry))
        entries = np.zeros((banks, tiles * blocks, count * 4), dtype=np.uint8)
        entries[..., : packed.shape[-1]] = packed
        return entries.view(np.uint32)

    def _write_weights(self, base: int, entries: NDArray[np.uint32]) -> None:
        """An entry's words are aligned to a power of two: the gaps are written too, so that a bank is one
        write."""
        banks, count, words = entries.shape
        room = 1 << log2_ceil(words)
        padded = np.zeros((banks, count, room), dtype=np.uint32)
        padded[..., :words] = entries
        for bank in range(banks):
            start = address(Region.WEIGHTS, memory_map.weight_offset(self.geometry, bank, base))
            self.transport.write(start, padded[bank].reshape(-1))

    # Running it

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        """Carry out a request: images [N, I] in, votes [N, C] out. Ctrl-C leaves the device idle and usable.

        request: for the model that is loaded. progress: called with (done, total), in network samples times
        images. Raises SynflipError for a request that the memories have no room for, for a run that does not
        end, and, as BusError, if the accelerator refuses an access or does not answer.
        """
        model, samples = request.model, request.samples
        if request.first and not self.numbered:
            raise SynflipError(f"{self.name}: tunnel junctions have no samples before sample {request.first}")
        runs = runs_of(request, self.geometry)
        if isinstance(runs, Parts):
            self.abort()
            self._whole = False
            return parted.run(self, runs, request, progress)
        if not self._whole:  # parts of it were written over it
            self.prepare(model)
        log = logged(request, self.geometry)
        tables = request.tables if soft_on_chip(request, self.geometry) else None
        tally = Tally.zeros(
            samples, len(request.pixels), len(model.classes), request.logits, request.tables is not None
        )
        self.abort()
        if request.limits is not None:
            never = (1 << self.geometry.sample_bits) - 1  # a margin that no image reaches
            self.transport.write(address(Region.MARGINS), np.minimum(request.limits, never).astype(np.uint32))
        if tables is not None:
            self.write_tables(tables)
        self.write_settings(model, request.early, log, request.keys is not None)
        plain = not self.geometry.devices and not log and tables is None
        plain = plain and not request.keep_keys and request.keys is None
        if self._queued is not None and plain and len(runs.chunks(samples)) == 1:
            try:
                cycles = ahead.run(self._queued, request, runs, tally, self, progress)
                self._running = False
            except BaseException:
                self.abort()
                raise
            return tally.result(cycles, model, None)
        turns = in_turn.InTurn(self, request, runs, tally, log, tables is not None, progress)
        return tally.result(turns.run(), model, turns.keys)

    # Pieces of a run (``engine.Engine``), for runs in turn, for networks in parts, and for the self-test

    def write_settings(
        self, model: CompiledModel, early: bool, log: bool, host_keys: bool, classes: int = 0
    ) -> None:
        """Write the registers that all runs of ``model`` share. early: images may leave early. log: keep
        logits. host_keys: ``feed_keys`` gives the keys. classes: logits of a pass, if tiles run before the
        model's. Raises BusError."""
        classes = classes or len(model.classes)
        settings = {
            "LAYERS": len(model.layers) - 1,
            "CLASSES": classes - 1,
            "CLASS_SHIFT": class_shift(classes),
            "INPUT_SHIFT": image_shift(model, self.geometry),
            "OPTIONS": early * memory_map.OPTION_EARLY
            | log * memory_map.OPTION_LOG
            | host_keys * memory_map.OPTION_HOST_KEYS,
            "ACTIVATION_MAX": model.activation_max,
            "KEY_BLOCKS": key_offsets(model.rows)[1] // self.geometry.banks,
        }
        if self.geometry.map_depth:
            settings["MAPS"] = int(model.convolutional)
        self._carry_out(Write.of(name, value) for name, value in settings.items())

    def write_tables(self, tables: SoftTable) -> None:
        """Write the tables of soft votes. tables: E and L, for which the accelerator has room. Entries that
        the contract's clamps never reach are filled with those that they give. Raises BusError."""
        depth = memory_map.soft_depth(self.geometry)
        words = np.zeros(depth + SOFT_ENTRIES, dtype=np.uint32)
        words[:depth] = tables.logarithm[-1]
        words[: len(tables.logarithm)] = tables.logarithm
        words[depth : depth + len(tables.exponential)] = tables.exponential
        self._carry_out(
            [Write(address(Region.SOFT), words), Write.of("SOFT_SHIFT", tables.shift)],
        )

    def write_images(self, first_slot: int, x: NDArray[np.uint8], zeros: bool = False) -> None:
        """Write images into their slots. first_slot: of the first. x: activations uint8 [N, I]. zeros: see
        ``ImageWrite``. Raises BusError."""
        self._carry_out(
            ImageWrite(address(Region.IMAGES, slot << memory_map.IMAGE_WORD_BITS), image, zeros)
            for slot, image in enumerate(x, first_slot)
        )

    @contextmanager
    def run_slots(
        self,
        slot: int,
        images: int,
        samples: int,
        seed: int,
        first_key: int,
        host_keys: bool,
        again: bool = False,
    ) -> Iterator[None]:
        """One run of the images from ``slot`` on.

        images: their number. samples: how many network samples. seed, first_key: of the LFSR's keys, and the
        number of the first one. host_keys: ``feed_keys`` gives the keys. again: slot, images and samples are
        those of the run before. The run has been started when the body begins, and is over when the context
        ends, with its cycles in ``run_cycles``; it is aborted if that fails. Raises SynflipError if it does
        not end in ``timeout`` seconds, and BusError.
        """
        writes = []
        if not self.geometry.devices:
            writes.append(Write(address(Region.SEEDS), first_states(seed, first_key, self.geometry.banks)))
        if not again:
            settings = {"FIRST_SLOT": slot, "IMAGES": images, "SAMPLES": samples}
            writes += [Write.of(name, value) for name, value in settings.items()]
        try:
            self.starting()
            self._carry_out([*writes, Write.of("CONTROL", memory_map.CONTROL_START)])
            deadline = time.monotonic() + self.timeout
            yield
            while (status := self.read_register("STATUS")) & STATUS_BUSY:
                if status & STATUS_ALARM and not host_keys:
                    raise mtj_source.SourceAlarm(f"{self.name}: {mtj_source.describe(self)}")
                if time.monotonic() > deadline:
                    raise SynflipError(
                        f"{self.name}: a run of {samples} samples did not end in {self.timeout:g} s"
                    )
                self.transport.wait()
            self._running = False
            low, high = self.transport.read(register("CYCLES_LOW"), 2).tolist()
            self.run_cycles = low | high << 32
        except BaseException:
            self.abort()
            raise

    def starting(self) -> None:
        """A run is about to begin: ``abort`` ends it."""
        self._running = True

    def abort(self) -> None:
        """End a run that is not over: one that was interrupted, and then its abort as well."""
        if self._running:
            self.write_register("CONTROL", memory_map.CONTROL_ABORT)
            self._running = False

    def feed_keys(self, keys: NDArray[np.uint64]) -> None:
        """Give ``keys``, uint64 [samples, R], to the run that was started, which takes them as it goes. A run
        whose images have all left early takes no more. Raises BusError."""
        for sample, words in enumerate(keys):
            try:
                half = sample % self.geometry.key_halves
                offset = memory_map.key_offset(self.geometry, half, 0)
                self.transport.write(address(Region.KEYS, offset), words.astype("<u8").view(np.uint32))
            except BusError:
                if self.read_register("STATUS") & STATUS_BUSY:
                    raise
                return

    def clock_cycles(self) -> int:
        """Clock cycles that a simulated accelerator has made since reset, bus traffic included; else 0."""
        return self.transport.cycles if isinstance(self.transport, SimulatedTransport) else 0

    def line_bytes(self) -> int:
        """Bytes that a serial line has carried since the accelerator was opened, both ways; else 0."""
        return self.transport.line_bytes if isinstance(self.transport, LineTransport) else 0

    # Words

    @property
    def _queued(self) -> QueuedTransport | None:
        """The transport, if accesses may be under way together."""
        found = self.transport
        return found if isinstance(found, QueuedTransport) and found.queued else None

    def _carry_out(self, writes: Iterable[Write | ImageWrite]) -> None:
        """One after the other, or under way together. Raises BusError."""
        if self._queued is not None:
            self._queued.exchange(writes)
            return
        for item in writes:
            self.transport.write(item.address, item.words)

    def write_register(self, name: str, value: int) -> None:
        """Write the word ``value`` to the register ``name`` of the map. Raises BusError."""
        self._carry_out([Write.of(name, value)])

    def read_register(self, name: str) -> int:
        """Read the register ``name`` of the map, a word. Raises BusError."""
        return int(self.transport.read(register(name), 1)[0])
