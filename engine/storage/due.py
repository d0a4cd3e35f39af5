"""What is due to a generation of an index, the most urgent first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from . import lineage
from .conversion import TextConversion, convert, due_for_conversion
from .directory import Directory
from .drift import FINE_BITS, is_held, may_append
from .encoding import Encode, NotFromTextError
from .holding import has_waited
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
        conversion: what a part is converted of, if from text.
    """

    name: str
    reason: str
    key: str
    write: Callable[[Replacement], str]
    conversion: TextConversion | None = None


class Due:
    """Finds what is due, and remembers what could not be done and how far conversions have come.

    Args:
        directory: of the index.
        encode: for the texts of the index; None if it has no encoder.
        seed: of samples and trainings.

    Attributes:
        left: what is due and cannot be done, in words, by key.
    """

    def __init__(self, directory: Directory, encode: Encode | None, seed: int) -> None:
        self._directory = directory
        self._encode = encode
        self._seed = seed
        self.left: dict[str, str] = {}
        self._conversions: dict[str, TextConversion] = {}

    def leave(self, key: str, reason: str) -> None:
        """Remember that something cannot be done."""
        self.left[key] = reason

    def settle(self, task: Task, work: Replacement) -> None:
        """Note that a task was committed: what holds documents that were left is left as well."""
        for merged in work.merged:
            reasons = [self.left[id] for id in merged.inputs if id in self.left]
            if reasons and merged.ref is not None:
                self.leave(merged.ref.id, reasons[0])
        if task.conversion is not None:
            task.conversion.advance()

    def fail(self, task: Task, error: Exception) -> None:
        """Note that a task cannot be done; a conversion from text goes on with its next part."""
        if task.conversion is not None and isinstance(error, NotFromTextError):
            task.conversion.advance()
        else:
            self.leave(task.key, f"{task.name}: {task.reason}, but {error}")

    def next(self, base: Snapshot) -> Task | None:
        """The next task; None if nothing is due that can be done."""
        self._leave_tried(base)
        for task in self._tasks(base):
            if task is not None and task.key not in self.left:
                return task
        return None

    def _tasks(self, base: Snapshot) -> Iterator[Task | None]:
        """Each only looked for if those before it are not to be done."""
        targets = self._targets(base)
        yield self._train(base)
        yield self._retrain(base)
        yield self._append(base)
        yield self._convert(base, targets)
        yield self._merge(base, targets)
        yield self._rewrite(base, targets)

    def _leave_tried(self, base: Snapshot) -> None:
        """Leave segments of which nothing but documents that stay is left."""
        for view in base.segments:
            tried = self._conversions.get(view.id)
            if tried is not None and tried.is_over(view):
                self.leave(view.id, f"convert: {_form([view], Source.TEXT)}, but {tried.stays}")

    def _targets(self, base: Snapshot) -> dict[str, Target]:
        """What each segment is to become; those left alone have no text to be made from."""
        live, encode = live_codec(base), self._encode
        held = self._held(base)
        return {
            view.id: target_of(
                view,
                base.manifest,
                live,
                from_text=encode is not None and view.id not in self.left,
                holding=view.id in held,
            )
            for view in base.segments
        }

    def _held(self, base: Snapshot) -> set[str]:
        """Segments that may still wait for centroids."""
        views = [view for view in base.segments if is_held(base.manifest, view.files.ref)]
        if not views or "append" in self.left or not may_append(base.manifest):
            return set()
        now_seconds = self._directory.clock_seconds()
        return {view.id for view in views if not has_waited(self._directory, view.id, now_seconds)}

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
        if not lineage.has_drifted(base) or not may_append(base.manifest):
            return None
        n_drifted = len(lineage.drifted_views(base))
        reason = f"{_counted(n_drifted, 'segment has', 'segments have')} drifted"
        return Task("append", reason, "append", lambda work: lineage.append(work, seed=self._seed))

    def _convert(self, base: Snapshot, targets: Mapping[str, Target]) -> Task | None:
        max_passages = base.manifest.settings.max_segment_passages
        views = due_for_conversion(base.segments, targets, max_passages=max_passages)
        if not views:
            return None

        first, target = views[0], targets[views[0].id]
        conversion = self._conversion(base, first) if target.source is Source.TEXT else None

        def write(work: Replacement) -> str:
            if conversion is None:
                convert(work, views, targets)
            else:
                conversion.write(work, first, target.live)
            return ""

        return Task("convert", _form(views, target.source), first.id, write, conversion)

    def _conversion(self, base: Snapshot, view: SegmentView) -> TextConversion | None:
        """The conversion of a segment from its text; None if there is no document to encode."""
        if self._encode is None or not view.n_alive_documents:
            return None
        fresh = TextConversion(self._encode, (self._seed, base.generation))
        return self._conversions.setdefault(view.id, fresh)

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


def _form(views: Sequence[SegmentView], source: Source) -> str:
    """What is converted, in words."""
    kinds = " and ".join(sorted({view.kind for view in views}))
    segments = _counted(len(views), f"{kinds} segment", f"{kinds} segments")
    how = "from text" if source is Source.TEXT else "from embeddings"
    return f"{segments} in another form than the live codec's, {how}"


def _counted(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"
