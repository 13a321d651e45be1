"""What a teacher says of utterances, on disk: written once by several processes, read many times."""

from fedasr.data.posteriors.header import TARGETS, Header
from fedasr.data.posteriors.shard import ShardWriter
from fedasr.data.posteriors.store import PosteriorStore

__all__ = ["TARGETS", "Header", "PosteriorStore", "ShardWriter"]
