"""What the room needs of Flower's private surface, and whether the Flower that is installed has it.

A new Flower may rename or move what it never promised. Then a run, a server or a device ends before it begins, with one
line that names what is missing, and not in the middle of its work.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fedasr.errors import InputError

SUPPORTED = ("1.41", "1.42")
"""The versions that the tests were run on; the bounds in ``pyproject.toml`` say the same."""


class UnsupportedFlower(InputError):
    """Flower is missing, or lacks something that is needed of it."""


@dataclass(frozen=True)
class Need:
    """A name of Flower, and how it is used."""

    module: str
    name: str = ""
    """of an attribute, dotted; empty: the module alone"""
    takes: tuple[str, ...] | None = None
    """how it is called: a word for each argument, with ``=`` at its end where it is passed by name; None: it is not"""
    fields: tuple[str, ...] = ()
    """of a protobuf message or a dataclass"""
    value: Any = None
    """that it must have; None: any"""

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module

    def problem(self) -> str | None:
        """Return what is wrong with it in this installation, in words; None: nothing."""
        try:
            part: Any = importlib.import_module(self.module)
            for step in self.name.split(".") if self.name else ():
                part = getattr(part, step)
        except (ImportError, AttributeError):
            return f"{self} is missing"
        if self.value is not None and part != self.value:
            return f"{self} is {part!r} and not {self.value!r}"
        missing = [field for field in self.fields if field not in fields_of(part)]
        if missing:
            return f"{self}.{missing[0]} is missing"
        if self.takes is not None and not can_be_called(part, self.takes):
            return f"{self}({', '.join(self.takes)}) is missing: it takes other arguments"
        return None


def fields_of(part: Any) -> set[str]:
    """Return the fields of a protobuf message or a dataclass."""
    if dataclasses.is_dataclass(part):
        return {field.name for field in dataclasses.fields(part)}
    return set(part.DESCRIPTOR.fields_by_name) if hasattr(part, "DESCRIPTOR") else set()


def can_be_called(part: Any, takes: tuple[str, ...]) -> bool:
    """Say whether something takes these arguments; names that end with ``=`` are passed by name."""
    named = {word.removesuffix("="): None for word in takes if word.endswith("=")}
    try:
        inspect.signature(part).bind(*(None for word in takes if not word.endswith("=")), **named)
    except (TypeError, ValueError):
        return False
    return True


CLIENT = ("address", "insecure=", "root_certificates=", "interceptors=")
"""How a connection of Flower is made."""
INFLATABLE = "flwr.supercore.inflatable.inflatable_utils"
ERRORS = "flwr.common.constant"
RUNTIME, FLEET = "flwr.supercore.runtime", "flwr.supernode.fleet_http_client"
TASKS = "flwr.supernode.runtime.run_clientapp"

RECEIVES = (
    *("state=", "object_store=", "node_config=", "receive=", "get_run=", "get_fab=", "pull_object="),
    *("confirm_message_received=", "trusted_entities="),
)
"""How Flower receives a message."""

PARTS: Mapping[str, tuple[Need, ...]] = {
    "messages": (
        Need("flwr.supercore.task_identity", "TaskIdentity"),
        Need("flwr.supercore.task_identity", "TaskIdentity._run_id"),
        Need("flwr.supercore.task_identity", "TaskIdentity._node_id"),
        Need("flwr.supercore.task_identity", "TaskIdentity._task_id"),
        Need("flwr.supercore.run", "Run.create_empty", ("run_id",)),
        Need("flwr.app", "Metadata"),
        Need("flwr.app", "Message", ("content=", "metadata=")),
        Need("flwr.app", "Array", fields=("dtype", "shape", "stype", "data")),
        Need("flwr.serverapp", "Grid.get_nodes", ("self",)),
        Need("flwr.clientapp.typing", "ClientAppCallable"),
        Need("flwr.common.serde", "recorddict_from_proto", ("proto",)),
        Need("flwr.common.serde", "recorddict_to_proto", ("record",)),
        Need("flwr.proto.recorddict_pb2", "RecordDict"),
        Need(ERRORS, "ErrorCode.CLIENT_APP_RAISED_EXCEPTION", value=2),
        Need(ERRORS, "ErrorCode.MESSAGE_UNAVAILABLE", value=3),
        Need(ERRORS, "ErrorCode.REPLY_MESSAGE_UNAVAILABLE", value=4),
        Need(ERRORS, "ErrorCode.NODE_UNAVAILABLE", value=5),
        Need(ERRORS, "ErrorCode.CLIENT_APP_CRASHED", value=8),
    ),
    "arrivals": (
        Need("flwr.superlink.grid.http_grid", "HttpGrid._runtime_client"),
        Need("flwr.proto.message_pb2", "ConfirmMessageReceivedRequest", fields=("node", "run_id", "message_object_id")),
        Need("flwr.proto.runtime_pb2", "PullAppMessagesRequest", fields=("message_ids",)),
        Need("flwr.proto.runtime_pb2", "PullAppMessagesResponse", fields=("messages_list", "message_object_trees")),
        Need("flwr.supercore.inflatable.inflatable_object", "iterate_object_tree", ("tree",)),
        Need(
            "flwr.supercore.inflatable.inflatable_protobuf_utils",
            "make_pull_object_fn_protobuf",
            ("pull", "node", "run_id"),
        ),
        Need(INFLATABLE, "ObjectPullError"),
        Need(INFLATABLE, "ObjectUnavailableError"),
        Need(INFLATABLE, "inflate_object_from_contents", ("number", "contents")),
        Need(INFLATABLE, "pull_objects", ("numbers", "pull", "max_tries_per_object=")),
        Need(RUNTIME, "RuntimeHttpClient.PullMessages", ("self", "request")),
        Need(RUNTIME, "RuntimeHttpClient.PullObject", ("self", "request")),
        Need(RUNTIME, "RuntimeHttpClient.ConfirmMessageReceived", ("self", "request")),
    ),
    "simulation": (
        Need("flwr.simulation", "run_simulation", ("server_app", "client_app", "num_supernodes=", "backend_config=")),
    ),
    "superlink": (
        Need("flwr.superlink.cli.flower_superlink", "flower_superlink", ()),
        Need("flwr.superlink.cli.flower_superlink", "uvicorn.run"),
        Need("flwr.supercore.sql_mixin", "SQLITE_PRAGMAS"),
        Need("flwr.supercore.corestate.sql_corestate", "HEARTBEAT_DEFAULT_INTERVAL", value=30),
        Need("flwr.supercore.corestate.sql_corestate", "HEARTBEAT_PATIENCE", value=2),
        Need("flwr.supercore.constant", "SQLITE_PRAGMAS"),
        Need("flwr.superlink.routers.control", "router.routes"),
        Need("flwr.supercore.constant", "FLEET_HTTP_PUBLIC_KEY_HEADER"),
        Need("flwr.supercore.constant", "FLEET_HTTP_SIGNATURE_HEADER"),
        Need(ERRORS, "SYSTEM_TIME_TOLERANCE"),
        Need(ERRORS, "TIMESTAMP_HEADER"),
        Need(ERRORS, "TIMESTAMP_TOLERANCE"),
        Need("flwr.supercore.date", "now", ()),
        Need("flwr.supercore.primitives.asymmetric", "verify_signature", ("key", "message", "signature")),
        Need("flwr.supercore.control", "ControlHttpClient.from_server_address", CLIENT),
        Need("flwr.supercore.control", "ControlHttpClient.ListNodes", ("self", "request")),
        Need("flwr.supercore.control", "ControlHttpClient.ListRuns", ("self", "request")),
        Need("flwr.supercore.interceptors", "RuntimeVersionHttpInterceptor", ("component_name=",)),
        Need("flwr.proto.control_pb2", "ListNodesRequest"),
        Need("flwr.proto.control_pb2", "ListNodesResponse", fields=("nodes_info",)),
        Need("flwr.proto.control_pb2", "ListRunsRequest"),
        Need("flwr.proto.control_pb2", "ListRunsResponse", fields=("run_dict", "now")),
        Need("flwr.proto.node_pb2", "NodeInfo", fields=("node_id", "name", "status")),
        Need("flwr.common.serde", "run_from_proto", ("run",)),
    ),
    "supernode": (
        Need("flwr.supernode.cli.flower_supernode", "flower_supernode", ()),
        Need("flwr.supernode", "start_client_internal"),
        Need("flwr.supernode.start_client_internal", "_pull_and_store_message", RECEIVES),
        Need("flwr.supercore.run", "RunNotRunningException"),
        Need(RUNTIME, "RuntimeHttpClient.from_server_address", CLIENT),
        Need(RUNTIME, "RuntimeHttpClient.AcquireTask", ("self", "request")),
        Need("flwr.supercore.interceptors", "RuntimeVersionHttpInterceptor", ("component_name=",)),
        Need("flwr.supercore.interceptors", "SuperExecAuthHttpInterceptor", ("master_secret=", "protected_methods=")),
        Need("flwr.supercore.interceptors", "RuntimeTokenHttpInterceptor", ("token",)),
        Need("flwr.proto.runtime_pb2", "AcquireTaskRequest", fields=("supported_task_types",)),
        Need("flwr.proto.runtime_pb2", "AcquireTaskResponse", fields=("task", "token")),
        Need("flwr.supercore.constant", "TaskType.CLIENT_APP"),
        Need(ERRORS, "SubStatus.COMPLETED"),
        Need("flwr.supercore.heartbeat", "HeartbeatSender", ("beat",)),
        Need("flwr.supercore.heartbeat", "make_task_heartbeat_fn_http", ("client",)),
        Need(INFLATABLE, "ObjectPushError"),
        Need(TASKS, "pull_task_input", ("client",)),
        Need(TASKS, "push_message", ("client", "reply", "context")),
        Need(TASKS, "push_task_output", ("client", "context", "status", "details")),
        Need("flwr.proto.fleet_pb2", "DeactivateNodeRequest", fields=("node_id",)),
        Need(FLEET, "FleetHttpClient.from_server_address", CLIENT),
        Need(FLEET, "FleetHttpClient.DeactivateNode", ("self", "request")),
        Need("flwr.supernode.node_auth_http_interceptor", "NodeAuthHttpInterceptor", ("private", "public")),
    ),
}
"""What each part of the room needs: ``messages`` every run, ``arrivals`` the server of devices, ``simulation`` Flower's
own engine, ``superlink`` a server's process, ``supernode`` an edge device."""


