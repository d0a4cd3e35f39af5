"""What each segment is to become: which codec its next form is made with, and from what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from .drift import FINE_BITS, is_held, is_stale
from .manifest import FLAT, Manifest
from .segment import SegmentView
from .segment_writer import LiveCodec


class Source(Enum):
    """What the embeddings of a segment's next form come from."""

    KEPT = "its own codes or embeddings, copied"
    EMBEDDINGS = "its embeddings, stored or rebuilt from 4 bits and more"
    TEXT = "its text, through the encoder"


@dataclass(frozen=True, slots=True)
class Target:
    """What a segment is to become.

    Args:
        live: the codec of the next form; None keeps it flat.
        source: where its embeddings come from.
        converts: whether it ought to take another form than it has; False as well where it ought
            to and there is no source.
        unserved_by: of a flat segment that stays held.
    """

    live: LiveCodec | None
    source: Source
    converts: bool
    unserved_by: str | None = None

    @property
    def group(self) -> tuple[str | None, bool]:
        """Equal for segments that can be merged into one."""
        return (None if self.live is None else self.live.id, self.source is Source.TEXT)

    @property
    def recodes(self) -> bool:
        """Whether embeddings are compressed (again) rather than copied."""
        return self.converts and self.source is Source.EMBEDDINGS


def target_of(
    view: SegmentView,
    manifest: Manifest,
    live: LiveCodec | None,
    *,
    from_text: bool,
    holding: bool = False,
) -> Target:
    """Choose a segment's next form.

    Embeddings of 1 or 2 bits are not compressed a second time: without text such a segment
    keeps its codec.

    Args:
        view: the segment.
        manifest: of its generation.
        live: the codec of new segments; None while the index is flat.
        from_text: whether there is an encoder for the index's texts.
        holding: whether segments that are held may wait for centroids.
    """
    if live is None:
        return Target(None, Source.KEPT, converts=False)
    if view.kind == FLAT and holding and is_held(manifest, view.files.ref):
        return Target(None, Source.KEPT, converts=False, unserved_by=live.id)
    if view.kind == FLAT:
        return Target(live, Source.EMBEDDINGS, converts=True)
    if view.codec is live.codec and not is_stale(manifest, view.files.ref):
        return Target(live, Source.KEPT, converts=False)
    if view.codec is not None and view.codec.bits >= FINE_BITS:
        return Target(live, Source.EMBEDDINGS, converts=True)
    if from_text:
        return Target(live, Source.TEXT, converts=True)
    return Target(_own(view, manifest), Source.KEPT, converts=False)


def _own(view: SegmentView, manifest: Manifest) -> LiveCodec | None:
    """The codec that a segment was made with, to copy its codes under."""
    if view.codec is None or view.codec_id is None:
        return None
    ref = manifest.codec_of(view.files.ref)
    far_cosine = None if ref is None else ref.far_cosine
    return LiveCodec(view.codec_id, view.codec, prefix=view.n_centroids, far_cosine=far_cosine)


def neighbours(
    views: Sequence[SegmentView], targets: dict[str, Target], *, max_passages: int
) -> list[list[SegmentView]]:
    """Runs of neighbouring segments that can be merged, each of bounded size.

    Args:
        views: in the order of the index.
        targets: by segment id.
        max_passages: alive ones of a run; a single segment may have more.
    """
    groups: list[list[SegmentView]] = []
    filled = 0
    for view in views:
        alike = groups and targets[groups[-1][-1].id].group == targets[view.id].group
        if alike and filled + view.n_alive_passages <= max_passages:
            groups[-1].append(view)
            filled += view.n_alive_passages
        else:
            groups.append([view])
            filled = view.n_alive_passages
    return groups
