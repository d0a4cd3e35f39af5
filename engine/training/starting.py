"""Makes a late-interaction checkpoint to start from out of a plain transformer.

It gets ColBERT's markers, `[MASK]` expansion and skiplist, and a projection. A projection of
random numbers begins training with noise; the principal directions of the backbone's own token
vectors keep as much of their dot products as that many dimensions can, so that the start already
searches nearly as well as the backbone's full vectors do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from safetensors import SafetensorError

from ..encoder.backbone import load_transformer
from ..encoder.checkpoint import (
    PUNCTUATION,
    Checkpoint,
    EncodingRules,
    Layout,
    positions,
    read_checkpoint,
)
from ..encoder.identity import embedding_dim
from ..encoder.projection import Projection
from ..encoder.source import locate
from ..encoder.vocabulary import load_vocabulary
from ..errors import InvalidParameterError, StorageError
from .layouts import write_pylate
from .trainable import TrainableEncoder, TrainableProjection, drop_unused

DEFAULT_DIM: Final = 128
"""Components per embedding of a plain start that is told nothing else."""

PROJECTIONS: Final = ("pca", "orthogonal")
_BERT_MARKERS: Final = ("[unused0]", "[unused1]")
_ADDED_MARKERS: Final = ("[Q] ", "[D] ")
_QUERY_MAXLEN, _DOCUMENT_MAXLEN = 32, 180
_SAMPLE_TEXTS: Final = 256
_BATCH_TEXTS: Final = 16

_Drawing = Callable[[Checkpoint, Any, int], torch.Tensor]
"""Gives the matrix [dim, hidden] of a projection for a start, its backbone and dim."""


def prepare(
    name: str | Path | None,
    folder: Path,
    *,
    dim: int | None = None,
    projection: str | None = None,
    sample: Sequence[str] = (),
    query_maxlen: int | None = None,
    document_maxlen: int | None = None,
    expand_queries: bool | None = None,
    markers: bool | None = None,
    seed: int | None = None,
) -> Path:
    """Write a start in PyLate's layout, or return a late-interaction checkpoint as it is.

    All options are of a plain start. For a late-interaction one an option is refused unless it
    is None or what the checkpoint has anyway; only `sample`, texts to look at, may be given.

    Args:
        name: folder or hub name of a BERT, MiniLM, ModernBERT, XLM-R or X-MOD checkpoint; None
            is weft-mini, which is trained on as it is.
        folder: where the start is written.
        dim: components per embedding; at most the backbone's hidden size; None is 128.
        projection: "pca" (needs `sample`; so is None) or "orthogonal" (random rows at right
            angles).
        sample: texts of the collection, some hundreds, whose token vectors PCA looks at.
        query_maxlen, document_maxlen: lengths in tokens, markers included; None is 32 and 180,
            or what the backbone's positions allow.
        expand_queries: fill queries up with `[MASK]`; so does None.
        markers: put ColBERT's query and document marker after the first special token; so does
            None.
        seed: of the orthogonal projection, which alone is drawn; None is 0.

    Returns:
        The folder to train from.

    Raises:
        CheckpointError: the backbone cannot be read.
        InvalidParameterError: dim or a length is out of range, PCA has no texts, or an option
            would have no effect.
        StorageError: the disk is full, or the folder may not be written.
    """
    source = locate(name)
    checkpoint = read_checkpoint(source.folder)
    if checkpoint.layout is not Layout.PLAIN:
        told = {"dim": dim, "query_maxlen": query_maxlen, "document_maxlen": document_maxlen,
                "expand_queries": expand_queries, "markers": markers, "projection": projection,
                "seed": seed}  # fmt: skip
        _require_own(source.name, checkpoint, told)
        return checkpoint.folder
    draw = _drawing(projection, sample, seed)
    rules = _rules(checkpoint, query_maxlen, document_maxlen, expand_queries is not False)
    start = replace(checkpoint, layout=Layout.PYLATE, rules=rules)
    with TemporaryDirectory(prefix="weft-tokenizer-") as aside:
        place = None if markers is False else Path(aside)
        _write(_encoder(start, DEFAULT_DIM if dim is None else dim, draw, place), folder)
    return folder


def check_start(
    name: str | Path | None,
    *,
    dim: int | None = None,
    query_maxlen: int | None = None,
    document_maxlen: int | None = None,
) -> None:
    """Refuse early, as `prepare` does, what a late-interaction start would not heed.

    Args:
        name, dim, query_maxlen, document_maxlen: as `prepare` takes them.

    Raises:
        CheckpointError: there is no such checkpoint.
        InvalidParameterError: the checkpoint is a late-interaction one, and another dim or length
            than its own is asked for.
    """
    source = locate(name)
    checkpoint = read_checkpoint(source.folder)
    if checkpoint.layout is not Layout.PLAIN:
        told = {"dim": dim, "query_maxlen": query_maxlen, "document_maxlen": document_maxlen}
        _require_own(source.name, checkpoint, told)


def _require_own(name: str, checkpoint: Checkpoint, told: Mapping[str, object]) -> None:
    """Refuse all that is told (not None) but what the checkpoint has anyway."""
    rules = checkpoint.rules
    own: dict[str, object] = {
        # Where only the weights tell it they are read, so not unless it is asked for.
        "dim": None if told["dim"] is None else embedding_dim(checkpoint),
        "query_maxlen": rules.query_maxlen,
        "document_maxlen": rules.document_maxlen,
        "expand_queries": rules.expand_queries,
        "markers": rules.query_marker is not None or rules.document_marker is not None,
    }
    for option, value in told.items():
        if value is None or value == own.get(option):
            continue
        has = f"its {option} is {own[option]}" if option in own else "it has a projection"
        raise InvalidParameterError(
            f"{option} is {value!r}, but {name} is a late-interaction checkpoint and is trained "
            f"on as it is ({has}): leave {option} out, or take a plain checkpoint as the start."
        )


def _drawing(projection: str | None, sample: Sequence[str], seed: int | None) -> _Drawing:
    """What makes the matrix of the projection that was asked for."""
    if projection not in (None, *PROJECTIONS):
        raise InvalidParameterError(
            f"projection is {projection!r}: use one of {', '.join(PROJECTIONS)}."
        )
    if projection == "orthogonal":
        return lambda _, backbone, dim: _orthogonal(_width(backbone), dim, seed or 0)
    if seed is not None:
        raise InvalidParameterError(
            f"seed is {seed}, but a PCA projection draws nothing: leave seed out, or use "
            "projection='orthogonal'."
        )
    return lambda start, backbone, dim: _principal_directions(start, backbone, sample, dim)


def _encoder(start: Checkpoint, dim: int, draw: _Drawing, aside: Path | None) -> TrainableEncoder:
    """The backbone under a new projection, with markers where there is a place for them."""
    backbone = load_transformer(start).float()
    drop_unused(backbone)
    width = _width(backbone)
    if not 1 <= dim <= width:
        raise InvalidParameterError(f"dim is {dim}: use 1 to {width}, the backbone's hidden size.")
    if aside is not None:
        start = _with_markers(start, backbone, aside)
    made = Projection(draw(start, backbone, dim), None, _same, False, None)
    return TrainableEncoder(start, backbone, [TrainableProjection(made)])


def _write(encoder: TrainableEncoder, folder: Path) -> None:
    try:
        write_pylate(encoder, folder)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"the start cannot be written to {folder}: {error}") from error


def _width(backbone: Any) -> int:
    return int(backbone.config.hidden_size)


def _rules(
    checkpoint: Checkpoint, query_maxlen: int | None, document_maxlen: int | None, expand: bool
) -> EncodingRules:
    """ColBERT's rules, without markers yet."""
    longest = positions(checkpoint.config)
    query = min(_QUERY_MAXLEN, longest) if query_maxlen is None else query_maxlen
    document = min(_DOCUMENT_MAXLEN, longest) if document_maxlen is None else document_maxlen
    for label, value in (("query_maxlen", query), ("document_maxlen", document)):
        if not 8 <= value <= longest:
            raise InvalidParameterError(f"{label} is {value}: use 8 to {longest}, its positions.")
    return EncodingRules(
        query_marker=None,
        document_marker=None,
        query_maxlen=query,
        document_maxlen=document,
        expand_queries=expand,
        attend_to_mask_tokens=False,
        skiplist=PUNCTUATION,
        lower_case=checkpoint.rules.lower_case,
    )


