"""How many tokens a prompt can have at most: a token is at least one byte, whatever the tokenizer.

That bounds words, and sound that is sent whole; an image has a bound of its own. What is sent by reference (a file by
its id or address, a container, an earlier answer's sound), what is packed (a page of a PDF costs more tokens than
bytes) and what nobody knows have none: they are held at the longest prompt that the model takes, where that is known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mimetypes import guess_type
from typing import Any

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.domain.answer import BYTES_OF_A_TOKEN
from cognitionos.llm_gateway.domain.chat import KEPT_ELSEWHERE, ChatRequest

TOKENS_PER_IMAGE = 50_000
"""Above the dearest image of any current vision model (a large high-detail image on a small model)."""
TOKENS_OF_AN_IMAGE = 1000
"""About: one of middling size."""
TOKENS_AROUND_A_MESSAGE = 8
"""Role markers: 3 to 5 in the templates of current models."""
TOKENS_AROUND_A_REQUEST = 64
"""What a template says by itself, such as gpt-oss' system message."""
TOKENS_AROUND_TOOLS = 1024
"""Preambles of tools and instructions for a schema that providers add: up to 804 (Anthropic's guide, "Tool use")."""
TOKENS_OF_A_VENDORS_TOOL = 2048
"""A tool whose schema its provider knows: Anthropic's for a computer adds 735 tokens and 499 of instructions."""
_PLAIN_MESSAGE = {"role", "content"}
_TOOLS = {"tools", "mcp_servers"}
_OWN_TOOLS = frozenset({"function", "custom"})
_BEYOND_WORDS = frozenset({"audio", "modalities", "cache_control"})
_AN_HOUR = b'"1h"'
"""How a request says that a part of its prompt is to be kept in a provider's cache for an hour."""
_IMAGES = frozenset({"image_url", "image", "input_image"})
_NO_IMAGES = ("video/", "audio/", "application/pdf")
_WORDS = frozenset(
    {"text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking", "search_result"}
    | {"tool_use", "server_tool_use", "mcp_tool_use", "tool_reference", "web_search_result"}
    | {"code_execution_result", "bash_code_execution_result", "tool_search_tool_search_result", "web_fetch_result"}
)
_OF_A_TOOL = ("_tool_result", "_tool_result_error")
_SOUNDS = frozenset({"wav", "mp3", "pcm16"})
"""Formats whose bytes outnumber their tokens, silence included."""
_PLAIN_FILE = "data:text/"
_NOT_IN_THE_PROMPT = frozenset(
    {"metadata", "user", "stop", "logit_bias", "stream_options", "prediction", "prompt_cache_key", "safety_identifier"}
)


@value
class PromptBound:
    """The most tokens, and whether words alone are sent and asked for (`Price.words_only`).

    `beyond`: the place of the first content that `tokens` does not bound.
    """

    tokens: int
    words_only: bool
    beyond: str | None = None


def prompt_bound(request: ChatRequest, encode: Callable[[Any], bytes]) -> PromptBound:
    """What `request` can send at most."""
    content = _Content(words_only=request.native is None and request.extra.keys().isdisjoint(_BEYOND_WORDS))
    spoken: list[Any] = [each for each in (request.tools, request.response_format) if each]
    with_tools = spoken or (request.native is not None and request.native.keys() & _TOOLS)
    around = TOKENS_AROUND_A_REQUEST + (TOKENS_AROUND_TOOLS if with_tools else 0)
    around += TOKENS_OF_A_VENDORS_TOOL * sum(each.get("type", "custom") not in _OWN_TOOLS for each in request.tools)
    around += TOKENS_AROUND_A_MESSAGE * len(request.messages)
    for index, message in enumerate(request.messages):
        said = message.get("content")
        plain = message.keys() == _PLAIN_MESSAGE and not isinstance(said, list)
        spoken.append(said if plain else content.of_message(message, f"messages.{index}"))
    if request.extra and (beside := content.beside(request.extra)):
        spoken.append(beside)
    sent = encode(spoken)
    beyond = content.beyond
    if beyond is not None and request.native is not None and beyond.startswith("messages."):
        beyond = "messages"  # its caller numbered them otherwise
    return PromptBound(
        tokens=len(sent) + request.unseen_bytes + around + content.images * TOKENS_PER_IMAGE,
        words_only=content.words_only and _AN_HOUR not in sent,
        beyond=beyond,
    )


