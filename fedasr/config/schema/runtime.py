"""Keys of section ``runtime``."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import when
from fedasr.config.schema.keys import key


@dataclass
class RuntimeConfig:
    """Where the clients run."""

    name: str = key(
        "local",
        "local: our grid with workers on this machine; ray: the same with Ray actors, on a cluster, see `docs/ray.md`;"
        " flower: Flower's engine on Ray; deployment: edge devices, by `flwr run`, see `docs/edge.md`",
        choices=("local", "ray", "flower", "deployment"),
    )
    executor: str = key(
        "pool",
        "serial: this process; pool: persistent workers; debug: serial, and a failing client raises with its inputs",
        choices=("serial", "pool", "debug"),
    )
    workers: int = key(0, "processes of `pool`, actors of `ray` (Flower: clients at a time); 0: one per core", low=0)
    longest_first: bool = key(True, "start the clients with the most audio first, so that no worker waits at the end")
    device: str = key("cpu", "where clients train", choices=("cpu", "cuda", "auto"))
    ray_address: str | None = key(
        None,
        "`ray`: cluster to run on, as host:port, or `auto` for that of this node; absent: one of this machine",
        when=when(".name", "ray", refused=True),
    )
    gpus_per_client: float = key(
        0.0,
        "`ray` on a GPU: part of one that each worker is given, such as 0.25 for four on a GPU",
        low=0,
        when=when(".name", "ray", refused=True),
    )
    reply_timeout_s: float = key(
        600.0,
        "`deployment`: seconds after which a device that has not answered counts as failed; also how long the start"
        " waits for `data.clients` edge devices",
        low=1,
        when=when(".name", "deployment"),
    )
