"""What the runtimes read."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_runtime(config: Config, where: str) -> None:
    """Raise on keys of Ray where nothing reads them, and on workers that would see no GPU.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    runtime = config.runtime
    if runtime.name != "ray":
        return
    address = runtime.ray_address
    host, _, port = (address or "auto").rpartition(":")
    if address not in (None, "auto") and not (host and "/" not in host and port.isdecimal() and int(port) < 65536):
        refuse(
            f"'runtime.ray_address' is '{address}'; expected host:port of the cluster's head, or auto, on a machine"
            " that is a node of the cluster"
        )
    share = runtime.gpus_per_client
    if share and runtime.device == "cpu":
        refuse("'runtime.gpus_per_client' is set but 'runtime.device' is 'cpu'; set runtime.device=cuda")
    if not share and runtime.device != "cpu":
        refuse(
            f"'runtime.name' is 'ray' and 'runtime.device' is '{runtime.device}' but 'runtime.gpus_per_client' is not"
            " set, and Ray shows workers no GPU; set it, for example to 0.25"
        )
    if share > 1 and share != int(share):
        refuse(f"'runtime.gpus_per_client' is {share:g}; expected a part of one GPU, or a whole number of GPUs")
