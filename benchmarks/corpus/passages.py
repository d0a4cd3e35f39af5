"""Cut the texts into passages of 40 to 118 wordpieces, and hold some out as queries.

`write_passages(layout, limit)` leaves texts, wordpiece numbers and offsets of passages and
queries in the cache. Lengths are drawn evenly, a cut moves back to the nearest space; the order
is shuffled once with a fixed seed, so that the first 10,000 passages are a sample of the first
100,000. The first 400 of that order are held out: their first 32 wordpieces are the queries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from .layout import N_QUERIES, QUERY_TOKENS, SEED, CorpusError, Layout
from .model import model_folder
from .sources import Document, documents, fetch, read_collection

SHORTEST, LONGEST = 40, 118
DOCUMENTS_AT_ONCE = 16


@dataclass(frozen=True)
class Passage:
    """A piece of a document.

    Args:
        source: package that it comes from.
        text: its characters.
        wordpieces: uint16 numbers of the tokenizer's vocabulary, no special tokens.
    """

    source: str
    text: str
    wordpieces: np.ndarray[Any, np.dtype[np.uint16]]


def write_passages(layout: Layout, limit: int, collections: Sequence[Path] = ()) -> None:
    """Make passages and queries unless the cache has them.

    Args:
        layout: the cache.
        limit: the most passages to keep.
        collections: files of test collections to cut instead of Debian's texts.

    Raises:
        CorpusError: the texts give fewer passages than one per query, or cannot be had.
    """
    if layout.settings.exists():
        return
    if collections:
        made_of = [f"{file.parent.name}/{file.name}" for file in collections]
        texts: Iterator[Document] = chain.from_iterable(map(read_collection, collections))
    else:
        made_of, texts = fetch(layout), documents(layout)
    passages = list(_pack_all(texts))
    order = np.random.default_rng(SEED).permutation(len(passages))
    held_out = sum(N_QUERIES.values())
    if len(passages) <= held_out:
        raise CorpusError(f"only {len(passages)} passages in {', '.join(made_of)}")
    queries = [_query_of(passages[i]) for i in order[:held_out]]
    kept = [passages[i] for i in order[held_out : held_out + limit]]
    _write(layout, "queries", queries)
    _write(layout, "passages", kept)
    settings = {
        "made_of": made_of,
        "seed": SEED,
        "passages": len(kept),
        "passages_there_were": len(passages) - held_out,
        "tokens": sum(len(passage.wordpieces) for passage in kept),
        "queries": N_QUERIES,
        "sha256_of_wordpieces": hashlib.sha256(
            layout.wordpieces("passages").read_bytes()
        ).hexdigest(),
    }
    partial = layout.settings.with_suffix(".partial")
    partial.write_text(json.dumps(settings, indent=2) + "\n")
    partial.rename(layout.settings)


def _pack_all(source: Iterator[Document]) -> Iterator[Passage]:
    """Passages of all documents, in their order."""
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    lengths = np.random.default_rng(SEED)
    while batch := list(islice(source, DOCUMENTS_AT_ONCE)):
        encodings = tokenizer.encode_batch([doc.text for doc in batch], add_special_tokens=False)
        for document, encoding in zip(batch, encodings, strict=True):
            spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            ids = np.array(encoding.ids, dtype=np.uint16)
            for first, last in _cuts(spans, lengths):
                text = document.text[spans[first, 0] : spans[last - 1, 1]]
                yield Passage(document.source, text, ids[first:last])


def _cuts(
    spans: np.ndarray[Any, np.dtype[np.int64]], lengths: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """First wordpiece and the one after the last of each passage; a short rest is left out.

    Args:
        spans: int64 [n, 2], first character of each wordpiece and the one after its last.
        lengths: where the lengths come from.
    """
    starts = np.flatnonzero(spans[1:, 0] > spans[:-1, 1]) + 1
    first = 0
    while len(spans) - first >= SHORTEST:
        wanted = first + int(lengths.integers(SHORTEST, LONGEST, endpoint=True))
        last = min(wanted, len(spans))
        if last == wanted:
            before = int(np.searchsorted(starts, wanted, side="right"))
            start = int(starts[before - 1]) if before else 0
            last = start if start >= first + SHORTEST else wanted
        yield first, last
        first = last


def _query_of(passage: Passage) -> Passage:
    """The beginning of a held-out passage; its text is kept whole for who wants to read it."""
    return Passage(passage.source, passage.text, passage.wordpieces[:QUERY_TOKENS])


def _write(layout: Layout, kind: str, passages: Sequence[Passage]) -> None:
    sizes = [len(passage.wordpieces) for passage in passages]
    np.save(layout.offsets(kind), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
    np.save(layout.wordpieces(kind), np.concatenate([p.wordpieces for p in passages]))
    with layout.texts(kind).open("w", encoding="utf-8") as file:
        for passage in passages:
            record = {"source": passage.source, "text": passage.text}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
