"""What an accountant composes: one frozen dataclass a mechanism, with its unit, adjacency and sampling assumption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import ceil, isfinite, sqrt
from typing import Any, ClassVar, Self

from fedasr.errors import InputError
from fedasr.privacy.checks import LEAST, MOST, count, fraction, one_of, positive, reckonable, within

UNITS = ("example", "user", "teacher")
"""Whose presence is hidden: one utterance, all that one user holds, or all that one teacher of PATE was trained on."""
ADJACENCIES = ("add-remove", "replace-one", "zero-out")
"""How a neighbour differs: by one unit more or less, one exchanged, or one whose contribution is set to zero."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A mechanism that ran ``steps`` times on the same data.

    Raises:
        InputError: a number is out of its range, or the adjacency is not one that the mechanism is analysed under.
    """

    kind: ClassVar[str] = ""
    sampling: ClassVar[str] = "none"
    """who takes part in a step: ``poisson``, ``fixed-size`` without replacement, or ``none``: everybody may"""
    adjacencies: ClassVar[tuple[str, ...]] = ADJACENCIES

    unit: str
    adjacency: str = "add-remove"
    steps: int = 1

    def __post_init__(self) -> None:
        one_of("unit", self.unit, UNITS)
        one_of("adjacency", self.adjacency, self.adjacencies)
        count("steps", self.steps, low=0)

    def times(self, repeats: int) -> Self:
        """Return the event repeated."""
        return replace(self, steps=self.steps * repeats)

    def merged(self, other: Event) -> Event | None:
        """Return both as one event; None where they differ in more than how often they ran."""
        if type(other) is type(self) and replace(other, steps=self.steps) == self:
            return replace(self, steps=self.steps + other.steps)
        return None

    def since(self, earlier: Event) -> Self:
        """Return what the event has more than an earlier state of it, into which others were ``merged`` since."""
        return replace(self, steps=self.steps - earlier.steps)

    def describe(self) -> str:
        """Return one line for people."""
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        """Return JSON values from which ``event_from_json`` makes the same event."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class PoissonGaussian(Event):
    """A sum of clipped contributions plus Gaussian noise; each unit takes part independently with probability q."""

    kind: ClassVar[str] = "poisson-gaussian"
    sampling: ClassVar[str] = "poisson"
    adjacencies: ClassVar[tuple[str, ...]] = ("add-remove", "zero-out")
    sensitivity: ClassVar[float] = 1.0
    """L2 change of the sum between neighbours, in clip norms"""

    noise_multiplier: float
    """standard deviation of the noise on the sum, in clip norms"""
    sampling_probability: float

    def __post_init__(self) -> None:
        super().__post_init__()
        reckonable("noise_multiplier", self.noise_multiplier)
        fraction("sampling_probability", self.sampling_probability)

    @property
    def effective_noise(self) -> float:
        """The noise multiplier that an accountant means: noise over the true sensitivity."""
        return self.noise_multiplier / self.sensitivity

    def describe(self) -> str:
        """Return one line for people."""
        z, q = self.noise_multiplier, self.sampling_probability
        return f"Poisson-sampled Gaussian, z = {z:g}, q = {q:g}, {self.steps} steps"


@dataclass(frozen=True, kw_only=True)
class MicroBatchGaussian(PoissonGaussian):
    """The same with clipped means of micro-batches (eDP-SGD, arXiv 2107.14586).

    One example can turn a clipped mean from +C to −C, so the sensitivity is 2C and the noise counts half, also under
    add or remove. Which micro-batch an example falls into must not depend on the others.
    """

    kind: ClassVar[str] = "micro-batch-gaussian"
    sensitivity: ClassVar[float] = 2.0

    def describe(self) -> str:
        """Return one line for people."""
        return f"{super().describe()}, micro-batch means (sensitivity 2C)"


@dataclass(frozen=True, kw_only=True)
class FixedSizeGaussian(Event):
    """A sum over a cohort of fixed size without replacement, plus Gaussian noise, under replace-one.

    Exchanging one clipped contribution for another moves the sum by up to 2C (Wang, Balle and Kasiviswanathan,
    arXiv 1808.00087, for the amplification).
    """

    kind: ClassVar[str] = "fixed-size-gaussian"
    sampling: ClassVar[str] = "fixed-size"
    adjacencies: ClassVar[tuple[str, ...]] = ("replace-one",)
    sensitivity: ClassVar[float] = 2.0

    adjacency: str = "replace-one"
    noise_multiplier: float
    sampling_probability: float
    """size of the cohort over the population"""

    def __post_init__(self) -> None:
        super().__post_init__()
        reckonable("noise_multiplier", self.noise_multiplier)
        fraction("sampling_probability", self.sampling_probability)

    @property
    def effective_noise(self) -> float:
        """Noise over the true sensitivity."""
        return self.noise_multiplier / self.sensitivity

    @property
    def share(self) -> tuple[int, int]:
        """The sampling probability as two whole numbers, rounded up."""
        return ceil(self.sampling_probability * 2**53), 2**53

    def describe(self) -> str:
        """Return one line for people."""
        z, q = self.noise_multiplier, self.sampling_probability
        return f"Gaussian over a fixed-size sample without replacement, z = {z:g}, q = {q:g}, {self.steps} steps"