def prompt_estimate(request: ChatRequest, encode: Callable[[Any], bytes]) -> int:
    """About how many tokens the prompt has, for bills of calls that nobody counted: four bytes each."""
    images, spoken = 0, [*request.tools]
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, list):
            words = [part for part in content if part.get("type") not in _IMAGES]
            images += len(content) - len(words)
            spoken.append({**message, "content": words})
        else:
            spoken.append(message)
    return max((len(encode(spoken)) + request.unseen_bytes) // BYTES_OF_A_TOKEN, 1) + images * TOKENS_OF_AN_IMAGE


def predicted_tokens(request: ChatRequest, encode: Callable[[Any], bytes]) -> int:
    """The most tokens of a `prediction`, which are paid for as if they were of the answer where they were wrong."""
    prediction = request.extra.get("prediction")
    return len(encode(prediction)) if prediction else 0


@dataclass(slots=True)
class _Content:
    """Reads a prompt; each method gives what its bytes bound."""

    words_only: bool
    images: int = 0
    beyond: str | None = None

    def of_message(self, message: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        """A message that has more than a role and words."""
        if message.get("audio") is not None:
            self._is_beyond(f"{where}.audio")
        self._all_of(message.get("images"), f"{where}.images")
        content = message.get("content")
        return {**message, "content": self._all_of(content, where)} if isinstance(content, list) else message

    def beside(self, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request's further fields."""
        for name in KEPT_ELSEWHERE:
            if extra.get(name) is not None:
                self._is_beyond(name)
        return {
            name: said
            for name, said in extra.items()
            if isinstance(said, str | list | dict) and name not in _NOT_IN_THE_PROMPT
        }

    def _all_of(self, parts: object, where: str) -> list[Mapping[str, Any]]:
        """Those parts whose bytes count."""
        listed = parts if isinstance(parts, list) else [parts]
        numbered = enumerate(each for each in listed if isinstance(each, Mapping))
        return [part for index, part in numbered if self._has_a_bound(part, f"{where}.content.{index}")]

    def _has_a_bound(self, part: Mapping[str, Any], where: str) -> bool:
        kind = part.get("type")
        if kind == "text":
            return True
        self.words_only = False
        if kind in _IMAGES:
            self.images += 1
            if not _is_image(part):
                self._is_beyond(where)
            return False
        if kind in _WORDS or (isinstance(kind, str) and kind.endswith(_OF_A_TOOL)):
            self._all_of(part.get("content"), where)  # a page that was fetched may be a PDF
            return True
        source = _mapping(part.get("source"))
        if kind == "document" and source.get("type") in {"content", "text"}:
            self._all_of(source.get("content"), where)
            return True
        if kind == "input_audio" and _mapping(part.get("input_audio")).get("format") in _SOUNDS:
            return True
        if kind == "file" and str(_mapping(part.get("file")).get("file_data")).startswith(_PLAIN_FILE):
            return True
        self._is_beyond(where)
        return False

    def _is_beyond(self, where: str) -> None:
        self.beyond = self.beyond or where


def _is_image(part: Mapping[str, Any]) -> bool:
    """Whether what is sent as an image says nothing else of itself: some take films and PDFs there too."""
    told = part.get("image_url")
    url = told if isinstance(told, str) else _mapping(told).get("url")
    if not isinstance(url, str):
        return True
    if url.startswith("data:"):
        return url.startswith("data:image/")
    return not (guess_type(url)[0] or "").startswith(_NO_IMAGES)


def _mapping(said: object) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {}
