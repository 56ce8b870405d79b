"""The parts of a streamed answer, one after another: formats that number their parts know none that grow at once.

A model's server may announce several calls of functions and then say their arguments in turns; whatever belongs to a
later part waits until the part before it is over.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from cognitionos.llm_gateway.domain.errors import StreamBroken
from cognitionos.llm_gateway.infrastructure.chat_chunk import Function, ToolCall

CALL = "call"
_NOTHING = Function()
_object = msgspec.json.Decoder(dict[str, Any]).decode


class Step(Enum):
    """What is told of a part: that it begins, more words of it, that it is over."""

    BEGUN = "begun"
    MORE = "more"
    OVER = "over"


@dataclass(eq=False, slots=True)
class Part:
    """Thoughts, words, a refusal, or with the kind `CALL` a call: `said` are then the pieces of its arguments."""

    kind: str
    id: str = ""
    name: str = ""
    said: list[str] = field(default_factory=list)
    begun: bool = False
    over: bool = False
    _told: int = 0
    _judged: int = -1

    def more(self) -> str:
        """What was said since it was last asked."""
        news = "".join(self.said[self._told :])
        self._told = len(self.said)
        return news

    def ends_before(self, following: "Part") -> bool:
        """Whether nothing more of it can come, now that there is another: its arguments are an object, whole."""
        if self.kind != CALL:
            return True
        if self._judged == len(self.said):
            return False
        self._judged = len(self.said)
        arguments = "".join(self.said).strip()
        return following.kind != CALL if not arguments else arguments.endswith("}") and _is_object(arguments)


Told = list[tuple[Step, Part, str]]


class PartsInOrder:
    """One stream's. Each piece gives what may be told by now, in order."""

    def __init__(self) -> None:
        self._parts: deque[Part] = deque()
        self._calls: dict[int | None, Part] = {}
        self._latest: Part | None = None

    def words(self, kind: str, text: str) -> Told:
        """A piece of text of this kind."""
        part = self._parts[-1] if self._parts else None
        if part is None or part.kind != kind:
            part = Part(kind)
            self._parts.append(part)
        part.said.append(text)
        return self._tell()

    def call(self, given: ToolCall) -> Told:
        """A piece of a call. Raises `StreamBroken` for one of a call that is over."""
        function = given.function or _NOTHING
        part = self._latest if given.index is None else self._calls.get(given.index)
        if part is None or _is_another(part, given, function):
            part = Part(CALL)
            self._parts.append(part)
        self._calls[given.index] = self._latest = part
        part.id = part.id or given.id or ""
        part.name = part.name or function.name or ""
        if function.arguments:
            if part.over and function.arguments.strip():
                raise StreamBroken(f"The model's server went on with its call of {part.name} after the end of it.")
            part.said.append(function.arguments)
        return self._tell()

    def end(self) -> Told:
        """The rest of all of them."""
        return self._tell(at_end=True)

    def _tell(self, *, at_end: bool = False) -> Told:
        told: Told = []
        while self._parts:
            part = self._parts[0]
            if not part.begun:
                if part.kind == CALL and not (part.name or at_end):
                    break
                part.begun = True
                told.append((Step.BEGUN, part, ""))
            news = part.more()
            if news:
                told.append((Step.MORE, part, news))
            if not at_end and (len(self._parts) == 1 or not part.ends_before(self._parts[1])):
                break
            part.over = True
            told.append((Step.OVER, self._parts.popleft(), ""))
        return told


def _is_another(part: Part, given: ToolCall, function: Function) -> bool:
    """Whether a piece that belongs to `part` by its index, or by its lack of one, begins another call all the same."""
    if given.id and part.id and given.id != part.id:
        return given.index is None or bool(function.name)
    is_named_again = given.index is None and not given.id and bool(part.name and function.name)
    return is_named_again and _is_object("".join(part.said))


def _is_object(text: str) -> bool:
    try:
        _object(text)
    except msgspec.DecodeError:
        return False
    return True
