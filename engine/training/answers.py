"""Relevance-guided supervision: training on questions whose answers are known, not where they are.

The current model ranks passages for each question; those of its best that hold the answer are
taken as positives, the others as negatives. A better model then finds better ones.

Source: Khattab et al. 2021 (ColBERT-QA), section 3.2.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..documents import Hit
from ..errors import InvalidParameterError, InvalidTrainingDataError
from ..evaluation.lines import json_objects
from ..index import Index
from ..shown import shown
from .mining import Mined, passage_id, with_languages
from .nway import Example

_AT_ONCE: Final = 32
_ARTICLES: Final = re.compile(r"\b(?:a|an|the)\b")
# Thai, Lao, Burmese, Khmer, kana and Han characters: words follow each other without spaces.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
)

Progress = Callable[[int, int], None]
"""Called with the number of questions that are done, and of all."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the strings that count as its answer."""

    text: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """Which passages of a ranking become positives and negatives.

    Args:
        positive_depth: passages from the top among which positives are looked for.
        positives: positives per question at most, the best ones; each makes an example.
        depth: passages retrieved.
        negatives: per example, the best passages without the answer.

    Raises:
        InvalidParameterError: a setting below 1, or a `positive_depth` beyond `depth`.
    """

    positive_depth: int = 20
    positives: int = 3
    depth: int = 100
    negatives: int = 15

    def __post_init__(self) -> None:
        for name in ("positive_depth", "positives", "depth", "negatives"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InvalidParameterError(f"{name} is {value!r}: use a whole number from 1.")
        if self.positive_depth > self.depth:
            raise InvalidParameterError(
                f"positive_depth is {self.positive_depth}, beyond a depth of {self.depth}."
            )


def read_questions(path: Path) -> dict[str, Question]:
    """Read JSON lines of `_id` (or `id`), `text` (or `question`) and `answers`, a list of strings.

    Raises:
        InvalidTrainingDataError: a line lacks one of them; names file and line.
    """
    found: dict[str, Question] = {}
    for number, record in json_objects(path):
        where = f"{path}, line {number}"
        id = record.get("_id", record.get("id"))
        text = record.get("text", record.get("question"))
        answers = record.get("answers")
        if not isinstance(id, str | int) or not isinstance(text, str) or not text.strip():
            raise InvalidTrainingDataError(f"{where} needs '_id' and 'text'")
        if (
            not isinstance(answers, list)
            or not answers
            or not all(isinstance(answer, str) and _words(answer) for answer in answers)
        ):
            raise InvalidTrainingDataError(
                f"{where}: 'answers' is {shown(answers)}; give a list of strings with words in them"
            )
        if str(id) in found:
            raise InvalidTrainingDataError(f"{where}: id {shown(id)} stands there twice")
        found[str(id)] = Question(text, tuple(answers))
    return found


def normalised(text: str) -> str:
    """Words in lower case, without accents, punctuation and English articles, single-spaced."""
    return " ".join(_ARTICLES.sub(" ", _words(text)).split())


def holds_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in a text, as whole words in their order.

    Anywhere, where its script puts no spaces between words.
    """
    words, without = f" {_words(text)} ", f" {normalised(text)} "
    for answer in answers:
        own = normalised(answer)
        if _UNSPACED.search(answer) and own in without:
            return True
        # An answer may be an article and nothing else, such as the name of a letter.
        if f" {own} " in without if own else f" {_words(answer)} " in words:
            return True
    return False


def _words(text: str) -> str:
    """Words in lower case, without accents and punctuation, single-spaced."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^\w]+|_+", " ", plain).split())


def answer_examples(
    index: Index,
    questions: Mapping[str, Question],
    *,
    settings: AnswerSettings | None = None,
    progress: Progress | None = None,
) -> Iterator[Mined]:
    """Make examples, without scores, of questions and the current model's ranking.

    Questions whose answer is not among the best passages give none; a later round may find it.

    Args:
        index: with the current model as its encoder.
        questions: question id to question.
        settings: which passages are taken.
        progress: called as questions are done.
    """
    settings = settings or AnswerSettings()
    ids = list(questions)
    with index.snapshot() as view:
        for first in range(0, len(ids), _AT_ONCE):
            some = ids[first : first + _AT_ONCE]
            texts = [questions[id].text for id in some]
            found = view.search_batch(texts, settings.depth, group_by="passage")
            for id, hits in zip(some, found, strict=True):
                for mined in _examples(id, questions[id], hits, settings):
                    yield with_languages(mined, view, index.encoder)
            if progress is not None:
                progress(first + len(some), len(ids))


def _examples(
    id: str, question: Question, hits: Sequence[Hit], settings: AnswerSettings
) -> Iterator[Mined]:
    right = [holds_answer(hit.passage.text, question.answers) for hit in hits]
    top = list(zip(hits, right, strict=True))[: settings.positive_depth]
    positives = [hit for hit, holds in top if holds][: settings.positives]
    wrong = [hit for hit, holds in zip(hits, right, strict=True) if not holds]
    negatives = wrong[: settings.negatives]
    if not negatives:
        return
    for positive in positives:
        chosen = {passage_id(hit): hit.passage.text for hit in (positive, *negatives)}
        yield Mined(Example(id, tuple(chosen), (), f"question {shown(id)}"), chosen)
