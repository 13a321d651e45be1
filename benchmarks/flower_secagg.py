"""Secure aggregation beside Flower's SecAgg+: `python -m benchmarks.flower_secagg`.

50 clients of 146,112 parameters each return the model as they got it, so that what is timed is messages and
cryptography. Flower's SecAgg+ runs by its legacy workflow, the only one it has; FedASR's protocol by the message API.
Both have 21 shares a secret, 14 of which open it, and both run with and without, in turn in one process, servers and
clients one after another. Seconds are processor time of that process. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.secure_aggregation import CLIENTS, PARAMETERS, measured
from fedasr.flower.records import content_bytes
from fedasr.runtime.executors import Reduction
from fedasr.runtime.grid import LocalGrid

SHARES, THRESHOLD = 21, 14
OURS: dict[str, dict[str, Any]] = {
    "FedASR, plain": {},
    "FedASR, protocol, 16 bits": {"mode": "protocol", "neighbours": SHARES - 1, "threshold": THRESHOLD},
}
THEIRS = {"Flower, plain": False, "Flower, SecAgg+, 32 bits": True}


class OneProcess(LocalGrid):
    """Runs a client app in this process, and counts the bytes of its replies.

    Args:
        app: of every client.
        clients: how many there are.
    """

    def __init__(self, app: ClientApp, clients: int) -> None:
        super().__init__(None, clients)  # type: ignore[arg-type]  # no executor: `replies` runs the app itself
        self.app = app
        self.sent_bytes = 0

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Return the replies as a list; Flower's workflow reads them twice."""
        return list(super().send_and_receive(messages, timeout=timeout))

    def replies(
        self,
        messages: list[Message],
        timeout: float | None = None,
        reduction: Reduction | None = None,
        costs: Iterable[float] | None = None,
    ) -> Iterator[Message]:
        """Yield the replies."""
        for message in messages:
            message.content = own(message.content)
            context = self.context(message.metadata.dst_node_id)
            reply = self.app(message, context)
            self.states[message.metadata.dst_node_id] = context.state
            self.sent_bytes += content_bytes(reply.content)
            yield reply


def own(content: RecordDict) -> RecordDict:
    """Return content whose configs a client may change; Flower's workflow sends the same ones to all."""
    return RecordDict(
        {name: ConfigRecord(dict(part)) if isinstance(part, ConfigRecord) else part for name, part in content.items()}
    )


def flower(secure: bool, rounds: int) -> tuple[list[float], float]:
    """Return the processor seconds of each round of Flower but the first, and the bytes that a client sends."""
    from flwr.client import NumPyClient
    from flwr.client.mod import secaggplus_mod
    from flwr.common import ndarrays_to_parameters
    from flwr.server import ServerConfig
    from flwr.server.compat.legacy_context import LegacyContext
    from flwr.server.strategy import FedAvg
    from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow

    times: list[float] = []

    class Echo(NumPyClient):
        """Returns what it gets."""

        def fit(self, parameters: Any, config: Any) -> Any:
            """Return the parameters."""
            return parameters, 20, {}

    class Timed(FedAvg):
        """Notes when rounds begin."""

        def configure_fit(self, *arguments: Any, **named: Any) -> Any:
            """Note the time."""
            times.append(time.process_time())
            return super().configure_fit(*arguments, **named)

    def client(context: Context) -> Any:
        return Echo().to_client()

    weights = np.random.default_rng(0).normal(0, 0.1, PARAMETERS).astype(np.float32)
    strategy = Timed(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=CLIENTS,
        min_available_clients=CLIENTS,
        initial_parameters=ndarrays_to_parameters([weights]),
    )
    grid = OneProcess(ClientApp(client_fn=client, mods=[secaggplus_mod] if secure else []), CLIENTS)
    plain = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    context = LegacyContext(plain, ServerConfig(num_rounds=rounds), strategy)
    DefaultWorkflow(fit_workflow=SecAggPlusWorkflow(SHARES, THRESHOLD) if secure else None)(grid, context)
    times.append(time.process_time())
    assert len(times) == rounds + 1
    return [b - a for a, b in pairwise(times)][1:], grid.sent_bytes / CLIENTS / rounds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    seconds: dict[str, list[float]] = {name: [] for name in (*OURS, *THEIRS)}
    sent: dict[str, float] = {}
    for _ in range(arguments.repeats):
        for name, settings in OURS.items():
            result, sent[name] = measured(settings, arguments.rounds, echo=True)
            seconds[name] += result
        for name, secure in THEIRS.items():
            result, sent[name] = flower(secure, arguments.rounds)
            seconds[name] += result
    print("| | bytes a client sends | ÷ float32's | processor seconds a round |")
    print("|---|---|---|---|")
    for name, values in seconds.items():
        middle = f"{median(values):.3f} ({min(values):.3f}–{max(values):.3f})"
        print(f"| {name} | {sent[name]:,.0f} | {sent[name] / (4 * PARAMETERS):.2f} | {middle} |")
    (plain, secured), (theirs, their_secured) = ([median(seconds[name]) for name in part] for part in (OURS, THEIRS))
    print(f"\nWhat secure aggregation adds a round: FedASR {secured - plain:.2f} s, ", end="")
    print(f"Flower {their_secured - theirs:.2f} s; ratio {(secured - plain) / (their_secured - theirs):.2f}.")


if __name__ == "__main__":
    main()
