"""Writes a trained encoder in the two public layouts.

PyLate's is a transformer with a `1_Dense` folder beside it; `HF_ColBERT`, that of `colbert-ai`,
keeps the projection among the backbone's weights. Both load back in Weft with equal vectors.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from ..encoder.checkpoint import PUNCTUATION
from ..encoder.modules import DenseModule
from ..encoder.projection import HF_COLBERT_WEIGHT
from ..errors import CheckpointError
from .trainable import TrainableEncoder, TrainableProjection

TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
_SENTENCE_TRANSFORMERS: Final = "sentence_transformers.models"


def write_pylate(encoder: TrainableEncoder, folder: Path) -> None:
    """Write an encoder as PyLate and sentence-transformers read it, whole or not at all."""
    aside = fresh(folder)
    rules = encoder.checkpoint.rules
    query_marker, document_marker = encoder.tokenization.markers
    _write_backbone(encoder, aside, _backbone_tensors(encoder), None)
    listed = [_module(0, "", f"{_SENTENCE_TRANSFORMERS}.Transformer")]
    for number, projection in enumerate(_projections(encoder), start=1):
        listed.append(_module(number, f"{number}_Dense", "pylate.models.Dense.Dense"))
        _write_dense(encoder, number - 1, projection, aside / f"{number}_Dense")
    _write_json(aside / "modules.json", listed)
    lengths = {"max_seq_length": rules.document_maxlen - 1, "do_lower_case": rules.lower_case}
    _write_json(aside / "sentence_bert_config.json", lengths)
    settings = {
        "model_type": "ColBERT",
        "query_prefix": query_marker or "",
        "document_prefix": document_marker or "",
        "query_length": rules.query_maxlen,
        "document_length": rules.document_maxlen,
        "do_query_expansion": rules.expand_queries,
        "attend_to_expansion_tokens": rules.attend_to_mask_tokens,
        "skiplist_words": _skiplist(encoder),
        "similarity_fn_name": "MaxSim",
    }
    _write_json(aside / "config_sentence_transformers.json", settings)
    publish(aside, folder)


def write_hf_colbert(encoder: TrainableEncoder, folder: Path) -> None:
    """Write an encoder as `colbert-ai` reads it, whole or not at all.

    Raises:
        CheckpointError: this layout cannot express the encoder: its projection is more than
            matrices, or its queries are not filled up with `[MASK]`.
    """
    rules = encoder.checkpoint.rules
    tensors = _backbone_tensors(encoder, _prefix(encoder))
    tensors[HF_COLBERT_WEIGHT] = _one_matrix(encoder)
    if not rules.expand_queries or rules.query_marker is None or rules.document_marker is None:
        raise CheckpointError(
            f"the HF_ColBERT layout knows no queries without [MASK] expansion and markers, as "
            f"{encoder.checkpoint.folder} has them: write the PyLate layout instead"
        )
    if not _same_skiplist(encoder):
        raise CheckpointError(
            f"the HF_ColBERT layout would drop other punctuation than {encoder.checkpoint.folder} "
            "does, whose tokenizer writes it differently at the start of a word: write the PyLate "
            "layout instead"
        )
    aside = fresh(folder)
    _write_backbone(encoder, aside, tensors, ["HF_ColBERT"])
    settings = {
        "query_token_id": rules.query_marker,
        "doc_token_id": rules.document_marker,
        "query_token": "[Q]",
        "doc_token": "[D]",
        "dim": int(tensors[HF_COLBERT_WEIGHT].shape[0]),
        "query_maxlen": rules.query_maxlen,
        "doc_maxlen": rules.document_maxlen,
        "mask_punctuation": bool(rules.skiplist),
        "attend_to_mask_tokens": rules.attend_to_mask_tokens,
        "similarity": "cosine",
        "checkpoint": str(encoder.checkpoint.config.get("_name_or_path") or "weft"),
    }
    _write_json(aside / "artifact.metadata", settings)
    publish(aside, folder)


def _skiplist(encoder: TrainableEncoder) -> list[str]:
    """The skiplist in words that stand for the same tokens in PyLate's layout."""
    rules, tokens = encoder.checkpoint.rules, encoder.tokenization
    words = [word for word in rules.skiplist if tokens.vocabulary.number(word) is not None]
    if {tokens.vocabulary.number(word) for word in words} == tokens.skipped:
        return list(rules.skiplist)
    return [tokens.vocabulary.name(number) for number in sorted(tokens.skipped)]


