"""The true sensitivity, by trying all that a device may do; for a dozen rounds."""

from itertools import combinations, pairwise


def patterns(rounds, separation, participations=None):
    """Yield every set of rounds, counted from 0, that are far enough apart, the empty one included."""
    most = -(-rounds // separation) if participations is None else participations
    for turns in range(most + 1):
        for result in combinations(range(rounds), turns):
            if all(b - a >= separation for a, b in pairwise(result)):
                yield list(result)


def true_squared_sensitivity(matrix, separation, participations=None):
    """Return the largest ‖Σ M_:,j‖² over the patterns: M has no negative entry, so equal updates are the worst."""
    assert matrix.min() >= 0
    result = patterns(len(matrix), separation, participations)
    return max(float((matrix[:, turns].sum(axis=1) ** 2).sum()) for turns in result)
