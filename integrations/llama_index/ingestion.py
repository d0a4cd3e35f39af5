"""What an ingestion pipeline needs to hand nodes to the vector store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llama_index.core.schema import BaseNode, MetadataMode, TransformComponent

MARK: Final = (0.0,)
"""Stands where another store's embedding would be."""


class WeftMarker(TransformComponent):
    """The last transformation of an `IngestionPipeline`, in the place of an embedding model.

        >>> IngestionPipeline(transformations=[splitter, WeftMarker()], vector_store=store)

    A pipeline hands on only nodes that have an embedding. Weft makes its vectors itself when the
    store is filled, so this sets one that nothing reads and that is not stored. Nodes without text,
    such as those of empty pages, get none: there is nothing of them to be found.
    """

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex knows it."""
        return "WeftMarker"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Copies of the nodes, marked; what was handed in stays as it is."""
        return [
            node.model_copy(update={"embedding": list(MARK) if has_text(node) else None})
            for node in nodes
        ]


def has_text(node: BaseNode) -> bool:
    """Whether there is anything to be found of a node."""
    return bool(node.get_content(metadata_mode=MetadataMode.NONE).strip())
