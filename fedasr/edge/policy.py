"""The policy of an edge device: what its owner lets a server ask of it. The server cannot widen it.

It is ``policy.yaml`` in the device's folder. What is not in it has the default, and without the file all defaults hold:
they let a server train with noise that the device itself adds, and refuse whatever tells single recordings or
transcripts.
"""

from __future__ import annotations

import textwrap
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from fedasr.errors import InputError, nearest
from fedasr.protocol import KINDS, SECURE_KINDS, Kind

FILE = "policy.yaml"
REFUSES = "the edge device's policy refuses: "
"""How every refusal begins, in the device's log and in what the server is told."""
UNNOISED = (Kind.LOSS, Kind.EVALUATE, Kind.ESTIMATE)
"""Kinds whose answers follow from speech or transcripts without any noise."""
PRIVACY = ("device", "server", "none")
"""Who adds the noise, the strictest first."""
MECHANISMS = ("lnmax", "gnmax", "confident-gnmax", "soft-gaussian", "soft-laplace")
LONGEST = 100_000
"""Bytes of a policy."""


class PolicyRefused(InputError):
    """A server has asked for what the owner of the device does not allow.

    The message is told to the server: it names what was asked and what is allowed, and nothing that the device holds.

    Args:
        key: what was asked for.
        asked: its value.
        allowed: in words.
    """

    def __init__(self, key: str, asked: object, allowed: str) -> None:
        text = str(asked)
        super().__init__(f"{REFUSES}{key} is {text if len(text) <= 80 else f'{text[:77]}…'}; allowed is {allowed}")


