"""Makes a late-interaction checkpoint to start from out of a plain transformer.

It gets ColBERT's markers, `[MASK]` expansion and skiplist, and a projection. A projection of
random numbers begins training with noise; the principal directions of the backbone's own token
vectors keep as much of their dot products as that many dimensions can, so that the start already
searches nearly as well as the backbone's full vectors do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from ..encoder.projection import Projection
from ..encoder.source import locate
from ..encoder.vocabulary import load_vocabulary
from ..errors import InvalidParameterError, StorageError
from .layouts import write_pylate
from .trainable import TrainableEncoder, TrainableProjection, drop_unused

PROJECTIONS: Final = ("pca", "orthogonal")
_BERT_MARKERS: Final = ("[unused0]", "[unused1]")
_ADDED_MARKERS: Final = ("[Q] ", "[D] ")
_QUERY_MAXLEN, _DOCUMENT_MAXLEN = 32, 180
_SAMPLE_TEXTS: Final = 256
_BATCH_TEXTS: Final = 16


def prepare(
    name: str | Path | None,
    folder: Path,
    *,
    dim: int = 128,
    projection: str = "pca",
    sample: Sequence[str] = (),
    query_maxlen: int | None = None,
    document_maxlen: int | None = None,
    expand_queries: bool = True,
    markers: bool = True,
    seed: int = 0,
) -> Path:
    """Write a start in PyLate's layout, or return a late-interaction checkpoint as it is.

    Args:
        name: folder or hub name of a BERT, MiniLM, ModernBERT, XLM-R or X-MOD checkpoint; None
            is weft-mini, which is trained on as it is.
        folder: where the start is written.
        dim: components per embedding; at most the backbone's hidden size.
        projection: "pca" (needs `sample`) or "orthogonal" (random rows at right angles).
        sample: texts of the collection, some hundreds, whose token vectors PCA looks at.
        query_maxlen, document_maxlen: lengths in tokens, markers included; None is 32 and 180,
            or what the backbone's positions allow.
        expand_queries: fill queries up with `[MASK]`.
        markers: put ColBERT's query and document marker after the first special token.
        seed: of the random projection.

    Returns:
        The folder to train from.

    Raises:
        CheckpointError: the backbone cannot be read.
        InvalidParameterError: dim or a length is out of range, or PCA has no texts.
        StorageError: the disk is full, or the folder may not be written.
    """
    checkpoint = read_checkpoint(locate(name).folder)
    if checkpoint.layout is not Layout.PLAIN:
        return checkpoint.folder
    if projection not in PROJECTIONS:
        raise InvalidParameterError(
            f"projection is {projection!r}: use one of {', '.join(PROJECTIONS)}."
        )
    rules = _rules(checkpoint, query_maxlen, document_maxlen, expand_queries)
    start = replace(checkpoint, layout=Layout.PYLATE, rules=rules)
    backbone = load_transformer(start).float()
    drop_unused(backbone)
    width = int(backbone.config.hidden_size)
    if not 1 <= dim <= width:
        raise InvalidParameterError(f"dim is {dim}: use 1 to {width}, the backbone's hidden size.")
    with TemporaryDirectory(prefix="weft-tokenizer-") as aside:
        if markers:
            start = _with_markers(start, backbone, Path(aside))
        if projection == "pca":
            matrix = _principal_directions(start, backbone, sample, dim)
        else:
            matrix = _orthogonal(width, dim, seed)
        made = Projection(matrix, None, _same, False, None)
        try:
            write_pylate(TrainableEncoder(start, backbone, [TrainableProjection(made)]), folder)
        except (OSError, SafetensorError) as error:
            raise StorageError(f"the start cannot be written to {folder}: {error}") from error
    return folder


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
    width = int(backbone.config.hidden_size)
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