def _same(values: torch.Tensor) -> torch.Tensor:
    return values


def _with_markers(checkpoint: Checkpoint, backbone: Any, aside: Path) -> Checkpoint:
    """BERT's unused tokens where the vocabulary has them, else two tokens added to it."""
    vocabulary = load_vocabulary(checkpoint)
    markers = _BERT_MARKERS
    if any(vocabulary.number(marker) is None for marker in markers):
        markers = _ADDED_MARKERS
        checkpoint = _extended(checkpoint, backbone, aside)
    rules = replace(checkpoint.rules, query_marker=markers[0], document_marker=markers[1])
    return replace(checkpoint, rules=rules)


def _extended(checkpoint: Checkpoint, backbone: Any, place: Path) -> Checkpoint:
    """The checkpoint with a tokenizer that knows the added markers, and rows for them."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(
        checkpoint.backbone, local_files_only=True, trust_remote_code=False
    )
    tokenizer.add_tokens(list(_ADDED_MARKERS))
    tokenizer.save_pretrained(place)
    rows = backbone.get_input_embeddings().weight
    known = rows.shape[0]
    if len(tokenizer) > known:
        mean = rows.detach().mean(dim=0)
        backbone.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            # New rows are drawn at random by default: the mean word is a better guess.
            backbone.get_input_embeddings().weight[known:] = mean
    config = {**checkpoint.config, "vocab_size": int(backbone.config.vocab_size)}
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return replace(checkpoint, backbone=place, config=config)


def _principal_directions(
    checkpoint: Checkpoint, backbone: Any, sample: Sequence[str], dim: int
) -> torch.Tensor:
    """The directions [dim, hidden] that keep most of the unit token vectors' dot products.

    Those of the second moment, not of the covariance: MaxSim subtracts no mean.
    """
    texts = [text for text in sample if text.strip()][:_SAMPLE_TEXTS]
    if not texts:
        raise InvalidParameterError(
            "a PCA projection needs texts of the collection (sample): pass some hundred passages, "
            "or projection='orthogonal'."
        )
    # With no projection the encoder gives the backbone's own unit vectors.
    encoder = TrainableEncoder(checkpoint, backbone, []).eval()
    sequences = encoder.tokenization.passages(texts)
    languages = checkpoint.languages
    language = checkpoint.default_language or (languages[0] if languages else None)
    width = _width(backbone)
    moment = torch.zeros(width, width, dtype=torch.float64)
    with torch.inference_mode():
        for first in range(0, len(sequences), _BATCH_TEXTS):
            rows = encoder(sequences[first : first + _BATCH_TEXTS], language).double()
            moment += rows.T @ rows
    _, vectors = torch.linalg.eigh(moment)
    top = vectors.flip(1)[:, :dim].T.clone()
    # Signs are arbitrary; fixed ones make two runs write the same file.
    signs = top.gather(1, top.abs().argmax(dim=1, keepdim=True)).sign()
    kept: torch.Tensor = (top * signs).float().contiguous()
    return kept


def _orthogonal(width: int, dim: int, seed: int) -> torch.Tensor:
    """Random rows [dim, width] of length 1 at right angles, which keep dot products on average."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(width, dim, generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(drawn)
    rows: torch.Tensor = basis.T.float().contiguous()
    return rows
