"""Figures of runs and partitions, fit for a paper."""
