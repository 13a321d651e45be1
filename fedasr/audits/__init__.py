"""Attacks on what FedASR runs, and what they show beside the ledger: one attack a module."""
