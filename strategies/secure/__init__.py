"""Secure aggregation on the server: it knows the sum of a round's updates, and nothing of a single one."""
