import json
from pathlib import Path

import pytest

import weft as package
from weft.integrations.cli import demo_text

IDS = ["docs/deep/bread.txt", "docs/ferry.md", "violin"]


def test_index_then_search(weft, docs):
    done = weft("index", docs, "--json")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert (summary["documents"], summary["passages"], summary["replaced"]) == (3, 3, 0)
    assert summary["index"] == "weft-index" and summary["skipped"] == []
    done = weft("search", "when leaves the ferry", "-k", 2, "--json")
    answer = json.loads(done.stdout)
    assert len(answer["hits"]) == 2
    assert answer["hits"][0]["id"] == "docs/ferry.md"
    assert set(answer["seconds"]) == {"load", "encode", "search", "highlight"}
    hit = answer["hits"][0]
    passage = hit["passage"]["text"]
    assert {passage[a:b] for a, b in hit["highlights"]} == {"leaves", "Ferry"}
    assert hit["score"] == pytest.approx(3.0, abs=0.9)


def test_search_for_people(weft, docs):
    weft("index", docs)
    done = weft("search", "four strings")
    assert done.exit_code == 0
    assert "1. violin" in done.stdout and "A violin has four strings." in done.stdout
    assert "encoding" in done.stderr and "searching" in done.stderr


def test_folders_with_files_of_the_same_name_do_not_mix(weft):
    for folder, lines in (("a", 3), ("b", 1)):
        Path(folder).mkdir()
        record = json.dumps({"text": f"the folder {folder}"})
        Path(folder, "faq.jsonl").write_text("\n".join([record] * lines))
        weft("index", folder)
    with package.Index.open("weft-index") as index:
        wanted = ["a/faq.jsonl#1", "a/faq.jsonl#2", "a/faq.jsonl#3", "b/faq.jsonl#1"]
        assert sorted(index.ids()) == wanted
    Path("a/faq.jsonl").write_text(record)
    done = weft("index", "a")
    assert "2 outdated ones deleted" in " ".join(done.stdout.split())


def test_indexing_again_replaces(weft, docs):
    weft("index", docs, "-i", "other")
    (docs / "ferry.md").write_text("The ferry is out of order.")
    summary = json.loads(weft("index", docs, "-i", "other", "--json").stdout)
    assert (summary["documents"], summary["replaced"]) == (3, 3)
    with package.Index.open("other") as index:
        assert sorted(index.ids()) == IDS
        assert index.get("docs/ferry.md").text == "The ferry is out of order."


def test_records_that_a_file_has_no_more_are_deleted(weft):
    lines = [json.dumps({"text": f"record number {n}"}) for n in range(3)]
    Path("a.jsonl").write_text("\n".join(lines))
    Path("a.jsonl#9.txt").write_text("A file of its own, with a telling name.")
    weft("index", "a.jsonl", "a.jsonl#9.txt")
    Path("a.jsonl").write_text(lines[0])
    summary = json.loads(weft("index", "a.jsonl", "--json").stdout)
    assert (summary["documents"], summary["replaced"], summary["deleted"]) == (1, 1, 2)
    with package.Index.open("weft-index") as index:
        assert sorted(index.ids()) == ["a.jsonl#1", "a.jsonl#9.txt"]


def test_records_of_a_damaged_file_stay(weft):
    good = json.dumps({"text": "a record"}) + "\n"
    Path("a.jsonl").write_text(good * 3)
    weft("index", "a.jsonl")
    Path("a.jsonl").write_bytes(good.encode() + b"\xff\n")
    summary = json.loads(weft("index", "a.jsonl", "--json").stdout)
    assert summary["deleted"] == 0 and len(summary["skipped"]) == 1
    with package.Index.open("weft-index") as index:
        assert index.count() == 3


def test_add_files_and_text(weft, docs, tmp_path: Path):
    weft("index", docs)
    (tmp_path / "new.txt").write_text("Snow falls in winter.")
    assert weft("add", tmp_path / "new.txt").exit_code == 0
    done = weft("add", "--text", "Rain in spring.", "--id", "r", "--metadata", '{"n": 1}', "--json")
    assert json.loads(done.stdout)["documents"] == 1
    with package.Index.open("weft-index") as index:
        assert sorted(index.ids()) == sorted([*IDS, "new.txt", "r"])
        assert dict(index.get("r").metadata) == {"n": 1}


def test_delete_is_seen_at_once(weft, docs):
    weft("index", docs)
    done = weft("delete", "violin", "nobody", "--json")
    report = json.loads(done.stdout)
    assert (report["deleted"], report["missing"]) == (["violin"], ["nobody"])
    hits = json.loads(weft("search", "four strings", "--json").stdout)["hits"]
    assert "violin" not in [hit["id"] for hit in hits]


def test_filter_and_search_parameters(weft, docs):
    weft("index", docs)
    chosen = json.dumps({"year": {"$lt": 2000}})
    done = weft("search", "bread", "--filter", chosen, "--json", "--exact")
    assert [hit["id"] for hit in json.loads(done.stdout)["hits"]] == ["violin"]
    done = weft("search", "bread", "--nprobe", 2, "--ndocs", 64, "--group-by", "passage")
    assert done.exit_code == 0


