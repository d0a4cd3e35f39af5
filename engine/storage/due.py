"""What is due to a generation of an index, the most urgent first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from . import lineage
from .conversion import convert, due_for_conversion
from .drift import FINE_BITS
from .encoding import Encode
from .reader import Snapshot
from .replacement import Replacement
from .segment import SegmentView
from .targets import Source, Target, target_of
from .tiers import MAX_DEAD_SHARE, due_for_merging, due_for_rewriting
from .writer import live_codec

NO_TEXT: Final = (
    "embeddings of 1 and 2 bits are not compressed a second time, and there is no encoder for "
    "their text: centroids can only be appended"
)


@dataclass(frozen=True, slots=True)
class Task:
    """Something that is due, a commit of its own.

    Args:
        name: "train", "append", "retrain", "convert", "merge" or "rewrite".
        reason: why it is due.
        key: what is left alone if it turns out that this cannot be done.
        write: writes the new files, and says what came of it.
    """

    name: str
    reason: str
    key: str
    write: Callable[[Replacement], str]


class Due:
    """Finds what is due, and remembers what could not be done.

    Args:
        encode: for the texts of the index; None if it has no encoder.
        seed: of samples and trainings.

    Attributes:
        left: what is due and cannot be done, in words, by key.
    """

    def __init__(self, encode: Encode | None, seed: int) -> None:
        self._encode = encode
        self._seed = seed
        self.left: dict[str, str] = {}

    def leave(self, key: str, reason: str) -> None:
        """Remember that something cannot be done."""
        self.left[key] = reason

    def next(self, base: Snapshot) -> Task | None:
        """The next task; None if nothing is due that can be done."""
        targets = self._targets(base)
        return (
            self._train(base)
            or self._retrain(base)
            or self._append(base)
            or self._convert(base, targets)
            or self._merge(base, targets)
            or self._rewrite(base, targets)
        )

    def _targets(self, base: Snapshot) -> dict[str, Target]:
        """What each segment is to become; those left alone have no text to be made from."""
        live, encode = live_codec(base), self._encode
        return {
            view.id: target_of(
                view,
                base.manifest,
                live,
                from_text=encode is not None and view.id not in self.left,
            )
            for view in base.segments
        }

    def _train(self, base: Snapshot) -> Task | None:
        if base.manifest.codecs or not lineage.is_large_enough(base):
            return None

        def write(work: Replacement) -> str:
            live, _ = lineage.train(work, seed=self._seed)
            return f"{live.n_centroids:,} centroids"

        return Task("train", f"{base.n_tokens:,} embeddings and no codec", "train", write)

    def _retrain(self, base: Snapshot) -> Task | None:
        reason = lineage.retraining_reason(base)
        if not reason or "retrain" in self.left or not lineage.can_begin_epoch(base.manifest):
            return None
        if base.manifest.settings.bits < FINE_BITS and self._encode is None:
            self.leave("retrain", f"retrain: {reason}, but {NO_TEXT}")
            return None

        def write(work: Replacement) -> str:
            live = lineage.retrain(work, self._encode, seed=self._seed)
            return f"{live.n_centroids:,} centroids"

        return Task("retrain", reason, "retrain", write)

    def _append(self, base: Snapshot) -> Task | None:
        live = base.manifest.codec
        if live is None or "append" in self.left or not lineage.can_begin_epoch(base.manifest):
            return None
        if not lineage.has_drifted(base) or not lineage.room(live):
            return None
        n_drifted = len(lineage.drifted_views(base))
        reason = f"{_counted(n_drifted, 'segment has', 'segments have')} drifted"
        return Task("append", reason, "append", lambda work: lineage.append(work, seed=self._seed))

    def _convert(self, base: Snapshot, targets: Mapping[str, Target]) -> Task | None:
        max_passages = base.manifest.settings.max_segment_passages
        views = due_for_conversion(base.segments, targets, max_passages=max_passages)
        if not views:
            return None

        def write(work: Replacement) -> str:
            convert(work, views, targets, self._encode)
            return ""

        return Task("convert", _form(views, targets), views[0].id, write)

    def _merge(self, base: Snapshot, targets: Mapping[str, Target]) -> Task | None:
        max_passages = base.manifest.settings.max_segment_passages
        views = due_for_merging(base.segments, targets, max_passages=max_passages)
        if not views:
            return None
        n_passages = sum(view.n_alive_passages for view in views)
        reason = f"{len(views)} neighbouring segments of like size, {n_passages:,} passages"
        return Task("merge", reason, "merge", _merging(views, targets))

    def _rewrite(self, base: Snapshot, targets: Mapping[str, Target]) -> Task | None:
        views = due_for_rewriting(base.segments)
        if not views:
            return None
        reason = f"more than {MAX_DEAD_SHARE:.0%} of a segment's embeddings are deleted"
        return Task("rewrite", reason, "rewrite", _merging(views, targets))


def _merging(
    views: Sequence[SegmentView], targets: Mapping[str, Target]
) -> Callable[[Replacement], str]:
    def write(work: Replacement) -> str:
        work.merge(views, targets)
        return ""

    return write


def _form(views: Sequence[SegmentView], targets: Mapping[str, Target]) -> str:
    """What is converted, in words."""
    kinds = " and ".join(sorted({view.kind for view in views}))
    segments = _counted(len(views), f"{kinds} segment", f"{kinds} segments")
    how = "from text" if targets[views[0].id].source is Source.TEXT else "from embeddings"
    return f"{segments} in another form than the live codec's, {how}"


def _counted(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
