"""Control variates of SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378): a client corrects its own drift.

From the global weights x a client takes K steps y ← y − η·(gᵢ(y) − cᵢ + c), where c, the server's, is the mean of the
clients' cᵢ. Then cᵢ becomes cᵢ − c + (x − y)/(K·η), the mean of the gradients gᵢ that it has seen (option II), and it
sends the change.

cᵢ lies in the client's state, which is kept when the reply leaves, and only then: a client that fails, is late, or
drops out by the virtual clock has the cᵢ that the server's c counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from flwr.app import ArrayRecord, Context, Message

from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.flower.records import array_record, arrays_of, numpy_arrays
from fedasr.models.weights import Arrays, Layout, Vector
from fedasr.privacy.onlookers import noise_place
from fedasr.protocol import LARGEST_CHANGE, SERVER, Record


def renewed(own: Vector, server: Vector, start: Vector, trained: Vector, travelled: float) -> Vector:
    """Return a client's next cᵢ, shape ``(parameters,)``.

    Args:
        own: its cᵢ.
        server: c.
        start: the weights x that it started from.
        trained: the weights y that it ended at.
        travelled: K·η, the sum of the learning rates of its steps; 0: there were none, and nothing changes.
    """
    if not travelled:
        return own
    with np.errstate(over="ignore", invalid="ignore"):
        seen = (start.astype(np.float64) - trained) / travelled
        return np.asarray(own - server.astype(np.float64) + seen, np.float32)


@dataclass(frozen=True)
class ControlVariate:
    """The control variates of a client at work on a message; vectors of shape ``(parameters,)``."""

    context: Context
    layout: Layout
    start: Vector
    """x"""
    server: Vector
    """c"""
    own: Vector
    """cᵢ"""

    @property
    def correction(self) -> Vector:
        """What is added to the gradient of each step."""
        return self.server - self.own

    def renew(self, arrays: Arrays, steps: int, learning_rate: float) -> ArrayRecord:
        """Keep the client's next cᵢ and return its change, which the server adds up.

        Args:
            arrays: the trained weights.
            steps: how many led there, K.
            learning_rate: of each, η.

        Raises:
            ValueError: the update or the change is nothing that a server takes; the client keeps what it had.
        """
        trained = self.layout.flatten(arrays, np.empty(self.layout.size, np.float32))
        own = renewed(self.own, self.server, self.start, trained, steps * learning_rate)
        with np.errstate(over="ignore", invalid="ignore"):
            change = own - self.own
            largest = max(np.abs(change).max(), np.abs(trained - self.start).max())
        if not largest <= LARGEST_CHANGE:  # nor if it is no number
            raise ValueError(
                f"the update changes a parameter or its control variate by {largest:.3g}; a server sums changes up to"
                f" {LARGEST_CHANGE:g} (is 'client.learning_rate' too high?)"
            )
        # The very sum of what was sent: c would drift away from the mean of the cᵢ otherwise.
        self.context.state[Record.CONTROL] = array_record(self.layout.views(self.own + change))
        return array_record(self.layout.views(change))


def control_variate(message: Message, context: Context, config: Config) -> ControlVariate | None:
    """Return the control variates that a message asks for; None: it asks for none.

    Raises:
        InputError: it asks for what would tell of speech that a private run protects.
    """
    if Record.CONTROL not in message.content:
        return None
    if noise_place(config) != "none" or config.secure_aggregation.mode != "none":
        raise InputError(
            "asks for the change of a control variate, which neither noise nor masks protect; nothing was told",
            where=SERVER,
        )
    arrays = arrays_of(message)
    layout = Layout.of(arrays)

    def flat(some: Arrays) -> Vector:
        return layout.flatten(some, np.empty(layout.size, np.float32))

    kept = context.state.get(Record.CONTROL)
    own = np.zeros(layout.size, np.float32) if kept is None else flat(numpy_arrays(cast(ArrayRecord, kept)))
    return ControlVariate(context, layout, flat(arrays), flat(arrays_of(message, Record.CONTROL)), own)
