"""Label skew by a Dirichlet law, in the two meanings of the literature; the same alpha means something else in each.

``dirichlet``: each label's utterances are spread over the clients by a draw from the symmetric Dir(alpha) over clients,
so clients differ in labels and in size (Yurochkin et al. 2019, arXiv 1905.12022; the "Dirichlet" of most papers).

``dirichlet-prior``: each client's label distribution is a draw from Dir(alpha·p), p the distribution of the whole
corpus, and clients have equal size (Hsu et al. 2019, arXiv 1909.06335; FedNLP, Lin et al. 2022, arXiv 2104.08815).

Why not flwr-datasets' ``DirichletPartitioner``: it rounds every label's cut points down, so the last client gets
whatever rounding left: at least one utterance of *every* label. On image sets with thousands of examples a label that
is nothing; with speech it is not: of 1,357 words in 35 labels over 166 clients the last one gets 37 and the mean is 8,
and where transcripts are unique the last client gets nearly everything. Here the cut points of a label share one
random offset, which makes the expected count exactly share·size. Within a label utterances are shuffled; the
library cuts them in table order, so that clients would also be skewed in speakers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedasr.data.partition.base import Partition, Rows
from fedasr.data.partition.request import Codes, Request

Shares = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

CELLS = 2_000_000
"""How many (label, client) cells are drawn at once: 16 MB an array."""


def dirichlet(request: Request) -> Partition:
    """Return clients among whom each label is spread by the symmetric Dir(alpha); sizes differ."""
    codes, labels = request.values()
    clients, rng = request.client_count(), request.generator()
    rows, sizes = by_label(codes, request.rows, rng)
    owners = []
    for start in range(0, len(labels), step := max(CELLS // clients, 1)):
        of_label = sizes[start : start + step]
        shares = dirichlet_draws(np.full((len(of_label), clients), request.config.alpha), rng)
        counts = round_shares(shares, of_label, rng)
        owners.append(np.repeat(np.tile(np.arange(clients), len(of_label)), counts.ravel()))
    return request.derived(np.concatenate(owners), rows, clients)


def dirichlet_prior(request: Request) -> Partition:
    """Return clients of equal size (within one), each with label shares from Dir(alpha·p)."""
    codes, labels = request.values()
    return by_prior(request, codes, len(labels))


def by_prior(request: Request, codes: Codes, labels: int) -> Partition:
    """Return clients of equal size (within one) with label shares from Dir(alpha·p), p the share of each label.

    As FedNLP does, a client takes its share of each label from shuffled pools, and where a pool is exhausted it tops up
    in proportion to what remains of all labels, so later clients are less skewed than earlier ones. Two departures:
    FedNLP gives all N mod K left-over utterances to the last client, and rounds to the nearest integer (with 8
    utterances and 35 labels that is nearly always 0, and the skew would be lost).

    Args:
        request: what to partition.
        codes: label of each row, in ``[0, labels)``, shape ``(utterances,)``.
        labels: how many labels there are; each has a row.
    """
    clients, rng = request.client_count(), request.generator("prior")
    rows, remaining = by_label(codes, request.rows, rng)
    size = np.full(clients, len(rows) // clients)
    size[: len(rows) % clients] += 1
    concentration = request.config.alpha * remaining / len(rows)
    parts: list[tuple[Counts, Counts, Counts]] = []
    for start in range(0, clients, step := max(CELLS // labels, 1)):
        of_client = size[start : start + step]
        shares = dirichlet_draws(np.broadcast_to(concentration, (len(of_client), labels)), rng)
        for client, wanted in enumerate(round_shares(shares, of_client, rng), start):
            taken = np.minimum(wanted, remaining)
            missing = int(size[client] - taken.sum())
            if missing:
                taken += rng.multivariate_hypergeometric(remaining - taken, missing, method="marginals")
            remaining = remaining - taken
            held = np.flatnonzero(taken)
            parts.append((held, np.full(len(held), client), taken[held]))
    label, client_of, count = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(label, kind="stable")
    return request.derived(np.repeat(client_of[order], count[order]), rows, clients)


def by_label(codes: Codes, rows: Rows, rng: np.random.Generator) -> tuple[Rows, Counts]:
    """Return the rows sorted by label and shuffled within each, and how many rows each label has."""
    shuffled = rng.permutation(len(rows))
    return rows[shuffled[np.argsort(codes[shuffled], kind="stable")]], np.bincount(codes)


def dirichlet_draws(concentration: Shares, rng: np.random.Generator) -> Shares:
    """Return a draw from a Dirichlet law for each row of ``concentration``, shape ``(draws, categories)``.

    Gamma draws are normalised in log space: for a concentration of 1e-3 and below they underflow to zero, and the
    usual quotient would be 0/0. For a < 1, Gamma(a) = Gamma(a + 1)·U^(1/a).
    """
    a = np.maximum(concentration, 1e-200)
    logs = np.log(rng.standard_gamma(np.where(a < 1, a + 1, a)))
    logs -= np.where(a < 1, rng.standard_exponential(a.shape) / a, 0.0)
    logs -= logs.max(axis=1, keepdims=True)
    shares: Shares = np.exp(logs)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def round_shares(shares: Shares, totals: Counts, rng: np.random.Generator) -> Counts:
    """Return whole counts that sum to each row's total, less than one from share·total, with that as expectation.

    Systematic sampling: the cumulated shares are rounded down after one random offset a row.

    Args:
        shares: rows that sum to one, shape ``(draws, categories)``.
        totals: what each row of counts sums to, shape ``(draws,)``.
        rng: draws the offsets.
    """
    cuts = np.zeros((len(shares), shares.shape[1] + 1), np.int64)
    offset = rng.random((len(shares), 1))
    cuts[:, 1:] = np.floor(np.cumsum(shares, axis=1) * totals[:, None] + offset)
    # The cumulated shares end at 1 ± rounding error.
    np.minimum(cuts, totals[:, None], out=cuts)
    cuts[:, -1] = totals
    return np.diff(cuts, axis=1)
