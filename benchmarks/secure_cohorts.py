"""What the protocol of secure aggregation costs a client of a large cohort: `python -m benchmarks.secure_cohorts`.

One round among 50 and among 1,000 clients with 20 neighbours each, by the objects of ``fedasr.secure``: every key,
share, mask and signature is made and checked, messages are left out. Of a hundred clients two leave before they send
their numbers, and two before they open shares. The sum has to be that of the numbers, bit for bit. Seconds are
processor time of this process. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np

from fedasr.secure.client import Client
from fedasr.secure.identity import SimulatedDirectory, simulated_identity
from fedasr.secure.keys import CLIENT_BYTES, ROW
from fedasr.secure.modulus import kind_of, packed_bytes
from fedasr.secure.server import Server
from fedasr.secure.terms import Terms

SEED = 1
LEAVING = 0.02


class Cost(NamedTuple):
    """What a round cost."""

    client_seconds: float
    """each"""
    server_seconds: float
    up: int
    """bytes that a client sent, all messages together, without those of Flower"""
    down: int
    in_sum: int


def measured(clients: int, numbers: int) -> Cost:
    """Return the cost of a round.

    Args:
        clients: of the cohort.
        numbers: that each of them sends.

    Raises:
        AssertionError: the sum is not that of the numbers.
    """
    terms, directory = Terms(b"benchmark", 1, 16, numbers), SimulatedDirectory(SEED)
    leaving = max(1, round(LEAVING * clients))
    order = np.random.default_rng(SEED).permutation(clients).tolist()
    dropped, silent = set(order[:leaving]), set(order[leaving : 2 * leaving])
    seconds = {"client": 0.0, "server": 0.0}
    last = time.process_time()

    def charge(whom: str) -> None:
        nonlocal last
        now = time.process_time()
        seconds[whom] += now - last
        last = now

    server, members = Server(terms), {number: Client(terms, number) for number in range(clients)}
    up, down = dict.fromkeys(members, 0), dict.fromkeys(members, 0)
    for number, client in members.items():
        keys = client.advertise(simulated_identity(SEED, number))
        up[number] += ROW.size
        charge("client")
        server.advertised(number, keys, directory)
        charge("server")
    listed = server.listed()
    charge("server")
    for number, client in members.items():
        sealed, signature = client.share(listed[number], directory), client.confirm(simulated_identity(SEED, number))
        up[number] += len(sealed) + len(signature)
        down[number] += sum(len(part) for part in listed[number] if part is not None)
        charge("client")
        server.shared(number, sealed, signature, directory)
        charge("server")
    server.check_sharers()
    total, plain = np.zeros(numbers, kind_of(terms.bits)), np.zeros(numbers, kind_of(terms.bits))
    living = [number for number in members if number not in dropped]
    for number in living:
        values = np.random.default_rng(number).integers(0, 1 << terms.bits, numbers).astype(kind_of(terms.bits))
        charge("server")
        confirmed = server.confirmed_to(number)
        charge("server")
        masked = members[number].mask(values, confirmed, directory)
        up[number] += packed_bytes(numbers, terms.bits)
        down[number] += sum(CLIENT_BYTES + len(signature) for signature in confirmed.values())
        charge("client")
        total += masked
        plain += values
    opened = {}
    for number, question in server.questions(living).items():
        charge("server")
        if number not in silent:
            opened[number] = members[number].open(question.living, question.dead, question.sealed)
            up[number] += len(opened[number])
            down[number] += CLIENT_BYTES * (len(question.living) + len(question.dead))
            down[number] += sum(map(len, question.sealed.values()))
        charge("client")
    unmasked = server.unmasked(total, opened)
    charge("server")
    assert np.array_equal(unmasked, plain), "the sum is not that of the numbers"
    who = next(number for number in living if number not in silent)
    return Cost(seconds["client"] / clients, seconds["server"], up[who], down[who], len(living))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[50, 1000])
    parser.add_argument("--numbers", type=int, default=1000, help="that each client sends, of 16 bits")
    arguments = parser.parse_args()
    print("| clients | in the sum | bytes up, a client | bytes down, a client | seconds of a client | of the server |")
    print("|---|---|---|---|---|---|")
    for clients in arguments.clients:
        cost = measured(clients, arguments.numbers)
        sent = f"{cost.up:,} | {cost.down:,} | {cost.client_seconds:.3f} | {cost.server_seconds:.1f}"
        print(f"| {clients:,} | {cost.in_sum:,} | {sent} |", flush=True)


if __name__ == "__main__":
    main()
