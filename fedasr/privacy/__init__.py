"""Private training: per-example gradients, accountants, the ledger and PATE analysis; import the modules themselves."""
