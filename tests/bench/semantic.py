"""How often the semantic cache would reuse an answer, and how often wrongly, on labelled pairs of questions.

Nothing is asked of a model or a network: each pair is decided as the product does, by its embedder, guards, score and
threshold, and beside it as a plain threshold on the similarity would.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from tests.bench import semantic_report
from tests.bench.semantic_pairs import FOLDER, PARTS, parse, read
from tests.bench.semantic_weigh import weigh

_EPILOG = """\
A FILE holds {"text_a": "...", "text_b": "...", "label": 1} per line (or one JSON array of such), label 1 where the same
answer serves both; labels may be 0/1, true/false, or either as text. "-" reads the standard input.

  python -m tests.bench.semantic pairs.jsonl
  head -n 1000 pairs.jsonl | python -m tests.bench.semantic --json -

"calibrated" lines never decide a pair by what it taught: pairs are dealt into five folds (two with a text in common
into the same one), and each is decided at the threshold that the other four lead to.

Exit status: 0 measured, 2 a file cannot be read (the line is named)."""


def main(arguments: list[str]) -> int:
    """Report on the files, or on our own parts; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.semantic",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="labelled pairs; without one, our own four parts")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    options = parser.parse_args(arguments)
    reports = []
    for name in options.files or [str(FOLDER / f"{part}.jsonl") for part in PARTS]:
        try:
            pairs = parse(sys.stdin.read(), "standard input") if name == "-" else read(Path(name))
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 2
        started = time.perf_counter()
        weighed = asyncio.run(weigh(pairs))
        report = semantic_report.of(name, weighed, seconds=time.perf_counter() - started)
        reports.append(report)
        if not options.json:
            print(semantic_report.table(report), flush=True)
    if options.json:
        print(json.dumps(reports, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
