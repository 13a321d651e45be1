"""From a config to its privacy mechanism, and to the noise that a budget asks for."""

from __future__ import annotations

from fedasr.config import Config
from fedasr.models.weights import Layout

from ..selection import Selector
from .base import Mechanism, Public
from .device_noise import DeviceNoise
from .example_level import ExampleLevel
from .shared_noise import SharedNoise
from .user_level import UserLevel


def make_mechanism(config: Config, layout: Layout, population: int, selector: Selector) -> Mechanism:
    """Return the mechanism of a run.

    Args:
        config: with a noise multiplier where users are protected.
        layout: of the model.
        population: how many clients there are.
        selector: that chooses them.
    """
    privacy = config.privacy
    if privacy.unit == "none":
        return Public()
    if privacy.unit == "example":
        return ExampleLevel(config)
    if privacy.noise_at == "shares":
        return SharedNoise(config, layout, population)
    return DeviceNoise(config, population) if privacy.noise_at == "device" else UserLevel(config, layout, selector)
