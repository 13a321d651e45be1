"""Keys that say how utterances become clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedasr.config.schema.conditions import when
from fedasr.config.schema.keys import key


@dataclass
class PartitionConfig:
    """How utterances become clients."""

    name: str = key(
        "natural",
        "natural: one client a value of `column`; grouped: several values a client; iid; dirichlet: symmetric over"
        " clients; dirichlet-prior: FedNLP's Dir(alpha·prior), equal-sized clients; quantity-*: skewed sizes;"
        " feature-kmeans: skewed clusters of utterance embeddings",
        choices=(
            "natural",
            "grouped",
            "iid",
            "dirichlet",
            "dirichlet-prior",
            "quantity-dirichlet",
            "quantity-lognormal",
            "quantity-power",
            "feature-kmeans",
        ),
        reference=True,
    )
    options: dict[str, Any] = key(dict, "what a partitioner of your own is called with, by parameter name")
    column: str = key("speaker", "the column to partition on (speaker, text, accent, gender, any other)")
    alpha: float = key(
        0.5,
        "Dirichlet concentration; small is skewed",
        above=0,
        when=when(".name", "dirichlet", "dirichlet-prior", "quantity-dirichlet"),
    )
    sigma: float = key(1.0, "sigma of the log-normal sizes", above=0, when=when(".name", "quantity-lognormal"))
    exponent: float = key(1.2, "exponent of the power-law sizes", above=0, when=when(".name", "quantity-power"))
    clusters: int = key(10, "k of feature-kmeans", low=2, when=when(".name", "feature-kmeans"))
    min_utterances: int = key(1, "clients with fewer utterances are left out", low=1)
