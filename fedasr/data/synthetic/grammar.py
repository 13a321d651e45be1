"""What synthetic speakers say: grammars of topics, each topic a list of templates.

A template is a sentence with slots in braces. Its sentences are numbered, so that a draw is two uniform numbers (which
template, which of its sentences) and many draws are one vectorised step.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt

from fedasr.errors import InputError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_HOME_SLOTS: dict[str, tuple[str, ...]] = {
    "room": ("kitchen", "bedroom", "bathroom", "hallway", "garage", "office", "garden"),
    "door": ("front", "back", "garage"),
    "music": ("jazz", "rock", "piano"),
    "item": ("milk", "bread", "coffee", "apples", "sugar"),
    "number": ("two", "three", "five", "ten", "thirty"),
    "hour": ("five", "six", "seven", "eight"),
    "warmth": ("eighteen", "nineteen", "twenty"),
    "person": ("mum", "dad", "anna", "peter"),
    "day": ("today", "tomorrow"),
    "volume": ("up", "down"),
}

_HOME: dict[str, tuple[str, ...]] = {
    "lights": (
        "turn on the {room} lights",
        "turn off the {room} lights",
        "dim the {room} lights",
        "make the {room} brighter",
    ),
    "climate": (
        "set the heating to {warmth} degrees",
        "turn up the heating",
        "turn down the heating",
        "warm the {room}",
        "cool the {room}",
    ),
    "music": (
        "play some {music}",
        "play {music} in the {room}",
        "stop the music",
        "next song please",
        "turn the music {volume}",
    ),
    "timers": (
        "set a timer for {number} minutes",
        "cancel the timer",
        "wake me at {hour}",
        "how long is left",
    ),
    "shopping": (
        "add {item} to the list",
        "buy more {item}",
        "order {item} for {day}",
        "read the shopping list",
    ),
    "security": (
        "lock the {door} door",
        "open the {door} door",
        "close the {door} door",
        "is the {door} door locked",
        "arm the alarm",
    ),
    "calls": (
        "call {person}",
        "send a message to {person}",
        "read my messages",
        "what is the weather {day}",
    ),
}

# What people say to each other, not to a device: no content word occurs in ``home``. Public speech for seed models.
_EVERYDAY_SLOTS: dict[str, tuple[str, ...]] = {
    "relative": ("brother", "sister", "uncle", "cousin", "daughter", "neighbour", "doctor", "teacher"),
    "animal": ("horse", "rabbit", "sheep", "chicken", "puppy", "fox", "donkey", "goose"),
    "dish": ("soup", "cheese", "pasta", "salad", "cake", "fish", "beans", "honey"),
    "colour": ("red", "blue", "green", "yellow", "brown", "white", "black", "purple"),
    "thing": ("bicycle", "jacket", "umbrella", "violin", "camera", "blanket", "mirror", "basket", "ticket", "key"),
    "place": ("school", "station", "village", "forest", "river", "bridge", "market", "church", "beach", "museum"),
    "time": ("yesterday", "last winter", "on monday", "on friday", "in summer", "every evening", "before lunch"),
    "work": ("painting", "writing", "baking", "digging", "fishing", "driving", "running", "sleeping"),
    "feeling": ("happy", "tired", "hungry", "angry", "proud", "worried", "quiet", "lucky"),
    "sky": ("rain", "snow", "thunder", "wind", "fog", "sunshine"),
}

_EVERYDAY: dict[str, tuple[str, ...]] = {
    "family": (
        "her {relative} was {work} {time}",
        "his {relative} looks very {feeling}",
        "we visited our {relative} {time}",
        "my {relative} has a {colour} {thing}",
    ),
    "travel": (
        "they walked from the {place} to the {place}",
        "this bus never goes near the {place}",
        "she lost a {thing} at the {place}",
        "he drove past the old {place} {time}",
    ),
    "food": (
        "i would like some {dish} with {dish}",
        "nobody ate the {dish} {time}",
        "that {dish} smells wonderful",
    ),
    "animals": (
        "a {colour} {animal} jumped over the fence",
        "the {animal} chased a {animal} into the {place}",
        "children love the little {animal}",
    ),
    "things": (
        "who took the {colour} {thing}",
        "where did you find this {thing}",
        "give me back that {thing}",
    ),
    "talk": (
        "i was so {feeling} {time}",
        "they were {work} under the trees",
        "there was {sky} and {sky} {time}",
        "we heard the {sky} while {work}",
    ),
}

# The 35 words of Speech Commands (Warden 2018, arXiv:1804.03209).
_KEYWORDS: dict[str, tuple[str, ...]] = {
    "control": ("yes", "no", "on", "off", "stop", "go"),
    "directions": ("up", "down", "left", "right", "forward", "backward"),
    "digits": DIGITS,
    "things": ("bed", "bird", "cat", "dog", "house", "tree"),
    "others": ("follow", "happy", "learn", "marvin", "sheila", "visual", "wow"),
}


_SENTENCES = {"home": (_HOME, _HOME_SLOTS), "everyday": (_EVERYDAY, _EVERYDAY_SLOTS)}


@dataclass(frozen=True)
class Template:
    """A sequence of slots; the words of a sentence are one choice from each."""

    slots: tuple[tuple[str, ...], ...]

    @classmethod
    def parse(cls, text: str, slots: Mapping[str, tuple[str, ...]]) -> Template:
        """Return the template of ``"dim the {room} lights"``."""
        return cls(tuple(slots[word[1:-1]] if word.startswith("{") else (word,) for word in text.split()))

    def __len__(self) -> int:
        """Return the number of sentences."""
        return prod(len(slot) for slot in self.slots)

    def sentence(self, index: int) -> str:
        """Return sentence ``index``."""
        words: list[str] = []
        for slot in reversed(self.slots):
            index, choice = divmod(index, len(slot))
            words.append(slot[choice])
        return " ".join(reversed(words))


@dataclass(frozen=True)
class Grammar:
    """Topics and the templates of each; all templates of a topic and all sentences of a template are equally likely."""

    name: str
    topics: tuple[str, ...]
    templates: tuple[tuple[Template, ...], ...]
    _made: dict[tuple[int, int, int], str] = field(default_factory=dict, repr=False, compare=False)

    def words(self) -> list[str]:
        """Return the distinct words, sorted."""
        phrases = {phrase for topic in self.templates for item in topic for slot in item.slots for phrase in slot}
        return sorted({word for phrase in phrases for word in phrase.split()})

    def sentences(self, topics: npt.NDArray[np.integer], uniforms: npt.NDArray[np.float64]) -> npt.NDArray[np.object_]:
        """Return the sentences of many draws.

        ``topics (n,)`` are indices into ``topics``; ``uniforms (n, 2)`` lie in [0, 1) and choose the template and the
        sentence. Equal sentences are one object. Shape ``(n,)``.
        """
        choices = np.array([len(topic) for topic in self.templates])
        sizes = np.zeros((len(self.topics), int(choices.max())), np.int64)
        for row, topic in enumerate(self.templates):
            sizes[row, : len(topic)] = [len(item) for item in topic]
        template = (uniforms[:, 0] * choices[topics]).astype(np.int64)
        index = (uniforms[:, 1] * sizes[topics, template]).astype(np.int64)
        out = np.empty(len(topics), object)
        made = self._made
        for place, draw in enumerate(zip(topics.tolist(), template.tolist(), index.tolist(), strict=True)):
            text = made.get(draw)
            if text is None:
                text = made[draw] = self.templates[draw[0]][draw[1]].sentence(draw[2])
            out[place] = text
        return out

    def draw(self, topic_weights: npt.NDArray[np.float64], rng: np.random.Generator) -> tuple[int, str]:
        """Draw one sentence: the index of its topic, and its text. ``topic_weights (topics,)`` sum to 1."""
        topic = rng.choice(len(self.topics), p=topic_weights)
        return int(topic), str(self.sentences(np.array([topic]), rng.random((1, 2)))[0])


def load_grammar(name: str, words: Sequence[str] = ()) -> Grammar:
    """Return grammar ``home``, ``everyday``, ``digits``, ``keywords`` or ``words``.

    ``words`` has one word an utterance, each its own topic.

    Raises:
        InputError: no such grammar, or ``words`` is empty or holds something that is not one word of letters.
    """
    if name in _SENTENCES:
        topics, slots = _SENTENCES[name]
        parsed = tuple(tuple(Template.parse(text, slots) for text in texts) for texts in topics.values())
        return Grammar(name, tuple(topics), parsed)
    if name == "digits":
        # A speaker's preferred topics are first digits: a door code, an area code.
        per_digit = tuple(tuple(Template(((digit,), *((DIGITS,) * more))) for more in (2, 3, 4)) for digit in DIGITS)
        return Grammar(name, DIGITS, per_digit)
    if name == "keywords":
        return Grammar(name, tuple(_KEYWORDS), tuple((Template((group,)),) for group in _KEYWORDS.values()))
    if name == "words":
        listed = tuple(_word(word) for word in words)
        if not listed:
            raise InputError("'data.synthetic.words' is empty; list the words that grammar 'words' says")
        listed = tuple(dict.fromkeys(listed))
        return Grammar(name, listed, tuple((Template(((word,),)),) for word in listed))
    raise InputError(f"there is no grammar '{name}'; expected home, everyday, digits, keywords or words")


def _word(text: str) -> str:
    word = unicodedata.normalize("NFC", str(text).strip().lower())
    if not word or not all(unicodedata.category(character)[0] in "LM" or character == "'" for character in word):
        raise InputError(f"'data.synthetic.words' holds '{text}'; expected one word of letters")
    return word
