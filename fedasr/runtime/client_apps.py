"""The client app of a run: FedASR's, or a user's own."""

from __future__ import annotations

from dataclasses import dataclass

from flwr.clientapp import ClientApp

from fedasr.config import Config
from fedasr.config.parts import own_parts
from fedasr.errors import InputError
from fedasr.objects import packed, unpack
from fedasr.references import load_reference
from fedasr.registry import make_part

CLIENT_APP = "fedasr.clients.client_app:app"
KEY, OPTIONS = "client_app", "client_app_options"


def make_client_app(config: Config) -> ClientApp:
    """Return the client app of a run.

    Raises:
        InputError: ``client_app`` names none, and nothing that makes one with the options.
    """
    if config.client_app is None:
        app: ClientApp = load_reference(CLIENT_APP)
        return app
    named = load_reference(config.client_app, KEY)
    if isinstance(named, ClientApp):
        if config.client_app_options:
            raise InputError(f"'{OPTIONS}' is set but '{KEY}' is '{config.client_app}', which is made already")
        return named
    known = {"config": config}
    made = make_part(config.client_app, KEY, known, config.client_app_options, OPTIONS)
    if not isinstance(made, ClientApp):
        raise InputError(
            f"'{KEY}' is '{config.client_app}', which makes a {type(made).__name__}; expected a Flower ClientApp"
        )
    return made


@dataclass(frozen=True)
class WorkerApp:
    """How a worker that inherits nothing from this process makes the client app.

    Args:
        config: of the run.
        objects: parts that are known to this process alone (``fedasr.objects.packed``).
    """

    config: Config
    objects: bytes | None

    @classmethod
    def of(cls, config: Config) -> WorkerApp:
        """Return that of a run.

        Raises:
            InputError: its parts cannot be sent to a worker.
        """
        return cls(config, packed(own_parts(config)))

    def make(self) -> ClientApp:
        """Return the client app, in the worker.

        Raises:
            InputError: there is none here.
        """
        unpack(self.objects)
        return make_client_app(self.config)
