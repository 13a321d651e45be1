"""What an edge device has done: for people and, as JSON, for their tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedasr.edge.box_folder import BoxFolder
from fedasr.edge.handshake import Unreachable, Untrusted, knock
from fedasr.edge.server_folder import read_json
from fedasr.errors import InputError
from fedasr.privacy.document import as_json, sentence
from fedasr.privacy.ledger import Ledger

DELTA = 1e-5
"""At which an edge device tells what its account has spent."""


def box_status(box: BoxFolder, manifest: Path) -> dict[str, Any]:
    """Return who an edge device is, whether it runs and its server answers, what it holds and what it has done.

    Raises:
        InputError: the device was not enrolled, or a file of its memory is damaged.
    """
    from fedasr.data.manifest import read_table

    identity = box.require()
    try:
        knock(identity.host, identity.port, box.authority)
        server = "answers"
    except (Unreachable, Untrusted) as error:
        server = str(error)
    try:
        recordings: int | str = len(read_table(manifest))
    except InputError as error:
        recordings = str(error)
    done = read_json(box.activity) if box.activity.is_file() else {}
    return {
        "name": identity.name,
        "superlink": identity.superlink,
        "running": box.running,
        "server": server,
        "recordings": recordings,
        "rounds": done.get("rounds", 0),
        "last_round": done.get("last_round"),
        "last_message": done.get("last_message"),
        "bytes_sent": done.get("bytes_sent", 0),
        **spent(box.account),
        "delta": DELTA,
    }


def spent(account: Path) -> dict[str, Any]:
    """Return what an edge device's speech has cost so far, over all runs and mechanisms.

    Returns:
        ``privacy``: a group of releases each, with its ``epsilon``, ``unit``, ``seen_by``, ``randomness`` and, all in
        words, ``guarantee``; ``epsilon``: of the first of them, None where nothing private was done.

    Raises:
        InputError: the account is damaged.
    """
    if not account.is_file():
        return {"epsilon": None, "privacy": []}
    ledger = Ledger("rdp")
    ledger.load_state_dict(read_json(account)["ledger"])
    found = [{**as_json(spending), "guarantee": sentence(spending)} for spending in ledger.spent(DELTA)]
    return {"epsilon": found[0]["epsilon"] if found else None, "privacy": found}
