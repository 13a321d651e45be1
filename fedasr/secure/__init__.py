"""Secure aggregation: the server learns the sum of the updates of a round, and no single one.

Bonawitz et al. 2017 (Practical Secure Aggregation for Privacy-Preserving Machine Learning), with a k-regular graph of
neighbours as in Bell et al. 2020 (arXiv 2009.11248). ``client`` and ``server`` are the protocol as pure objects, which
know nothing of messages; ``coders`` makes whole numbers of updates and updates of sums.
"""
