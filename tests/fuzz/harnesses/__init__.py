"""Harnesses: one per reader of foreign bytes, usable with and without a fuzzer."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from .base import Harness

HARNESSES: Final = {
    "manifest": "storage.ManifestBytes",
    "tensors": "storage.TensorFile",
    "codec": "storage.CodecFile",
    "tombstones": "storage.TombstoneFile",
    "checksums": "storage.ChecksumTable",
    "generation": "storage.ManifestOfIndex",
    "names": "storage.Names",
    "segment": "segments.SegmentArrays",
    "passages": "segments.PassagesFile",
    "repair": "repairs.Repair",
    "queries": "queries.Queries",
    "submission": "inboxes.SubmissionFile",
    "inbox": "inboxes.InboxFiles",
    "jsonl": "user_files.JsonLines",
    "tables": "user_files.Tables",
    "markup": "user_files.Markup",
    "pdf": "user_files.Pdf",
    "checkpoint": "checkpoints_read.CheckpointSettings",
    "tokenizer": "checkpoints_read.TokenizerFiles",
    "weights": "checkpoints_read.WeightFiles",
}
"""Modules and classes by the harness's name."""


def make(name: str) -> Harness:
    """A harness by its name; only what it needs is imported."""
    module, _, kind = HARNESSES[name].partition(".")
    harness: Harness = getattr(import_module(f"{__name__}.{module}"), kind)()
    return harness
