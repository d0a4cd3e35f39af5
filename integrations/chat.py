"""A LangChain chat model as a writer of synthetic queries.

Only `batch` and the `content` of what it returns are used, so that any chat model will do, and
nothing of LangChain is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine.errors import InvalidParameterError, TrainingError


class ChatGenerator:
    """Answers prompts with a chat model, several at a time.

    Args:
        model: any LangChain chat model or language model, such as `ChatOpenAI(...)`.
        concurrency: prompts that are under way together.

    Raises:
        InvalidParameterError: an object without `batch`.
    """

    def __init__(self, model: Any, *, concurrency: int = 8) -> None:
        if not callable(getattr(model, "batch", None)):
            raise InvalidParameterError(
                f"model is a {type(model).__name__}, which has no batch(): pass a LangChain chat "
                "model."
            )
        self._model, self._concurrency = model, concurrency

    def generate(self, prompts: Sequence[str]) -> list[str]:
        """One text per prompt.

        Raises:
            TrainingError: the model answers with something other than text.
        """
        answers = self._model.batch(list(prompts), config={"max_concurrency": self._concurrency})
        return [_text(answer) for answer in answers]


def _text(answer: Any) -> str:
    content = getattr(answer, "content", answer)
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        # Some models answer in blocks, of which those of thinking and of tools hold no query.
        parts = [part if isinstance(part, str) else part.get("text", "") for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    raise TrainingError(
        f"the chat model answered with a {type(content).__name__}: use one that answers with text"
    )
