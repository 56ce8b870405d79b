"""Our own keys in what providers say of a request: taken out before anybody reads it."""

SHORTEST = 8
"""So much of a key's beginning is worth hiding. What is shorter as a whole, such as `EMPTY`, is no secret."""
INSTEAD = "[our key]"


class Redaction:
    """Knows one key; None: there is nothing to hide."""

    __slots__ = ("_key",)

    def __init__(self, key: str | None) -> None:
        self._key = key if key and len(key) >= SHORTEST else ""

    def __call__(self, text: str) -> str:
        """The text without the key, and without beginnings of it."""
        key, said, done = self._key, [], 0
        if not key:
            return text
        head, text = key[:SHORTEST], text.replace(key, INSTEAD)
        while (at := text.find(head, done)) >= 0:
            said += [text[done:at], INSTEAD]
            done = at + len(head)
            while done < len(text) and done - at < len(key) and text[done] == key[done - at]:
                done += 1
        return "".join((*said, text[done:]))
