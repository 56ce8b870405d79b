"""The weights of the semantic cache's score: a logistic regression on the pairs of `seen.jsonl` no guard objects to.

`python -m tests.bench.semantic_fit` prints them, to be copied into `domain/semantic_score.py`. The held-out pairs have
no part in it.
"""

import asyncio

import numpy as np
from tests.bench.semantic_pairs import FOLDER, read
from tests.bench.semantic_weigh import weigh

from cognitionos.llm_gateway.domain import semantic_text
from cognitionos.llm_gateway.domain.semantic_score import match, words_to_compare
from cognitionos.llm_gateway.infrastructure.semantic_embedder import embedder
from cognitionos.llm_gateway.infrastructure.semantic_words import WordVectors
from cognitionos.llm_gateway.infrastructure.wordllama_provider import WordLlamaProvider

RIDGE = 0.3
_STEPS = 60


async def features() -> tuple[list[list[float]], list[float]]:
    """One row for each pair: 1, similarity, least, mean; and whether the two mean the same."""
    words, rows, labels = WordVectors(embedder(WordLlamaProvider())), [], []
    for each in await weigh(read(FOLDER / "seen.jsonl")):
        if each.refusal is None:
            one, other = semantic_text.read(each.pair.text_a), semantic_text.read(each.pair.text_b)
            likeness = await words.likeness(words_to_compare(one, other))
            found = match(one, other, similarity=each.similarity, likeness=likeness)
            rows.append([1.0, found.similarity, found.least, found.mean])
            labels.append(float(each.pair.label))
    return rows, labels


def main() -> None:
    """Fit by Newton's method, the constant without a penalty."""
    rows, labels = (np.array(each) for each in asyncio.run(features()))
    weights, penalty = np.zeros(rows.shape[1]), RIDGE * np.eye(rows.shape[1])
    penalty[0, 0] = 0.0
    for _ in range(_STEPS):
        likely = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (likely - labels) + penalty @ weights
        weights -= np.linalg.solve((rows * (likely * (1 - likely))[:, None]).T @ rows + penalty, slope)
    print(f"{len(labels)} pairs: constant, similarity, least, mean = " + ", ".join(f"{each:.2f}" for each in weights))


if __name__ == "__main__":
    main()
