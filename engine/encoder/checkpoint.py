"""Recognises a checkpoint's layout by its configuration and reads how it encodes.

Three public layouts, told apart by what their files say and never by their name:

- `HF_ColBERT`: `config.json` names that architecture; the projection is `linear.weight` beside
  the backbone's weights; `artifact.metadata` holds lengths, markers and masking.
- PyLate: `modules.json` lists a Transformer and Dense modules and no pooling;
  `config_sentence_transformers.json` holds prefixes, lengths, expansion and skiplist.
- plain: a transformer or sentence encoder. It has no projection that was trained for single
  tokens, so its last hidden layer serves as it is: zero-shot late interaction.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from ..errors import CheckpointError
from ..limits import MAX_DIM, MAX_PASSAGE_EMBEDDINGS, MAX_QUERY_EMBEDDINGS
from .configuration import Settings, read_object
from .modules import DenseModule, read_modules

PUNCTUATION: Final = tuple(string.punctuation)
"""The 32 ASCII punctuation characters whose document vectors ColBERT drops."""

PLAIN_DOCUMENT_MAXLEN: Final = 220
"""Default passage length of a plain encoder in tokens, special tokens included."""

_DEFAULT_POSITIONS: Final = 512
_SHORTEST: Final = 8
_MOST_TOKENS: Final = 1 << 24
_TEXTS: Final = ("model_type", "hidden_act", "position_embedding_type", "default_language")
# These number positions from the padding token's number onwards.
_SHIFTED_POSITIONS: Final = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "xmod", "camembert", "mpnet", "longformer"}
)


class Layout(StrEnum):
    """How a checkpoint's files are arranged."""

    HF_COLBERT = "HF_ColBERT"
    PYLATE = "PyLate"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class EncodingRules:
    """How texts become token sequences and which vectors are kept.

    Args:
        query_marker, document_marker: tokens put after the first special token, or None.
        query_maxlen, document_maxlen: longest sequences, markers and special tokens included.
        expand_queries: fill queries with `[MASK]` up to `query_maxlen`.
        attend_to_mask_tokens: let all tokens attend to those `[MASK]`; if not, they only look on.
        skiplist: document tokens whose vectors are dropped after encoding.
        lower_case: lower-case the text before tokenisation, whatever the tokenizer does.
    """

    query_marker: str | None
    document_marker: str | None
    query_maxlen: int
    document_maxlen: int
    expand_queries: bool
    attend_to_mask_tokens: bool
    skiplist: tuple[str, ...]
    lower_case: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that has been recognised; no weights have been read yet.

    Args:
        folder: of the checkpoint.
        backbone: folder of the transformer, mostly the same.
        config: the transformer's `config.json`.
        layout: how the files are arranged.
        rules: how texts are encoded.
        dense: the projection's modules in order (PyLate only).
        dim: components per vector; None where only the weights tell.
    """

    folder: Path
    backbone: Path
    config: dict[str, Any]
    layout: Layout
    rules: EncodingRules
    dense: tuple[DenseModule, ...]
    dim: int | None

    @property
    def languages(self) -> tuple[str, ...]:
        """Language adapters of an X-MOD backbone, in its own order; empty for all others."""
        if self.config.get("model_type") != "xmod":
            return ()
        return Settings(self.backbone / "config.json", self.config).texts("languages", ())

    @property
    def default_language(self) -> str | None:
        """The adapter for texts without a language, or None where one must be given."""
        found = self.config.get("default_language")
        return str(found) if found and self.languages else None


def read_checkpoint(folder: Path) -> Checkpoint:
    """Recognise the checkpoint in a folder.

    Raises:
        CheckpointError: a file is missing, is not what it should be, or contradicts another.
    """
    modules = read_modules(folder)
    backbone = modules.transformer if modules else folder
    config = _read_config(backbone / "config.json")
    if "HF_ColBERT" in (config.get("architectures") or ()):
        return _hf_colbert(folder, config)
    if modules and not modules.pools:
        return _pylate(folder, backbone, config, modules.dense)
    return _plain(folder, backbone, config)


def _read_config(path: Path) -> dict[str, Any]:
    """A transformer's configuration; what is read of it here has the right types."""
    config = read_object(path)
    found = Settings(path, config)
    for key in _TEXTS:
        found.text(key, "")
    found.texts("architectures", ())
    found.number("pad_token_id", -1, _MOST_TOKENS, 0)
    if positions(config) < _SHORTEST:
        raise CheckpointError(f"{path}: fewer than {_SHORTEST} positions are too few for a text")
    return config