def rule(default: Any, help: str, low: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    """Declare a rule: its default, what it means, the least number or the words that it takes."""
    return field(default=default, metadata={"help": help, "low": low, "choices": choices})


@dataclass(frozen=True)
class Policy:
    """What a server may ask of an edge device."""

    messages: tuple[str, ...] = rule(
        (Kind.DESCRIBE, Kind.TRAIN, Kind.TEACH, Kind.VOTE, *SECURE_KINDS),
        "what it may be asked: query.describe (how much speech it holds), train, train.teacher and query.votes (PATE),"
        " query.keys, query.shares and query.unmask (secure aggregation);"
        " query.loss, evaluate and query.estimate tell about single recordings, without noise, and need privacy: none",
        choices=KINDS,
    )
    privacy: str = rule(
        "device",
        "who adds the noise. device: this device, before anything leaves it. server: also a server that is trusted with"
        " un-noised updates and votes. none: also nobody, for speech that is not private;"
        " then no rule about noise, ε or δ holds",
        choices=PRIVACY,
    )
    secure_aggregation: bool = rule(
        False,
        "only training, votes and estimates under secure aggregation, in protocol: its server then sees sums alone",
    )
    least_in_sum: int = rule(
        3,
        "updates that such a sum has at least, that of this edge device and those of others whose keys are in"
        " peers.txt",
        low=2,
    )
    secret_noise: bool = rule(True, "only runs whose noise comes from no seed that somebody knows")
    epsilon_per_run: float = rule(8.0, "largest ε that a run may cost", low=0)
    epsilon_lifetime: float = rule(16.0, "largest ε that all runs together may cost", low=0)
    delta: float = rule(1e-5, "largest δ of a run", low=0)
    noise_multiplier: float = rule(0.5, "least noise, over the clipping bound", low=0)
    pate_mechanisms: tuple[str, ...] = rule(
        ("lnmax", "gnmax", "confident-gnmax"),
        "mechanisms of votes; soft-gaussian and soft-laplace take posteriors, which tell more than a vote",
        choices=MECHANISMS,
    )
    pate_scale: float = rule(1.0, "least noise on votes, in votes", low=0)
    pate_queries: int = rule(1000, "votes that this edge device casts, over all runs", low=0)
    filters: int = rule(
        8,
        "different choices of usable speech (alphabet, lengths, frame rate) that it is counted by, over all runs: each"
        " count tells something about transcripts",
        low=1,
    )
    panel: bool = rule(
        False,
        "query.estimate: the user has transcribed some recordings (`text` in the manifest), and their errors may be"
        " counted",
    )
    modules: tuple[str, ...] = rule(
        (),
        "modules of packages installed here, such as speechlab.models, whose models, encoders, tokenizers, optimisers"
        " and decoders a run may name, with options of its own; code of the server is never loaded",
    )
    parameters: int = rule(30_000_000, "largest model", low=1)
    epochs: int = rule(20, "passes over the speech a message", low=0)
    steps: int = rule(5000, "optimiser steps a message", low=1)
    batch_size: int = rule(128, "utterances a batch", low=1)
    seconds: float = rule(3600.0, "longest work on a message", low=1)
    message_mb: float = rule(256.0, "largest message of the server", low=1)

    @property
    def protects(self) -> bool:
        """Whether a run needs noise at all: to ask for how much would protect nobody where it may have none."""
        return self.privacy != "none"

    @property
    def budget(self) -> str:
        """How much of its privacy the owner lets be spent, in words."""
        return (
            f"ε up to {self.epsilon_per_run:g} a run and {self.epsilon_lifetime:g} for life at δ up to {self.delta:g},"
            f" noise multiplier at least {self.noise_multiplier:g}"
        )

    @property
    def texts(self) -> list[str]:
        """What the policy allows, in words, a line each."""
        lines = [f"answers {', '.join(self.messages) or 'nothing'}"]
        noise = {
            "device": "takes part only in runs whose noise this edge device adds itself",
            "server": "trusts its server with un-noised updates and votes, to which the server is to add the noise",
            "none": "takes part in runs WITHOUT any noise too: its server may learn what was said",
        }[self.privacy]
        seed = "drawn in secret" if self.secret_noise else "which may come from a seed that the SERVER KNOWS"
        lines.append(f"{noise}, {seed}" if self.protects else noise)
        if self.protects:
            lines.append(self.budget)
        lines.append(
            f"PATE: {self.pate_queries} votes for life, {', '.join(self.pate_mechanisms) or 'no mechanism'}, noise at"
            f" least {self.pate_scale:g}"
        )
        if self.secure_aggregation:
            lines.append(
                f"trains and votes only where its server sees sums alone, of at least {self.least_in_sum} devices"
            )
        told = [kind for kind in self.messages if kind in UNNOISED]
        lines.append(
            f"tells about single transcripts by {' and '.join(told)}" if told else "is not evaluated on its transcripts"
        )
        if self.panel:
            lines.append("counts the errors in recordings that its user has transcribed, where it is asked to estimate")
        if self.modules:
            lines.append(f"runs parts of the installed modules {', '.join(self.modules)} where its server names them")
        lines.append(
            f"at most {self.parameters:,} parameters, {self.epochs} epochs, {self.steps} steps, {self.batch_size}"
            f" utterances a batch, {self.seconds:g} s and {self.message_mb:g} MB a message"
        )
        return lines


class PlainLoader(yaml.SafeLoader):
    """Reads YAML as plain data: no tags, no aliases, no key twice, and 1e-5 is a number."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse what stands for something else."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem="an alias or a tag is not allowed", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is there twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"'{key.value}' is there twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_policy(path: Path) -> Policy:
    """Return the policy in a file; the defaults where there is none.

    Raises:
        InputError: it cannot be read, or a rule is unknown or has a wrong value; the key is named.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except FileNotFoundError:
        return Policy()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(content) > LONGEST:
        raise InputError(f"has more than {LONGEST} bytes; expected a short list of rules", where=str(path))
    try:
        tree = yaml.load(content.decode("utf-8-sig"), PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"is not valid YAML: {error.problem}", where=f"{path}{line}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"is not valid YAML: {error}", where=str(path)) from None
    return policy_of({} if tree is None else tree, str(path))


def policy_of(values: Any, where: str) -> Policy:
    """Return the policy of a mapping.

    Raises:
        InputError: a rule is unknown or has a wrong value, or two contradict each other.
    """
    if not isinstance(values, dict):
        raise InputError("holds no rules; expected lines such as 'privacy: device'", where=where)
    rules = {item.name: item for item in fields(Policy)}
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name not in rules:
            raise InputError(
                f"unknown rule '{name}'{nearest(str(name), rules)}; known: {', '.join(rules)}", where=where
            )
        given[str(name)] = checked(rules[name], value, where)
    policy = Policy(**given)
    told = [kind for kind in policy.messages if kind in UNNOISED]
    if told and policy.privacy != "none":
        raise InputError(
            f"'messages' has '{told[0]}', whose answers have no noise, but 'privacy' is '{policy.privacy}'; leave"
            " it out, or set privacy: none",
            where=where,
        )
    told = [kind for kind in told if kind != Kind.ESTIMATE]  # its counts can be summed as updates are
    if told and policy.secure_aggregation:
        raise InputError(
            f"'messages' has '{told[0]}', which tells of this edge device alone, but 'secure_aggregation' is true;"
            " leave it out",
            where=where,
        )
    return policy


def checked(item: Field[Any], value: Any, where: str) -> Any:
    """Return the value of a rule as its type.

    Raises:
        InputError: it is of another type, or out of range.
    """
    name, default, meta = item.name, item.default, item.metadata

    def wrong(expected: str) -> InputError:
        return InputError(f"'{name}' is {value!r:.80}; expected {expected}", where=where)

    choices = ", ".join(meta["choices"])
    if isinstance(default, tuple) and not choices:
        if not isinstance(value, list) or not all(is_module(entry) for entry in value):
            raise wrong("a list of modules, such as speechlab.models")
        return tuple(value)
    if isinstance(default, tuple):
        if not isinstance(value, list) or any(entry not in meta["choices"] for entry in value):
            raise wrong(f"a list of: {choices}")
        return tuple(value)
    if isinstance(default, str):
        if value not in meta["choices"]:
            raise wrong(f"one of: {choices}")
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise wrong("true or false")
        return value
    number = value
    if isinstance(value, str):  # YAML 1.1 takes 1e-5 for text
        try:
            number = float(value)
        except ValueError:
            raise wrong("a number") from None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) < 1e300:
        raise wrong("a number")
    if isinstance(default, int) and not float(number).is_integer():
        raise wrong("a whole number")
    if number < meta["low"]:
        raise wrong(f"at least {meta['low']:g}")
    return int(number) if isinstance(default, int) else float(number)


def is_module(name: Any) -> bool:
    """Say whether a value is the name of a module."""
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))


def policy_text(policy: Policy) -> str:
    """Return the file of a policy, with what each rule means."""
    lines = [
        "# What this edge device lets its server ask of it. No server can widen it. What is left out has the",
        "# default. 'fedasr edge doctor' says in words what it comes to.",
    ]
    for item in fields(Policy):
        value = getattr(policy, item.name)
        shown = f"[{', '.join(value)}]" if isinstance(value, tuple) else written(value)
        lines += ["", *wrapped(item.metadata["help"]), f"{item.name}: {shown}"]
    return "\n".join(lines) + "\n"


def written(value: Any) -> str:
    """Return a value as the file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def wrapped(text: str) -> list[str]:
    """Return a text as lines of a comment."""
    return textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
