"""Is a secret that somebody said in the model? Its rank among all codes, with and without speech."""

from fedasr.audits.secrets.audit import audit_secrets

__all__ = ["audit_secrets"]
