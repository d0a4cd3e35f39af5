"""What fuzzing found, each with the smallest input that showed it."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from harnesses.checkpoints_read import KINDS, OverCheckpoint
from harnesses.safetensors_files import file_of, tensors_of
from harnesses.sample_index import DIM, IndexFolder, build, manifest_of, seal, sealed, unit_rows

import weft
from weft.engine.encoder import load_encoder
from weft.engine.errors import (
    CheckpointError,
    CorruptIndexError,
    InvalidInputError,
    InvalidQueryError,
    StorageError,
)
from weft.engine.storage.identifiers import IdTable, id_tensors
from weft.engine.storage.manifest_decoding import decode_manifest
from weft.integrations.files import FileOptions, SourceFile, read_file


@pytest.mark.parametrize(
    "markup", ["<![\x03\x01", "<![", "<![x[y]]>", "<![CDATA[a]]>", "<!", "<![>"]
)
def test_marked_sections_of_a_page_are_skipped(tmp_path, markup):
    path = tmp_path / "page.html"
    path.write_text(f"<p>before</p>{markup}<p>after")
    source = SourceFile(path, "page.html", "html", path.stat().st_size)
    (document,) = list(read_file(source, FileOptions()))
    assert "before" in document.text


def test_values_nested_too_deep_to_be_shown(files, tmp_path):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    index = weft.Index.create(tmp_path / "index", dim=4)
    for use in (
        lambda: index.get([deep]),
        lambda: index.explain("query", deep),
        lambda: index.search(deep),
        lambda: index.search([[1.0] * 4], k=deep),
        lambda: index.search([[1.0] * 4], filter=deep),
        lambda: index.search([[1.0] * 4], effort=deep),
        lambda: index.tune(recall=deep),
        lambda: index.add([deep]),
        lambda: index.add(["text"], ids=[deep]),
        lambda: index.add(["text"], metadata=[{"key": deep}]),
        lambda: index.delete([deep]),
        lambda: index.maintain(seconds=deep),
    ):
        with pytest.raises(InvalidInputError):
            use()


def test_whole_numbers_too_large_for_a_float(tmp_path):
    large = 10**400
    index = weft.Index.create(tmp_path / "index", dim=4)
    for use in (
        lambda: index.search(unit_rows(1, 1)[:, :4], centroid_score_threshold=large),
        lambda: index.tune(recall=large),
        lambda: index.tune(seconds=large),
        lambda: index.maintain(seconds=large),
    ):
        with pytest.raises(InvalidInputError):
            use()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return build(tmp_path_factory.mktemp("index") / "coded")


@pytest.fixture(scope="module")
def flat_files(tmp_path_factory):
    return build(tmp_path_factory.mktemp("index") / "flat", flat=True)


def opened(tmp_path, files, name, change):
    """An index of which one file of tensors was changed, with all checksums as they should be."""
    tensors = {key: array.copy() for key, array in tensors_of(files[name]).items()}
    change(tensors)
    folder = IndexFolder(tmp_path / "edited")
    folder.put(seal({**files, name: file_of(tensors)}, {name}))
    return weft.Index.open(folder.path, threads=1)


def arrays_with(files, key):
    """The arrays of the largest segment that has this tensor: that of the first documents."""
    names = [name for name in files if name.endswith("arrays.safetensors")]
    found = [name for name in names if key in tensors_of(files[name])]
    return max(found, key=lambda name: len(files[name]))


def set_all(key, value):
    def change(tensors):
        tensors[key][...] = value

    return change


QUERY = unit_rows(3, 1)


def test_an_id_that_is_not_utf8(tmp_path, files):
    name = arrays_with(files, "codes")
    index = opened(tmp_path, files, name, set_all("id_bytes", 0xFF))
    with index, pytest.raises(CorruptIndexError, match="not UTF-8"):
        list(index.ids())


def test_offsets_of_ids_whose_differences_wrap_around():
    tensors = id_tensors(["a", "b", "c"])
    tensors["id_offsets"][1:3] = (2**63 - 1, -2)
    with pytest.raises(CorruptIndexError, match="id_offsets"):
        IdTable(tensors, "arrays")


@pytest.mark.parametrize(
    ("key", "value"), [("codes", 60_000), ("ivf_pids", 2**32 - 1), ("embeddings", np.nan)]
)
@pytest.mark.parametrize("parameters", [{}, {"exact": True}, {"nprobe": 1, "ndocs": 2, "k": 1}])
def test_values_out_of_range_under_sound_checksums(
    tmp_path, files, flat_files, key, value, parameters
):
    files = flat_files if key == "embeddings" else files
    with opened(tmp_path, files, arrays_with(files, key), set_all(key, value)) as index:
        try:
            index.search(QUERY, **parameters)
        except CorruptIndexError as error:
            assert "restore" in str(error)


def test_codes_out_of_range_are_named_by_search_and_explain(tmp_path, files):
    with opened(tmp_path, files, arrays_with(files, "codes"), set_all("codes", 60_000)) as index:
        with pytest.raises(CorruptIndexError, match="codes"):
            index.search(QUERY, exact=True)
        with pytest.raises(CorruptIndexError, match="codes"):
            index.explain(QUERY, "d1")


def test_infinite_embeddings_that_make_a_score_nan(tmp_path, flat_files):
    files = flat_files
    name = arrays_with(files, "embeddings")
    index = opened(tmp_path, files, name, set_all("embeddings", np.inf))
    query = np.array([[1.0] * DIM, [-1.0] * DIM], dtype=np.float32)
    with index, pytest.raises(CorruptIndexError, match="restore"):
        index.search(query)


def test_vectors_so_long_that_a_contribution_is_infinite(tmp_path, flat_files):
    name = arrays_with(flat_files, "embeddings")
    index = opened(tmp_path, flat_files, name, set_all("embeddings", np.inf))
    query = np.array([[1.0] * DIM, [-1.0] * DIM], dtype=np.float32)
    with index, pytest.raises(CorruptIndexError, match="restore"):
        index.explain(query, "d1")


@pytest.mark.parametrize("value", [3e38, 1e19])
def test_queries_so_long_that_scores_leave_float32(tmp_path, value):
    index = weft.Index.create(tmp_path / "index", dim=DIM)
    with index, pytest.raises(InvalidQueryError, match="divide each row"):
        index.search(np.full((2, DIM), value, dtype=np.float32))


@pytest.mark.parametrize("odd", ["[" * 900 + "]" * 900, '{"a":NaN}', '{"a":[1e999]}'])
def test_an_encoder_that_could_not_be_written_again(files, odd):
    manifest = manifest_of(files) | {"encoder": "@"}
    data = sealed(json.dumps(manifest).replace('"@"', f'{{"x":{odd}}}').encode())
    with pytest.raises(CorruptIndexError, match="encoder"):
        decode_manifest(data, "manifest")


def test_a_link_to_nowhere_where_the_folder_of_pins_should_be(tmp_path, files):
    folder = IndexFolder(tmp_path / "edited")
    folder.put(files)
    (folder.path / "pins").symlink_to("nowhere")
    with weft.Index.open(folder.path) as index:
        assert index.count() == len(list(index.ids()))


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path, files):
    folder = IndexFolder(tmp_path / "edited")
    folder.put(files)
    name = folder.path / arrays_with(files, "codes")
    name.unlink()
    os.mkfifo(name)
    with pytest.raises(StorageError, match="no regular file"):
        weft.Index.open(folder.path)


def read(path: Path, kind: str) -> list:
    return list(read_file(SourceFile(path, path.name, kind, 0), FileOptions()))


def test_deflated_data_that_is_damaged(tmp_path):
    packed = bytearray(gzip.compress(b'{"text": "weft"}\n' * 50))
    packed[12:20] = b"\xff" * 8
    (tmp_path / "f.jsonl.gz").write_bytes(packed)
    (problem,) = read(tmp_path / "f.jsonl.gz", "jsonl")
    assert isinstance(problem, InvalidInputError)


@pytest.mark.parametrize("charset", ["undefined", "idna", "punycode", "rot13", "unicode_escape"])
def test_pages_in_encodings_of_no_page(tmp_path, charset):
    (tmp_path / "f.html").write_text(f"<meta charset={charset}>-{'a' * 3000}")
    (problem,) = read(tmp_path / "f.html", "html")
    assert isinstance(problem, InvalidInputError)
    assert charset in str(problem)


@pytest.fixture(scope="module")
def layouts():
    harness = _Checkpoints()
    yield harness.layouts
    harness.close()


class _Checkpoints(OverCheckpoint):
    name = "none"

    def run(self, data):
        raise NotImplementedError


def refused(tmp_path, files, change):
    """The error with which a checkpoint is refused of which one JSON file was changed."""
    for name, data in files.items():
        path = tmp_path / "checkpoint" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    change(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError) as caught:
        encoder = load_encoder(tmp_path / "checkpoint")
        _ = encoder.identity
        encoder.encode_passages(["loom"])
    return str(caught.value)


def json_change(name, **values):
    def change(folder):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("architectures", 7),
        ("model_type", [[]]),
        ("hidden_act", {}),
        ("pad_token_id", "x"),
        ("max_position_embeddings", 1),
        ("layer_norm_eps", "nan"),
        ("layer_norm_eps", []),
    ],
)
def test_configurations_of_other_types(tmp_path, layouts, kind, key, value):
    assert "config.json" in refused(
        tmp_path, layouts[kind], json_change("config.json", **{key: value})
    )


@pytest.mark.parametrize("value", [1, "yes", [True]])
def test_casing_that_is_no_flag(tmp_path, layouts, value):
    change = json_change("tokenizer_config.json", do_lower_case=value)
    assert "do_lower_case" in refused(tmp_path, layouts["plain"], change)


def test_a_special_token_that_is_no_text(tmp_path, layouts):
    change = json_change("tokenizer_config.json", mask_token="\ud800")
    assert "tokenizer" in refused(tmp_path, layouts["hf"], change)


def test_a_tokenizer_that_panics(tmp_path, layouts):
    def change(folder):
        path = folder / "tokenizer.json"
        value = json.loads(path.read_text())
        value["post_processor"]["single"] = [
            {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 0}},
        ]
        path.write_text(json.dumps(value))

    assert "tokenizer" in refused(tmp_path, layouts["plain"], change)


@pytest.mark.parametrize("name", [{"a": 1}, "a" * 600, "../model.safetensors", "\ud800", "\0"])
def test_shards_with_unusable_names(tmp_path, layouts, name):
    def change(folder):
        (folder / "model.safetensors").unlink()
        index = {"weight_map": {"a": name}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    assert "not beside it" in refused(tmp_path, layouts["plain"], change)
