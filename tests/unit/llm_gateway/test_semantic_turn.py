"""What is compared by meaning and what has to be equal; how two answers are compared."""

from typing import Any
from uuid import uuid4

import pytest
from tests.builders_llm_gateway import a_request

from cognitionos.llm_gateway.domain.chat import ChatRequest, assistant, system, user
from cognitionos.llm_gateway.domain.semantic_score import Match, match, score
from cognitionos.llm_gateway.domain.semantic_text import read
from cognitionos.llm_gateway.domain.semantic_turn import Turn, answers_agree, turn_of
from cognitionos.llm_gateway.infrastructure.openai_schema import canonical

TENANT = uuid4()


def turn(request: ChatRequest, model: str = "m") -> Turn | None:
    return turn_of(request, tenant_id=TENANT, model=model, canonical=canonical)


def scope(**changes: Any) -> str:
    found = turn(a_request(**changes))
    assert found is not None
    return found.scope


def test_only_the_last_user_turn_is_compared_by_meaning() -> None:
    earlier = (system("Be brief."), user("Hello"), assistant("Hi"))

    one, other = turn(a_request(messages=(*earlier, user("Why?")))), turn(a_request(messages=(*earlier, user("How?"))))

    assert one is not None
    assert other is not None
    assert (one.question, other.question) == ("Why?", "How?")
    assert one.scope == other.scope


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.5},
        {"max_tokens": 5},
        {"tools": ({"type": "function", "function": {"name": "f"}},)},
        {"tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
        {"extra": {"seed": 1}},
        {"extra": {"anything_new": True}},
        {"messages": (system("Be brief."), user("Say hello."))},
        {"messages": (user("Before"), assistant("Yes"), user("Say hello."))},
        {"native": {"system": "x", "messages": [user("Say hello.")]}},
    ],
)
def test_everything_else_has_to_be_equal(changes: dict[str, Any]) -> None:
    assert scope(**changes) != scope()


def test_another_model_or_tenant_is_another_scope() -> None:
    request = a_request()

    other_tenant = turn_of(request, tenant_id=uuid4(), model="m", canonical=canonical)

    assert turn(request, "m") != turn(request, "n")
    assert turn(request) != other_tenant


def test_text_parts_are_one_text() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "Why is"}, {"type": "text", "text": "it so?"}]}

    found = turn(a_request(messages=(parts,)))

    assert found is not None
    assert found.question == "Why is\nit so?"


@pytest.mark.parametrize(
    "last",
    [
        assistant("It is"),
        {"role": "tool", "tool_call_id": "1", "content": "5"},
        user("Look", images=("https://example.com/a.png",)),
        {"role": "user", "content": "Hi", "name": "Ada"},
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
        user(""),
        user("x" * 2001),
    ],
)
def test_what_is_no_plain_question_is_not_looked_up(last: dict[str, Any]) -> None:
    assert turn(a_request(messages=(last,))) is None


def test_a_native_request_is_compared_without_its_last_turn_too() -> None:
    def native(text: str) -> ChatRequest:
        message = {"role": "user", "content": text}
        return a_request(text, native={"system": "Be brief.", "messages": [message]})

    one, other = turn(native("Why?")), turn(native("How?"))

    assert one is not None
    assert other is not None
    assert one.scope == other.scope


@pytest.mark.parametrize(
    ("one", "other", "similarity", "agree"),
    [
        ("It is 5.", " it is  5. ", 0.0, True),
        ("Yes, you can.", "No, you can.", 0.99, False),
        ("It is 5 days.", "It is 6 days.", 0.99, False),
        ("Open it and press reset.", "Press reset after opening it.", 0.9, True),
        ("Open it and press reset.", "Do not press reset.", 0.95, False),
        ("Paris", "London", 0.1, False),
        ("word " * 60, "other " * 60, 0.9, True),
        ("word " * 60, "other " * 60, 0.85, False),
    ],
)
def test_answers_are_compared_strictly(one: str, other: str, similarity: float, *, agree: bool) -> None:
    assert answers_agree(one, other, similarity) is agree
    assert answers_agree(other, one, similarity) is agree


def test_every_word_of_content_needs_a_counterpart() -> None:
    likeness = {("buy", "purchase"): 0.8}

    def like(one: str, other: str) -> float:
        return likeness.get((one, other)) or likeness.get((other, one)) or 0.1

    asked = read("How do I buy a house?")
    same = match(asked, read("How do I purchase a house?"), similarity=0.9, likeness=like)
    other = match(asked, read("How do I purchase a boat?"), similarity=0.9, likeness=like)

    assert (same.least, other.least) == (0.8, 0.1)
    assert score(same) > score(other)


def test_questions_without_content_are_never_sure() -> None:
    empty = match(read("What is this?"), read("What is that?"), similarity=1.0, likeness=lambda _one, _other: 1.0)

    assert empty == Match(similarity=1.0, least=0.0, mean=0.0)
    assert score(empty) < 0.5
