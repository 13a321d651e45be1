"""Updates as whole numbers modulo 2ᵇ, and the mean update of their sum."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.config.schema import Config
from fedasr.errors import InputError
from fedasr.hadamard import hadamard
from fedasr.models.weights import Vector
from fedasr.privacy.events import Skellam
from fedasr.privacy.randomness import Randomness
from fedasr.privacy.skellam import conditional_rounding, integer_scale, skellam, square_bound
from fedasr.secure.modulus import Residues, centred, wrapped
from fedasr.secure.terms import least_updates
from fedasr.typing import Floats, Integers

SHORTEST = 16
"""The last block is at least so many times shorter than the first, or longer."""
FRACTION_BITS = 16
"""Of numbers that are rounded at random."""
LARGEST_SUM_BITS = 62
"""Sums of counts have fewer."""


class Counts(NamedTuple):
    """What is summed beside the updates, whole numbers: all that a server needs to know, of all clients together."""

    weight: int = 0
    examples: int = 0
    """utterances that the clients store"""
    milliseconds: int = 0
    """of audio"""
    heard: int = 0
    """utterances of those that tell a loss"""
    loss: int = 0
    """loss of those, in thousandths of a nat a token, times their utterances"""
    cut: int = 0
    """entries of updates that were beyond ± ``secure_aggregation.clip``"""


class Coder(Protocol):
    """Makes whole numbers of an update."""

    bits: int
    length: int
    """how many numbers an update becomes"""

    def encode(self, update: Vector, counts: Counts, round: int, client: int) -> Residues:
        """Return an update modulo 2ᵇ, shape ``(length,)``.

        Args:
            update: finite, shape ``(parameters,)``.
            counts: of the client.
            round: counted from 1.
            client: its number.
        """
        ...

    def decode(self, total: Residues, updates: int, round: int) -> tuple[Vector, Counts]:
        """Return the mean update, shape ``(parameters,)``, and the sums of the counts.

        Args:
            total: the sum of so many encoded updates, modulo 2ᵇ.
            updates: how many.
            round: of which.
        """
        ...


class RangeCoder:
    """Each entry becomes a whole number of at most ±levels, rounded up or down at random, so that the mean is right.

    Updates are multiplied with their weights before. Counts are cut into digits so small that sums of them do not wrap
    around, and so are exact.

    Args:
        parameters: length of an update.
        bits: of the modulus.
        clip: an entry beyond ± it is cut.
        clients: how many are summed, at most.
        largest: weight of a client, at most.
        seed: of the run: rounding is no secret.
    """

    def __init__(self, parameters: int, bits: int, clip: float, clients: int, largest: int, seed: int) -> None:
        self.parameters, self.bits, self.clip, self.largest, self.seed = parameters, bits, clip, max(1, largest), seed
        self.levels, self.digit_bits = levels_of(bits, max(2, clients)), bits - clients.bit_length()
        self.digits = -(-LARGEST_SUM_BITS // self.digit_bits)
        self.length = parameters + self.digits * len(Counts._fields)

    def encode(self, update: Vector, counts: Counts, round: int, client: int) -> Residues:
        """Return an update modulo 2ᵇ; as ``Coder.encode``."""
        rng = seeds.generator(self.seed, "secure-rounding", round, client)
        cut = int(np.count_nonzero(np.abs(update) > self.clip))
        counts = counts._replace(weight=min(counts.weight, self.largest), cut=cut)
        whole = np.empty(self.length, np.int64 if self.bits > 16 else np.int32)
        whole[: self.parameters] = self.rounded(update, counts.weight / self.largest, rng)
        whole[self.parameters :] = self.cut(counts)
        return wrapped(whole, self.bits)

    def rounded(self, update: Vector, weight: float, rng: np.random.Generator) -> npt.NDArray[Any]:
        """Return the entries of an update, times its weight, rounded up or down at random."""
        factor = self.levels / self.clip * weight
        if self.bits > 16:
            scaled = np.clip(update, -self.clip, self.clip, dtype=np.float64) * factor
            scaled += rng.random(self.parameters)
            whole: npt.NDArray[Any] = np.clip(np.floor(scaled), -self.levels, self.levels).astype(np.int64)
            return whole
        # Up to 16 bits there is room for as many behind the point: whole numbers alone, several times as quick.
        fixed = np.clip(update, -self.clip, self.clip, dtype=np.float32)
        fixed *= np.float32(factor * (1 << FRACTION_BITS))
        # Single precision may lead a little beyond the levels, and the sum of a whole cohort would wrap around.
        largest = np.float32(self.levels << FRACTION_BITS)
        np.clip(fixed, -largest, largest, out=fixed)
        result: npt.NDArray[Any] = fixed.astype(np.int32)
        result += np.frombuffer(rng.bytes(2 * self.parameters), "<u2")
        result >>= FRACTION_BITS
        return result

    def decode(self, total: Residues, updates: int, round: int) -> tuple[Vector, Counts]:
        """Return the mean update, weighted, and the sums of the counts; as ``Coder.decode``."""
        counts = self.joined(total[self.parameters :])
        if not counts.weight:
            return np.zeros(self.parameters, np.float32), counts
        scale = self.clip / self.levels * self.largest / counts.weight
        mean = centred(total[: self.parameters], self.bits) * scale
        return mean.astype(np.float32), counts

    def cut(self, counts: Counts) -> list[int]:
        """Return the digits of counts, the lowest first."""
        low = (1 << self.digit_bits) - 1
        most = (1 << (self.digit_bits * self.digits)) - 1
        shifts = [self.digit_bits * place for place in range(self.digits)]
        return [(min(count, most) >> shift) & low for count in counts for shift in shifts]

    def joined(self, sums: Residues) -> Counts:
        """Return the counts whose digits add up to ``sums``."""
        values = [int(value) for value in sums]
        parts = [values[start : start + self.digits] for start in range(0, len(values), self.digits)]
        return Counts(*(sum(digit << (self.digit_bits * place) for place, digit in enumerate(part)) for part in parts))


class ShareCoder:
    """Distributed DP: a clipped update, rotated and rounded to whole numbers, with the client's share of the noise.

    The rotation by random signs and a Walsh–Hadamard transform spreads an update over all entries, so that few bits
    hold the sum. It is the same for all clients of a round, and no secret.

    Args:
        config: with ``privacy.noise_at: shares``.
        parameters: length of an update.
    """

    def __init__(self, config: Config, parameters: int) -> None:
        self.parameters, self.bits = parameters, config.secure_aggregation.bits
        assert config.privacy.noise_multiplier is not None
        self.plan = SharePlan.of(config, parameters, config.privacy.noise_multiplier)
        self.length = self.plan.dimensions
        self.seed, self.secret = config.seed, config.privacy.secret_noise

    def encode(self, update: Vector, counts: Counts, round: int, client: int) -> Residues:
        """Return an update, clipped already, with noise, modulo 2ᵇ; as ``Coder.encode``.

        Raises:
            ValueError: it is longer than the clip norm, and no rounding would make it as short as the account says.
        """
        padded = np.zeros(self.length)
        padded[: self.parameters] = update
        padded *= self.signs(round)
        self.transform(padded)
        padded *= self.plan.scale
        if not float(np.dot(padded, padded)) <= self.plan.scaled_clip**2:
            raise ValueError("the update is longer than 'privacy.clip_norm'; it was not clipped")
        source = Randomness.of(self.secret, self.seed)
        rng = source.generator("noise-share, rounding", round, client)
        whole = conditional_rounding(padded, square_bound(self.plan.scaled_clip, self.length), rng)
        whole += self.share(source, round, client)
        return wrapped(whole, self.bits)

    def share(self, source: Randomness, round: int, client: int) -> Integers:
        """Return a client's share of the noise."""
        return skellam(source.generator("noise-share", round, client), self.plan.share_variance, self.length)

    def decode(self, total: Residues, updates: int, round: int) -> tuple[Vector, Counts]:
        """Return the mean update, every client counting once; as ``Coder.decode``."""
        mean = centred(total, self.bits) / (self.plan.scale * max(1, updates))
        self.transform(mean)
        mean *= self.signs(round)
        return mean[: self.parameters].astype(np.float32), Counts(weight=updates)

    def signs(self, round: int) -> Floats:
        """Return the random signs of a round, ±1."""
        drawn = seeds.generator(self.seed, "secure-rotation", round).bytes((self.length + 7) // 8)
        bits = np.unpackbits(np.frombuffer(drawn, np.uint8), count=self.length).astype(np.float64)
        return 2 * bits - 1

    def transform(self, padded: Floats) -> None:
        """Rotate blocks in place."""
        place = 0
        for width in self.plan.widths:
            padded[place : place + width] = hadamard(padded[place : place + width].reshape(1, width))[0]
            place += width


class SharePlan(NamedTuple):
    """The numbers of distributed DP."""

    widths: tuple[int, ...]
    """entries that are rotated together, powers of two"""
    scale: float
    """whole numbers in a unit of the update"""
    scaled_clip: float
    """whole numbers in the clip norm"""
    share_variance: float
    """of a client's share of the noise, in whole numbers squared"""

    @property
    def dimensions(self) -> int:
        """How many numbers an update becomes."""
        return sum(self.widths)

    @classmethod
    def of(cls, config: Config, parameters: int, noise_multiplier: float) -> SharePlan:
        """Return the numbers of a config.

        Raises:
            InputError: the bits cannot hold the sum.
        """
        privacy = config.privacy
        widths = block_widths(parameters)
        # As much noise as the account says must be there when only the least number of shares is.
        deviation = noise_multiplier * privacy.clip_norm / math.sqrt(least_updates(config))
        clients = config.selection.clients_per_round
        # The shortest block has the largest entries, should an update have nothing elsewhere.
        scale = integer_scale(config.secure_aggregation.bits, clients, min(widths), privacy.clip_norm, deviation)
        return cls(widths, scale, scale * privacy.clip_norm, (scale * deviation) ** 2)


def block_widths(parameters: int) -> tuple[int, ...]:
    """Return powers of two that hold so many entries: the largest that fits, and another for what is left.

    A short block would have to have room for large entries, and all others with it.
    """
    first = 1 << max(0, parameters.bit_length() - 1)
    rest = parameters - first
    if rest <= 0:
        return (first,)
    last = max(1 << (rest - 1).bit_length(), first // SHORTEST)
    return (2 * first,) if last == first else (first, last)


def levels_of(bits: int, clients: int) -> int:
    """Return the largest whole number of an entry, so that a sum of so many does not wrap around.

    Raises:
        InputError: the bits hold no such sum.
    """
    levels = ((1 << (bits - 1)) - 1) // clients
    if levels < 1 or bits <= clients.bit_length():
        raise InputError(
            f"'secure_aggregation.bits' is {bits}, which cannot hold a sum of {clients} clients; set at least"
            f" {clients.bit_length() + 2}"
        )
    return levels


def make_coder(config: Config, parameters: int, clients: int, largest: int) -> RangeCoder | ShareCoder:
    """Return the coder of a round.

    Args:
        config: of the run.
        parameters: length of an update.
        clients: how many were asked, at most.
        largest: weight of a client, at most.

    Raises:
        InputError: the bits cannot hold the sum.
    """
    secure = config.secure_aggregation
    if config.privacy.unit == "user" and config.privacy.noise_at == "shares":
        return ShareCoder(config, parameters)
    return RangeCoder(parameters, secure.bits, secure.clip, clients, largest, config.seed)


def skellam_event(config: Config, parameters: int, noise_multiplier: float | None = None) -> Skellam:
    """Return what one participation costs in a run whose noise comes in shares.

    Args:
        config: of the run.
        parameters: length of an update.
        noise_multiplier: None: that of the config.

    Raises:
        InputError: the bits cannot hold the sum.
    """
    noise = config.privacy.noise_multiplier if noise_multiplier is None else noise_multiplier
    assert noise is not None
    plan = SharePlan.of(config, parameters, noise)
    return Skellam(
        unit="user",
        adjacency="zero-out",
        noise_multiplier=noise,
        dimensions=plan.dimensions,
        scaled_clip=plan.scaled_clip,
    )
