"""An edge device: where its speech is, and how the server's instructions become its own.

The device's own configuration alone decides what is read and written. Of the server's config nothing that names a file,
a folder, an address or a piece of code is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Context

from fedasr.config.loading import PATE_PATHS
from fedasr.config.parts import is_installed, module_file
from fedasr.config.schema import walk
from fedasr.config.wire import plain_tree
from fedasr.edge.peers import FILE as PEERS
from fedasr.edge.policy import FILE as POLICY
from fedasr.edge.policy import Policy, PolicyRefused, read_policy
from fedasr.errors import InputError
from fedasr.protocol import SERVER
from fedasr.references import load_reference

MANIFEST = "manifest.csv"
CORPUS = "fedasr.clients.edge.corpus:device_corpus"
TRAIN, TEST = "train", "test"
KEPT_DATA = ("min_seconds", "max_seconds", "features", "augment")
"""What the server decides about speech: how features are made of it, and what is too short or too long."""
FOREIGN = ("init_from", "stream", "devices", "runtime", "attack")
"""What is none of an edge device's business, or names files and code."""
SERVER_PARTS = {"name": "options", "aggregation": "aggregation_options", "fairness": "fairness_options"}
"""Keys of section ``strategy`` whose own parts run on the server alone, and those of their options."""
DEVICE_PARTS = (
    "model.name",
    "model.encoder",
    "model.tokenizer",
    "client.optimizer",
    "evaluate.decoder",
    "compression.up",
    "compression.down",
)
"""Parts that run on an edge device."""
UNTRANSCRIBED = ("self", "none")
"""``client.labels`` with which a manifest needs no transcripts."""
CACHE_MB = 2048.0
SECRET = "true: who knows the seed of the run could take its noise off (secret_noise)"


