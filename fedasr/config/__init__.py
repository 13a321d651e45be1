"""Typed, strict configuration."""

from fedasr.config.loading import load, override, resolve, to_dict, to_yaml
from fedasr.config.schema import Config

__all__ = ["Config", "load", "override", "resolve", "to_dict", "to_yaml"]
