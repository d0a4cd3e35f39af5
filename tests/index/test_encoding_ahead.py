"""Encoding goes on while a batch is written, where the encoder works elsewhere; else not."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from word_encoder import WordEncoder

import weft
from weft import Document
from weft.engine import ingest
from weft.engine.overlapping import made_ahead

PATIENCE_SECONDS = 30


class Elsewhere(WordEncoder):
    """An encoder that says so, and in which threads it was called."""

    encodes_elsewhere = True

    def encode_passages(
        self, texts: Any, *, languages: Any = None, progress: bool = False
    ) -> list[Any]:
        self.calls.append(threading.get_ident())
        if any("poison" in text for text in texts):
            raise RuntimeError("CUDA error: device-side assert triggered")
        return super().encode_passages(texts, languages=languages)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is a group, two are a batch."""
    monkeypatch.setattr(ingest, "ENCODE_CHARACTERS", 1)
    monkeypatch.setattr(ingest, "STAGE_BYTES", 2 * 3 * 32 * 4)


def documents(n: int) -> list[Document]:
    return [Document(f"d{number}", f"some words {number}") for number in range(n)]


def ahead() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "weft-making-ahead"]


@pytest.mark.usefixtures("small_groups")
def test_batches_are_those_of_an_encoder_here() -> None:
    here, elsewhere = WordEncoder(), Elsewhere()
    expected = list(ingest.encoded_batches(documents(9), here))
    found = list(ingest.encoded_batches(documents(9), elsewhere))
    assert len(expected) == len(found) == 5
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.id for one in ours.documents] == [one.id for one in theirs.documents]
        for name in ("passage_document", "spans", "doclens", "embeddings"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name))
    assert threading.get_ident() not in elsewhere.calls
    assert not ahead()


@pytest.mark.usefixtures("small_groups")
def test_an_index_is_the_same(tmp_path: Any) -> None:
    found = []
    for name, encoder in (("here", WordEncoder()), ("elsewhere", Elsewhere())):
        with weft.Index.create(tmp_path / name, encoder=encoder) as index:
            index.add(documents(9), progress=name == "elsewhere")
            found.append([(hit.id, hit.score) for hit in index.search("some words 3", 9)])
            assert index.stats().n_documents == 9
    assert found[0] == found[1]


@pytest.mark.usefixtures("small_groups")
def test_an_error_leaves_nothing_behind(tmp_path: Any) -> None:
    texts = [*documents(7), Document("bad", "poison"), *documents(0)]
    with weft.Index.create(tmp_path / "index", encoder=Elsewhere()) as index:
        with pytest.raises(RuntimeError, match="device-side assert"):
            index.add(texts)
        assert index.stats().n_documents == 0
        assert not list((tmp_path / "index").glob("segments/*"))
        index.add(documents(7))
        assert index.stats().n_documents == 7
    assert not ahead()


def test_the_next_is_made_while_the_last_is_worked_on() -> None:
    begun = [threading.Event() for _ in range(9)]

    def numbers() -> Any:
        for number in range(9):
            begun[number].set()
            yield number

    with pytest.raises(KeyboardInterrupt):
        for number in made_ahead(numbers(), 2):
            # Without another thread this would not be begun before it is asked for.
            assert begun[number + 2].wait(PATIENCE_SECONDS)
            assert not begun[min(number + 4, 8)].is_set()
            if number == 4:
                raise KeyboardInterrupt
    assert not begun[8].is_set()


def test_what_is_closed_ends_its_thread() -> None:
    closed = threading.Event()

    def numbers() -> Any:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    items = made_ahead(numbers(), 1)
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert closed.is_set()
    assert not ahead()


def test_an_error_comes_in_its_place() -> None:
    error = ValueError("the third")

    def numbers() -> Any:
        yield 1
        yield 2
        raise error

    items, found = made_ahead(numbers(), 4), []
    with pytest.raises(ValueError, match="the third") as raised:
        found.extend(items)
    assert raised.value is error
    assert list(made_ahead((n for n in range(0)), 1)) == []
    assert not ahead()