@dataclass(frozen=True)
class EdgeDevice:
    """An edge device, as its node configuration describes it.

    The data folder holds the speech (unless ``manifest`` lies elsewhere) and all that has to survive a restart: weights
    of a teacher, the privacy ledger, counts of activity, the cache of features.
    """

    name: str
    data: Path
    manifest: Path

    @property
    def ledger_file(self) -> Path:
        """The file of the privacy ledger."""
        return self.data / "account.json"

    @property
    def policy(self) -> Path:
        """The file of what its owner lets a server ask of it."""
        return self.data / POLICY

    @property
    def asked(self) -> Path:
        """The file of what it was asked and may be asked so often only."""
        return self.data / "asked.json"

    @property
    def key(self) -> Path:
        """The file of the private key by which it was enrolled."""
        return self.data / "identity" / "box.key"

    @property
    def peers(self) -> Path:
        """The file of the keys by which it knows other devices."""
        return self.data / PEERS

    @property
    def secure_steps(self) -> Path:
        """The file of the last step that it has taken in secure aggregation."""
        return self.data / "secure.json"

    @property
    def activity(self) -> Path:
        """The file of what the device has taken part in."""
        return self.data / "activity.json"

    def config(self, experiment_json: str) -> str:
        """Return the server's config as this device reads it, JSON.

        All the device's utterances whose split is ``train``, or that have none, are one client; what cannot be used is
        left out and counted, so that one damaged recording costs one recording.

        Raises:
            InputError: what the server sent is no config, names code that the owner has not allowed, or has the device
                draw noise that the server could take off again.
        """
        tree = plain_tree(experiment_json)
        try:
            sections = {name: dict(tree.get(name, {})) for name in ("data", "evaluate", "pate")}
        except (ValueError, TypeError):
            raise InputError("the server sent no config", where="message") from None
        model = tree.get("model")
        if isinstance(model, Mapping) and model.get("frozen"):
            raise InputError(
                "'model.frozen' is set, and an edge device does not hold the initial model; leave it out", where=SERVER
            )
        gpu = wants_gpu(tree)
        for name in FOREIGN:
            tree.pop(name, None)
        selection = tree.get("selection")
        if isinstance(selection, Mapping) and ":" in str(selection.get("name")):
            # A part of the server's own: which devices it chooses is no device's business, and the code stays there.
            tree["selection"] = {"clients_per_round": selection.get("clients_per_round", 1)}
        tree["strategy"] = without_own_parts(tree.get("strategy", {}))
        given, evaluate, pate = sections.values()
        data: dict[str, Any] = {name: given[name] for name in KEPT_DATA if name in given}
        data |= {
            "corpus": CORPUS,
            "manifest": str(self.manifest),
            "train_split": TRAIN,
            "test_split": TEST,
            "clients": 1,
            "partition": {"name": "iid"},
            "on_bad_audio": "skip",
            "cache": {"directory": str(self.data / "features"), "disk_mb": CACHE_MB},
        }
        client = tree.get("client")
        if isinstance(client, Mapping) and client.get("labels") in UNTRANSCRIBED:
            data["corpus_options"] = {"transcribed": False}
        tree["data"] = data
        tree["runtime"] = {"device": "auto"} if gpu else {}
        for name in ("by", "held_out", "deciles", "limit"):
            evaluate.pop(name, None)
        for path in PATE_PATHS:
            pate.pop(path.split(".")[1], None)
        tree |= {"evaluate": evaluate, "pate": pate}
        policy = read_policy(self.policy)
        check_references(tree, policy)
        secret = dict(tree.get("privacy") or {}).get("secret_noise") is True
        if draws_noise(tree) and not secret and policy.secret_noise and policy.protects:
            raise PolicyRefused("privacy.secret_noise", "false", SECRET)
        return json.dumps(tree, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def draws_noise(tree: Mapping[str, Any]) -> bool:
    """Say whether a run has the device add noise to what it sends."""
    privacy, strategy, pate = (dict(tree.get(name) or {}) for name in ("privacy", "strategy", "pate"))
    if strategy.get("name") == "pate":
        return pate.get("noise_at") == "teachers"
    unit = privacy.get("unit", "none")
    return unit == "example" or (unit == "user" and privacy.get("noise_at") in ("device", "shares"))


def without_own_parts(strategy: Any) -> Any:
    """Return section ``strategy`` without parts of the server's own: what it makes of updates stays there."""
    if not isinstance(strategy, Mapping):
        return strategy
    own = [name for name in SERVER_PARTS if ":" in str(strategy.get(name))]
    unread = {name for part in own for name in (part, SERVER_PARTS[part])}
    return {name: value for name, value in strategy.items() if name not in unread}


def check_references(tree: Mapping[str, Any], policy: Policy) -> None:
    """Raise where a config would have a device load code that its owner has not allowed, but for the device's own
    corpus.

    Raises:
        PolicyRefused: naming the key.
    """
    for name, item in walk():
        if not item.metadata["reference"]:
            continue
        value: Any = tree
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None and ":" in str(value) and (name, value) != ("data.corpus", CORPUS):
            check_code(name, str(value), policy)


def check_code(key: str, reference: str, policy: Policy) -> None:
    """Raise where a part is none of a module that the owner has listed, or its module is not installed.

    Raises:
        PolicyRefused: naming the key.
    """
    module = reference.partition(":")[0]
    if key not in DEVICE_PARTS or module not in policy.modules:
        listed = ", ".join(policy.modules) if key in DEVICE_PARTS else ""
        allowed = (
            f"a part of {listed} (modules)"
            if listed
            else "what FedASR has: an edge device loads no code for its server"
        )
        raise PolicyRefused(key, reference, allowed)
    file = module_file(module)
    if file is None or not is_installed(file):
        raise PolicyRefused(key, reference, "a part of a package that is installed on the edge device")
    # What the module has imported for itself, such as os.system, is not among its parts.
    part = load_reference(reference, key)
    defined = f"{getattr(part, '__module__', '')}."
    if not callable(part) or not defined.startswith(f"{module}."):
        raise PolicyRefused(key, reference, f"a class or function that {module} defines")


def wants_gpu(tree: Mapping[str, Any]) -> bool:
    """Say whether the server would have a GPU used where there is one."""
    runtime = tree.get("runtime")
    return isinstance(runtime, dict) and runtime.get("device") in ("cuda", "auto")


def find_edge_device(context: Context) -> EdgeDevice | None:
    """Return the device that a context belongs to; None in a simulation.

    Raises:
        InputError: the node configuration names no folder.
    """
    given = context.node_config
    if "data" not in given and "manifest" not in given:
        return None
    if "data" not in given:
        raise InputError("has 'manifest' but no 'data', the edge device's own folder", where="--node-config")
    data = Path(str(given["data"]))
    manifest = Path(str(given.get("manifest", data / MANIFEST)))
    return EdgeDevice(str(given.get("name", "")), data, manifest)