@dataclass(frozen=True, kw_only=True)
class Gaussian(Event):
    """Gaussian noise without amplification by sampling: every unit may be in every step."""

    kind: ClassVar[str] = "gaussian"

    noise_multiplier: float
    """standard deviation of the noise, in clip norms (or votes, or whatever the sensitivity is given in)"""
    sensitivity: float = 0.0
    """L2 change between neighbours, in the same; 0: 2 under replace-one, else 1"""

    def __post_init__(self) -> None:
        super().__post_init__()
        reckonable("noise_multiplier", self.noise_multiplier)
        if self.sensitivity == 0:
            object.__setattr__(self, "sensitivity", 2.0 if self.adjacency == "replace-one" else 1.0)
        positive("sensitivity", self.sensitivity)
        reckonable("noise_multiplier over sensitivity", self.effective_noise)

    @property
    def effective_noise(self) -> float:
        """Noise over the true sensitivity."""
        return self.noise_multiplier / self.sensitivity

    @property
    def mu_squared(self) -> float:
        """The square of the parameter of Gaussian DP (Dong, Roth and Su, arXiv 1905.02383) after all steps."""
        return self.steps * self.effective_noise**-2

    def describe(self) -> str:
        """Return one line for people."""
        return f"Gaussian, noise {self.noise_multiplier:g} at sensitivity {self.sensitivity:g}, {self.steps} steps"


@dataclass(frozen=True, kw_only=True)
class Skellam(Event):
    """A sum of clipped and rounded contributions, plus Skellam noise, all in whole numbers (Agarwal, Kairouz and Liu
    2021, arXiv 2110.04995): distributed DP, where each unit adds a share of the noise to what is summed in secret.
    """

    kind: ClassVar[str] = "skellam"
    adjacencies: ClassVar[tuple[str, ...]] = ("add-remove", "zero-out")

    adjacency: str = "zero-out"
    noise_multiplier: float
    """standard deviation of the noise of all shares that are sure to be there, in clip norms"""
    dimensions: int
    """entries of a contribution, those included that it was padded with"""
    scaled_clip: float
    """the clip norm in units of the whole numbers: the coarser they are, the more rounding adds to the sensitivity"""

    def __post_init__(self) -> None:
        super().__post_init__()
        reckonable("noise_multiplier", self.noise_multiplier)
        count("dimensions", self.dimensions)
        reckonable("scaled_clip", self.scaled_clip)

    def describe(self) -> str:
        """Return one line for people."""
        z, clip = self.noise_multiplier, self.scaled_clip
        return f"Skellam, z = {z:g}, clip norm {clip:.4g} whole numbers, {self.dimensions} entries, {self.steps} steps"


@dataclass(frozen=True, kw_only=True)
class Laplace(Event):
    """One number, plus Laplace noise: pure (1/scale)-DP a step."""

    kind: ClassVar[str] = "laplace"

    scale: float
    """scale of the noise over the L1 sensitivity under the adjacency"""

    def __post_init__(self) -> None:
        super().__post_init__()
        reckonable("scale", self.scale)

    def describe(self) -> str:
        """Return one line for people."""
        return f"Laplace, scale {self.scale:g} sensitivities, {self.steps} steps"


