"""What others' documents say: figures of other accelerators, and supply limits of boards."""

from dataclasses import dataclass

NOT_SAID = "not said"


@dataclass(frozen=True)
class Published:
    """Published figures of another accelerator, as its source states them.

    like: whether they can be compared with one network sample of ours, and why. how: predicted, simulated or
    measured. source: with the place in it that was read; what that place does not say is NOT_SAID.
    """

    name: str
    device: str
    like: str
    how: str
    source: str
    network: str = NOT_SAID
    rate: str = NOT_SAID
    latency: str = NOT_SAID
    energy: str = NOT_SAID
    area: str = NOT_SAID
    accuracy: str = NOT_SAID


PUBLISHED = (
    Published(
        "VIBNN", "Cyclone V",
        "yes: the same network, Gaussian samples of its weights",
        "on an FPGA; measured or computed: not said",
        "Cai et al., ASPLOS 2018, arXiv 1802.00822, abstract",
        network="784-200-200-10", rate="321,543 images/s", energy="52,695 images/J, so 19.0 uJ an image",
    ),
    Published(
        "BBBNN", NOT_SAID,
        "closest in method: weights of -1 and 1 from coins, Monte Carlo, shared bit streams; its figure is "
        "energy, and ours is a bound",
        "simulated",
        "Ando, Saito and Asai, NOLTA 16(4), 788, 2025, abstract",
        energy="63.08 GOPS/W at 50 MHz",
    ),
    Published(
        "p-bit networks", NOT_SAID,
        "closest in thought: more samples instead of more bits; sampled are neurons, not weights",
        "estimated energy",
        "Ghantasala et al., arXiv 2507.07763, 2025, abstract",
    ),
    Published(
        "BYNQNet", "PYNQ-Z1",
        "no: uncertainty without sampling, moments in one pass; compare with a whole vote",
        "on the board; measured or computed: not said",
        "Awano and Hashimoto, DATE 2020, abstract",
        network="quadratic activations", rate="131,000 images/s",
        energy="44,700 images/J, so 22.4 uJ an image",
    ),
    Published(
        "B2N2", "ZCU104",
        "by area only: Bernoulli numbers added up to Gaussian weights",
        "implemented",
        "Awano and Hashimoto, Integration 89, 2023, doi 10.1016/j.vlsi.2022.11.005, abstract",
        area="81,661 LUTs, 465 DSPs",
    ),
    Published(
        "HSBNN", NOT_SAID,
        "by flexibility only: other networks without another bitstream, as here",
        NOT_SAID,
        "Cognitive Computation, 2025, abstract",
    ),
    Published(
        "BayesNN_FPGA", NOT_SAID,
        "would be: Monte Carlo dropout in VIBNN's network, by hls4ml; its code says that it was given up, "
        "because its \"performance on HLS4ML is very bad\"",
        NOT_SAID,
        "os-hxfan/BayesNN_FPGA, Hardware_Artifact/bayes_hw/models/qmodels.py",
        network="784-200-200-10",
    ),
    Published(
        "65 nm chip", "65 nm, 0.45 mm2",
        "by random numbers only: a Gaussian number a weight, where ours is a coin",
        "measured: a prototype",
        "Enciso et al., arXiv 2501.04577, 2025, abstract",
        rate="102 GOP/s; 5.12 G Gaussian numbers/s", energy="360 fJ a Gaussian number",
    ),
    Published(
        "FINN SFC-max", "ZC706",
        "no: no sampling, no uncertainty; an engine built for one network",
        "measured",
        "Umuroglu et al., FPGA 2017, arXiv 1612.07119, abstract",
        network="binary, MNIST", rate="12,300,000 images/s", latency="0.31 us",
        energy="below 25 W, the whole system", accuracy="95.8 %",
    ),
    *(
        Published(
            name, NOT_SAID, "no: no sampling, no uncertainty; a network of LUTs", NOT_SAID, source
        )
        for name, source in (
            ("TreeLUT", "Khataei and Bazargan, FPGA 2025, arXiv 2501.01511, abstract"),
            ("NeuraLUT", "Andronic and Constantinides, FPL 2024, doi 10.1109/FPL64840.2024.00028, abstract"),
            ("DWN", "Bacellar et al., ICML 2024, abstract"),
        )
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Supply:
    """The most power that a board takes by its own document. volts, amperes: of its input."""

    volts: float
    amperes: float
    source: str

    @property
    def watts(self) -> float:
        """Of the whole board: FPGA, regulators and all that is beside them."""
        return self.volts * self.amperes


#: By board. A board whose document states no limit is not here.
SUPPLIES = {
    "ulx3s-85f": Supply(
        5, 0.5, "ULX3S manual (emard/ulx3s, doc/MANUAL.md), Power and Programming over USB port US1: "
        '5 V and 0.5 A "should be enough for fully loaded and constantly active FPGA", SDRAM and the rest; '
        "its USB chip asks the host for 500 mA at most",
    ),
}  # fmt: skip
