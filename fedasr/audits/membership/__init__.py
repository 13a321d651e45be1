"""Was this utterance, or this speaker, in the training set? Losses of a finished run, and of shadow models."""

from fedasr.audits.membership.audit import audit_membership

__all__ = ["audit_membership"]
