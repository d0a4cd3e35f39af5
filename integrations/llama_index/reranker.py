"""The reranker: MaxSim between a query and nodes that are in no index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher

from ...engine.encoder import load_encoder
from ...engine.encoder.base import Encoder
from ...engine.errors import InvalidDocumentError, InvalidParameterError, InvalidQueryError
from ...engine.reranking import score_texts
from ...engine.validation import check_integer, check_threads
from ..arguments import refuse_unknown

dispatcher = get_dispatcher(__name__)


class WeftRerank(BaseNodePostprocessor):
    """Puts nodes from anywhere into the order of their MaxSim with the query.

        >>> WeftRerank(top_n=3).postprocess_nodes(nodes, query_str="What is held taut?")

    Long nodes are split into passages, the best of which counts; nothing is truncated. What is
    scored is a node's text without its metadata.

    Args:
        encoder: a folder, a hub name or an encoder object (`index.encoder` shares that of an
            index); None is weft-mini.
        top_n: nodes that are kept; None keeps all.
        threads: for MaxSim; 0 is all cores.
        callback_manager: of LlamaIndex.

    Raises:
        InvalidParameterError: an argument that is not understood.
        CheckpointError, MissingDependencyError: the encoder cannot be loaded.
    """

    top_n: int | None = None
    threads: int = 0

    _encoder: Encoder = PrivateAttr()

    def __init__(
        self,
        *,
        encoder: str | Path | Encoder | None = None,
        top_n: int | None = None,
        threads: int = 0,
        callback_manager: CallbackManager | None = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown, {"encoder", *type(self).model_fields}, type(self).__name__)
        if top_n is not None:
            check_integer("top_n", top_n, 1, 2**31)
        check_threads(threads)
        manager = CallbackManager() if callback_manager is None else callback_manager
        fields: dict[str, Any] = {"top_n": top_n, "threads": threads}
        super().__init__(callback_manager=manager, **fields)
        self._encoder = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex knows it."""
        return "WeftRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """New entries of the same nodes, best first; of equal scores the earlier comes first."""
        if query_bundle is None:
            raise InvalidQueryError("There is no query to score by: pass query_str.")
        _check(nodes)
        query, name = query_bundle.query_str, self._encoder.identity.name
        kept = len(nodes) if self.top_n is None else self.top_n
        dispatcher.event(
            ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=kept, model_name=name)
        )
        told: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: kept,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=told) as event:
            best = self._best(nodes, query, kept)
            event.on_end(payload={EventPayload.NODES: best})
        dispatcher.event(ReRankEndEvent(nodes=best))
        return best

    def _best(self, nodes: list[NodeWithScore], query: str, kept: int) -> list[NodeWithScore]:
        texts = [one.node.get_content(metadata_mode=MetadataMode.NONE) for one in nodes]
        scores = score_texts(self._encoder, query, texts, threads=self.threads)
        order = np.argsort(-scores, kind="stable")[:kept].tolist()
        return [NodeWithScore(node=nodes[n].node, score=float(scores[n])) for n in order]


def _check(nodes: object) -> None:
    if not isinstance(nodes, list | tuple):
        raise InvalidParameterError(f"nodes is a {type(nodes).__name__}: pass a list.")
    for one in nodes:
        if not isinstance(one, NodeWithScore):
            raise InvalidDocumentError(
                f"A {type(one).__name__} cannot be ranked: pass NodeWithScore(node=...)."
            )
