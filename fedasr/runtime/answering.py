"""A client app for Flower's own runtimes, which say little about a client that failed."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedasr.flower.records import shallow_copy
from fedasr.runtime.executors.base import Task, call_client


class AnsweringApp(ClientApp):
    """Answers an exception of ``app`` with an error that says what went wrong.

    Flower's engine and SuperNode replace it by one of their own: the server could not tell wrong input (one line, and
    the run stops) from a device that broke down (it is counted). As on the local grid, a client that fails keeps the
    state that it had before.
    """

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self.app = app

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message."""
        state = shallow_copy(context.state)
        reply = call_client(self.app, Task(message, context)).reply
        if reply.has_error():
            context.state = state
        return reply
