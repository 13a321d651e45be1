"""Speech rendered by espeak-ng: thousands of speakers that cost a table, not a disk."""

from fedasr.data.synthetic.corpus import SyntheticCorpus
from fedasr.data.synthetic.export import synthesize

__all__ = ["SyntheticCorpus", "synthesize"]
