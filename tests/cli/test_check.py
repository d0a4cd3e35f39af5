"""`weft check`: exit codes, what is printed, JSON, and the repair."""

import json

import pytest
from check_samples import build
from forgery import newest_manifest, segment_folder


@pytest.fixture
def index(tmp_path):
    return build(tmp_path / "weft-index")


@pytest.fixture
def damaged(index):
    path = segment_folder(index) / "passages.sqlite"
    data = bytearray(path.read_bytes())
    data[70_00] ^= 1
    path.write_bytes(bytes(data))
    return index


def test_a_sound_index(weft, index):
    for arguments in (["check"], ["check", index], ["check", "--index", index]):
        result = weft(*arguments)
        assert result.exit_code == 0 and "Nothing is damaged" in result.stdout


def test_no_index(weft, tmp_path):
    result = weft("check", tmp_path / "none")
    assert result.exit_code == 1 and "holds no Weft index" in result.stderr


def test_damage_is_printed_and_ends_with_an_error(weft, damaged):
    result = weft("check")
    assert result.exit_code == 1
    folder = segment_folder(damaged).name
    assert f"segments/{folder}/passages.sqlite at byte 0" in result.stdout
    assert "43 documents would be dropped" in result.stdout
    assert "d17" in result.stdout and "23 more" in result.stdout
    assert "--repair" in result.stderr


def test_json(weft, damaged):
    result = weft("check", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False and report["n_lost"] == 43
    (lost,) = report["lost"]
    assert sorted(lost["ids"]) == sorted(f"d{n}" for n in range(17, 60))
    (damage,) = report["damage"]
    assert damage["file"].endswith("passages.sqlite") and damage["offset"] == 0


def test_repair(weft, damaged):
    result = weft("check", "--repair", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["ok"] and report["n_lost"] == 43 and report["repair"]["generation"] == 7
    assert weft("check").exit_code == 0
    again = weft("check", "--repair")
    assert again.exit_code == 0 and "Nothing is damaged" in again.stdout


def test_repair_is_told_in_words(weft, damaged):
    result = weft("check", "--repair")
    assert result.exit_code == 0
    assert "43 documents are lost" in result.stdout and "1 segments dropped" in result.stdout
    assert "sound again" in result.stdout


def test_an_index_that_does_not_open(weft, index):
    path = newest_manifest(index)
    path.write_bytes(path.read_bytes()[:-5])
    assert weft("info").exit_code == 1
    result = weft("check")
    assert result.exit_code == 1 and "after generation 5 is lost" in " ".join(result.stderr.split())
    assert weft("check", "--repair").exit_code == 0
    assert weft("info").exit_code == 0
