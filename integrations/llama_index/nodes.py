"""Nodes of LlamaIndex to documents of Weft, and documents back.

A node's text and metadata are the document's own, so that everything else in Weft can read, filter
and explain them. What remains of a node is one string of JSON under `NODE_KEY`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from llama_index.core.schema import BaseNode, Document, ImageNode, IndexNode, Node, TextNode

from ...engine.documents import Document as WeftDocument
from ...engine.errors import CorruptIndexError, InvalidDocumentError
from ..arguments import refuse_tuples

NODE_KEY: Final = "_node"
"""Metadata key of what is neither text nor metadata of a node."""

ID_KEY: Final = "_node_id"
"""Metadata key of a node's id, for filters."""

REF_DOC_KEY: Final = "_ref_doc_id"
"""Metadata key of the id of the document that a node was cut from, for filters."""

REF_DOC_NAMES: Final = ("ref_doc_id", "doc_id", "document_id")
"""Under these LlamaIndex's stores offer the same to filters; a node's own metadata go first."""

TYPES: Final[Mapping[str, type[Any]]] = {
    kind.__name__: kind for kind in (TextNode, Node, Document, ImageNode, IndexNode)
}
"""Nodes that can be kept."""


def to_weft(nodes: Iterable[BaseNode]) -> list[WeftDocument]:
    """Nodes as the engine takes them; what was handed in stays as it is.

    Args:
        nodes: embeddings of theirs are not kept: Weft makes its own.

    Raises:
        InvalidDocumentError: something is no node that can be kept, or metadata holds what JSON
            would give back as something else.
    """
    if isinstance(nodes, BaseNode | str):
        raise InvalidDocumentError(f"nodes is a single {type(nodes).__name__}: pass a list.")
    return [_to_weft(node) for node in nodes]


def from_weft(id: str, text: str, metadata: Mapping[str, Any]) -> BaseNode:
    """The node that a document was made of; a `TextNode` where another program added it.

    Raises:
        CorruptIndexError: what is stored is of no node.
    """
    if NODE_KEY not in metadata:
        return TextNode(id_=id, text=text, metadata=dict(metadata))
    try:
        stored = json.loads(metadata[NODE_KEY][0][0])
        kind, rest = TYPES[stored["type"]], stored["rest"]
        own = {key: metadata[key] for key in stored["keys"]}
        if not issubclass(kind, TextNode):
            resource = rest.get("text_resource")
            if resource is not None and resource.get("text") is not None:
                resource["text"] = text
        else:
            rest["text"] = text
        node: BaseNode = kind(id_=id, metadata=own, **rest)
        return node
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise CorruptIndexError(
            f"What document {id!r} holds under {NODE_KEY!r} is no node of LlamaIndex: add it again."
        ) from error


def _to_weft(node: object) -> WeftDocument:
    if not isinstance(node, BaseNode) or TYPES.get(type(node).__name__) is not type(node):
        raise InvalidDocumentError(
            f"A {type(node).__name__} cannot be kept: pass a {', a '.join(TYPES)}."
        )
    if isinstance(node, IndexNode) and node.obj is not None:
        raise InvalidDocumentError(
            f"Node {node.node_id!r} refers to an object, which no index on disk can hold: clear "
            "its obj and hand it to a retriever's object_map."
        )
    refuse_tuples(node.metadata, f"Node {node.node_id!r}: metadata")
    taken = sorted(node.metadata.keys() & {NODE_KEY, ID_KEY, REF_DOC_KEY})
    if taken:
        raise InvalidDocumentError(
            f"Node {node.node_id!r} has metadata under {taken[0]!r}, which is Weft's: rename it."
        )
    return WeftDocument(node.node_id, _text(node), _metadata(node))


def _text(node: BaseNode) -> str:
    if isinstance(node, TextNode):
        return node.text
    return node.get_content()


def _metadata(node: BaseNode) -> dict[str, Any]:
    stored = {"type": type(node).__name__, "keys": [*node.metadata], "rest": _rest(node)}
    # In lists of lists: a text of its own would be written once more into the table of filters.
    metadata: dict[str, Any] = {NODE_KEY: [[json.dumps(stored, ensure_ascii=False)]]}
    metadata[ID_KEY] = node.node_id
    if node.ref_doc_id is not None:
        metadata |= dict.fromkeys((REF_DOC_KEY, *REF_DOC_NAMES), node.ref_doc_id)
    return {**metadata, **node.metadata}


def _rest(node: BaseNode) -> dict[str, Any]:
    """A node without id, text, metadata and embedding, and without what is as by default."""
    rest: dict[str, Any] = node.model_dump(
        mode="json", exclude={"id_", "text", "metadata", "embedding"}, exclude_defaults=True
    )
    for unwanted in ("class_name", "obj", "embedding"):
        rest.pop(unwanted, None)
    resource = rest.get("text_resource")
    if resource is not None and resource.get("text") is not None:
        resource["text"] = ""
    return rest
