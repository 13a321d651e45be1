"""The client app on Flower's own runtimes, where a device may be a box that must not tell its errors to the server."""

from __future__ import annotations

import sys

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from fedasr.errors import InputError
from fedasr.runtime.answering import AnsweringApp
from fedasr.runtime.executors.base import CLIENT_FAILED

from .activity import note_activity
from .box import find_box

UNTOLD = "the box could not do it; its own log says why"
"""What the server is told: an error names files, transcripts and lines of a manifest."""


class BoxApp(AnsweringApp):
    """Answers as ``AnsweringApp`` in a simulation; on a box it keeps errors at home and counts what was done."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__(app)

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message."""
        reply = super().__call__(message, context)
        box = find_box(context)
        if box is None:
            return reply
        if reply.has_error():
            print(f"{message.metadata.message_type}: {reply.error.reason}", file=sys.stderr, flush=True)
            return Message(Error(CLIENT_FAILED, UNTOLD), reply_to=message)
        try:
            note_activity(box, message, reply)
        except (OSError, InputError) as error:
            # Counts are for the owner of the box; the answer is done, and in a private run paid for.
            print(f"the activity of this box was not counted: {error}", file=sys.stderr, flush=True)
        return reply
