"""A tiny Flower client app: client i holds i + 1 examples, and its loss is higher the larger i is."""

from __future__ import annotations

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
BROKEN = 5
"""this client always fails"""


@app.train()
def train(message: Message, context: Context) -> Message:
    """Return the client's number in place of the weights."""
    client = int(context.node_config["partition-id"])
    if client == BROKEN:
        raise ValueError("broken")
    metrics = MetricRecord(
        {
            "num-examples": client + 1,
            "train_loss": float(client),
            "spread": float(client**2 + 1),
            "took": 2.0 * client,
            "mu": message.content["config"].get("proximal-mu", -1.0),
        }
    )
    arrays = ArrayRecord([np.array([float(client), 1.0])])
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Return a loss, of the global weights' first entry and the client's number."""
    client = int(context.node_config["partition-id"])
    if client == BROKEN:
        raise ValueError("broken")
    weights = message.content["arrays"].to_numpy_ndarrays()
    loss = abs(float(weights[0][0]) - client)
    metrics = MetricRecord(
        {"num-examples": client + 1, "eval_loss": loss, "round": message.content["config"]["server-round"]}
    )
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
