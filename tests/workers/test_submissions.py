"""A submission's file: what goes in comes out, and whatever else lies there is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft import Document
from weft.engine.errors import (
    DuplicateDocumentError,
    InvalidDocumentError,
    InvalidInputError,
    InvalidSubmissionError,
)
from weft.engine.storage.checksums import checksum
from weft.workers.submissions import (
    MAX_SUBMISSION_OPERATIONS,
    Submission,
    check_submission,
    decode_header,
    decode_submission,
    encode_submission,
)

TOKEN = "0" * 32
printable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ids = st.lists(printable.filter(bool).map(lambda s: s[:60]), min_size=1, max_size=6, unique=True)
metadata = st.dictionaries(printable.filter(bool), st.none() | st.integers(-9, 9) | printable)


def made(documents=(), deletions=(), seconds=1.0):
    return Submission(tuple(documents), tuple(deletions), seconds, TOKEN)


def forged(lines, **header):
    body = "".join(line + "\n" for line in lines).encode()
    fields = {
        "weft_submission": 1,
        "operations": len(lines),
        "submitted": 1.0,
        "token": TOKEN,
        "crc32c": checksum(body),
    }
    return (json.dumps({**fields, **header}) + "\n").encode() + body


@given(ids, st.data())
def test_round_trip(names, data):
    n = data.draw(st.integers(0, len(names)))
    documents = [
        Document(id, "text " + data.draw(printable), data.draw(metadata), language=None)
        for id in names[:n]
    ]
    given = made(documents, names[n:], 1234.5)
    found = decode_submission(encode_submission(given))
    assert found == given
    assert decode_header(encode_submission(given)).n_operations == len(names)


def test_language_is_kept():
    given = made([Document("a", "Schuss und Kette", language="de")])
    assert decode_submission(encode_submission(given)) == given


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(data):
    with pytest.raises(InvalidSubmissionError):
        decode_submission(data)


def test_every_flipped_byte_is_noticed():
    data = encode_submission(made([Document("a", "one two"), Document("b", "three")], ["c"]))
    sound = decode_submission(data)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        try:
            found = decode_submission(bytes(damaged))
        except InvalidInputError:
            continue
        # Only the time and the token stand outside the checksum.
        assert (found.documents, found.deletions) == (sound.documents, sound.deletions)


@pytest.mark.parametrize("length", [0, 1, 40, 120, -1])
def test_truncation_is_noticed(length):
    data = encode_submission(made([Document("a", "one two")]))
    with pytest.raises(InvalidSubmissionError):
        decode_submission(data[:length])


@pytest.mark.parametrize(
    "lines",
    [
        ['{"id":"a"}'],
        ['{"id":"a","text":"x","more":1}'],
        ['{"delete":"a","id":"b"}'],
        ['["a"]'],
        ["7"],
        ["nothing"],
        ["[" * 100_000],
        ['{"id":"a","text":"x"}', ""],
    ],
)
def test_lines_that_are_no_operations(lines):
    with pytest.raises(InvalidSubmissionError):
        decode_submission(forged(lines))


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (['{"id":"","text":"x"}'], InvalidDocumentError),
        (['{"id":"a","text":7}'], InvalidDocumentError),
        (['{"id":"a","text":" "}'], InvalidDocumentError),
        (['{"id":"a","text":"x","metadata":[]}'], InvalidDocumentError),
        (['{"id":"a","text":"x","language":3}'], InvalidDocumentError),
        (['{"delete":3}'], InvalidDocumentError),
        (['{"delete":"a"}', '{"id":"a","text":"x"}'], DuplicateDocumentError),
    ],
)
def test_operations_that_cannot_be_applied(lines, error):
    with pytest.raises(error):
        decode_submission(forged(lines))


@pytest.mark.parametrize(
    "header",
    [
        {"weft_submission": 2},
        {"operations": 0},
        {"operations": True},
        {"operations": 10**9},
        {"submitted": None},
        {"submitted": -1},
        {"submitted": 1e300},
        {"token": 1},
        {"crc32c": "0"},
        {"crc32c": 0},
    ],
)
def test_headers_out_of_range(header):
    with pytest.raises(InvalidSubmissionError):
        decode_submission(forged(['{"id":"a","text":"x"}'], **header))


def test_what_cannot_be_submitted():
    with pytest.raises(InvalidDocumentError, match="Nothing"):
        check_submission([], [])
    with pytest.raises(InvalidDocumentError, match="str cannot"):
        check_submission(["text"], [])
    with pytest.raises(InvalidInputError, match="at a time"):
        check_submission([], [str(n) for n in range(MAX_SUBMISSION_OPERATIONS + 1)])
    with pytest.raises(DuplicateDocumentError):
        check_submission([Document("a", "x")], ["a"])
