"""Test collections: documents, queries and the judgements between them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidInputError, InvalidParameterError
from . import beir, lotte


@dataclass(frozen=True, eq=False)
class Collection:
    """Documents, judged queries and judgements.

    Args:
        name: for tables; the folder's name.
        documents: document id to text, title included, in the order of the file.
        queries: query id to text; only those with a judgement.
        qrels: query id to document id to grade; a grade of 1 or more is relevant.
    """

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]

    def corpus_hash(self) -> str:
        """Hex digest over ids and texts in their order: equal hashes, equal embeddings."""
        digest = hashlib.blake2b(digest_size=16)
        for id, text in self.documents.items():
            for part in (id.encode(), text.encode("utf-8", "surrogatepass")):
                digest.update(len(part).to_bytes(8, "little"))
                digest.update(part)
        return digest.hexdigest()


Parts = tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]


def load_collection(
    folder: str | Path, *, split: str = "test", questions: str = "search"
) -> Collection:
    """Read a folder of the BEIR or the LoTTE layout, recognised by its file names.

    Args:
        folder: holds `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` or `qrels/<split>.tsv`
            (BEIR), or `collection.tsv`, `questions.<questions>.tsv` and
            `qas.<questions>.jsonl` (LoTTE); each may be gzipped.
        split: which judgements of a BEIR folder that has several.
        questions: "search" or "forum", which questions of a LoTTE folder.

    Raises:
        InvalidInputError: a file is missing or malformed; names file and line.
        InvalidParameterError: `questions` is neither "search" nor "forum".
    """
    folder = Path(folder)
    if questions not in ("search", "forum"):
        raise InvalidParameterError(f"questions is {questions!r}: use 'search' or 'forum'.")
    readers: dict[str, Callable[[], Parts]] = {
        "corpus.jsonl": lambda: beir.read(folder, split),
        "collection.tsv": lambda: lotte.read(folder, questions),
    }
    for marker, read in readers.items():
        if (folder / marker).is_file() or (folder / f"{marker}.gz").is_file():
            return _check(folder, *read())
    raise InvalidInputError(
        f"{folder} is no collection: it holds neither corpus.jsonl (BEIR) nor collection.tsv "
        "(LoTTE), plain or gzipped."
    )


def _check(
    folder: Path,
    documents: dict[str, str],
    queries: dict[str, str],
    qrels: dict[str, dict[str, int]],
) -> Collection:
    if not documents or not qrels:
        what = "no judgements" if documents else "no documents with a text"
        raise InvalidInputError(f"{folder} has {what}: nothing can be measured.")
    unknown = next((id for id in qrels if id not in queries), None)
    if unknown is not None:
        raise InvalidInputError(
            f"{folder}: the judgements name query {unknown!r}, which has no text in the file of "
            "queries. Are the two files of one collection?"
        )
    judged = {id: text for id, text in queries.items() if id in qrels}
    return Collection(folder.resolve().name, documents, judged, qrels)
