"""A client's part of the protocol: advertise keys, share secrets, mask what is sent, open what may be opened.

Each step is taken once, in this order; a second answer to the same question is what an attack needs. What a client
keeps between two messages is its ``state``.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from fedasr.secure.identity import Directory, Signer
from fedasr.secure.keys import PublicKeys, confirmation
from fedasr.secure.listing import Shown, circle_of
from fedasr.secure.modulus import Residues, kind_of
from fedasr.secure.primitives import (
    KEY_BYTES,
    SEALED_BYTES,
    SECRET_BYTES,
    agreed,
    derived,
    mask,
    private_key,
    public_bytes,
    seal,
    split,
    unseal,
)
from fedasr.secure.terms import Aborted, Terms

ADVERTISED, SHARED, MASKED, OPENED = range(4)
STEPS = ("advertise its keys", "share its secrets", "send its masked update", "open shares")
HEAD = struct.Struct(f"<BII{KEY_BYTES}s{2 * SECRET_BYTES}s{KEY_BYTES}s")
ROW = struct.Struct(f"<Q{KEY_BYTES}s{KEY_BYTES}s")


def place_of(terms: Terms, *parts: object) -> bytes:
    """Return for what in a round a key is."""
    return b"/".join([terms.run, *(str(part).encode() for part in (terms.round, *parts))])


def pair_mask(terms: Terms, shared: bytes, one: int, other: int) -> Residues:
    """Return the mask that two clients agree on; the one with the lower number adds it, the other takes it off."""
    key = derived(shared, b"mask of two", place_of(terms, *sorted((one, other))))
    return mask(key, terms.length, terms.bits)


def self_mask(terms: Terms, secret: bytes, client: int) -> Residues:
    """Return the mask that a client adds by itself."""
    return mask(derived(secret, b"mask of one", place_of(terms, client)), terms.length, terms.bits)


def sealing_key(terms: Terms, shared: bytes, owner: int, holder: int) -> bytes:
    """Return the key under which the holder gets the owner's shares."""
    return derived(shared, b"shares", place_of(terms, owner, holder))


def share_of(pair: bytes, of_mask: bool) -> bytes:
    """Return one share of a pair: of the masking key's secret, or of the secret of the mask of one."""
    return pair[:SECRET_BYTES] if of_mask else pair[SECRET_BYTES:]


