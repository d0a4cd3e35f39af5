"""`weft search` and `weft explain`: questions to an index."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape
from rich.table import Table

from .highlight import Pair, Span, strong_spans, styled
from .ingest import parse_object
from .options import (
    DEFAULT_INDEX,
    AlgorithmName,
    Effort,
    EncoderName,
    Exact,
    Filter,
    GroupBy,
    HybridName,
    IndexPath,
    Json,
    Ndocs,
    Nprobe,
    NRescored,
    Threads,
    Threshold,
    given,
    hybrid_of,
)
from .output import announce, duration, err, out, print_json, printable

if TYPE_CHECKING:
    from ...engine.documents import Hit
    from ...engine.encoder.base import FloatArray, Token
    from ...engine.index import Index
    from ...engine.search.explain import Match

SHOWN_CHARACTERS: Final = 320

Question = Annotated[str, typer.Argument(help="Your question.", show_default=False)]


@dataclass
class Answer:
    """The hits of a query and where the time went.

    Args:
        hits: best first.
        spans: per hit, the highlighted characters of its passage.
        seconds: `load` (opening and loading the encoder), `encode`, `search`, `highlight`.
    """

    query: str
    hits: list[Hit] = field(default_factory=list)
    spans: list[list[Span]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def clock(self, step: str) -> Iterator[None]:
        """Time a step."""
        started = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - started


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("search")(search)
    app.command("explain")(explain)


def search(
    query: Question,
    index: IndexPath = DEFAULT_INDEX,
    k: Annotated[int, typer.Option("-k", "--k", help="Hits wanted, 1 to 10,000.")] = 5,
    filter: Filter = None,
    group_by: GroupBy = "document",
    hybrid: HybridName = None,
    effort: Effort = None,
    exact: Exact = False,
    nprobe: Nprobe = None,
    ndocs: Ndocs = None,
    n_rescored: NRescored = None,
    algorithm: AlgorithmName = None,
    centroid_score_threshold: Threshold = None,
    full: Annotated[bool, typer.Option("--full", help="Show whole passages.")] = False,
    encoder: EncoderName = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Find the documents that answer a question best."""
    from ...engine.index import Index

    parameters = given(
        hybrid=hybrid_of(hybrid),
        effort=effort,
        nprobe=nprobe,
        ndocs=ndocs,
        n_rescored=n_rescored,
        algorithm=algorithm,
        centroid_score_threshold=centroid_score_threshold,
        exact=exact or None,
        filter=None if filter is None else parse_object(filter, "--filter"),
        group_by=group_by,
    )
    result = Answer(query)
    with Index.open(index, encoder=encoder, threads=threads) as opened:
        _load(opened, result, quiet=as_json)
        answer(opened, result, k, **parameters)
        n_documents = opened.count()
    if as_json:
        print_json(to_json(result))
        return
    show(result, len_shown=None if full else SHOWN_CHARACTERS)
    _show_times(result, n_documents)


def _load(index: Index, result: Answer, *, quiet: bool) -> None:
    """Load the encoder with its weights, which is no part of encoding this query."""
    with result.clock("load"), err.status("Loading the encoder…"):
        announce(index.encoder, quiet=quiet)
        index.encode_queries([result.query])


def answer(index: Index, result: Answer, k: int, **parameters: Any) -> None:
    """Encode and search, timed apart, and find the words to highlight."""
    with result.clock("encode"):
        vectors = index.encode_queries([result.query])[0]
    with result.clock("search"):
        text = None if parameters.get("hybrid") is None else result.query
        result.hits = index.search(vectors, k, query_text=text, **parameters)
    with result.clock("highlight"):
        asked = index.encoder.query_tokens(result.query)
        result.spans = [_spans(index, result.query, asked, vectors, hit) for hit in result.hits]


def _spans(
    index: Index, query: str, asked: Sequence[Token], vectors: FloatArray, hit: Hit
) -> list[Span]:
    """The highlights of a hit, by the stored vectors of its document's best passage."""
    matches = index.explain(vectors, hit.id).matches
    pairs = [
        Pair(query[token.start : token.end], match.start, match.end, match.contribution)
        for token, match in zip(asked, matches, strict=True)
    ]
    start, end = hit.passage.start, hit.passage.end
    spans = strong_spans(pairs, hit.text)
    return [(a - start, b - start) for a, b in spans if start <= a and b <= end]


