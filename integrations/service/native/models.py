"""Bodies of Weft's own API, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ....engine import limits
from ..names import PATTERN
from ..routing import Body

Name = Annotated[str, Field(pattern=PATTERN, examples=["manuals"])]
Id = Annotated[str, Field(min_length=1, max_length=limits.MAX_ID_BYTES)]
Filter = Annotated[
    dict[str, Any],
    Field(
        description="Conditions on the metadata; see docs/api.md.",
        examples=[{"year": {"$gte": 2020}}],
    ),
]
Embeddings = Annotated[
    str | list[list[float]],
    Field(
        description="Base64 of little-endian float32 [tokens, dim], row after row; or a list of "
        "rows."
    ),
]


class NewCollection(Body):
    """A collection to be made."""

    name: Name
    dim: int | None = Field(
        None,
        ge=1,
        le=limits.MAX_DIM,
        description="For ready-made embeddings alone; left out: the service's encoder.",
    )
    bits: Literal[1, 2, 4, 8] = limits.DEFAULT_BITS
    flat_below_tokens: int = Field(limits.FLAT_BELOW_TOKENS, ge=0, le=2**53)


class CollectionName(BaseModel):
    """A collection."""

    name: str


class CollectionList(BaseModel):
    """All collections that the key opens."""

    collections: list[CollectionName]


class Stats(BaseModel):
    """A collection, with the sizes of its newest generation."""

    name: str
    stats: dict[str, Any]


class Deleted(BaseModel):
    """A collection that was removed."""

    name: str
    deleted: bool


class NewDocument(Body):
    """A document to be added or replaced."""

    id: Id | None = Field(None, description="Left out: a random one is made.")
    text: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict)
    language: str | None = Field(None, max_length=64)
    embeddings: Embeddings | None = None


class NewDocuments(Body):
    """Documents of one commit."""

    documents: list[NewDocument] = Field(min_length=1)
    queue: bool = Field(False, description="Leave encoding to the workers (upserts only).")


class Written(BaseModel):
    """What was committed."""

    generation: int
    ids: list[str]
    n_passages: int
    replaced: int


class Queued(BaseModel):
    """What was put into the inbox, durably."""

    submissions: list[str]


class Status(BaseModel):
    """What has become of a submission."""

    id: str
    state: Literal["queued", "encoding", "committed", "failed"]
    generation: int
    reasons: dict[str, str]


class Ids(Body):
    """Document ids."""

    ids: list[Id] = Field(min_length=1)


class Deletion(Body):
    """Documents to be removed: either `ids` or `filter`."""

    ids: list[Id] | None = Field(None, min_length=1)
    filter: Filter | None = None
    queue: bool = False


class Removed(BaseModel):
    """What a deletion removed."""

    generation: int
    deleted: list[str]
    missing: list[str]


class Export(Body):
    """Which documents to stream."""

    filter: Filter | None = None


class StoredDocument(BaseModel):
    """A document as it was added."""

    id: str
    text: str
    metadata: dict[str, Any]
    language: str | None


class Documents(BaseModel):
    """Documents in the order of the ids that were asked for; null where there is none."""

    documents: list[StoredDocument | None]


Field_ = Literal["text", "metadata", "passage"]


class HybridOptions(Body):
    """How late interaction and BM25 are brought together; see docs/parameters.md."""

    fusion: Literal["rrf", "weighted"] | None = None
    weight: float | None = Field(None, ge=0, le=1)
    rank_constant: int | None = Field(None, ge=1, le=10_000)
    depth: int | None = Field(None, ge=1, le=limits.MAX_K)


Hybrid = Annotated[
    Literal["rrf", "weighted"] | float | HybridOptions,
    Field(description="Fuse with BM25: by ranks, by weight (of late interaction, 0 to 1)."),
]
Text = Annotated[str, Field(max_length=limits.MAX_QUERY_CHARACTERS)]


class Parameters(Body):
    """How to search; what is left out is chosen by `effort`."""

    k: int = Field(10, ge=1, le=limits.MAX_K)
    filter: Filter | None = None
    group_by: Literal["document", "passage"] | None = None
    effort: Literal["fast", "balanced", "exact"] | None = None
    exact: bool | None = None
    algorithm: Literal["weft", "plaid"] | None = None
    nprobe: int | None = Field(None, ge=1, le=limits.MAX_NPROBE)
    ndocs: int | None = Field(None, ge=1, le=limits.MAX_NDOCS)
    n_rescored: int | None = Field(None, ge=1, le=limits.MAX_NDOCS)
    centroid_score_threshold: float | None = None
    hybrid: Hybrid | None = None
    fields: list[Field_] | None = Field(
        None, description="Of hits, beside id and score; left out: all."
    )
    stream: bool = Field(False, description="Answer in JSON lines, one per hit (or per query).")

    def plan(self) -> dict[str, Any]:
        """Those that are the engine's, as they were given."""
        return self.model_dump(
            exclude_none=True, exclude={"k", "filter", "fields", "stream", *_QUERIES}
        )


_QUERIES = ("query", "queries", "embeddings", "query_text")


class Search(Parameters):
    """A query: either a text or its embeddings."""

    query: Text | None = None
    embeddings: Embeddings | None = None
    query_text: Text | None = Field(None, description="For BM25, where it is not `query`.")


class OneQuery(Body):
    """A query of several: either a text or its embeddings."""

    query: Text | None = None
    embeddings: Embeddings | None = None
    query_text: Text | None = None


class BatchSearch(Parameters):
    """Queries that are answered on one generation."""

    queries: list[str | OneQuery] = Field(min_length=1)


class HitPassage(BaseModel):
    """The best passage of a hit: characters `start` to `end` of its document."""

    ordinal: int
    start: int
    end: int
    text: str


class FoundDocument(BaseModel):
    """A hit; its score is MaxSim, at most the number of the query's vectors."""

    id: str
    score: float
    text: str | None = None
    metadata: dict[str, Any] | None = None
    passage: HitPassage | None = None


class Found(BaseModel):
    """Hits, best first."""

    generation: int
    hits: list[FoundDocument]


class FoundBatch(BaseModel):
    """Hits of each query, in the order of the queries."""

    generation: int
    results: list[list[FoundDocument]]


class Explain(Body):
    """A query and the document whose score is to be explained."""

    query: Text | None = None
    embeddings: Embeddings | None = None
    id: Id


class Match(BaseModel):
    """A query token and the passage token that answers it best."""

    query_token: str
    passage_token: str
    start: int
    end: int
    contribution: float


class Explained(BaseModel):
    """A score taken apart."""

    total: float
    matches: list[Match]
