"""The laws that parts must keep, as functions for the tests of a part of your own.

Each takes what makes the part, tries it on small examples, and raises ``AssertionError`` with a sentence that names the
law and the example that breaks it.
"""

from fedasr.testing.aggregators import check_aggregator
from fedasr.testing.attacks import check_attack
from fedasr.testing.codecs import check_codec
from fedasr.testing.models import check_model
from fedasr.testing.partitioners import check_partitioner
from fedasr.testing.selectors import check_selector

__all__ = ["check_aggregator", "check_attack", "check_codec", "check_model", "check_partitioner", "check_selector"]
