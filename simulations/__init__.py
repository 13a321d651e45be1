"""Configs and notebooks, one file per experiment."""
