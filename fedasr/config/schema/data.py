"""Keys of section ``data``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedasr.config.schema.conditions import when
from fedasr.config.schema.features import AugmentConfig, CacheConfig, FeatureConfig
from fedasr.config.schema.keys import key, part
from fedasr.config.schema.partition import PartitionConfig
from fedasr.config.schema.synthetic import SyntheticConfig

PUBLIC = when(".corpus", "librispeech", "speechcommands", "commonvoice")


@dataclass
class DataConfig:
    """The speech and who holds it."""

    corpus: str = key(
        "synthetic",
        "where the speech comes from",
        choices=("synthetic", "manifest", "librispeech", "speechcommands", "commonvoice"),
        reference=True,
    )
    corpus_options: dict[str, Any] = key(dict, "what a corpus of your own is called with, by parameter name")
    manifest: str | None = key(
        None, "the table of corpus `manifest`: CSV, TSV, JSON Lines or Parquet", when=when(".corpus", "manifest")
    )
    root: str | None = key(
        None, "the folder of a public corpus (librispeech, speechcommands, commonvoice)", when=PUBLIC
    )
    subset: str | None = key(
        None,
        "librispeech: `train-clean-100`; commonvoice: `train.tsv`",
        when=when(".corpus", "librispeech", "commonvoice"),
    )
    download: bool = key(False, "let torchaudio download the public corpus into `root` first", when=PUBLIC)
    where: dict[str, Any] = key(dict, "keep rows whose column has the value, or one of the listed values")
    exclude: dict[str, Any] = key(
        dict,
        "leave out rows whose column has the value, or one of the listed values, such as `{speaker: [s001]}`: a run"
        " without a speaker, to be compared with one that has it (`fedasr audit invert`)",
    )
    train_split: str = key("train", "the split that the clients hold")
    test_split: str = key("test", "the split that the server evaluates on")
    held_out: float = key(0.1, "share of speakers held out where the corpus has no splits", above=0, high=0.9)
    public_share: float = key(
        0.0,
        "share of the speakers of the training split whose speech is public: no client holds it, its split is `public`,"
        " and PATE can have it labelled (`pate.public.split: public`)",
        low=0,
        high=0.9,
    )
    clients: int | None = key(
        None,
        "how many clients, where the partitioner allows a choice; runtime `deployment`: how many edge devices the"
        " start waits for; absent: those that are connected",
        low=1,
    )
    min_seconds: float = key(0.0, "shorter utterances are left out", low=0)
    max_seconds: float = key(30.0, "longer utterances are left out", above=0)
    on_bad_audio: str = key(
        "stop",
        "stop with a line, or skip and count; what only decoding shows is skipped on the devices of a private run"
        " in any case: a stop would tell of it",
        choices=("stop", "skip"),
    )
    synthetic: SyntheticConfig = part(SyntheticConfig, "corpus `synthetic`", when=when("data.corpus", "synthetic"))
    partition: PartitionConfig = part(PartitionConfig, "how utterances become clients")
    features: FeatureConfig = part(FeatureConfig, "log-mel features")
    augment: AugmentConfig = part(AugmentConfig, "augmentation of training speech")
    cache: CacheConfig = part(CacheConfig, "the feature cache")
