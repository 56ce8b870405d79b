"""A fingerprint is equal only where everything that decides the answer is."""

from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from cognitionos.llm_gateway.domain.fingerprint import fingerprint
from cognitionos.llm_gateway.infrastructure.messages_schema import messages_request
from cognitionos.llm_gateway.infrastructure.openai_schema import canonical, chat_request

TENANT = uuid4()
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers(-9, 9) | TEXT, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner)
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXT}, optional={"name": TEXT}
    ),
    min_size=1,
    max_size=3,
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("function"), "function": st.fixed_dictionaries({"name": TEXT, "parameters": VALUES})}
    ),
    min_size=1,
    max_size=2,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "tools": TOOLS,
    "tool_choice": st.sampled_from(["auto", "none", "required"]),
    "response_format": st.fixed_dictionaries({"type": TEXT}, optional={"json_schema": st.dictionaries(TEXT, VALUES)}),
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "seed": st.integers(0, 9),
    "stop": TEXT,
    "n": st.integers(1, 3),
    "max_tokens": st.integers(1, 9),
    "a_field_of_tomorrow": VALUES,
}
BODIES = st.fixed_dictionaries({"messages": MESSAGES}, optional=FIELDS)


def key(body: dict[str, Any], *, tenant: UUID = TENANT, model: str = "openai/m") -> str:
    return fingerprint(chat_request(dict(body)), tenant_id=tenant, model=model, canonical=canonical)


@given(one=BODIES, other=BODIES)
def test_two_requests_share_a_fingerprint_exactly_when_they_are_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (key(one) == key(other)) == (canonical(one) == canonical(other))


@given(body=BODIES, changed=st.sampled_from(["messages", *FIELDS]), data=st.data())
def test_a_change_in_any_one_field_misses(body: dict[str, Any], changed: str, data: st.DataObject) -> None:
    other = body | {
        changed: data.draw(BODIES.map(lambda each: each["messages"]) if changed == "messages" else FIELDS[changed])
    }
    without = {name: value for name, value in body.items() if name != changed or name == "messages"}

    assert (key(other) == key(body)) == (canonical(other) == canonical(body))
    assert (key(without) == key(body)) == (without == body)


@given(body=BODIES)
def test_the_order_of_fields_and_what_only_shapes_the_transport_do_not_count(body: dict[str, Any]) -> None:
    turned = dict(reversed(body.items()))

    assert key(turned | {"stream": True, "stream_options": {"include_usage": True}, "model": "alias"}) == key(body)


@given(body=BODIES)
def test_tenant_and_model_count(body: dict[str, Any]) -> None:
    assert len({key(body), key(body, tenant=uuid4()), key(body, model="openai/n")}) == 3


@given(system=TEXT, other=TEXT, budget=st.integers(1, 9))
def test_what_anthropic_s_format_alone_can_say_counts(system: str, other: str, budget: int) -> None:
    def of(**fields: Any) -> str:
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]} | fields
        request = messages_request(body, version=None, betas=None)
        return fingerprint(request, tenant_id=TENANT, model="anthropic/m", canonical=canonical)

    assert (of(system=system) == of(system=other)) == (system == other)
    assert of(thinking={"type": "enabled", "budget_tokens": budget}) != of()
