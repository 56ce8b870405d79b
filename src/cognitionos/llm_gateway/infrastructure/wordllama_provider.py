"""`local/wordllama`: 256-dimensional embeddings from the weights in the wordllama wheel. No key, no network, no cost.

Its two files are read directly (the package's own offline loader looks in the wrong folder): a table of one vector per
token and a tokenizer. A text's vector is the mean of its tokens' vectors, of length one.
"""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cognitionos.llm_gateway.application.ports import Answer, Chunk, Vectors
from cognitionos.llm_gateway.domain.chat import ChatRequest, Text, Usage
from cognitionos.llm_gateway.domain.errors import ModelMissing, ProviderFailure, RequestRefused

if TYPE_CHECKING:
    import numpy as np

NAME = "local"
MODEL = "wordllama"
DIMENSIONS = 256
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_AT_ONCE = 64
_SIZES = (64, 128, DIMENSIONS)
_TAKEN = frozenset({"dimensions", "encoding_format", "user"})


class WordLlamaProvider:
    """Loads at the first text (some 0.1 s); works in its own thread, never on the loop."""

    name = NAME
    simulated = False

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wordllama")
        self._model: _Model | None = None

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        """One vector per text, in order; of 64, 128 or 256 dimensions, whose first are the weightiest."""
        if model != MODEL:
            raise ModelMissing(f"the local provider has {MODEL} only")
        dimensions = _dimensions(extra)
        words = [text for text in texts if isinstance(text, str)]
        if len(words) < len(texts):
            raise RequestRefused(f"local/{MODEL} has tokens of its own; send texts.", fields={"input": "texts only"})
        made = await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, words)
        if dimensions == DIMENSIONS:
            return made
        return Vectors(vectors=tuple(_cut(vector, dimensions) for vector in made.vectors), usage=made.usage)

    def check(self, request: ChatRequest) -> None:
        """It embeds only."""
        raise ModelMissing("the local provider does not chat")

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        """It embeds only."""
        raise ModelMissing(f"local/{model} does not chat; local/{MODEL} embeds")

    def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        """It embeds only."""
        raise ModelMissing(f"local/{model} does not chat; local/{MODEL} embeds")

    async def models(self) -> Sequence[str]:
        """Its one model."""
        return [MODEL]

    def _embed(self, texts: list[str]) -> Vectors:
        if self._model is None:
            self._model = _Model(_folder())
        vectors: list[tuple[float, ...]] = []
        tokens = 0
        for start in range(0, len(texts), _AT_ONCE):
            some, count = self._model.embed(texts[start : start + _AT_ONCE])
            vectors.extend(some)
            tokens += count
        return Vectors(vectors=tuple(vectors), usage=Usage(prompt=max(tokens, 1)))


class _Model:
    """The token table (memory-mapped, half precision) and the tokenizer."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._table = _read_table(folder / _WEIGHTS)
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def embed(self, texts: list[str]) -> tuple[list[tuple[float, ...]], int]:
        """Vectors of length one (zero for a text without tokens), and how many tokens there were."""
        import numpy as np

        vectors, count = [], 0
        for encoded in self._tokenizer.encode_batch(texts, add_special_tokens=False):
            ids = np.clip(np.asarray(encoded.ids, dtype=np.int64), 0, len(self._table) - 1)
            count += len(ids)
            mean = self._table[ids].astype(np.float32).mean(axis=0) if len(ids) else np.zeros(DIMENSIONS, np.float32)
            length = float(np.linalg.norm(mean))
            vectors.append(tuple((mean / length if length else mean).tolist()))
        return vectors, count


def _dimensions(extra: Mapping[str, Any]) -> int:
    unknown = sorted(name for name, value in extra.items() if name not in _TAKEN and value is not None)
    if unknown:
        raise RequestRefused(
            f"local/{MODEL} cannot take {', '.join(unknown)}; leave it out.",
            fields=dict.fromkeys(unknown, "leave it out"),
        )
    wanted = extra.get("dimensions") or DIMENSIONS
    if wanted not in _SIZES:
        raise RequestRefused(
            f"local/{MODEL} makes vectors of {_SIZES} dimensions.", fields={"dimensions": f"one of {_SIZES}"}
        )
    return int(wanted)


def _cut(vector: tuple[float, ...], dimensions: int) -> tuple[float, ...]:
    """The first numbers of a vector, of length one again (the model was trained for it: Matryoshka embeddings)."""
    kept = vector[:dimensions]
    length = math.hypot(*kept)
    return tuple(number / length for number in kept) if length else kept


def _folder() -> Path:
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ProviderFailure("the wordllama package is not installed", again=False)
    return Path(spec.origin).parent


def _read_table(path: Path) -> "np.ndarray[Any, Any]":
    """The only tensor of a safetensors file: 8 bytes of header length, a JSON header, then raw little-endian data."""
    import numpy as np

    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
    (tensor,) = (value for name, value in header.items() if name != "__metadata__")
    kind = {"F16": np.float16, "F32": np.float32}[tensor["dtype"]]
    rows, columns = tensor["shape"]
    return np.memmap(
        path, dtype=kind, mode="r", offset=8 + header_bytes + tensor["data_offsets"][0], shape=(rows, columns)
    )
