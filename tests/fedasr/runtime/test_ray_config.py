"""The config keys of ``runtime.name=ray``: what cannot be is refused in a line; Ray itself is not needed."""

from __future__ import annotations

from typing import Any

import pytest

from fedasr.config import load
from fedasr.errors import InputError

GPU = {"name": "ray", "device": "cuda"}


@pytest.mark.parametrize(
    ("runtime", "said"),
    [
        ({"ray_address": "head:6379"}, "'runtime.ray_address' is set but 'runtime.name' is 'local'"),
        ({"name": "flower", "gpus_per_client": 0.5}, "'runtime.gpus_per_client' is set but 'runtime.name' is 'flower'"),
        ({"name": "ray", "ray_address": "ray://head:10001"}, "'runtime.ray_address' is 'ray://head:10001'; expected"),
        ({"name": "ray", "ray_address": "head"}, "expected host:port of the cluster's head, or auto"),
        ({"name": "ray", "ray_address": ":6379"}, "expected host:port of the cluster's head, or auto"),
        ({"name": "ray", "ray_address": "head:99999"}, "expected host:port of the cluster's head, or auto"),
        ({"name": "ray", "gpus_per_client": 0.5}, "'runtime.device' is 'cpu'; set runtime.device=cuda"),
        (GPU, "'runtime.gpus_per_client' is not set"),
        ({**GPU, "gpus_per_client": 1.5}, "'runtime.gpus_per_client' is 1.5; expected a part of one GPU, or a whole"),
    ],
)
def test_what_cannot_be_is_refused(runtime: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as result:
        load({"runtime": runtime})
    assert said in str(result.value)


@pytest.mark.parametrize(
    "runtime",
    [
        {"name": "ray"},
        {"name": "ray", "ray_address": "auto"},
        {"name": "ray", "ray_address": "192.0.2.1:6379"},
        {"name": "ray", "ray_address": "[2001:db8::1]:6379"},
        {**GPU, "gpus_per_client": 0.25},
        {**GPU, "gpus_per_client": 2},
    ],
)
def test_what_can_be_is_taken(runtime: dict[str, Any]) -> None:
    assert load({"runtime": runtime}).runtime.name == "ray"
