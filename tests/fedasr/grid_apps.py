"""Tiny client apps for the grid's tests."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedasr.flower.records import array_record, numpy_arrays

app = ClientApp()


class AddUp:
    """A fold that adds up the six values of ``w``, and leaves the metrics."""

    size = 6

    def accumulate(self, total: npt.NDArray[np.float64], sent: RecordDict, reply: Message) -> Message:
        """Add the difference between what was sent and what came back."""
        came, went = numpy_arrays(reply.content.pop("arrays")), numpy_arrays(sent["arrays"])
        total += (came["w"] - went["w"]).astype(np.float64).reshape(-1)
        return reply


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
    if behaviour.get("die_once") == partition and not Path(str(behaviour["mark"])).exists():
        Path(str(behaviour["mark"])).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour.get("sleep") == partition:
        time.sleep(60)
    if "hangs_on" in behaviour:
        import ray

        if ray.get_runtime_context().get_node_id() == behaviour["hangs_on"]:
            time.sleep(60)
    message.content["config"]["seen"] = partition
    calls = int(context.state["counter"]["calls"]) + 1 if "counter" in context.state else 1
    context.state["counter"] = MetricRecord({"calls": calls})
    if "remember" in behaviour:
        context.state["memory"] = array_record({"m": np.zeros(int(behaviour["remember"]), np.float32)})
    if behaviour.get("fail_late") == partition:
        raise ValueError("I was told to fail when all is done")
    out = {name: array + np.float32(partition) for name, array in arrays.items()}
    if behaviour.get("grow") == partition:
        out["more"] = np.ones(100_000, np.float32)
    metrics = MetricRecord({"partition": partition, "calls": calls})
    echo = ConfigRecord({"keys": sorted(behaviour), "flag": int(str(behaviour.get("flag", 0)))})
    return Message(RecordDict({"arrays": array_record(out), "metrics": metrics, "echo": echo}), reply_to=message)
