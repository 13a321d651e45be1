from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedasr.data.synthetic.grammar import DIGITS, Grammar, Template, load_grammar
from fedasr.errors import InputError


def test_sentences_of_a_template_are_numbered() -> None:
    item = Template.parse("dim the {room} {what}", {"room": ("hall", "shed"), "what": ("lamp", "fan", "tv")})
    assert len(item) == 6
    assert [item.sentence(index) for index in range(6)] == [
        "dim the hall lamp",
        "dim the hall fan",
        "dim the hall tv",
        "dim the shed lamp",
        "dim the shed fan",
        "dim the shed tv",
    ]


def test_draws_choose_the_template_and_then_the_sentence() -> None:
    one = Template((("a", "b"),))
    grammar = Grammar("tiny", ("x", "y"), ((one, Template((("c",),))), (Template((("d", "e", "f", "g"),)),)))
    topics = np.array([0, 0, 0, 1, 1])
    uniforms = np.array([[0.0, 0.49], [0.49, 0.5], [0.5, 0.99], [0.99, 0.0], [0.0, 0.999999]])
    assert grammar.sentences(topics, uniforms).tolist() == ["a", "b", "c", "d", "g"]
    assert grammar.words() == ["a", "b", "c", "d", "e", "f", "g"]
    assert grammar.draw(np.array([0.0, 1.0]), np.random.default_rng(0))[0] == 1


@pytest.mark.parametrize(
    ("name", "least", "most"), [("home", 2, 6), ("everyday", 4, 8), ("digits", 3, 5), ("keywords", 1, 1)]
)
def test_sentences_are_lower_case_letters_of_the_vocabulary(name: str, least: int, most: int) -> None:
    grammar = load_grammar(name)
    rng = np.random.default_rng(1)
    topics = rng.integers(len(grammar.topics), size=3000)
    texts = grammar.sentences(topics, rng.random((3000, 2)))
    vocabulary = set(grammar.words())
    for text in texts:
        words = text.split(" ")
        assert least <= len(words) <= most
        assert set(words) <= vocabulary
    assert all(word.isascii() and word.isalpha() and word.islower() for word in vocabulary)
    assert {word for text in texts for word in text.split()} == vocabulary


def test_vocabularies() -> None:
    assert len(load_grammar("home").words()) >= 60
    assert set(load_grammar("digits").words()) == set(DIGITS)
    assert len(load_grammar("keywords").words()) == 35


def test_a_digit_string_begins_with_its_topic() -> None:
    grammar = load_grammar("digits")
    rng = np.random.default_rng(2)
    for _ in range(50):
        topic, text = grammar.draw(np.full(10, 0.1), rng)
        assert text.startswith(DIGITS[topic])


def test_words_are_normalised_and_kept_once() -> None:
    grammar = load_grammar("words", ["Yes ", "yes", "إغلاق", "caf\u0065\u0301"])
    assert grammar.topics == ("yes", "إغلاق", "caf\u00e9")


@pytest.mark.parametrize("words", [[], [""], ["two words"], ["x1"], ["yes", "no!"]])
def test_words_that_are_not_words_are_refused(words: list[str]) -> None:
    with pytest.raises(InputError, match=r"data\.synthetic\.words"):
        load_grammar("words", words)


def test_an_unknown_grammar_is_refused() -> None:
    with pytest.raises(InputError, match="expected home, everyday, digits, keywords or words"):
        load_grammar("homes")


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))))
def test_a_draw_does_not_depend_on_its_neighbours(draws: list[tuple[int, float, float]]) -> None:
    grammar = load_grammar("home")
    topics = np.array([draw[0] for draw in draws], np.int64)
    uniforms = np.array([draw[1:] for draw in draws], np.float64).reshape(-1, 2)
    together = grammar.sentences(topics, uniforms).tolist()
    alone = [grammar.sentences(topics[row : row + 1], uniforms[row : row + 1])[0] for row in range(len(draws))]
    assert together == alone


def test_everyday_sentences_are_no_commands() -> None:
    """Public speech for seed models: what the two have in common are function words."""
    home, everyday = load_grammar("home"), load_grammar("everyday")
    assert set(home.words()) & set(everyday.words()) <= {"a", "at", "back", "in", "me", "my", "on", "some", "the", "to"}
    sentences = {item.sentence(index) for topic in everyday.templates for item in topic for index in range(len(item))}
    commands = {item.sentence(index) for topic in home.templates for item in topic for index in range(len(item))}
    assert len(sentences) > 2000
    assert not sentences & commands
