"""What of a conversation an agent is shown: older exchanges shortened with a word about it, the new one whole."""

from itertools import pairwise

from cognitionos.agents.domain.context_window import estimated_tokens
from cognitionos.agents.domain.conversation import Exchange, opening_of_turn
from cognitionos.agents.domain.notes import as_notes

PROMPT = {"role": "system", "content": "You are kind."}
LONG = "What about the weather? " * 60


def test_a_first_message_is_shown_as_it_is_with_what_memory_has() -> None:
    opening = opening_of_turn(PROMPT, Exchange(message="Hello", memories=("Ada likes tea",)), limit=1_000)

    notes = as_notes(["Ada likes tea"])
    assert opening == [PROMPT, {"role": "user", "content": f"Hello\n\n## Known from memory\n{notes}"}]


def test_a_short_conversation_is_shown_whole() -> None:
    opening = opening_of_turn(PROMPT, Exchange(message="And now?", earlier=(("Hi", "Hello"),)), limit=1_000)

    assert [message["content"] for message in opening] == ["You are kind.", "Hi", "Hello", "And now?"]


def test_older_exchanges_are_shortened_and_say_by_how_much_and_the_new_message_stays_whole() -> None:
    earlier = tuple((f"Question {number}. {LONG}", f"Answer {number}. {LONG}") for number in range(12))

    opening = opening_of_turn(PROMPT, Exchange(message=LONG, earlier=earlier), limit=4_000)

    shown = "\n".join(str(message["content"]) for message in opening)
    assert opening[-1]["content"] == LONG
    assert estimated_tokens(opening) <= 4_000
    assert all(f"Question {number}." in shown and f"Answer {number}." in shown for number in range(12))
    assert "characters left out" in shown
    roles = [message["role"] for message in opening[1:]]
    assert all(one != next_one for one, next_one in pairwise(roles))
