"""Harnesses of the encoder's readers: configuration, tokenizer and weights of a checkpoint."""

from __future__ import annotations

import json
import shutil
from functools import cached_property
from typing import Any, Final

import checkpoints

from weft.engine.encoder import load_encoder
from weft.engine.encoder.checkpoint import Checkpoint, read_checkpoint
from weft.engine.encoder.identity import embedding_dim, identify
from weft.engine.encoder.projection import load_projection
from weft.engine.encoder.tokenization import Tokenization

from .base import Harness
from .mutation import edited_bytes, edited_json, json_bytes
from .safetensors_files import edited_file
from .source import Source
from .using import attempt

KINDS: Final = ("hf", "pylate", "plain")
SETTINGS: Final = (
    "config.json",
    "artifact.metadata",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Dense/config.json",
)
TOKENIZER: Final = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
TEXTS: Final = ("Weave the weft, over [MASK] 日本 é!", "", "loom " * 60)


class OverCheckpoint(Harness):
    """A harness that edits files of small checkpoints of the three layouts."""

    @cached_property
    def layouts(self) -> dict[str, dict[str, bytes]]:
        """The unedited files of each layout."""
        made = self.folder / "made"
        checkpoints.hf_colbert(made / "hf")
        markers = {"query_prefix": "[unused0]", "document_prefix": "[unused1]"}
        dense = [{"out_features": 12, "bias": True}]
        checkpoints.pylate(made / "pylate", dense, kind="bert", settings=markers)
        checkpoints.plain(made / "plain", "bert", pooling=True)
        return {
            kind: {
                path.relative_to(made / kind).as_posix(): path.read_bytes()
                for path in (made / kind).rglob("*")
                if path.is_file()
            }
            for kind in KINDS
        }

    def put(self, files: dict[str, bytes]) -> None:
        """Make the folder `edited` hold these files and nothing else."""
        shutil.rmtree(self.folder / "edited", ignore_errors=True)
        for name, data in files.items():
            path = self.folder / "edited" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def edited(self, source: Source, names: tuple[str, ...]) -> dict[str, bytes]:
        """A layout's files, some of those that are named edited as JSON or as bytes."""
        files = dict(self.layouts[source.choice(KINDS)])
        parsed: dict[str, Any] = {}
        for _ in source.edits():
            name = source.choice([name for name in names if name in files] or ["config.json"])
            if source.flag(16):
                files[name] = edited_bytes(source, files[name])
                parsed.pop(name, None)
                continue
            try:
                value = parsed[name] if name in parsed else json.loads(files[name])
            except (ValueError, RecursionError):
                continue
            parsed[name] = edited_json(source, value)
            files[name] = json_bytes(parsed[name])
        return files


class CheckpointSettings(OverCheckpoint):
    """The JSON files that tell a checkpoint's layout, lengths, markers and modules."""

    def run(self, data: bytes) -> None:
        self.put(self.edited(Source(data), SETTINGS))
        found: Checkpoint | None = attempt(lambda: read_checkpoint(self.folder / "edited"))
        if found is None:
            return
        attempt(lambda: found.languages)
        attempt(lambda: found.default_language)
        attempt(lambda: embedding_dim(found))
        attempt(lambda: identify(found, "edited"))
        attempt(lambda: self._load(found))

    def _load(self, found: Checkpoint) -> None:
        import torch

        from weft.engine.encoder.bert import Bert, is_plain_bert

        device = torch.device("cpu")
        attempt(lambda: load_projection(found, 32, device, torch.float32))
        if is_plain_bert(found.config):
            Bert(found.backbone, found.config, device, torch.float32)


class TokenizerFiles(OverCheckpoint):
    """`tokenizer.json` and what stands beside it, used to cut texts and to encode them."""

    def run(self, data: bytes) -> None:
        self.put(self.edited(Source(data), TOKENIZER))
        found = attempt(lambda: read_checkpoint(self.folder / "edited"))
        tokens = None if found is None else attempt(lambda: Tokenization(found))
        if tokens is None:
            return
        attempt(lambda: tokens.passages(TEXTS))
        attempt(lambda: tokens.queries(TEXTS))
        attempt(lambda: [tokens.passage_tokens(text) for text in TEXTS])
        encoder = attempt(lambda: load_encoder(self.folder / "edited", device="cpu"))
        if encoder is not None:
            attempt(lambda: encoder.split_many(TEXTS))


class WeightFiles(OverCheckpoint):
    """Weights as safetensors, used to encode texts."""

    def run(self, data: bytes) -> None:
        source = Source(data)
        files = dict(self.layouts[source.choice(KINDS)])
        name = source.choice([name for name in files if name.endswith(".safetensors")])
        for _ in source.edits():
            edit = edited_bytes if source.flag(8) else edited_file
            files[name] = edit(source, files[name])
        if source.flag(8):
            index = {"weight_map": {"a": name, "b": source.text()}}
            files["model.safetensors.index.json"] = json_bytes(edited_json(source, index))
            files["other.safetensors"] = files.pop("model.safetensors")
        self.put(files)
        encoder = attempt(lambda: load_encoder(self.folder / "edited", device="cpu"))
        if encoder is not None:
            attempt(lambda: encoder.identity)
            attempt(lambda: encoder.encode_passages(["weave the weft"]))
            attempt(lambda: encoder.encode_queries(["loom"]))
