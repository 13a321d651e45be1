"""Noise that is correlated over the rounds, so that a model, the sum of all of them, carries less: DP-FTRL."""