def _same_skiplist(encoder: TrainableEncoder) -> bool:
    """Whether `colbert-ai`'s rule, each punctuation mark's first token, drops the same tokens."""
    if not encoder.checkpoint.rules.skiplist:
        return True
    vocabulary = encoder.tokenization.vocabulary
    first = {one.ids[0] for one in vocabulary.encode(PUNCTUATION) if one.ids}
    return first == encoder.tokenization.skipped - {vocabulary.padding}


def _one_matrix(encoder: TrainableEncoder) -> torch.Tensor:
    """The projection as one matrix [dim, hidden]."""
    found = _projections(encoder)
    if not all(one.linear_only for one in found):
        raise CheckpointError(
            f"the projection of {encoder.checkpoint.folder} has biases, activations or residual "
            "paths, which the HF_ColBERT layout does not know: write the PyLate layout instead"
        )
    matrix = found[0].weight.detach().cpu()
    for one in found[1:]:
        matrix = one.weight.detach().cpu() @ matrix
    return matrix.float().contiguous()


def _projections(encoder: TrainableEncoder) -> list[TrainableProjection]:
    return [one for one in encoder.projections if isinstance(one, TrainableProjection)]


def _prefix(encoder: TrainableEncoder) -> str:
    backbone: Any = encoder.backbone
    return f"{backbone.base_model_prefix}."


def _backbone_tensors(encoder: TrainableEncoder, prefix: str = "") -> dict[str, torch.Tensor]:
    state = encoder.backbone.state_dict()
    # Cloned, since tensors that share memory cannot be written side by side.
    return {f"{prefix}{name}": value.detach().cpu().clone() for name, value in state.items()}


def _write_backbone(
    encoder: TrainableEncoder,
    folder: Path,
    tensors: dict[str, torch.Tensor],
    architectures: list[str] | None,
) -> None:
    backbone: Any = encoder.backbone
    config = {**backbone.config.to_dict(), "dtype": "float32"}
    config["architectures"] = architectures or [type(backbone).__name__]
    config.pop("_name_or_path", None)
    _write_json(folder / "config.json", config)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name in TOKENIZER_FILES:
        path = encoder.checkpoint.backbone / name
        if path.is_file():
            shutil.copyfile(path, folder / name)


def _write_dense(
    encoder: TrainableEncoder, number: int, projection: TrainableProjection, folder: Path
) -> None:
    folder.mkdir()
    given = encoder.checkpoint.dense[number] if encoder.checkpoint.dense else None
    tensors = {"linear.weight": projection.weight.detach().cpu().clone()}
    if projection.bias is not None:
        tensors["linear.bias"] = projection.bias.detach().cpu().clone()
    if projection.residual is not None:
        tensors["residual.weight"] = projection.residual.detach().cpu().clone()
    out_features, in_features = projection.weight.shape
    settings = {
        "in_features": in_features,
        "out_features": out_features,
        "bias": projection.bias is not None,
        "activation_function": _activation(given),
        "use_residual": bool(given and given.residual),
    }
    _write_json(folder / "config.json", settings)
    save_file(tensors, folder / "model.safetensors")


def _activation(given: DenseModule | None) -> str:
    if given is None or given.activation == "Identity":
        return "torch.nn.modules.linear.Identity"
    return f"torch.nn.modules.activation.{given.activation}"


def _module(number: int, path: str, kind: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": kind}


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def fresh(folder: Path) -> Path:
    """An empty folder beside the wanted one."""
    aside = folder.with_name(folder.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    return aside


def publish(aside: Path, folder: Path) -> None:
    """Put a finished folder under its name, in place of an older one."""
    if folder.exists():
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        aside.rename(folder)
        shutil.rmtree(old)
    else:
        aside.rename(folder)
