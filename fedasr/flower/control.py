"""Questions to a SuperLink about its nodes and its runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fedasr.flower.surface import supported

with supported():
    from flwr.common.serde import run_from_proto
    from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest
    from flwr.supercore.control import ControlHttpClient
    from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
    from flwr.supercore.run import Run


class SuperLinkControl:
    """A connection by which a SuperLink is asked, over TLS.

    Args:
        address: ``host:port``.
        authority: certificate of the authority that the SuperLink's own is signed by, PEM.
    """

    def __init__(self, address: str, authority: bytes) -> None:
        self.client = ControlHttpClient.from_server_address(
            address,
            insecure=False,
            root_certificates=authority,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )

    def nodes(self) -> Iterable[Any]:
        """Return the nodes, each with ``node_id``, ``status`` and its times.

        Raises:
            httpx.HTTPError: it does not answer.
        """
        nodes: Iterable[Any] = self.client.ListNodes(ListNodesRequest()).nodes_info
        return nodes

    def runs(self) -> tuple[list[Run], str]:
        """Return the runs and the SuperLink's time, ISO 8601.

        Raises:
            httpx.HTTPError: it does not answer.
        """
        response = self.client.ListRuns(ListRunsRequest())
        return [run_from_proto(run) for run in response.run_dict.values()], response.now

    def close(self) -> None:
        """Hang up."""
        self.client.close()
