"""Staged segments whose codec is given up before their commit are compressed again."""

from dataclasses import replace

import numpy as np
import pytest
from storage_tools import DIM, add, contents, document, documents, make_batch

from weft.engine.codec import train_codec
from weft.engine.errors import StorageError
from weft.engine.storage.codec_store import write_codec
from weft.engine.storage.commit import Outcome, Prepared
from weft.engine.storage.layout import new_identifier
from weft.engine.storage.staging import Staging
from weft.engine.storage.writer import Writer


@pytest.fixture
def writer(directory):
    with Writer(directory) as writer:
        add(writer, documents(3))
        change_codec(directory, seed=0)
        yield writer


def change_codec(directory, seed):
    """Make another codec the live one, as a conversion does when no segment needs the old one."""
    rows = np.random.default_rng(seed).standard_normal((400, DIM)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    codec, training = train_codec(rows, n_embeddings=400, bits=8, seed=seed)

    def prepare(base):
        manifest = base.manifest
        epoch = 1 if manifest.codec is None else manifest.codec.epoch + 1
        ref = write_codec(directory, codec, training, n_embeddings=400, epoch=epoch)
        return Prepared(
            replace(
                manifest,
                generation=manifest.generation + 1,
                commit_uuid=new_identifier(),
                codecs=(ref,),
            )
        )

    with Writer(directory) as other:
        other.apply(prepare, Outcome())
    return codec


def stage(writer, *ids, **options):
    return writer.stage(make_batch([document(id) for id in ids]), **options)


def test_a_codec_that_was_given_up(writer, directory):
    """`contents` holds codes and residuals against those of the newest codec."""
    staged = [stage(writer, "a", "b"), stage(writer, "c")]
    change_codec(directory, seed=1)
    result = writer.commit(staged)
    assert result.added == ("a", "b", "c")
    with writer.snapshot() as snapshot:
        assert set(contents(snapshot)) == {"d0", "d1", "d2", "a", "b", "c"}
        live = snapshot.manifest.codec.id
        assert [ref.codec for ref in snapshot.manifest.segments] == [None, live, live]
        named = {ref.id for ref in snapshot.manifest.segments}
    assert set(directory.list("segments")) == named


def test_sequences_stay_with_their_documents(writer, directory):
    staged = stage(writer, "a", "b", sequences=np.array([9, 4], np.uint64))
    change_codec(directory, seed=1)
    writer.commit_queued(staged, delete={"b": 5})
    with writer.snapshot() as snapshot:
        assert set(contents(snapshot)) == {"d0", "d1", "d2", "a"}
        assert snapshot.segments[-1].files.sequences.tolist() == [9, 4]


def test_a_batch_is_made_again_only_when_it_is_needed(writer, directory):
    calls = []

    def recall():
        calls.append(1)
        return make_batch([document("a")])

    writer.commit(stage(writer, "a", recall=recall))
    assert calls == []
    writer.commit([], delete=["a"])
    staged = stage(writer, "a", recall=recall)
    change_codec_with_segments(directory)
    writer.commit(staged)
    assert calls == [1]
    with writer.snapshot() as snapshot:
        assert "a" in contents(snapshot)


def change_codec_with_segments(directory):
    """The coded segment of the test is dead: it goes with its codec."""
    with Writer(directory) as other:

        def prepare(base):
            kept = tuple(ref for ref in base.manifest.segments if ref.codec is None)
            return Prepared(
                replace(
                    base.manifest,
                    generation=base.generation + 1,
                    commit_uuid=new_identifier(),
                    segments=kept,
                    tombstones=(),
                )
            )

        other.apply(prepare, Outcome())
    change_codec(directory, seed=2)


def test_a_batch_that_cannot_be_made_again(writer, directory):
    before = directory.list("segments")

    def recall():
        raise StorageError("gone")

    staged = [stage(writer, "a"), stage(writer, "b", recall=recall)]
    change_codec(directory, seed=1)
    with pytest.raises(StorageError, match="gone"):
        writer.commit(staged)
    assert directory.list("segments") == before


def test_a_codec_that_changes_during_the_commit(writer, directory, monkeypatch):
    """The commit loses against the new codec, and compresses again on what it finds."""
    staged = stage(writer, "a")
    keep = Staging.keep
    seeds = iter([1, 2])

    def meddle(self, segment):
        keep(self, segment)
        for seed in seeds:
            change_codec(directory, seed)
            break

    with monkeypatch.context() as patch:
        patch.setattr(Staging, "keep", meddle)
        writer.commit(staged)
    with writer.snapshot() as snapshot:
        assert set(contents(snapshot)) == {"d0", "d1", "d2", "a"}
        assert snapshot.manifest.codec.epoch == 3
    assert len(directory.list("segments")) == 2


def test_flat_segments_are_always_welcome(directory):
    with Writer(directory) as writer:
        staged = stage(writer, "a")
        assert staged.recall is None
        change_codec(directory, seed=0)
        writer.commit(staged)
        with writer.snapshot() as snapshot:
            assert set(contents(snapshot)) == {"a"}
