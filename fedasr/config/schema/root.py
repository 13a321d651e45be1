"""The whole config, and a walk over its keys."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from fedasr.config.schema.attack import AttackConfig
from fedasr.config.schema.client import ClientConfig
from fedasr.config.schema.data import DataConfig
from fedasr.config.schema.devices import DevicesConfig
from fedasr.config.schema.evaluate import EvaluateConfig
from fedasr.config.schema.keys import key, part, section
from fedasr.config.schema.model import ModelConfig
from fedasr.config.schema.pate import PateConfig
from fedasr.config.schema.privacy import PrivacyConfig
from fedasr.config.schema.runtime import RuntimeConfig
from fedasr.config.schema.selection import SelectionConfig
from fedasr.config.schema.strategy import StrategyConfig
from fedasr.config.schema.stream import StreamConfig


@dataclass
class Config:
    """A run."""

    name: str = key("run", "name of the run")
    seed: int = key(0, "every random draw is a pure function of it", low=0)
    rounds: int = key(10, "rounds of federated training", low=0)
    init_from: str | None = key(None, "a run folder or a weights file to start from")
    data: DataConfig = part(DataConfig, "the speech and who holds it")
    model: ModelConfig = part(ModelConfig, "the recogniser")
    client: ClientConfig = part(ClientConfig, "local training")
    strategy: StrategyConfig = part(StrategyConfig, "what the server does with the updates")
    selection: SelectionConfig = part(SelectionConfig, "which devices take part in a round")
    stream: StreamConfig = part(StreamConfig, "the continual setting: speech that comes over time")
    devices: DevicesConfig = part(DevicesConfig, "real devices, simulated")
    privacy: PrivacyConfig = part(PrivacyConfig, "differential privacy")
    pate: PateConfig = part(PateConfig, "strategy `pate`: teachers, votes, public speech and the student")
    attack: AttackConfig = part(AttackConfig, "Byzantine clients, simulated")
    evaluate: EvaluateConfig = part(EvaluateConfig, "evaluation")
    runtime: RuntimeConfig = part(RuntimeConfig, "where the clients run")


def walk(schema: type = Config, prefix: str = "") -> list[tuple[str, Any]]:
    """Return ``(dotted key, dataclass field)`` for every leaf of the schema, in order."""
    rows: list[tuple[str, Any]] = []
    for item in fields(schema):
        sub = section(item)
        if sub is not None:
            rows += walk(sub, f"{prefix}{item.name}.")
        else:
            rows.append((f"{prefix}{item.name}", item))
    return rows
