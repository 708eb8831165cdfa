"""What a device gives back: votes, sums, samples used, cycles; and how sure to be."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.spec.model import CompiledModel
from synflip.uncertainty.aggregate import second_choice
from synflip.uncertainty.scores import energy, entropy, mutual_information, softmax_moments
from synflip.uncertainty.soft_votes import SoftTable, posterior
from synflip.util.arrays import is_list, whole_number
from synflip.util.extras import require
from synflip.util.npz import read_array
from synflip.util.outputs import replacing
from synflip.util.text import first_line, one_line

if TYPE_CHECKING:
    import pandas

    from synflip.report.plotting import Figure

MAX_ARRAY_BYTES = 1 << 30  # of an array in a file
#: Of each array in a file: its type and number of axes.
ARRAYS: dict[str, tuple[type, int]] = {
    "votes": (np.int32, 2),
    "logit_sums": (np.int64, 2),
    "used": (np.int32, 1),
    "cycles": (np.int64, 0),
    "logits": (np.int32, 3),
    "soft_votes": (np.int64, 2),
    "energy_sums": (np.int64, 1),
    "logit_scale": (np.float64, 0),
    "energy_threshold": (np.float64, 0),
    "keys": (np.uint64, 2),
}

#: Those that every file has.
ALWAYS = ("votes", "logit_sums", "used", "cycles")
#: What a file has of an inference with soft votes.
SOFT = ("soft_votes", "energy_sums")
#: What a file has beside logits or soft votes, if the model says it.
SCALES = ("logit_scale", "energy_threshold")


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Counts of one inference over N images and C classes.

    votes: int32 [N, C], network samples won by each class. logit_sums: int64 [N, C], sums of the logits over
        the samples used. used: int32 [N], network samples that each image took part in.
    cycles: clock cycles of the engine, from start to done, summed over its runs.
    logits: int32 [S, N, C] if kept, 0 where an image had already left.
    keys: uint64 [S, R], the keys of each network sample, if kept.
    logit_scale: what the model's logits are divided by in a softmax, if the model says.
    energy_threshold: energy, in nats, above which an image is foreign, if the model says.
    classes: names of the C classes, if they are known; files do not have them.
    soft_votes: int64 [N, C], sums of the soft votes over the samples used, if they were asked for.
    energy_sums: int64 [N], sums of the samples' energies in units of a logit, beside soft votes.
    """

    votes: NDArray[np.int32]
    logit_sums: NDArray[np.int64]
    used: NDArray[np.int32]
    cycles: int
    logits: NDArray[np.int32] | None = None
    logit_scale: float | None = None
    keys: NDArray[np.uint64] | None = None
    energy_threshold: float | None = None
    classes: tuple[str, ...] | None = None
    soft_votes: NDArray[np.int64] | None = None
    energy_sums: NDArray[np.int64] | None = None

    @property
    def winner(self) -> NDArray[np.int64]:
        """[N] class with the most votes; ties go to the lowest index."""
        return self.votes.argmax(1)

    @property
    def runner_up(self) -> NDArray[np.int64]:
        """[N] second choice: the class with the second most votes.

        Of several with equally many, as after a unanimous vote, it is the one with the largest sum of logits;
        the lowest index if these are equal too. The only class, if there is one.
        """
        return second_choice(self.votes, self.logit_sums)

    @property
    def entropy(self) -> NDArray[np.float64]:
        """[N] entropy of the votes in bits: 0 if every sample agreed."""
        return entropy(self.votes / np.maximum(self.votes.sum(1, keepdims=True), 1))

    @property
    def posterior(self) -> NDArray[np.float64]:
        """[N, C] posterior predictive: the mean of the samples' softmaxes; without logits the shares of the
        soft votes, which are nearly that. Raises SynflipError without either."""
        if self.logits is None and self.soft_votes is not None:
            return posterior(self.soft_votes)
        return self._moments[0]

    @property
    def mutual_information(self) -> NDArray[np.float64]:
        """[N] mutual information, in bits, of the class and the network sample: entropy of the posterior
        predictive less the mean entropy of the samples' softmaxes. Raises SynflipError without logits."""
        return mutual_information(*self._moments)

    @property
    def energy(self) -> NDArray[np.float64]:
        """[N] energy, in nats: high for images that are of no class. Without logits it is that of the energy
        sums, which is nearly the same. Raises SynflipError without either."""
        if self.logits is None and self.energy_sums is not None:
            return self.energy_sums / (np.maximum(self.used, 1) * self._scale)
        return energy(*self._scaled)

    @property
    def foreign(self) -> NDArray[np.bool_]:
        """[N] whether an image is of no class, as its energy is above the model's ``energy_threshold``.

        ``fit_energy_threshold`` sets it so that a share of the training images is above it. The model's
        source says which, and by how many network samples. Raises SynflipError without a threshold, and
        without logits or soft votes.
        """
        if self.energy_threshold is None:
            raise SynflipError(
                "the model's file has no energy threshold: synflip train and convert write one, and "
                "synflip.fit_energy_threshold adds it"
            )
        return self.energy > self.energy_threshold

    @cached_property
    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return softmax_moments(*self._scaled)

    @property
    def _scaled(self) -> tuple[NDArray[np.int32], NDArray[np.int32], float]:
        if self.logits is None:
            raise SynflipError("a softmax needs the logits: call infer with logits=True")
        return self.logits, self.used, self._scale

    @property
    def _scale(self) -> float:
        if self.logit_scale is None:
            raise SynflipError("the model's file does not say the scale of its logits (source.logit_scale)")
        return self.logit_scale

    @property
    def _energies(self) -> bool:
        """Whether the energy is known."""
        return (self.logits is not None or self.energy_sums is not None) and self.logit_scale is not None

    def __repr__(self) -> str:
        images, classes = self.votes.shape
        kept = ", ".join(name for name in ("logits", "soft_votes", "keys") if getattr(self, name) is not None)
        mean = f"{self.used.mean():.4g}" if images else "0"
        unanimous = int((self.votes.max(1, initial=0) == self.used).sum())
        cycles = f"{self.cycles:,} cycles" if self.cycles >= 0 else "cycles not predicted"
        bits = self.entropy.mean() if images else 0.0
        return (
            f"Result of {images:,} images, {classes} classes, {mean} samples an image\n"
            f"  {unanimous:,} unanimous votes, mean entropy {bits:.3f} bits, {cycles}\n"
            f"  has votes, logit_sums, used, winner, runner_up, entropy{', ' * bool(kept)}{kept}"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the votes of the first images as bars, and how sure to be of each."""
        from synflip.inference.result_view import ROWS, html

        images = len(self.votes)
        bits = self.entropy[:ROWS]
        columns = {"samples": [str(count) for count in self.used[:ROWS]]}
        columns["entropy, bits"] = [f"{value:.3f}" for value in bits]
        if images and self.logits is not None and self.logit_scale is not None:
            columns["mutual information, bits"] = [f"{value:.3f}" for value in self.mutual_information[:ROWS]]
        if images and self._energies:
            columns["energy, nats"] = [f"{value:.2f}" for value in self.energy[:ROWS]]
            if self.energy_threshold is not None:
                columns["foreign"] = ["yes" if value else "no" for value in self.foreign[:ROWS]]
        return html(repr(self), self.votes, self.runner_up, columns, self._names)

    def plot(self, images: Sequence[int] | None = None, classes: Sequence[str] | None = None) -> "Figure":
        """A matplotlib figure: bars of the votes of a few images, and a histogram of all entropies.

        images: numbers of at most 10 images, such as ``result.entropy.argsort()[-5:]``; without it, the first
        ten. classes: a name for each of the C classes; the model's without it.

        A notebook shows the figure; ``figure.savefig("votes.png")`` writes it. Raises SynflipError if there
        are not C names, for images that are not there, and without matplotlib, which the extra ``report``
        brings.
        """
        from synflip.inference.result_view import ROWS, draw

        names = self._names if classes is None else [str(name) for name in self._checked_names(classes)]
        if images is None:
            images = range(min(len(self.votes), ROWS))
        elif not is_list(images):
            raise SynflipError(f"images must be a list of their numbers, not {images!r:.40}")
        chosen = [whole_number(image, "the number of an image") for image in images]
        return draw(self.votes, self.runner_up, self.used, self.entropy, chosen, names)

    @property
    def _names(self) -> list[str]:
        """A name for each class: its number, if no other is known."""
        return list(self.classes or map(str, range(self.votes.shape[1])))

    def _checked_names(self, classes: Sequence[str]) -> list[Any]:
        """``classes`` as a list. Raises SynflipError for anything but a list with a name for each class."""
        count = self.votes.shape[1]
        if not is_list(classes):
            raise SynflipError(f"classes must be a list of {count} names, not {classes!r:.40}")
        if len(classes) != count:
            raise SynflipError(f"{len(classes)} class names for {count} classes")
        return list(classes)

    def to_pandas(self, classes: Sequence[str] | None = None) -> "pandas.DataFrame":
        """A table with a row for each image, numbered from 0 as ``image``.

        classes: a name for each of the C classes, such as ``model.classes``; their numbers without it.
        Columns: winner and runner_up, names of classes; votes, the winner's; used; entropy, in bits, of the
        votes; with logits and their scale also mutual_information, with these or soft votes energy, and
        foreign if the model has a threshold; and ``votes: NAME``, the votes of each class.

        Raises SynflipError if there are not C names, and without pandas, which the extra ``pandas`` brings.
        """
        require("pandas")
        import pandas

        images, count = self.votes.shape
        names: list[Any] = list(range(count)) if classes is None else self._checked_names(classes)
        table: dict[str, Any] = {
            "winner": [names[place] for place in self.winner],
            "runner_up": [names[place] for place in self.runner_up],
            "votes": self.votes[np.arange(images), self.winner],
            "used": self.used,
            "entropy": self.entropy,
        }
        if self.logits is not None and self.logit_scale is not None:
            table["mutual_information"] = self.mutual_information
        if self._energies:
            table["energy"] = self.energy
            if self.energy_threshold is not None:
                table["foreign"] = self.foreign
        columns = [*table, *(f"votes: {name}" for name in names)]
        frame = pandas.concat([pandas.DataFrame(table), pandas.DataFrame(self.votes)], axis=1)
        frame.columns = pandas.Index(columns)
        return frame.rename_axis("image")

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` to ``path``, which ``load`` and numpy read: ``votes``, ``logit_sums``, ``used``,
        ``cycles``; if kept, ``logits``; of an inference with soft votes ``soft_votes`` and ``energy_sums``;
        with either ``logit_scale`` and ``energy_threshold``, if the model says them; and, if kept, ``keys``.

        The file is whole or not there at all. Raises SynflipError if it cannot be written.
        """
        arrays = self.arrays() | self.scales()
        if self.keys is not None:
            arrays["keys"] = self.keys
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "Result":
        """Read what ``save`` or ``synflip run`` has written to ``path``.

        The file is not trusted: nothing is unpickled, and sizes are checked before anything is read. Raises
        SynflipError, naming the file, if it is missing or no result.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                names = {name.removesuffix(".npy") for name in archive.namelist()}
                found: dict[str, Any] = {
                    name: read_array(archive, name, dtype, axes, MAX_ARRAY_BYTES)
                    for name, (dtype, axes) in ARRAYS.items()
                    if name in names or name in ALWAYS
                }
        except OSError as error:
            raise SynflipError(f"cannot read {path}: {error.strerror or error}") from None
        except Exception as error:  # zipfile's and numpy's parsers raise half a dozen kinds for hostile files
            raise SynflipError(f"{path} is not a result: {one_line(first_line(error))}") from None
        shape = found["votes"].shape
        want = {"logit_sums": shape, "used": shape[:1]}
        if "logits" in found:
            want["logits"] = (len(found["logits"]), *shape)
        want |= {name: shape[: ARRAYS[name][1]] for name in SOFT if name in found}
        for name, size in want.items():
            if found[name].shape != size:
                raise SynflipError(f"{path}: {name} has shape {list(found[name].shape)}, not {list(size)}")
        if not shape[1]:
            raise SynflipError(f"{path}: its votes are for no class")
        return cls(**{**found, "cycles": int(found["cycles"]), **scales_in(found)})

    def arrays(self) -> dict[str, Any]:
        """Arrays by name: votes int32 [N, C], logit_sums int64 [N, C], used int32 [N], cycles int64; if kept,
        logits int32 [S, N, C]; of soft votes soft_votes int64 [N, C] and energy_sums int64 [N]."""
        arrays: dict[str, Any] = {
            "votes": self.votes,
            "logit_sums": self.logit_sums,
            "used": self.used,
            "cycles": np.int64(self.cycles),
        }
        for name in ("logits", *SOFT):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        return arrays

    def scales(self) -> dict[str, Any]:
        """By SCALES, what the model says of its logits, if they or soft votes are kept."""
        kept = self.logits is not None or self.soft_votes is not None
        values = {name: getattr(self, name) for name in SCALES if kept}
        return {name: np.float64(value) for name, value in values.items() if value is not None}


def scales_in(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """What arrays of a file, by name, say of the logits: keywords of ``Result``, by SCALES."""
    return {name: float(arrays[name]) for name in SCALES if name in arrays}


def sum_of_cycles(one: int, other: int) -> int:
    """Cycles of two parts of an inference together; -1, which stands for unknown, if either is."""
    return -1 if min(one, other) < 0 else one + other


@dataclass(frozen=True, eq=False)
class Tally:
    """What the runs of one inference add up: the arrays of a Result while they grow.

    votes: int32 [N, C]. logit_sums: int64 [N, C]. used: int32 [N]. logits: int32 [S, N, C], or None.
    soft_votes: int64 [N, C], and energy_sums: int64 [N], or None.
    """

    votes: NDArray[np.int32]
    logit_sums: NDArray[np.int64]
    used: NDArray[np.int32]
    logits: NDArray[np.int32] | None
    soft_votes: NDArray[np.int64] | None = None
    energy_sums: NDArray[np.int64] | None = None

    @classmethod
    def zeros(cls, samples: int, images: int, classes: int, logits: bool, soft: bool = False) -> "Tally":
        """Before the first network sample."""
        return cls(
            np.zeros((images, classes), dtype=np.int32),
            np.zeros((images, classes), dtype=np.int64),
            np.zeros(images, dtype=np.int32),
            np.zeros((samples, images, classes), dtype=np.int32) if logits else None,
            np.zeros((images, classes), dtype=np.int64) if soft else None,
            np.zeros(images, dtype=np.int64) if soft else None,
        )

    def of(self, images: slice) -> "Tally":
        """Views of the rows of some images: what is added there is added here."""
        logits = None if self.logits is None else self.logits[:, images]
        soft = [None if array is None else array[images] for array in (self.soft_votes, self.energy_sums)]
        return Tally(self.votes[images], self.logit_sums[images], self.used[images], logits, *soft)

    def add_soft(
        self, tables: SoftTable | None, images: NDArray[np.integer], logits: NDArray[np.int32]
    ) -> None:
        """Add the soft votes and energies of logits [n, C] of the n ``images``, each of which may be there
        more than once; nothing without ``tables``."""
        if tables is not None and self.soft_votes is not None and self.energy_sums is not None:
            votes, energies = tables.counts(logits)
            np.add.at(self.soft_votes, images, votes)
            np.add.at(self.energy_sums, images, energies)

    def result(self, cycles: int, model: CompiledModel, keys: NDArray[np.uint64] | None) -> Result:
        """After the last network sample of ``model``."""
        scales = {name: getattr(model, name) for name in SCALES}
        return Result(
            self.votes,
            self.logit_sums,
            self.used,
            cycles,
            self.logits,
            keys=keys,
            classes=tuple(model.classes),
            soft_votes=self.soft_votes,
            energy_sums=self.energy_sums,
            **scales,
        )