def positions(config: dict[str, Any]) -> int:
    """The longest sequence that a backbone takes, in tokens."""
    found = config.get("max_position_embeddings")
    if not isinstance(found, int) or found < 1:
        return _DEFAULT_POSITIONS
    if config.get("model_type") in _SHIFTED_POSITIONS:
        found -= int(config.get("pad_token_id") or 0) + 1
    return found


def _hf_colbert(folder: Path, config: dict[str, Any]) -> Checkpoint:
    path = folder / "artifact.metadata"
    found = Settings(path, read_object(path) if path.is_file() else {})
    longest = positions(config)
    rules = EncodingRules(
        query_marker=found.text("query_token_id", "[unused0]"),
        document_marker=found.text("doc_token_id", "[unused1]"),
        query_maxlen=_length(found, "query_maxlen", 32, min(longest, MAX_QUERY_EMBEDDINGS)),
        document_maxlen=_length(found, "doc_maxlen", 180, min(longest, MAX_PASSAGE_EMBEDDINGS)),
        expand_queries=True,
        attend_to_mask_tokens=found.flag("attend_to_mask_tokens", False),
        skiplist=PUNCTUATION if found.flag("mask_punctuation", True) else (),
    )
    dim = found.number("dim", 1, MAX_DIM) if "dim" in found.values else None
    return Checkpoint(folder, folder, config, Layout.HF_COLBERT, rules, (), dim)


def _pylate(
    folder: Path, backbone: Path, config: dict[str, Any], dense: tuple[DenseModule, ...]
) -> Checkpoint:
    if not dense:
        raise CheckpointError(
            f"{folder / 'modules.json'} lists neither a Dense projection nor a pooling module; "
            "restore the list that the checkpoint was published with"
        )
    path = folder / "config_sentence_transformers.json"
    found = Settings(path, read_object(path) if path.is_file() else {})
    longest = positions(config)
    expand = found.flag("do_query_expansion", True)
    attend = found.flag("attend_to_expansion_tokens", False)
    rules = EncodingRules(
        query_marker=found.text("query_prefix", "[Q] ") or None,
        document_marker=found.text("document_prefix", "[D] ") or None,
        query_maxlen=_length(found, "query_length", 32, min(longest, MAX_QUERY_EMBEDDINGS)),
        document_maxlen=_length(
            found, "document_length", 180, min(longest, MAX_PASSAGE_EMBEDDINGS)
        ),
        expand_queries=expand,
        attend_to_mask_tokens=attend and expand,
        skiplist=found.texts("skiplist_words", PUNCTUATION),
        lower_case=_lower_case(backbone),
    )
    dim = dense[-1].out_features
    return Checkpoint(folder, backbone, config, Layout.PYLATE, rules, dense, dim)


def _plain(folder: Path, backbone: Path, config: dict[str, Any]) -> Checkpoint:
    """Rules for an encoder that was never trained for late interaction.

    No marker and no expansion, since it has seen neither. All vectors are kept: on Cranfield
    (MiniLM, exact MaxSim, passages of 220 tokens) nDCG@10 is .386; leaving the special tokens
    out of the queries gives .381, their punctuation .380, and no treatment of the documents
    moves it by more than .002. A query may fill all positions, since without expansion its
    length costs nothing and cutting it would lose its tail.
    """
    found = Settings(backbone / "config.json", config)
    key = next((key for key in ("hidden_size", "dim", "d_model") if key in config), "hidden_size")
    longest = positions(config)
    rules = EncodingRules(
        query_marker=None,
        document_marker=None,
        query_maxlen=min(longest, MAX_QUERY_EMBEDDINGS),
        document_maxlen=min(longest, PLAIN_DOCUMENT_MAXLEN),
        expand_queries=False,
        attend_to_mask_tokens=False,
        skiplist=(),
        lower_case=_lower_case(backbone),
    )
    dim = found.number(key, 1, MAX_DIM)
    return Checkpoint(folder, backbone, config, Layout.PLAIN, rules, (), dim)


def _length(found: Settings, key: str, default: int, longest: int) -> int:
    # Published lengths may exceed what the backbone's positions allow.
    return min(found.number(key, _SHORTEST, 1_000_000, default), longest)


def _lower_case(backbone: Path) -> bool:
    path = backbone / "sentence_bert_config.json"
    if not path.is_file():
        return False
    return Settings(path, read_object(path)).flag("do_lower_case", False)
