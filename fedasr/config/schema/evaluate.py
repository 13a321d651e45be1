"""Keys of section ``evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedasr.config.schema.conditions import unless, when
from fedasr.config.schema.keys import key, part


@dataclass
class EstimateConfig:
    """The error rate on the devices' own speech, without their transcripts; see `docs/labels-on-devices.md`."""

    every: int = key(
        0,
        "every so many rounds devices count the errors that the global model is expected to make on their speech; 0:"
        " never",
        low=0,
        when=unless("strategy.name", "central", "pate", refused=True),
    )
    clients: int | None = key(
        None, "how many devices are asked, drawn uniformly among those that hold speech; absent: all", low=2
    )
    panel_share: float = key(
        0.1,
        "share of the clients whose users have agreed to transcribe some utterances, drawn once with the seed; an edge"
        " device is of the panel where its policy says so",
        above=0,
        high=1,
    )
    panel_utterances: int = key(
        5, "how many utterances each of them transcribes at most, the same ones in every round", low=1
    )
    words: int | None = key(
        None,
        "no device counts for more words than these: it scales its counts down, so that none moves the estimate by"
        " more; absent: no limit; with noise and under secure aggregation there has to be one",
        low=1,
    )
    noise_multiplier: float | None = key(
        None,
        "standard deviation of the noise on the sums of an estimate, in units of what a device moves them by; the"
        " privacy ledger is charged for every estimate, without amplification by sampling; 0: none, and no ε covers"
        " what the operator of the server then sees; has to be set",
        low=0,
        high=1e6,
        when=(when("privacy.unit", "user", refused=True), when("privacy.noise_at", "server", refused=True)),
    )


@dataclass
class EvaluateConfig:
    """Evaluation."""

    every: int = key(
        1, "server-side evaluation every so many rounds, and after the last; 0: only after the last", low=0
    )
    decoder: str = key("greedy", "how hypotheses are found", choices=("greedy", "beam", "vocabulary"), reference=True)
    decoder_options: dict[str, Any] = key(dict, "what a decoder of your own is called with, by parameter name")
    beam: int = key(8, "width of decoder `beam`", low=1, when=when(".decoder", "beam"))
    vocabulary: list[str] = key(
        list,
        "the phrases that decoder `vocabulary` chooses among; empty: the distinct training transcripts",
        when=when(".decoder", "vocabulary"),
    )
    limit: int | None = key(None, "evaluate on so many utterances, drawn once with the seed; absent: all", low=1)
    batch_size: int = key(32, "utterances a batch", low=1)
    by: list[str] = key(list, "columns whose values get a WER of their own")
    transcripts: int = key(
        10,
        "utterances whose transcripts each evaluation keeps in `transcripts.parquet`, drawn once with the seed",
        low=0,
    )
    held_out: float = key(
        0.0, "share of each client's utterances that it never trains on, for `deciles`", low=0, high=0.9
    )
    deciles: int = key(
        0,
        "WER of light and heavy users, after the last round and after each period: on so many held-out utterances of"
        " each tenth of the clients by activity; 0: none",
        low=0,
    )
    client_side: int = key(
        0,
        "every so many rounds the selected clients evaluate the global model on their own speech; 0: never",
        low=0,
        when=unless("strategy.name", "central", refused=True),
    )
    estimate: EstimateConfig = part(
        EstimateConfig,
        "the error rate on the devices' speech without transcripts",
        when=unless("evaluate.estimate.every", 0, refused=True),
    )
