"""Replies that arrive in pieces: an edge device that stops in the middle of its upload keeps nobody else waiting.

A SuperLink announces a reply when its upload begins. Flower's grid then waits for the pieces of one reply after the
other, and for those that never come three minutes; meanwhile the replies of all others are late. Here a piece that is
not there yet is asked for again at the next look.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from flwr.app import Message
from flwr.serverapp import Grid

from fedasr.flower.messages import set_message_id
from fedasr.flower.surface import supported

with supported():
    from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
    from flwr.proto.runtime_pb2 import PullAppMessagesRequest
    from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
    from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
    from flwr.supercore.inflatable.inflatable_utils import (
        ObjectPullError,
        ObjectUnavailableError,
        inflate_object_from_contents,
        pull_objects,
    )

if TYPE_CHECKING:
    from flwr.superlink.grid.http_grid import HttpGrid

HTTP_GRID = "flwr.superlink.grid.http_grid"


def leads_to_superlink(grid: Grid) -> TypeGuard[HttpGrid]:
    """Say whether a grid is a connection to a SuperLink; where there is none, its module is not imported for that."""
    module = sys.modules.get(HTTP_GRID)
    return module is not None and isinstance(grid, module.HttpGrid)


class Arrivals:
    """What has come of the replies to some messages.

    Args:
        grid: where the messages were sent; one that is no connection to a SuperLink has whole replies only.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.uploads: dict[str, Upload] = {}
        """by the message that is answered"""

    def look(self, waiting: Iterable[str]) -> Iterator[tuple[str, Message | None]]:
        """Yield what has arrived whole since the last look: the message that is answered, and the reply.

        None instead of a reply: its upload was cut off for good.

        Args:
            waiting: the messages that are not answered yet.
        """
        wanted = [number for number in waiting if number not in self.uploads]
        if not leads_to_superlink(self.grid):
            yield from ((reply.metadata.reply_to_message_id, reply) for reply in self.grid.pull_messages(wanted))
            return
        if wanted:
            # Asked about a second time, a message that is being answered would count as forgotten.
            response = self.grid._runtime_client.PullMessages(PullAppMessagesRequest(message_ids=wanted))
            for head, tree in zip(response.messages_list, response.message_object_trees, strict=True):
                pieces = [part.object_id for part in iterate_object_tree(tree)]
                self.uploads[head.metadata.reply_to_message_id] = Upload(self.grid, head.metadata.message_id, pieces)
        for answered, upload in list(self.uploads.items()):
            reply = upload.whole()
            if reply is not None or upload.lost:
                del self.uploads[answered]
                yield answered, reply


class Upload:
    """A reply of which some pieces may not be there yet.

    Args:
        grid: the connection to the SuperLink.
        number: of the reply.
        pieces: the ids of its objects, the reply's own among them.
    """

    def __init__(self, grid: HttpGrid, number: str, pieces: list[str]) -> None:
        self.grid = grid
        self.number = number
        self.pieces = pieces
        self.there: dict[str, bytes] = {}
        self.lost = False
        """whether the SuperLink has given it up"""
        client: Any = grid._runtime_client
        self.fetch = make_pull_object_fn_protobuf(client.PullObject, grid.node, grid.run.run_id)

    def whole(self) -> Message | None:
        """Return the reply when all of it is there, None until then."""
        try:
            contents = pull_objects(self.pieces, self.piece, max_tries_per_object=1)
        except ObjectPullError:
            return None
        self.grid._runtime_client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(
                node=self.grid.node, run_id=self.grid.run.run_id, message_object_id=self.number
            )
        )
        message = inflate_object_from_contents(self.number, contents)
        assert isinstance(message, Message)
        set_message_id(message, self.number)
        return message

    def piece(self, number: str) -> bytes:
        """Return an object, fetched once.

        Raises:
            ObjectUnavailableError: it is not there yet.
            ObjectPullError: it will never be.
        """
        if number not in self.there:
            try:
                self.there[number] = self.fetch(number)
            except ObjectUnavailableError:
                raise
            except ObjectPullError:
                self.lost = True
                raise
        return self.there[number]
