"""The baseline: federated averaging as a bare PyTorch loop over forked processes, with nothing around it."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.workload import ALPHABET, MEL, PER_CLIENT, FeatureCorpus


class Model(nn.Module):
    """Conv1d(40,64,3,s2)–Conv1d(64,96,3,s2)–LSTM(128)–Linear(32), 146,112 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(MEL, 64, 3, stride=2, padding=1)
        self.second = nn.Conv1d(64, 96, 3, stride=2, padding=1)
        self.lstm = nn.LSTM(96, 128, batch_first=True)
        self.head = nn.Linear(128, 32)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return log-posteriors, ``(batch, 25, 32)``."""
        hidden = torch.relu(self.second(torch.relu(self.first(features.transpose(1, 2)))))
        return self.head(self.lstm(hidden.transpose(1, 2))[0]).log_softmax(2)


def serve(connection: Connection, corpus: FeatureCorpus, echo: bool) -> None:
    """Train the clients of a round on the weights received; send the weighted sum back."""
    torch.set_num_threads(1)
    model = Model()
    parameters = list(model.parameters())
    tokens = [torch.tensor([ALPHABET.index(c) + 1 for c in text]) for text in corpus.columns["text"]]
    lengths = torch.full((10,), 25)
    while True:
        work = connection.recv()
        if work is None:
            return
        weights, clients = work
        total = [torch.zeros_like(p) for p in parameters]
        for client in clients:
            with torch.no_grad():
                for parameter, array in zip(parameters, weights, strict=True):
                    parameter.copy_(torch.from_numpy(array))
            rows = [(client * PER_CLIENT + i) % 990 for i in range(PER_CLIENT)]
            order = np.random.default_rng(client).permutation(rows)
            for start in () if echo else (0, 10):
                batch = order[start : start + 10]
                features = torch.from_numpy(np.stack([corpus.features(row) for row in batch]))
                targets = nn.utils.rnn.pad_sequence([tokens[row] for row in batch], batch_first=True)
                target_lengths = torch.tensor([len(tokens[row]) for row in batch])
                for parameter in parameters:
                    parameter.grad = None
                loss = F.ctc_loss(model(features).transpose(0, 1), targets, lengths, target_lengths)
                loss.backward()
                with torch.no_grad():
                    for parameter in parameters:
                        parameter.sub_(parameter.grad, alpha=0.01)
            with torch.no_grad():
                for held, parameter in zip(total, parameters, strict=True):
                    held.add_(parameter, alpha=float(PER_CLIENT))
        connection.send([held.numpy() for held in total])


def main() -> None:
    """Run the loop and print the seconds of each round as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--echo", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus = FeatureCorpus(0)
    context = multiprocessing.get_context("fork")
    pipes = []
    for _ in range(arguments.workers):
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, corpus, arguments.echo), daemon=True).start()
        pipes.append(ours)
    weights = [p.detach().numpy() for p in Model().parameters()]
    seconds = []
    for round in range(arguments.rounds):
        started = time.perf_counter()
        chosen = np.random.default_rng(round).choice(arguments.clients, 50, replace=False).tolist()
        for i, pipe in enumerate(pipes):
            pipe.send((weights, chosen[i :: len(pipes)]))
        sums = [pipe.recv() for pipe in pipes]
        weights = [sum(parts) / (50 * PER_CLIENT) for parts in zip(*sums, strict=True)]
        seconds.append(time.perf_counter() - started)
    for pipe in pipes:
        pipe.send(None)
    print(json.dumps({"rounds": seconds}))


if __name__ == "__main__":
    main()
