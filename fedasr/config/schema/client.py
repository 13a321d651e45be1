"""Keys of section ``client``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedasr.config.schema.conditions import unless, when
from fedasr.config.schema.keys import key


@dataclass
class TrainingConfig:
    """Training in one place, of a client or of a student."""

    optimizer: str = key("sgd", "the local optimiser", choices=("sgd", "adamw"), reference=True)
    optimizer_options: dict[str, Any] = key(dict, "what an optimiser of your own is called with, by parameter name")
    learning_rate: float = key(0.1, "local learning rate", above=0)
    momentum: float = key(0.0, "momentum of sgd", low=0, high=0.999, when=when(".optimizer", "sgd"))
    weight_decay: float = key(0.0, "decoupled weight decay (adamw) or L2 (sgd)", low=0)
    epochs: int = key(
        1,
        "passes over the client's speech a round; 0: clients return the model unchanged (to measure overhead)",
        low=0,
        when=when(".steps", None),
    )
    steps: int | None = key(None, "steps a round; where set, `epochs` is not read", low=1)
    batch_size: int = key(8, "utterances a batch", low=1, when=when(".batch_seconds", None))
    batch_seconds: float | None = key(None, "seconds of audio a batch; where set, `batch_size` is not read", above=0)
    group_by_length: bool = key(True, "batches of similar length, so that less padding is computed")
    clip_norm: float | None = key(5.0, "largest gradient norm of a step; absent: no clipping", above=0)
    proximal: float = key(0.0, "FedProx: mu of the term mu/2·‖w − w_global‖²", low=0)
    schedule: str = key("constant", "local learning rate over the rounds", choices=("constant", "linear", "cosine"))
    final_scale: float = key(
        0.1,
        "where `linear` and `cosine` end, as a share of `learning_rate`",
        low=0,
        high=1,
        when=when(".schedule", "linear", "cosine"),
    )
    warmup_rounds: int = key(0, "rounds over which the learning rate rises linearly", low=0)


@dataclass
class ClientConfig(TrainingConfig):
    """Local training."""

    labels: str = key(
        "truth",
        "what a device is taught by: truth: its transcripts; self: what a model hears in its speech, see `self_labels`;"
        " feedback: simulated corrections by its user, and otherwise as self; none: it trains on nothing, and can still"
        " evaluate and estimate. With self and none a manifest needs no `text` for training speech; see"
        " `docs/labels-on-devices.md`",
        choices=("truth", "self", "feedback", "none"),
        when=unless("strategy.name", "central", "pate", refused=True),
    )
    labelled_share: float = key(
        0.0,
        "share of the speakers of the training split whose transcripts are read all the same, drawn once with the seed,"
        " rounded, at least one where it is not 0",
        low=0,
        high=0.99,
        when=unless(".labels", "truth", refused=True),
    )
