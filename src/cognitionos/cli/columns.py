"""Tables in the terminal."""

from collections.abc import Sequence


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: int = 0) -> str:
    """The rows below their heads, each column as wide as its widest cell; the last `right` ones end at one edge."""
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    left = len(heads) - right
    lines = [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    ]
    return "\n".join(lines)
