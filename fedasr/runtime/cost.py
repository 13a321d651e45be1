"""Bytes, seconds and money of a planned run, and where a single server ends; see ``docs/cost.md``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from flwr.app import Context, Message, RecordDict, UserConfig

from fedasr.codecs.checks import check_compression
from fedasr.config import Config
from fedasr.data.fleet import Fleet
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.flower.messages import RUN_ID, assume_identity
from fedasr.models.weights import Layout
from fedasr.protocol import Key
from fedasr.references import load_reference
from fedasr.runtime.launch import settle
from fedasr.secure.checks import check_secure_aggregation

PLAN_RUN = "fedasr.strategies.cost:plan_run"
PRETENDED = "fedasr.clients.pretended:app"
MOST_ROUNDS = 100
"""Rounds that are planned one by one; the others are taken to be like them."""
COHORTS = tuple(10**power for power in range(2, 9))
TO_BITS = 8e-6
"""Megabits of a byte."""
GIGABYTE = 1e9
DEFAULT_UTTERANCES, DEFAULT_SECONDS = 100, 300.0
"""What an edge device is taken to hold of which nothing is known."""


@dataclass(frozen=True)
class Means:
    """What a fleet is planned with, beside the config.

    Attributes:
        devices: in the fleet; None: the config's clients.
        utterances: that each stores, and
        seconds: of audio; None: what the config's clients do, one after the other, over and over.
        update_norm: L2 norm of an update, on which the size of some codecs depends.
        server_mbps: of the server's link, each way.
        price_per_gb: that devices pay, for what they send and are sent.
        server_price_per_gb: of what the server sends.
        server_price_per_hour: of the server itself.
    """

    devices: int | None = None
    utterances: int | None = None
    seconds: float | None = None
    update_norm: float = 1.0
    server_mbps: float = 1000.0
    price_per_gb: float = 0.0
    server_price_per_gb: float = 0.0
    server_price_per_hour: float = 0.0


def cost(config: Config, means: Means | None = None) -> dict[str, Any]:
    """Return what a run of a config would cost, as ``fedasr cost --json`` prints it.

    Args:
        config: a checked one.
        means: what the fleet is planned with.

    Raises:
        InputError: the config is wrong, or its messages are not planned.
    """
    means = Means() if means is None else means
    if config.rounds < 1:
        raise InputError("'rounds' is 0: there is nothing to plan")
    assume_identity()
    fleet = planned_fleet(config, means)
    config = settle(config, fleet)
    run = Experiment(config, fleet)
    check(run)
    rounds = min(config.rounds, MOST_ROUNDS)
    plan_run = load_reference(PLAN_RUN)
    planned = plan_run(run, Experiment(timed(config), fleet), rounds, answering(means, run), means.update_norm)
    table = [asdict(row) for row in planned.rounds]
    whole = config.rounds / rounds
    up, down, seconds, asked = (
        whole * sum(row[name] for row in table)
        for name in ("bytes_up", "bytes_down", "simulated_seconds", "clients_selected")
    )
    cohort = config.selection.clients_per_round
    client_up, client_down = planned.client_bytes(min(cohort, planned.largest or cohort))
    return {
        "name": config.name,
        "parameters": planned.parameters,
        "clients": planned.clients,
        "clients_per_round": cohort,
        "compression": config.compression.up,
        "compression_down": config.compression.down,
        "secure_aggregation": config.secure_aggregation.mode,
        "privacy": config.privacy.unit,
        "rounds": config.rounds,
        "planned_rounds": rounds,
        "bytes": {
            "up": round(up),
            "down": round(down),
            "client_up": client_up,
            "client_down": client_down,
            "device_over_run": (up + down) / planned.clients,
            "estimated": planned.depends or rounds < config.rounds,
        },
        "seconds": {"run": seconds, "round": seconds / config.rounds},
        "turns": {"run": round(asked), "device": asked / planned.clients},
        "money": money(means, up, down, seconds),
        "server": server_link(planned, seconds / config.rounds, means.server_mbps),
        "table": table,
    }


def planned_fleet(config: Config, means: Means) -> Fleet | None:
    """Return the devices of a planned fleet; None: the config's clients.

    Raises:
        InputError: they could not store what the config says.
    """
    deployed = config.runtime.name == "deployment"
    if not deployed and means.devices is means.utterances is means.seconds is None:
        return None
    if config.stream.arrival != "static":
        raise InputError(
            f"'stream.arrival' is '{config.stream.arrival}', whose speech is that of the config's clients; leave"
            " --devices, --utterances and --audio-seconds out"
        )
    if deployed:
        devices = means.devices or config.data.clients or config.selection.clients_per_round
        utterances = np.full(devices, DEFAULT_UTTERANCES, np.int64)
        seconds = np.full(devices, DEFAULT_SECONDS)
    else:
        roster = Experiment(config).roster()
        devices = means.devices or len(roster)
        utterances, seconds = np.resize(roster.utterances, devices), np.resize(roster.seconds, devices)
    if means.utterances is not None:
        utterances = np.full(devices, means.utterances, np.int64)
    if means.seconds is not None:
        seconds = np.full(devices, means.seconds)
    return Fleet(tuple(f"device {number}" for number in range(devices)), utterances, seconds)


def check(run: Experiment) -> None:
    """Raise where the run itself would be refused for what it sends.

    Raises:
        InputError: naming the key.
    """
    layout = Layout.of(run.first_weights())
    if not len(run.partition):
        raise InputError("the partition has no clients; lower 'data.partition.min_utterances'")
    check_compression(run.config, layout)
    check_secure_aggregation(run.config, layout, len(run.partition))


def timed(config: Config) -> Config:
    """Return a config with the virtual clock: that of the run, or one of the default devices."""
    return replace(config, devices=replace(config.devices, clock=True))


def answering(means: Means, run: Experiment) -> Callable[[Message, float], Message]:
    """Return what makes the reply of a client that pretends to train, by how long its update is."""
    app = load_reference(PRETENDED)
    stored = run.roster().utterances
    utterances = max(1, int(np.median(stored)))

    def answer(message: Message, length: float) -> Message:
        node = message.metadata.dst_node_id
        known: UserConfig = {Key.PARTITION: node, "update-norm": length * means.update_norm, "utterances": utterances}
        reply: Message = app(message, Context(RUN_ID, node, known, RecordDict(), {}))
        return reply

    return answer


def money(means: Means, up: float, down: float, seconds: float) -> dict[str, float]:
    """Return what a run costs, in the currency of the prices."""
    parts = {
        "devices": means.price_per_gb * (up + down) / GIGABYTE,
        "server_traffic": means.server_price_per_gb * down / GIGABYTE,
        "server_hours": means.server_price_per_hour * seconds / 3600,
    }
    return {**parts, "total": sum(parts.values())}


def server_link(planned: Any, seconds: float, mbps: float) -> dict[str, Any]:
    """Return from which cohort on a single server's link is what a round waits for, and what workers do then.

    Args:
        planned: the run.
        seconds: of a round, by the devices' own pace.
        mbps: of the link of the server, and of each worker, each way.
    """

    def busy(cohort: int) -> float:
        """Seconds of the link in the busier direction."""
        seconds: float = cohort * max(planned.client_bytes(cohort)) * TO_BITS / mbps
        return seconds

    most = planned.largest
    full = fills_up(busy, seconds, most)
    fan = None if planned.sum_bytes is None else math.floor(seconds * mbps / (TO_BITS * planned.sum_bytes))
    rows = [
        {"clients_per_round": cohort, **shared(cohort, busy(cohort), seconds, fan)}
        for cohort in COHORTS
        if most is None or cohort <= most
    ]
    return {
        "mbps": mbps,
        "round_seconds": seconds,
        "fills_up_at": full,
        "largest_cohort": most,
        "sums_a_server_takes_in": fan,
        "cohorts": rows,
    }


def fills_up(busy: Callable[[int], float], seconds: float, most: int | None) -> int | None:
    """Return the smallest cohort whose traffic takes a single server as long as the round; None: none that can be."""
    high = 2  # of one client there is no sum
    while busy(high) < seconds:
        if most is not None and high >= most:
            return None
        high = 2 * high if most is None else min(2 * high, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if busy(middle) < seconds else (low, middle)
    return high


def shared(cohort: int, busy: float, seconds: float, fan: int | None) -> dict[str, Any]:
    """Return how a cohort is served by one server, and by workers that add up before it.

    Args:
        cohort: clients of a round.
        busy: seconds of a single link.
        seconds: of a round by the devices' own pace.
        fan: how many sums of workers a server takes in while a round lasts; None: it needs single updates.
    """
    workers = max(1, math.ceil(busy / seconds))
    levels: int | None = None
    if workers == 1:
        levels = 0
    elif fan is not None and fan > 1:
        levels = 1
        while fan**levels < workers:
            levels += 1
    return {
        "seconds_one_server": max(busy, seconds),
        "workers": None if levels is None else workers,
        "levels": levels,
    }
