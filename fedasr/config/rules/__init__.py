"""Combinations of keys that cannot run, each with what to do instead. One theme a file."""

from __future__ import annotations

from fedasr.config.rules.attack import check_attack
from fedasr.config.rules.audit import check_audit
from fedasr.config.rules.central import check_central
from fedasr.config.rules.compression import check_compression
from fedasr.config.rules.data import check_data, check_features
from fedasr.config.rules.deployment import check_deployment
from fedasr.config.rules.devices import check_devices
from fedasr.config.rules.distillation import check_distillation
from fedasr.config.rules.evaluate import check_evaluate
from fedasr.config.rules.log import check_log
from fedasr.config.rules.model import check_model
from fedasr.config.rules.options import check_options
from fedasr.config.rules.own import check_own
from fedasr.config.rules.pate import check_pate
from fedasr.config.rules.privacy import check_privacy
from fedasr.config.rules.runtime import check_runtime
from fedasr.config.rules.scaffold import check_scaffold
from fedasr.config.rules.secure_aggregation import check_secure_aggregation
from fedasr.config.rules.selection import check_selection
from fedasr.config.rules.self_labels import check_self_labels
from fedasr.config.rules.strategy import check_aggregation, check_fairness, check_strategy
from fedasr.config.rules.stream import check_stream
from fedasr.config.rules.unread import check_unread
from fedasr.config.schema import Config
from fedasr.errors import InputError

__all__ = ["check_combinations"]

LONGEST_NAME = 100


def check_combinations(config: Config, where: str) -> None:
    """Raise on a combination of valid values that has no meaning.

    Raises:
        InputError: naming the keys and what to change.
    """
    check_name(config, where)
    check_unread(config, where)
    check_options(config, where)
    check_log(config, where)
    check_own(config, where)
    check_data(config, where)
    check_model(config, where)
    check_evaluate(config, where)
    check_strategy(config, where)
    check_scaffold(config, where)
    check_features(config, where)
    check_runtime(config, where)
    check_stream(config, where)
    check_devices(config, where)
    check_selection(config, where)
    check_aggregation(config, where)
    check_fairness(config, where)
    check_attack(config, where)
    check_audit(config, where)
    check_compression(config, where)
    check_pate(config, where)
    check_central(config, where)
    check_distillation(config, where)
    check_self_labels(config, where)
    check_privacy(config, where)
    check_secure_aggregation(config, where)
    check_deployment(config, where)


def check_name(config: Config, where: str) -> None:
    """Raise on a name that no folder or file could have.

    Raises:
        InputError: naming the key and what to change.
    """
    usual = config.name.isprintable() and not config.name.startswith(".") and not set(config.name) & set("/\\")
    if not config.name or not usual or len(config.name) > LONGEST_NAME:
        raise InputError(f"'name' is '{config.name}'; expected a name that can be part of a file name", where=where)
