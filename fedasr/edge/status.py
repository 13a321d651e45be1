"""What an edge device has done: for people and, as JSON, for their tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedasr.edge.device_folder import DeviceFolder
from fedasr.edge.handshake import Unreachable, Untrusted, knock
from fedasr.edge.server_folder import read_json
from fedasr.errors import InputError
from fedasr.privacy.document import as_json, sentence
from fedasr.privacy.ledger import Ledger

DELTA = 1e-5
"""At which an edge device tells what its ledger has spent."""


def device_status(device: DeviceFolder, manifest: Path) -> dict[str, Any]:
    """Return who an edge device is, whether it runs and its server answers, what it holds and what it has done.

    Raises:
        InputError: the device was not enrolled, or a file of its memory is damaged.
    """
    from fedasr.data.manifest import read_table

    identity = device.require()
    try:
        knock(identity.host, identity.port, device.authority)
        server = "answers"
    except (Unreachable, Untrusted) as error:
        server = str(error)
    try:
        recordings: int | str = len(read_table(manifest, transcribed=False))
    except InputError as error:
        recordings = str(error)
    done = read_json(device.activity) if device.activity.is_file() else {}
    return {
        "name": identity.name,
        "superlink": identity.superlink,
        "running": device.running,
        "server": server,
        "recordings": recordings,
        "rounds": done.get("rounds", 0),
        "last_round": done.get("last_round"),
        "last_message": done.get("last_message"),
        "bytes_sent": done.get("bytes_sent", 0),
        **spent(device.ledger_file),
        "delta": DELTA,
    }


def spent(ledger_file: Path) -> dict[str, Any]:
    """Return what an edge device's speech has cost so far, over all runs and mechanisms.

    Returns:
        ``privacy``: a group of releases each, with its ``epsilon``, ``unit``, ``seen_by``, ``randomness`` and, all in
        words, ``guarantee``; ``epsilon``: of the first of them, None where nothing private was done.

    Raises:
        InputError: the ledger is damaged.
    """
    if not ledger_file.is_file():
        return {"epsilon": None, "privacy": []}
    ledger = Ledger("rdp")
    ledger.load_state_dict(read_json(ledger_file)["ledger"])
    spendings = [{**as_json(spending), "guarantee": sentence(spending)} for spending in ledger.spent(DELTA)]
    return {"epsilon": spendings[0]["epsilon"] if spendings else None, "privacy": spendings}