def to_json(result: Answer) -> dict[str, Any]:
    """An answer as JSON values."""
    hits = [
        {
            "id": hit.id,
            "score": hit.score,
            "metadata": hit.metadata,
            "passage": {
                "ordinal": hit.passage.ordinal,
                "start": hit.passage.start,
                "end": hit.passage.end,
                "text": hit.passage.text,
            },
            "highlights": [list(span) for span in spans],
        }
        for hit, spans in zip(result.hits, result.spans, strict=True)
    ]
    return {"query": result.query, "hits": hits, "seconds": result.seconds}


def show(result: Answer, *, len_shown: int | None = SHOWN_CHARACTERS) -> None:
    """Print hits for people, matching words in colour."""
    for rank, (hit, spans) in enumerate(zip(result.hits, result.spans, strict=True), 1):
        head = f"[bold]{rank}. {escape(printable(hit.id))}[/] [dim]{_place(hit)}[/]"
        out.print(f"{head} [green]{_shown_score(hit.score)}[/]", soft_wrap=True)
        width = len(hit.passage.text) if len_shown is None else len_shown
        text = styled(hit.passage.text, spans, width)
        text.pad_left(0)
        out.print(text)
        out.print()
    if not result.hits:
        out.print("No document matches.")


def _shown_score(score: float) -> str:
    """Two decimals, or more where a fused score is so small that they would tell nothing."""
    return f"{score:.2f}" if abs(score) >= 1 else f"{score:.4f}"


def _place(hit: Hit) -> str:
    if len(hit.passage.text) >= len(hit.text.strip()):
        return ""
    return f"characters {hit.passage.start:,} to {hit.passage.end:,} of {len(hit.text):,}"


def _show_times(result: Answer, n_documents: int) -> None:
    names = {"load": "loading", "encode": "encoding", "search": "searching"}
    times = " · ".join(f"{names[s]} {duration(result.seconds[s])}" for s in names)
    err.print(f"[dim]{len(result.hits)} of {n_documents:,} documents · {times}[/]", soft_wrap=True)


def explain(
    query: Question,
    id: Annotated[str, typer.Argument(help="The document.", show_default=False)],
    index: IndexPath = DEFAULT_INDEX,
    every: Annotated[
        bool, typer.Option("--all", help="Also markers and padding, not only words.")
    ] = False,
    encoder: EncoderName = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Show which word of a document each word of a question matched, and what it gave."""
    from ...engine.index import Index

    with Index.open(index, encoder=encoder, threads=threads) as opened:
        with err.status("Loading the encoder…"):
            announce(opened.encoder, quiet=as_json)
        explanation = opened.explain(query, id)
    matches = [_match(match) for match in explanation.matches]
    if as_json:
        print_json({"query": query, "id": id, "score": explanation.total, "matches": matches})
        return
    _show_matches(matches, explanation.total, every)


def _match(match: Match) -> dict[str, Any]:
    """A match as JSON values."""
    asked, met = match.query_token, match.passage_token
    return {
        "query": {"token": asked.text, "start": asked.start, "end": asked.end},
        "passage": {"token": met.text, "start": match.start, "end": match.end},
        "contribution": match.contribution,
    }


def _show_matches(matches: list[dict[str, Any]], total: float, every: bool) -> None:
    table = Table(box=None, pad_edge=False)
    for heading, justify in (("question", "left"), ("document", "left"), ("gives", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("characters", style="dim")
    rest = 0.0
    for match in matches:
        asked, met = match["query"], match["passage"]
        if asked["start"] == asked["end"] and not every:
            rest += match["contribution"]
            continue
        place = f"{met['start']:,}–{met['end']:,}" if met["start"] < met["end"] else ""
        tokens = (escape(printable(side["token"])) for side in (asked, met))
        table.add_row(*tokens, f"{match['contribution']:.3f}", place)
    if rest:
        table.add_row("[dim]markers and padding[/]", "", f"[dim]{rest:.3f}[/]", "")
    table.add_row("[bold]score[/]", "", f"[bold]{total:.3f}[/]", "")
    out.print(table)
