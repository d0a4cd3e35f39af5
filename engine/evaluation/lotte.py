"""The LoTTE layout: `collection.tsv`, `questions.*.tsv` and `qas.*.jsonl`.

Source: Santhanam et al. 2022 (ColBERTv2), section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import InvalidInputError
from .beir import find
from .lines import json_objects, tab_separated


def read(
    folder: Path, questions: str
) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Return the documents, queries and judgements of a folder.

    Args:
        questions: "search" (web queries) or "forum" (titles of forum posts).

    Raises:
        InvalidInputError: a file is missing or malformed; names file and line.
    """
    documents = dict(_texts(find(folder, "collection.tsv")))
    queries = dict(_texts(find(folder, f"questions.{questions}.tsv")))
    return documents, queries, _answers(find(folder, f"qas.{questions}.jsonl"))


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for number, (id, text) in tab_separated(path, 2):
        if id in seen:
            raise InvalidInputError(f"{path}, line {number}: id {id!r} stands there twice.")
        seen.add(id)
        if text.strip():
            yield id, text


def _answers(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for number, record in json_objects(path):
        query, pids = record.get("qid"), record.get("answer_pids")
        if not isinstance(query, int | str) or not isinstance(pids, list):
            raise InvalidInputError(
                f'{path}, line {number}: an object with "qid" and a list "answer_pids" is needed.'
            )
        qrels[str(query)] = {str(pid): 1 for pid in pids}
    return qrels
