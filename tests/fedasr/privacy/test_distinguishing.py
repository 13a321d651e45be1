"""The distinguishing game: who knows everything but one utterance and the noise is right no oftener than ε allows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.distinguishing_games import (
    Game,
    at_least,
    device,
    dp_sgd,
    dp_sgd_in_float32,
    play,
    server,
    votes,
)

TRIALS, SIZE = 200, 20_000

GAMES = {
    "dp-sgd": lambda: dp_sgd(4.0, TRIALS),
    "dp-sgd-much-noise": lambda: dp_sgd(20.0, TRIALS),
    "device": lambda: device(4.0, SIZE),
    "server": lambda: server(4.0, SIZE, "independent"),
    "banded": lambda: server(4.0, SIZE, "banded"),
    "tree": lambda: server(4.0, SIZE, "tree"),
    "soft-laplace": lambda: votes("soft-laplace", 20.0),
    "soft-gaussian": lambda: votes("soft-gaussian", 20.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_the_lattice_of_the_noise_tells_nothing(name: str) -> None:
    game = GAMES[name]()
    for rule, right in play(game, TRIALS, np.random.default_rng(1)).items():
        assert at_least(right, TRIALS) <= game.ceiling, rule


@pytest.mark.parametrize(
    ("game", "trials"),
    [(dp_sgd_in_float32(4.0), 40), (dp_sgd_in_float32(20.0), 40), (votes("soft-laplace", 20.0, raw=True), 400)],
)
def test_the_adversary_wins_against_noise_with_a_lattice(game: Game, trials: int) -> None:
    """Else the game would prove nothing. Votes are told apart less surely, and their noise comes from no seed."""
    right = play(game, trials, np.random.default_rng(1))["lattice"]
    assert at_least(right, trials) > game.ceiling
