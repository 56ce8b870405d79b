"""How text that others wrote is shown to models: as data, that cannot pass for a message of somebody else.

Chat templates put messages together with tokens such as `<|im_start|>system`, and several servers read them as such
wherever they stand. Here their first character is escaped (JSON), or parted from the rest (prose).
"""

import re

_TOKENS = re.compile(
    r"<(?=[|\uff5c][^\s<>|\uff5c]{1,64}[|\uff5c]>"
    r"|/?(?:s|bos|eos|pad|unk|think|tools?|tool_calls?|tool_response|tool_result|start_of_turn|end_of_turn)>"
    r"|</?SYS>>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|AVAILABLE_TOOLS)\])",
    re.IGNORECASE,
)


def inert_json(text: str) -> str:
    """The JSON `text`, equal to any reader of JSON, without a template's tokens: `<` and `[` of such are escaped."""
    return _TOKENS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def inert(text: str) -> str:
    """`text` with a space behind the first character of each token of a template."""
    return _TOKENS.sub(lambda found: f"{found[0]} ", text)


def between(mark: str, text: str) -> str:
    """`text` between `<mark>` and `</mark>`, neither of which it can write itself."""
    inside = re.sub(rf"<(\s*/?\s*{mark}\s*)>", r"(\1)", inert(text), flags=re.IGNORECASE)
    return f"<{mark}>\n{inside}\n</{mark}>"
