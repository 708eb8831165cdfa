"""The memory map for people (Markdown), C programs (a header) and register tools (SystemRDL)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from synflip.report.tables import markdown_table
from synflip.spec.axi_map import AXI_REGISTERS, REGION
from synflip.spec.memory_map import (
    ADDRESS_BITS,
    IMAGE_WORD_BITS,
    LAYER_FIELDS,
    LAYER_WORDS,
    MAGIC,
    MAP_REGISTER,
    OFFSET_BITS,
    REGIONS,
    REGISTERS,
    SEED_WORDS,
    SOFT_REGISTER,
    VERSION,
    Region,
    Register,
    address,
)

BY_MAP = "Made by `synflip map --format c`"  # in the C header
CONSTANTS = {"MAGIC": MAGIC, "VERSION": VERSION}
ACCESS = {"R": "R", "W": "W", "RW": "R/W", "RC": "R, W clears"}


def _table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> list[str]:
    return [markdown_table(heads, rows), ""]


def _register_table(registers: Mapping[str, Register], region: int) -> list[str]:
    return _table(
        ("word address", "byte address", "name", "access", "bits", "meaning"),
        (
            (
                f"`{(region << OFFSET_BITS) + item.offset:#09x}`",
                f"`{((region << OFFSET_BITS) + item.offset) * 4:#010x}`",
                name,
                ACCESS[item.access],
                item.bits,
                item.meaning,
            )
            for name, item in registers.items()
        ),
    )


def markdown() -> str:
    """docs/reference/registers.md."""
    lines = [
        "# Memory map",
        "",
        f"Version {VERSION}. Made by `synflip map --format md` from "
        "`sw/synflip/spec/memory_map.py` and `axi_map.py`; do not edit.",
        "",
        f"Addresses are {ADDRESS_BITS} bits and count 32-bit words: region in the top "
        f"{ADDRESS_BITS - OFFSET_BITS}, offset in the lower {OFFSET_BITS}. On a byte-addressed bus (AXI) "
        "they are four times as large.",
        "How far a region reaches depends on the geometry; beyond it, and for an access of the wrong kind, "
        "the answer is an error.",
        "While a run is busy, everything but KEYS can be read; writes are refused, but to CONTROL, to images "
        "in slots that are not the run's, and to KEYS if the run takes keys from the host. Registers from "
        f"REPETITION_CUTOFF on are only there if DEVICES is not 0; {SOFT_REGISTER} and the region "
        f"SOFT only if SOFT_CLASSES is not 0; {MAP_REGISTER} only if MAP_DEPTH is not 0.",
        "",
        "## Regions",
        "",
        *_table(
            ("region", "word address", "byte address", "name", "access", "offset", "meaning"),
            (
                (
                    region.value,
                    f"`{address(region):#09x}`",
                    f"`{address(region) * 4:#010x}`",
                    region.name,
                    ACCESS[info.access],
                    info.offset,
                    info.meaning,
                )
                for region, info in REGIONS.items()
            ),
        ),
        "## Registers",
        "",
        "Bits above a register's width are read as 0 and ignored when written.",
        "",
        *_register_table(REGISTERS, 0),
        "## Words of a layer",
        "",
        *_table(
            ("word", "name", "meaning"),
            ((item.value, item.name, text) for item, text in LAYER_FIELDS.items()),
        ),
        "## Registers of the AXI front end",
        "",
        "Only in `synflip verilog --front axi`, also while a run is busy: see [axi.md](axi.md).",
        "",
        *_register_table(AXI_REGISTERS, REGION),
    ]
    return "\n".join(lines)


def header() -> str:
    """docs/reference/synflip.h."""
    lines = [
        f"/* Memory map of the synflip accelerator, version {VERSION}.",
        " *",
        f" * {BY_MAP}; do not edit. Addresses count 32-bit words: with",
        " * `volatile uint32_t *map` at the accelerator's base, a register is map[SYNFLIP_REG_STATUS],",
        " * a word of a region map[SYNFLIP_REGION_IMAGES + offset]. See registers.md.",
        " */",
        "#ifndef SYNFLIP_H",
        "#define SYNFLIP_H",
    ]

    def section(title: str, values: Iterable[tuple[str, int, str]]) -> None:
        lines.extend(("", f"/* {title} */"))
        for name, value, meaning in values:
            comment = f"  /* {meaning} */" if meaning else ""
            lines.append(f"#define SYNFLIP_{name} {value:#x}u{comment}")

    def registers(items: Mapping[str, Register], region: int, prefix: str) -> list[tuple[str, int, str]]:
        values = []
        for name, item in items.items():
            place = (region << OFFSET_BITS) + item.offset
            values.append(
                (f"{prefix}_{name}", place, f"{ACCESS[item.access]}, {item.bits} bits: {item.meaning}")
            )
            values += [(f"{name}_{flag}", mask, "") for flag, mask in item.flags.items()]
        return values

    section(
        "Constants",
        [
            *(
                (f"{name}_VALUE", value, f"what the register {name} holds")
                for name, value in CONSTANTS.items()
            ),
            ("LAYER_WORDS", LAYER_WORDS, "words of a layer's entry"),
            ("SEED_WORDS", SEED_WORDS, "words of a bank's seed"),
            ("IMAGE_WORD_BITS", IMAGE_WORD_BITS, "of an offset into the region IMAGES; the slot is above"),
        ],
    )
    section(
        "Regions: word address of the first word",
        (
            (f"REGION_{region.name}", address(region), f"{ACCESS[info.access]}: {info.meaning}")
            for region, info in REGIONS.items()
        ),
    )
    section("Registers: word addresses, and masks of their bits", registers(REGISTERS, 0, "REG"))
    section(
        "Words of a layer's entry",
        ((f"LAYER_{item.name}", item, text) for item, text in LAYER_FIELDS.items()),
    )
    section("Registers of the AXI front end", registers(AXI_REGISTERS, REGION, "AXI"))
    return "\n".join([*lines, "", "#endif", ""])


def _rdl_register(name: str, item: Register) -> list[str]:
    software = {"R": "r", "W": "w", "RW": "rw", "RC": "rw"}[item.access]
    hardware = {"R": "w", "W": "r", "RW": "r", "RC": "w"}[item.access]
    if name in CONSTANTS:
        hardware = "na"
    properties = f"sw = {software}; hw = {hardware};" + (" onwrite = wclr;" if item.access == "RC" else "")
    fields = item.flags or {"VALUE": (1 << item.bits) - 1}
    lines = ["        reg {", f"            desc = {_quoted(item.meaning)};"]
    for field, mask in fields.items():
        low, high = (mask & -mask).bit_length() - 1, mask.bit_length() - 1
        reset = f" = {item.bits}'h{CONSTANTS[name]:x}" if name in CONSTANTS else ""
        lines.append(f"            field {{ {properties} }} {field}[{high}:{low}]{reset};")
    return [*lines, f"        }} {name} @ {item.offset * 4:#x};"]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def systemrdl() -> str:
    """docs/reference/synflip.rdl. Byte addresses. Regions have their largest size."""
    lines = [
        f"// Memory map of the synflip accelerator, version {VERSION}. Made by `synflip map --format rdl`;",
        "// do not edit. Regions have all their address space; how much of it answers is the geometry's.",
        "addrmap synflip {",
        '    name = "synflip";',
        "    default regwidth = 32;",
        "    regfile {",
        '        name = "registers";',
    ]
    for name, item in REGISTERS.items():
        lines += _rdl_register(name, item)
    lines.append("    } REGISTERS @ 0x0;")
    for region, info in REGIONS.items():
        if region == Region.REGISTERS:
            continue
        lines += [
            "    external mem {",
            f"        desc = {_quoted(f'{info.offset}: {info.meaning}')};",
            f"        mementries = {1 << OFFSET_BITS:#x};",
            "        memwidth = 32;",
            f"        sw = {info.access.lower()};",
            f"    }} {region.name} @ {address(region) * 4:#x};",
        ]
    lines += ["    regfile {", '        name = "registers of the AXI front end";']
    for name, item in AXI_REGISTERS.items():
        lines += _rdl_register(name, item)
    lines += [f"    }} AXI @ {(REGION << OFFSET_BITS) * 4:#x};", "};", ""]
    return "\n".join(lines)


def numbers() -> dict[str, Any]:
    """The map for JSON. Addresses count 32-bit words; ``flags`` are masks by their names."""

    def registers(items: Mapping[str, Register], region: int) -> list[dict[str, Any]]:
        return [
            {"name": name, **asdict(item), "address": (region << OFFSET_BITS) + item.offset}
            for name, item in items.items()
        ]

    return {
        "version": VERSION,
        "regions": [
            {"name": region.name, **asdict(info), "address": address(region)}
            for region, info in REGIONS.items()
        ],
        "registers": registers(REGISTERS, Region.REGISTERS),
        "layer_words": [
            {"name": item.name, "offset": item.value, "meaning": text} for item, text in LAYER_FIELDS.items()
        ],
        "axi_registers": registers(AXI_REGISTERS, REGION),
    }


FORMATS: dict[str, Callable[[], str]] = {"md": markdown, "c": header, "rdl": systemrdl}
