"""Is a config's ledger true? Its own mechanisms run on canaries instead of speech, and the scores are held against it.

One family of mechanisms a module. Every part that an ε rests on is the one that runs: it is reached by reference, since
the library knows neither the server's nor the device's room.
"""

from fedasr.audits.mechanism.audit import Report, audit_mechanism

__all__ = ["Report", "audit_mechanism"]
