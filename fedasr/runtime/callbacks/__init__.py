"""Callbacks on the life of a run: what they are told, those that are shipped, and who calls them."""

from fedasr.runtime.callbacks.base import Callback, EvaluationFacts, Row, RunFacts
from fedasr.runtime.callbacks.calls import Callbacks, given, named
from fedasr.runtime.callbacks.early_stopping import EarlyStopping

__all__ = ["Callback", "Callbacks", "EarlyStopping", "EvaluationFacts", "Row", "RunFacts", "given", "named"]
