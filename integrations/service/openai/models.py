"""Bodies of OpenAI's API, as far as it is understood here; everything else is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ..names import PATTERN
from ..routing import Body

FileId = Annotated[str, Field(pattern=PATTERN, examples=["file-3f0c8a9d5be2417a6c90d1e4"])]
Text64 = Annotated[str, Field(min_length=1, max_length=64)]
Text512 = Annotated[str, Field(max_length=512)]
Attributes = Annotated[dict[Text64, Text512 | bool | float | int], Field(max_length=16)]
Metadata = Annotated[dict[Text64, Text512], Field(max_length=16)]


class Sizes(Body):
    """Of chunks, in the encoder's tokens."""

    max_chunk_size_tokens: int = Field(ge=16, le=4096)
    chunk_overlap_tokens: int = Field(ge=0, le=2048)


class StaticChunking(Body):
    """Chunks of these sizes."""

    type: Literal["static"]
    static: Sizes


class AutoChunking(Body):
    """Chunks as long as the encoder reads at once."""

    type: Literal["auto"]


Chunking = Annotated[StaticChunking | AutoChunking, Field(discriminator="type")]


class NewStore(Body):
    """A vector store to be made: a collection with the service's encoder."""

    name: Text512 | None = None
    description: Text512 | None = None
    file_ids: list[FileId] | None = Field(None, max_length=500)
    chunking_strategy: Chunking | None = None
    metadata: Metadata | None = None
    expires_after: None = Field(None, description="Not supported: vector stores do not expire.")


class StoreUpdate(Body):
    """What is to be changed of a vector store."""

    name: Text512 | None = None
    metadata: Metadata | None = None
    expires_after: None = None


class NewAttachment(Body):
    """A file to be put into a vector store."""

    file_id: FileId
    attributes: Attributes | None = None
    chunking_strategy: Chunking | None = None


class AttachmentUpdate(Body):
    """New attributes of a file in a vector store."""

    attributes: Attributes | None


class NewBatch(Body):
    """Files to be put into a vector store: either `file_ids` or `files`."""

    file_ids: list[FileId] | None = Field(None, min_length=1, max_length=2000)
    files: list[NewAttachment] | None = Field(None, min_length=1, max_length=2000)
    attributes: Attributes | None = None
    chunking_strategy: Chunking | None = None


class HybridWeights(Body):
    """Weights of late interaction and of BM25, of which only the proportion counts."""

    embedding_weight: float = Field(ge=0, le=1000)
    text_weight: float = Field(ge=0, le=1000)


class RankingOptions(Body):
    """How results are ranked; every ranker is MaxSim."""

    hybrid_search: HybridWeights | None = None

    ranker: Literal["none", "auto", "default-2024-11-15"] | None = None
    score_threshold: float | None = Field(None, ge=0, le=1)


class StoreSearch(Body):
    """A search in a vector store."""

    query: str | list[str] = Field(examples=["How are threads held?"])
    filters: dict[str, Any] | None = Field(
        None,
        description="A ComparisonFilter or CompoundFilter of OpenAI's API.",
        examples=[{"type": "eq", "key": "year", "value": 2020}],
    )
    max_num_results: int = Field(10, ge=1, le=50)
    ranking_options: RankingOptions | None = None
    rewrite_query: Literal[False] | None = None


class Embed(Body):
    """Texts to be embedded: one vector per token."""

    input: str | list[str]
    model: str = Field(max_length=512, description="A collection, or the service's encoder.")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, description="Must be the encoder's, if given.")
    user: str | None = None
    input_type: Literal["document", "query"] = Field(
        "document", description="An extension: queries are encoded otherwise than documents."
    )
