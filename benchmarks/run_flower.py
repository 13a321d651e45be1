"""Flower's own FedAvg and simulation engine (Ray) on the workload, as its documentation has it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from itertools import pairwise

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from torch import nn
from torch.nn import functional as F

from benchmarks.run_loop import Model
from benchmarks.workload import ALPHABET, PER_CLIENT, FeatureCorpus

_corpus: FeatureCorpus | None = None


def corpus() -> FeatureCorpus:
    """Return this process's corpus."""
    global _corpus
    _corpus = _corpus or FeatureCorpus(0)
    return _corpus


def make_client(echo: bool) -> ClientApp:
    """Return the client app."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        model = Model()
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())  # type: ignore[union-attr]
        data = corpus()
        client = int(context.node_config["partition-id"])
        rows = [(client * PER_CLIENT + i) % 990 for i in range(PER_CLIENT)]
        order = np.random.default_rng(client).permutation(rows)
        for start in () if echo else (0, 10):
            batch = order[start : start + 10]
            features = torch.from_numpy(np.stack([data.features(row) for row in batch]))
            tokens = [torch.tensor([ALPHABET.index(c) + 1 for c in str(data.columns["text"][row])]) for row in batch]
            targets = nn.utils.rnn.pad_sequence(tokens, batch_first=True)
            target_lengths = torch.tensor([len(t) for t in tokens])
            for parameter in model.parameters():
                parameter.grad = None
            loss = F.ctc_loss(model(features).transpose(0, 1), targets, torch.full((10,), 25), target_lengths)
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.sub_(parameter.grad, alpha=0.01)
        content = {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": PER_CLIENT})}
        return Message(RecordDict(content), reply_to=message)

    return app


def main() -> None:
    """Run Flower and print the seconds of each round as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--echo", action="store_true")
    parser.add_argument("--ray-address", help="a running cluster, whose nodes say how many workers there are")
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    logging.getLogger("flwr").setLevel(logging.ERROR)
    from flwr.simulation import run_simulation

    times: list[float] = []
    server = ServerApp()

    class Timed(FedAvg):
        def aggregate_train(self, server_round, replies):  # type: ignore[no-untyped-def]
            result = super().aggregate_train(server_round, replies)
            times.append(time.perf_counter())
            return result

    @server.main()
    def run(grid: Grid, context: Context) -> None:
        share = 50 / arguments.clients
        strategy = Timed(fraction_train=share + 1e-9, fraction_evaluate=0.0, min_available_nodes=arguments.clients)
        times.append(time.perf_counter())
        strategy.start(grid=grid, initial_arrays=ArrayRecord(Model().state_dict()), num_rounds=arguments.rounds)

    where = {"num_cpus": arguments.workers} if arguments.ray_address is None else {"address": arguments.ray_address}
    run_simulation(
        server,
        make_client(arguments.echo),
        num_supernodes=arguments.clients,
        backend_config={
            "init_args": {**where, "include_dashboard": False, "logging_level": "error"},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )
    print(json.dumps({"rounds": [b - a for a, b in pairwise(times)]}))


if __name__ == "__main__":
    main()