@dataclass(frozen=True, kw_only=True)
class ZeroConcentrated(Event):
    """A mechanism known by its ρ of zero-concentrated DP, such as DP-FTRL over a whole run.

    The ρ holds under the participation limit and separation that it was computed for; the selector keeps them.
    """

    kind: ClassVar[str] = "zcdp"

    adjacency: str = "zero-out"
    rho: float
    gaussian: bool = True
    """whether the noise is Gaussian, which gives the exact conversion μ = √(2ρ)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("rho", self.rho, LEAST**2, MOST**2, f"a number from {LEAST**2:g} to {MOST**2:g}")

    @property
    def mu_squared(self) -> float:
        """The square of the parameter of Gaussian DP, for Gaussian noise."""
        return 2.0 * self.rho * self.steps

    def describe(self) -> str:
        """Return one line for people."""
        return f"zCDP, ρ = {self.rho:g}{', Gaussian' if self.gaussian else ''}, {self.steps} times"


@dataclass(frozen=True, kw_only=True)
class PateVotes(Event):
    """Released winners of noisy votes, by the RDP curve of all of them together; ``steps`` is how many were voted on.

    The curve may depend on the votes, and then so does every ε computed from it: such an ε must not be published
    before it is sanitised (``fedasr.privacy.pate.smooth``).
    """

    kind: ClassVar[str] = "pate"
    adjacencies: ClassVar[tuple[str, ...]] = ("replace-one",)

    unit: str = "teacher"
    adjacency: str = "replace-one"
    mechanism: str
    scales: tuple[float, ...]
    """the noise of the votes, and for the confident mechanism the threshold and its noise"""
    orders: tuple[float, ...]
    rdp: tuple[float, ...] = field(repr=False)
    """at each order, of all queries together"""
    rdp_data_independent: tuple[float, ...] = field(repr=False)
    """the same for whatever the votes had been"""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = {len(self.orders), len(self.rdp), len(self.rdp_data_independent)}
        if len(sizes) > 1 or not self.orders:
            raise InputError("the orders and the curves of a PATE event have different lengths, or none")
        if any(not (value >= 0) for value in (*self.rdp, *self.rdp_data_independent)):
            raise InputError("the RDP curve of a PATE event has a negative value or NaN")
        if any(not (order > 1 and isfinite(order)) for order in self.orders) or list(self.orders) != sorted(
            set(self.orders)
        ):
            raise InputError("the orders of a PATE event must rise and be above 1")

    def times(self, repeats: int) -> PateVotes:
        """Return the event repeated."""
        return replace(
            self,
            steps=self.steps * repeats,
            rdp=tuple(value * repeats for value in self.rdp),
            rdp_data_independent=tuple(value * repeats for value in self.rdp_data_independent),
        )

    def merged(self, other: Event) -> PateVotes | None:
        """Return both as one event, their curves added; None where mechanism, noise or orders differ."""
        if not isinstance(other, PateVotes) or other.as_json() | self.curves() != self.as_json():
            return None
        return replace(
            self,
            steps=self.steps + other.steps,
            rdp=added(self.rdp, other.rdp),
            rdp_data_independent=added(self.rdp_data_independent, other.rdp_data_independent),
        )

    def since(self, earlier: Event) -> PateVotes:
        """Return what the event has more than an earlier state of it, the curves of that taken off."""
        assert isinstance(earlier, PateVotes)
        return replace(
            self,
            steps=self.steps - earlier.steps,
            rdp=left_of(self.rdp, earlier.rdp),
            rdp_data_independent=left_of(self.rdp_data_independent, earlier.rdp_data_independent),
        )

    def curves(self) -> dict[str, Any]:
        """Return what adds up when queries are merged."""
        names = ("steps", "rdp", "rdp_data_independent")
        return {name: value for name, value in self.as_json().items() if name in names}

    @property
    def data_dependent(self) -> bool:
        """Whether the curve says something about the votes."""
        return self.rdp != self.rdp_data_independent

    def data_independent(self) -> PateVotes:
        """Return the event with the curve that holds for any votes."""
        return replace(self, rdp=self.rdp_data_independent)

    def describe(self) -> str:
        """Return one line for people."""
        return f"PATE {self.mechanism}, scales {', '.join(f'{s:g}' for s in self.scales)}, {self.steps} queries"


KINDS: dict[str, type[Event]] = {
    kind.kind: kind
    for kind in (
        PoissonGaussian,
        MicroBatchGaussian,
        FixedSizeGaussian,
        Gaussian,
        Skellam,
        Laplace,
        ZeroConcentrated,
        PateVotes,
    )
}
GNMAX_SENSITIVITY = sqrt(2.0)
"""L2 change of the vote counts when one teacher votes otherwise."""


def added(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    """Return the sums of two curves."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def left_of(whole: tuple[float, ...], part: tuple[float, ...]) -> tuple[float, ...]:
    """Return a curve without another one that it is the sum of, among others; rounding leaves no less than nothing."""
    return tuple(max(0.0, x - y) for x, y in zip(whole, part, strict=True))


def event_from_json(values: Mapping[str, Any]) -> Event:
    """Return the event that ``as_json`` described.

    Raises:
        InputError: the kind is unknown, a field is missing or unknown, or a number is out of range.
    """
    kind = KINDS.get(str(values.get("kind")))
    if kind is None:
        raise InputError(f"unknown kind of privacy event '{values.get('kind')}'; expected one of: {', '.join(KINDS)}")
    known = {f.name for f in fields(kind)}
    given = {name: value for name, value in values.items() if name != "kind"}
    if unknown := sorted(given.keys() - known):
        raise InputError(f"a privacy event of kind '{kind.kind}' has no '{unknown[0]}'")
    arguments: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    try:
        return kind(**arguments)
    except TypeError as error:
        raise InputError(f"a privacy event of kind '{kind.kind}' is incomplete: {error}") from None