@dataclass
class Client:
    """A client in a round.

    Attributes:
        terms: of the round.
        me: the number of the client.
        root: 32 secret bytes, from which its keys and secrets of the round follow.
        done: the last step that was taken.
        needed: how many shares open a secret.
        enough: how many of the client and those that it shares masks with are in the sum at least.
        own: its own shares of its own secrets.
        listed: digest of the list of keys that it was sent.
        others: with whom it shares masks → their keys for masks and for shares.
    """

    terms: Terms
    me: int
    root: bytes = field(repr=False, default_factory=lambda: secrets.token_bytes(KEY_BYTES))
    done: int = ADVERTISED
    needed: int = 0
    enough: int = 0
    own: bytes = field(repr=False, default=bytes(2 * SECRET_BYTES))
    listed: bytes = bytes(KEY_BYTES)
    others: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    def secret(self, purpose: bytes) -> bytes:
        """Return one of the client's secrets."""
        return derived(self.root, purpose, length=SECRET_BYTES)

    @property
    def masking_secret(self) -> bytes:
        """The secret of its key for masks, which is shared."""
        return self.secret(b"masking")

    @property
    def self_secret(self) -> bytes:
        """The secret of the mask that it adds by itself, which is shared."""
        return self.secret(b"self")

    def advertise(self, signer: Signer) -> PublicKeys:
        """Return the client's public keys, signed."""
        masking = public_bytes(private_key(self.masking_secret))
        sealing = public_bytes(private_key(self.secret(b"sealing")))
        return PublicKeys.signed(self.terms.run, self.terms.round, self.me, masking, sealing, signer)

    def share(self, shown: Shown, directory: Directory) -> bytes:
        """Return shares of the client's secrets for its neighbours, in their order, sealed for each.

        Args:
            shown: the keys of the client and its neighbours, as the server passes them on.
            directory: says whose they are.

        Raises:
            Aborted: a key is not that of whom it is said to be, or of the list, or there are too few.
            ValueError: the list is damaged.
        """
        self.take(SHARED)
        circle = circle_of(shown, self.me, self.terms.neighbours)
        if circle.own.masking != public_bytes(private_key(self.masking_secret)):
            raise Aborted("the server's list of keys does not hold what this client has advertised")
        self.needed = self.terms.needed(circle.clients)
        if circle.clients < self.terms.least:  # shares of noise would be too small
            raise Aborted(f"{circle.clients} clients have advertised keys, a sum is of at least {self.terms.least}")
        self.listed = circle.digest
        everybody = len(circle.neighbours) + 1 == circle.clients
        self.enough = max(self.needed, self.terms.floor, self.terms.least if everybody else 0)
        for keys in circle.neighbours:
            if not keys.verified(self.terms.run, self.terms.round, directory):
                raise Aborted(f"the keys of client {keys.client} are not signed by it")
        self.others = {keys.client: (keys.masking, keys.sealing) for keys in circle.neighbours}
        holders = sorted((*self.others, self.me))
        pairs = [
            one + two
            for one, two in zip(
                split(self.masking_secret, self.needed, len(holders)),
                split(self.self_secret, self.needed, len(holders)),
                strict=True,
            )
        ]
        content, sealing = [], private_key(self.secret(b"sealing"))
        for holder, pair in zip(holders, pairs, strict=True):
            if holder == self.me:
                self.own = pair
            else:
                shared = agreed(sealing, self.others[holder][1])
                content.append(seal(sealing_key(self.terms, shared, self.me, holder), pair))
        return b"".join(content)

    def confirm(self, signer: Signer) -> bytes:
        """Return the client's signature of the list of keys that it was sent.

        Without it a server could bring keys of another time, whose secrets were opened then, and a list of its own to
        each client.
        """
        return signer.sign(confirmation(self.terms.run, self.terms.round, self.me, self.listed))

    def mask(self, values: Residues, sharers: Mapping[int, bytes], directory: Directory) -> Residues:
        """Return what the client sends, plus its masks, modulo 2ᵇ.

        Args:
            values: modulo 2ᵇ, shape ``(length,)``.
            sharers: who of the client and its neighbours has shared secrets, and its ``confirm``; with those that have
                not no mask would come off again. Others are ignored.
            directory: says whose signatures they are.

        Raises:
            Aborted: there are too few of them among the neighbours, one was sent another list of keys, or the client
                has sent something before.
        """
        self.take(MASKED)
        self.others = {other: keys for other, keys in self.others.items() if other in sharers}
        for other in self.others:
            statement = confirmation(self.terms.run, self.terms.round, other, self.listed)
            if not directory.verifies(other, statement, sharers[other]):
                raise Aborted(f"client {other} has not confirmed the list of keys that this client was sent")
        if self.me not in sharers or len(self.others) + 1 < self.enough:
            raise Aborted(f"{len(self.others) + 1} of its neighbours have shared secrets, {self.enough} are needed")
        key, total = private_key(self.masking_secret), values.astype(kind_of(self.terms.bits))
        total += self_mask(self.terms, self.self_secret, self.me)
        for other, (masking, _) in self.others.items():
            drawn = pair_mask(self.terms, agreed(key, masking), self.me, other)
            if self.me < other:
                total += drawn
            else:
                total -= drawn
        total &= total.dtype.type((1 << self.terms.bits) - 1)
        return total

    def open(self, living: Collection[int], dead: Collection[int], sealed: Mapping[int, bytes]) -> bytes:
        """Return shares: of the masks of one of who is in the sum, of the keys for masks of who is not.

        In the order of living and dead together, ascending.

        Args:
            living: who of the client and its neighbours has sent a masked update.
            dead: who of them has not.
            sealed: of each of them but the client itself, what it has sealed for the client.

        Raises:
            Aborted: somebody is in both lists, or in neither, or too few are living; nothing was opened.
            ValueError: sealed shares were changed.
        """
        self.take(OPENED)
        known, told = {*self.others, self.me}, {*living, *dead}
        both = sorted({*living} & {*dead})
        if both:
            raise Aborted(f"client {both[0]} is said to be both in the sum and not in it: its update would be opened")
        if told != known or self.me not in living:
            raise Aborted("the server's lists are not of this client and those that it shares masks with")
        if len(living) < self.enough:
            raise Aborted(f"{len(living)} of its neighbours are in the sum, {self.enough} are needed")
        key, content = private_key(self.secret(b"sealing")), []
        for other in sorted(known):
            if other == self.me:
                pair = self.own
            else:
                shared = agreed(key, self.others[other][1])
                pair = unseal(sealing_key(self.terms, shared, other, self.me), sealed.get(other, bytes(SEALED_BYTES)))
            content.append(share_of(pair, of_mask=other in dead))
        return b"".join(content)

    def take(self, step: int) -> None:
        """Take the next step, whatever comes of it.

        Raises:
            Aborted: it was taken before, or one before it was not.
        """
        if self.done != step - 1:
            raise Aborted(f"the server asks it to {STEPS[step]}, and it has last been asked to {STEPS[self.done]}")
        self.done = step

    def state(self) -> bytes:
        """Return what the client keeps between two messages."""
        rows = b"".join(ROW.pack(other, *keys) for other, keys in self.others.items())
        return HEAD.pack(self.done, self.needed, self.enough, self.root, self.own, self.listed) + rows

    @classmethod
    def from_state(cls, terms: Terms, me: int, state: bytes) -> Client:
        """Return the client as it was."""
        done, needed, enough, root, own, listed = HEAD.unpack_from(state)
        others = {row[0]: (row[1], row[2]) for row in ROW.iter_unpack(state[HEAD.size :])}
        return cls(terms, me, root, done, needed, enough, own, listed, others)