def check(*parts: str) -> None:
    """Make sure that Flower has what is needed of it; neither torch nor Ray is imported for that.

    Args:
        parts: of ``PARTS``; none: all.

    Raises:
        UnsupportedFlower: it has not; one line that names what is missing.
    """
    version = installed()
    for part in parts or PARTS:
        for need in PARTS[part]:
            problem = need.problem()
            if problem is not None:
                raise refusal(version, problem)
        if part == "messages":
            problem = hidden_fields_problem()
            if problem is not None:
                raise refusal(version, problem)


def installed() -> str:
    """Return the version of Flower.

    Raises:
        UnsupportedFlower: there is none.
    """
    try:
        return version("flwr")
    except PackageNotFoundError:
        raise UnsupportedFlower("Flower is not installed; pip install fedasr") from None


def refusal(version: str, problem: str) -> UnsupportedFlower:
    """Return the line for a version that lacks something."""
    return UnsupportedFlower(
        f"Flower {version} is not supported: {problem}; supported are {' and '.join(SUPPORTED)}:"
        f" pip install 'flwr=={SUPPORTED[-1]}.*'"
    )


def hidden_fields_problem() -> str | None:
    """Return which field is missing that messages and records hide and the room writes into; None: none is."""
    from flwr.app import ConfigRecord, Metadata

    metadata = Metadata(1, "", 1, 2, "", "", 0.0, 1.0, "train")
    for name in ("_message_id", "_src_node_id"):
        if name not in vars(metadata):
            return f"flwr.app.Metadata.{name} is missing"
    return None if "_data" in vars(ConfigRecord()) else "flwr.app.ConfigRecord._data is missing"


@contextmanager
def supported() -> Iterator[None]:
    """Turn an import from Flower that fails into the one line that ``check`` would give.

    Raises:
        UnsupportedFlower: it did.
    """
    try:
        yield
    except ImportError as error:
        if not (error.name or "").startswith("flwr"):
            raise
        name = re.search(r"cannot import name '(\w+)'", str(error))
        missing = f"{error.name}.{name[1]}" if name else str(error.name)
        raise refusal(installed(), f"{missing} is missing") from None
