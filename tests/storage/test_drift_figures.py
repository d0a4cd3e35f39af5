"""The figures of drift, against NumPy over what was handed in; merged, and of older indexes."""

import itertools
import json

import numpy as np
import pytest
from lineage_tools import domain, fill, names, new_index, passages
from rotations import turned, turned_back

from weft.engine.codec import train_codec
from weft.engine.codec.service import skew
from weft.engine.index import Index
from weft.engine.storage.checksums import checksum
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.maintenance import maintain
from weft.engine.storage.manifest_decoding import decode_manifest
from weft.engine.storage.writer import Writer


@pytest.fixture
def coded(tmp_path, unheld):
    """A compressed index of one domain; three segments of it, one from elsewhere."""
    directory, store = new_index(tmp_path / "index", bits=4), {}
    with Writer(directory) as writer:
        fill(writer, store, "a", passages(domain(1), 100, 1))
        assert names(maintain(writer)) == ["train", "convert"]
        fill(writer, store, "b", passages(domain(1), 40, 2))
        fill(writer, store, "c", passages(domain(2), 3, 3))
    return directory, store


def looked_at(directory):
    """The live codec's description and centroids, and (description, codes, ids) by segment."""
    with Writer(directory) as writer, writer.snapshot() as base:
        segments = []
        for view in base.segments:
            view.touch_all("codes")
            segments.append((view.files.ref, np.array(view.codes), list(view.passages.ids())))
        return base.manifest.codec, turned_back(base.codec.rotation, base.codec.centroids), segments


def pairs_in_one_list(codes, n_centroids):
    """K times the share of pairs of embeddings that have the same centroid, by counting them."""
    same = sum(a == b for a, b in itertools.combinations(codes.tolist(), 2))
    return n_centroids * same / (len(codes) * (len(codes) - 1) / 2)


def test_each_segment_has_them(coded):
    directory, store = coded
    live, centroids, segments = looked_at(directory)
    assert live.far_share == 0.05
    for ref, codes, ids in segments[1:]:
        rows = np.concatenate([store[id] for id in ids]).astype(np.float64)
        cosines = np.einsum("ij,ij->i", rows, centroids[codes])
        assert ref.centroid_cosine == pytest.approx(cosines.mean(), abs=1e-5)
        # One embedding may lie on the bound.
        assert ref.far_share == pytest.approx(
            (cosines < live.far_cosine).mean(), abs=1.5 / len(rows)
        )
        assert ref.skew == pytest.approx(pairs_in_one_list(codes, len(centroids)))
    alike, foreign = segments[1][0], segments[2][0]
    assert alike.far_share < 0.2 and foreign.far_share > 0.5


def test_a_twentieth_of_what_training_held_out_is_far():
    rows = np.concatenate(passages(domain(1), 1000, 1))
    codec, report = train_codec(rows, n_embeddings=len(rows), bits=2)
    others = np.concatenate(passages(domain(1), 1000, 2))
    nearest = (turned(codec.rotation, others) @ codec.centroids.T).max(axis=1)
    assert (nearest < report.far_cosine).mean() == pytest.approx(0.05, abs=0.03)
    assert report.skew == pytest.approx(pairs_in_one_list(codec.assign(others[:2000]),
                                                          codec.n_centroids), rel=0.2)  # fmt: skip


def test_merging_weighs_them_and_counts_pairs_anew(coded):
    directory, _ = coded
    _, centroids, before = looked_at(directory)
    with Writer(directory) as writer:
        assert compact(writer).committed
    _, _, [(merged, codes, _)] = looked_at(directory)
    n_tokens = [ref.n_tokens for ref, _, _ in before]
    for name in ("centroid_cosine", "far_share"):
        mean = np.average([getattr(ref, name) for ref, _, _ in before], weights=n_tokens)
        assert getattr(merged, name) == pytest.approx(mean)
    assert merged.skew == pytest.approx(pairs_in_one_list(codes, len(centroids)))


def test_skew_is_not_of_the_number_of_embeddings():
    """Few embeddings over many centroids come to 1 in the mean, as many do."""
    rng = np.random.default_rng(5)
    few = [skew(np.bincount(rng.integers(1000, size=50), minlength=1000)) for _ in range(2000)]
    assert np.mean(few) == pytest.approx(1.0, abs=0.1)
    assert skew(np.bincount(np.zeros(7, dtype=np.int64), minlength=40)) == 40
    assert skew(np.bincount(np.arange(40), minlength=40)) == 0
    assert skew(np.array([1, 0])) is None and skew(np.array([0, 0])) is None


FIGURES = ("far_cosine", "far_share", "skew")


def without_figures(directory):
    """As an earlier Weft has written it."""
    name = max(n for n in directory.list() if n.startswith("manifest."))
    path = directory.path / name
    payload = json.loads(path.read_bytes())
    for entry in [*payload["codecs"], *payload["segments"]]:
        for figure in FIGURES:
            entry.pop(figure, None)
    del payload["crc32c"]
    body = json.dumps(payload, separators=(",", ":")).encode()[:-1]
    path.chmod(0o600)
    path.write_bytes(body + b',"crc32c":"%08x"}\n' % checksum(body))


def test_an_index_without_them_opens_and_goes_on(coded):
    directory, store = coded
    without_figures(directory)
    directory = LocalDirectory(directory.path, durable=False)
    with Writer(directory) as writer:
        fill(writer, store, "d", passages(domain(1), 40, 4))
        assert compact(writer).committed
    live, _, [(merged, _, _)] = looked_at(directory)
    assert live.far_cosine is None and live.far_share is None
    # Which embeddings are far is not known of any; how the centroids are filled is.
    assert merged.far_share is None and merged.skew > 0
    with Index.open(directory.path) as index:
        (epoch,) = index.stats().epochs
        assert epoch.far_share is None and epoch.trained_skew is None and epoch.skew > 0


@pytest.mark.parametrize("field", ["far_share", "skew"])
def test_a_figure_that_is_no_number_is_refused(coded, field):
    directory, _ = coded
    with Writer(directory) as writer, writer.snapshot() as base:
        payload = json.loads(base.manifest.encode())
    payload["segments"][0][field] = "much"
    del payload["crc32c"]
    body = json.dumps(payload, separators=(",", ":")).encode()[:-1]
    with pytest.raises(Exception, match=field):
        decode_manifest(body + b',"crc32c":"%08x"}\n' % checksum(body), "manifest")
