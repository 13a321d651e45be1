"""Private training: per-example gradients, accountants, the ledger, and PATE analysis. Import the modules themselves."""
