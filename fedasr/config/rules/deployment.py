"""What cannot be with edge devices."""

from __future__ import annotations

from fedasr.config.schema import Config, PartitionConfig
from fedasr.errors import InputError


def check_deployment(config: Config, where: str) -> None:
    """Raise on what cannot be with edge devices that hold their own speech, or that nothing would read there.

    Raises:
        InputError: naming the keys and what to change.
    """
    if config.runtime.name != "deployment":
        return

    def refuse(message: str) -> None:
        raise InputError(f"'runtime.name' is 'deployment' but {message}", where=where)

    if config.client_app is not None:
        refuse(
            f"'client_app' is '{config.client_app}'; devices answer with the app that is installed there: leave it out"
        )
    if config.data.partition != PartitionConfig():
        refuse("'data.partition' is set; every device is a client: leave it out")
    if config.data.public_share:
        refuse(f"'data.public_share' is {config.data.public_share:g}; what edge devices hold is private: leave it out")
    if config.pate.store is not None:
        refuse("'pate.store' is set; each device keeps its own teacher: leave it out")
    if config.stream.arrival != "static":
        refuse(f"'stream.arrival' is '{config.stream.arrival}'; speech comes as devices record it: leave 'stream' out")
    if config.devices.clock:
        refuse("'devices.clock' is true; edge devices run in real time: leave 'devices' out")
    if config.evaluate.held_out:
        refuse(
            f"'evaluate.held_out' is {config.evaluate.held_out}; the server has no speech of the devices: leave it out"
        )
    if config.model.alphabet == "auto" and config.init_from is None:
        refuse("'model.alphabet' is 'auto'; the server sees no transcripts: choose latin or arabic, or list characters")
    if config.model.frozen:
        refuse(
            "'model.frozen' is set; edge devices do not hold the initial model, whose frozen tensors are not sent:"
            " leave it out"
        )
    if config.evaluate.decoder == "vocabulary" and not config.evaluate.vocabulary:
        refuse("'evaluate.vocabulary' is empty; the server sees no transcripts: list the phrases")
    private = config.privacy.unit != "none" or config.strategy.name == "pate"
    if private and not config.privacy.secret_noise:
        unit = "privacy.unit=teacher and " if config.privacy.unit == "none" else ""
        refuse(
            "'privacy.secret_noise' is not true in a private run; noise and samples would follow from a seed that"
            f" everybody who is sent the config knows: set {unit}privacy.secret_noise=true"
        )
    if config.evaluate.client_side and config.privacy.unit != "none":
        # A server that is killed meanwhile would draw the round's noise anew, and the devices would have seen both.
        refuse(
            "'evaluate.client_side' is set in a private run; a model would leave before the account is on the disk:"
            " leave it out"
        )