def test_hybrid_search(weft, docs):
    weft("index", docs)
    for hybrid in ("rrf", "weighted", "0.4"):
        done = weft("search", "four strings", "--hybrid", hybrid, "--json")
        assert json.loads(done.stdout)["hits"][0]["id"] == "violin"
    words = json.loads(weft("search", "four strings", "--hybrid", 0, "--json").stdout)
    assert [hit["id"] for hit in words["hits"]] == ["violin"]
    assert "0.0328" in weft("search", "four strings", "--hybrid", "rrf").stdout
    done = weft("search", "four strings", "--hybrid", "bm25")
    assert done.exit_code == 1 and "'rrf'" in " ".join(done.stderr.split())


def test_explain(weft, docs):
    weft("index", docs)
    found = json.loads(weft("explain", "violin strings", "violin", "--json").stdout)
    text = "A violin has four strings."
    assert found["score"] == pytest.approx(2.0, abs=0.01)
    met = [(m["passage"]["start"], m["passage"]["end"]) for m in found["matches"]]
    assert [text[a:b] for a, b in met] == ["violin", "strings"]
    assert "score" in weft("explain", "violin strings", "violin").stdout


def test_info_and_compact(weft, docs):
    weft("index", docs, "--no-compact", "--bits", 2)
    report = json.loads(weft("info", "--json").stdout)
    assert report["stats"]["n_documents"] == 3
    assert report["stats"]["bits"] == 2
    assert report["installation"]["kernels"]["target"]
    assert sum(report["stats"]["size_bytes"].values()) > 0
    assert weft("compact", "--json").exit_code == 0
    text = weft("info").stdout
    for word in ("documents", "per token", "codec", "kernels", "encoder"):
        assert word in text


def test_bad_records_are_told_and_strict_stops(weft, docs):
    with (docs / "music.jsonl").open("a") as file:
        file.write("{broken\n")
    done = weft("index", docs)
    assert done.exit_code == 0
    assert "music.jsonl, line 2 is not JSON" in " ".join(done.stderr.split())
    done = weft("index", docs, "-i", "strict", "--strict")
    assert done.exit_code == 1
    assert "Error:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "a question"], "weft-index"),
        (["search", " ", "-i", "made"], "query is empty"),
        (["search", "q", "-i", "made", "-k", "0"], "k is 0"),
        (["search", "q", "-i", "made", "--filter", '{"a": {"$like": 1}}'], "$like"),
        (["search", "q", "-i", "made", "--nprobe", "0"], "nprobe"),
        (["explain", "q", "nobody", "-i", "made"], "nobody"),
        (["index", "nowhere"], "does not exist"),
        (["index", "empty"], "No documents found"),
        (["index", "docs", "-i", "made", "--bits", "2"], "--bits"),
        (["index", "docs", "-i", "fresh", "--bits", "3"], "bits"),
        (["index", "docs", "--format", "docx"], "docx"),
        (["info", "-i", "docs"], "docs"),
        (["evaluate", "docs"], "is no collection"),
    ],
)
def test_errors_are_one_line_and_code_1(weft, docs, arguments, message):
    Path("empty").mkdir()
    assert weft("index", docs, "-i", "made").exit_code == 0
    done = weft(*arguments)
    assert done.exit_code == 1, done.output
    assert message in done.stderr
    assert done.stderr.strip().startswith("Error: ") and done.stderr.count("\n") == 1
    assert done.stdout == "" and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["search"],
        ["search", "q", "--unknown"],
        ["search", "q", "--filter", "{"],
        ["search", "q", "--filter", "[]"],
        ["add"],
        ["add", "docs", "--text", "both"],
        ["nothing"],
    ],
)
def test_usage_errors_are_code_2(weft, arguments):
    assert weft(*arguments).exit_code == 2


def test_nothing_is_made_when_there_is_nothing_to_index(weft):
    Path("empty").mkdir()
    assert weft("index", "empty").exit_code == 1
    assert not Path("weft-index").exists()


def test_debug_lets_the_error_through(weft):
    done = weft("--debug", "search", "q")
    assert isinstance(done.exception, package.errors.IndexNotFoundError)


def test_the_index_comes_from_the_environment(weft, docs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WEFT_INDEX", "elsewhere")
    weft("index", docs)
    assert Path("elsewhere").is_dir()


def test_text_cannot_steer_the_terminal(weft):
    weft("index", "--help")
    Path("a.txt").write_text("evil \x1b[31m [bold]red[/bold] \x07 text")
    weft("index", "a.txt")
    shown = weft("search", "evil text").stdout
    assert "\x1b[31m" not in shown and "\x07" not in shown
    assert "[bold]red[/bold]" in shown


def test_demo(weft):
    done = weft("demo", "--passages", 120, "-i", "demo")
    assert done.exit_code == 0, done.output
    assert "120 texts" in done.stdout
    assert done.stdout.count("? ") >= 6
    assert "added: the best hit is notes/coffee" in done.stdout
    assert "replaced: the best hit is notes/coffee" in done.stdout
    with package.Index.open("demo") as index:
        assert index.count() == 120
    assert weft("demo", "--passages", 120, "-i", "demo").exit_code == 0


def test_demo_text_is_the_same_each_time_and_answers_the_questions():
    first = demo_text.documents()
    assert len(first) == demo_text.N_DOCUMENTS >= 3000
    assert [d.id for d in first] == [d.id for d in demo_text.documents()]
    texts = {d.id: d.text for d in first}
    assert "largest elements" in texts["heapq.nlargest"]
    assert "execution time" in texts["timeit"]
    assert "close matches" in " ".join(texts["difflib.get_close_matches"].split()) or (
        "good enough" in texts["difflib.get_close_matches"]
    )
    assert any("Default parameter values are evaluated" in text for text in texts.values())
    assert any(id.startswith("package/") for id in texts)
