"""Tiny client apps for the grid's tests."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedasr.runtime.flower_compat import array_record, numpy_arrays

app = ClientApp()


@app.train()
def add_partition(message: Message, context: Context) -> Message:
    """Return the arrays plus the partition id; remember how often this client was called."""
    partition = int(context.node_config["partition-id"])
    arrays = numpy_arrays(message.content["arrays"])
    behaviour = dict(message.content["config"])
    if behaviour.get("fail") == partition:
        raise ValueError("I was told to fail")
    if behaviour.get("die") == partition:
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour.get("sleep") == partition:
        time.sleep(60)
    message.content["config"]["seen"] = partition
    calls = int(context.state["counter"]["calls"]) + 1 if "counter" in context.state else 1
    context.state["counter"] = MetricRecord({"calls": calls})
    out = {name: array + np.float32(partition) for name, array in arrays.items()}
    if behaviour.get("grow") == partition:
        out["more"] = np.ones(100_000, np.float32)
    metrics = MetricRecord({"partition": partition, "calls": calls})
    echo = ConfigRecord({"keys": sorted(behaviour)})
    return Message(RecordDict({"arrays": array_record(out), "metrics": metrics, "echo": echo}), reply_to=message)
