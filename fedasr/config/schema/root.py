"""The whole config, and a walk over its keys."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from fedasr.config.schema.attack import AttackConfig
from fedasr.config.schema.audit import AuditConfig
from fedasr.config.schema.client import ClientConfig
from fedasr.config.schema.compression import CompressionConfig
from fedasr.config.schema.conditions import unless, when
from fedasr.config.schema.data import DataConfig
from fedasr.config.schema.devices import DevicesConfig
from fedasr.config.schema.distillation import DistillationConfig, InterleaveConfig
from fedasr.config.schema.evaluate import EvaluateConfig
from fedasr.config.schema.keys import key, part, section
from fedasr.config.schema.model import ModelConfig
from fedasr.config.schema.pate import PateConfig
from fedasr.config.schema.privacy import PrivacyConfig
from fedasr.config.schema.runtime import RuntimeConfig
from fedasr.config.schema.secure_aggregation import SecureAggregationConfig
from fedasr.config.schema.selection import SelectionConfig
from fedasr.config.schema.self_labels import SelfLabelsConfig
from fedasr.config.schema.strategy import StrategyConfig
from fedasr.config.schema.stream import StreamConfig

POOLED = unless("strategy.name", "central", refused=True)
"""Refused where there are no clients: the run would not be what it says."""
CENTRAL = when("strategy.name", "central", refused=True)


@dataclass
class Config:
    """A run."""

    name: str = key("run", "name of the run")
    seed: int = key(0, "every random draw is a pure function of it", low=0)
    rounds: int = key(10, "rounds of federated training", low=0)
    init_from: str | None = key(None, "a run folder or a weights file to start from")
    log: list[Any] = key(
        list,
        "callbacks, each a name or `{name: …, options: {…}}`: `tensorboard`, `mlflow`, `wandb`, `early-stopping`, or"
        " `package.module:attribute`; see `docs/callbacks.md`",
    )
    client_app: str | None = key(
        None,
        "a Flower `ClientApp` of your own in place of FedASR's, or what makes one, as package.module:attribute",
        reference=True,
        when=POOLED,
    )
    client_app_options: dict[str, Any] = key(dict, "what makes your client app is called with, by parameter name")
    data: DataConfig = part(DataConfig, "the speech and who holds it")
    model: ModelConfig = part(ModelConfig, "the recogniser")
    client: ClientConfig = part(ClientConfig, "local training")
    strategy: StrategyConfig = part(StrategyConfig, "what the server does with the updates")
    selection: SelectionConfig = part(
        SelectionConfig,
        "which devices take part in a round",
        when=(unless("strategy.name", "pate"), when("strategy.central_round", "cohort")),
    )
    stream: StreamConfig = part(
        StreamConfig,
        "the continual setting: speech that comes over time",
        when=unless("stream.arrival", "static", refused=True),
    )
    devices: DevicesConfig = part(
        DevicesConfig, "real devices, simulated", when=(when("devices.clock", True, refused=True), POOLED)
    )
    privacy: PrivacyConfig = part(
        PrivacyConfig, "differential privacy", when=unless("privacy.unit", "none", refused=True)
    )
    pate: PateConfig = part(
        PateConfig,
        "strategy `pate`: teachers, votes, public speech and the student",
        when=when("strategy.name", "pate", refused=True),
    )
    attack: AttackConfig = part(
        AttackConfig, "Byzantine clients, simulated", when=(unless("attack.name", "none", refused=True), POOLED)
    )
    audit: AuditConfig = part(AuditConfig, "canary users, by whom the run audits its own ledger, and spoken secrets")
    compression: CompressionConfig = part(CompressionConfig, "fewer bytes")
    distillation: DistillationConfig = part(
        DistillationConfig,
        "a teacher for the speech that has no transcript",
        when=(CENTRAL, unless("distillation.teacher", None, refused=True)),
    )
    interleave: InterleaveConfig = part(InterleaveConfig, "speech with and without transcripts", when=CENTRAL)
    self_labels: SelfLabelsConfig = part(SelfLabelsConfig, "labels that devices make, and steps at the server")
    secure_aggregation: SecureAggregationConfig = part(
        SecureAggregationConfig,
        "a server that sees no single update",
        when=unless("secure_aggregation.mode", "none", refused=True),
    )
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
