"""The page of results: tables for people, in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

from .catalogue import DEPTHS
from .summary import Build, Row, Spread, Summary

INTRODUCTION = """\
Each engine runs in a process of its own on one and the same core, with one thread, over the same
vectors; in each round all take their turn at every setting, every second round backwards. Times
are milliseconds per query: the p50 and p95 of each round, given as the median of the rounds with
the lowest and highest round in brackets. Queries are asked one at a time, with ready vectors, and
for half a second before a setting is timed: what is idle while others have their turns loses its
place in the caches, and on some machines its memory.

Recall is that of the passages returned, against exact fp32 MaxSim: a passage counts if its exact
score is at least the exact k-th score less 1e-4. A faster answer at lower recall is a slower
engine, so each peer is set against the fastest of Weft's settings that finds no less on the same
queries. `ratio` is the peer's time divided by Weft's, taken round by round.

The vectors are real: TEXTS,
cut into passages of 40 to 118 wordpieces, encoded by MiniLM's last layer, centred, projected where
fewer than 384 dimensions are named, and normalised. Queries are the first 32 wordpieces of
held-out passages. Best scores are lower than with ColBERTv2's own vectors, so score thresholds
that were chosen for those (colbert-ai's default) prune harder here.
"""

NOTES = """\
- Where `queries` is below {total}, the engine was too slow to answer all in the time for a setting
  ({seconds:g} s in each round); each round then takes other queries.
- fast-plaid is unlucky on processors where torch multiplies fp16 slowly: it computes in fp16, which
  without AVX512-FP16 (or where torch does not use it) costs it a large factor that says nothing
  of its design.
- `to Weft's default` divides by the time of 4 bits without any parameter, whose recall may be lower
  than the peer's: exact engines are compared with it too, since that is what exactness costs.
- tachiom is told the wordpiece of each token, which it clusters by; no other engine uses them.
- colbert-ai is its own indexer and scorer with the vectors put in the place of its encoder;
  `default` is what its `Searcher` takes for this k.
- Build: wall clock and, in brackets, processor seconds of all threads, codec training included;
  indexes of peers may come from the cache of an earlier run, Weft's are new.
- Size: bytes on disk per token, without text; exact engines hold float16 on disk, and the two peers
  among them float32 in memory.
- Memory: resident at most, mapped files included, while building and while searching; in brackets
  what of the latter belongs to no file.
"""


def machine() -> str:
    """Processor model and number of cores that this process may use."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
            break
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def page(
    summaries: Sequence[Summary],
    command: str,
    facts: Sequence[str],
    seconds: float,
    plot: str,
    texts: str,
) -> str:
    """The whole document.

    Args:
        summaries: one per collection.
        command: that made it.
        facts: of machine, date and versions, one line each.
        seconds: the time for a setting in a round.
        plot: file name of the plot beside the document; empty for none.
        texts: what the passages were cut from.
    """
    introduction = INTRODUCTION.replace("TEXTS", texts)
    total = max(len(summary.data.corpus.queries) for summary in summaries)
    parts = ["# Benchmarks: Weft and its peers\n", introduction, f"```\n{command}\n```\n"]
    parts.append("\n".join(f"- {fact}" for fact in facts) + "\n")
    if plot:
        parts.append(f"![Recall against time per query]({plot})\n")
    for summary in summaries:
        parts.append(f"## {summary.data.title}\n")
        parts += [_searches(summary, k) for k in DEPTHS]
        parts.append(_builds(summary.builds))
        parts += _failures(summary)
    parts += ["## Notes\n", NOTES.format(total=total, seconds=seconds)]
    return "\n".join(parts)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """A Markdown table with columns padded, so that it can be read as it is."""
    columns = zip(heads, *rows, strict=True)
    widths = [max(len(cell) for cell in column) for column in columns]
    rule = [
        ":" + "-" * (width - 1) if i in left else "-" * (width - 1) + ":"
        for i, width in enumerate(widths)
    ]
    lines = [heads, rule, *rows]
    return "".join(f"| {' | '.join(_padded(line, widths, left))} |\n" for line in lines)


def _padded(line: Sequence[str], widths: Sequence[int], left: Sequence[int]) -> Iterator[str]:
    for i, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.ljust(width) if i in left else cell.rjust(width)


def _searches(summary: Summary, k: int) -> str:
    heads = ("engine", "setting", f"recall@{k}", "p50 ms", "p95 ms", "queries")
    against = ("Weft at no lower recall", "its recall", "its p50", "ratio", "to Weft's default")
    rows = [_search(summary, row) for row in summary.at(k)]
    return f"### k = {k}\n\n" + table((*heads, *against), rows, left=(0, 1, 6))


def _search(summary: Summary, row: Row) -> tuple[str, ...]:
    case = row.case
    own = (
        case.variant.title,
        case.setting.name,
        f"{row.recall:.3f}",
        _spread(row.p50),
        f"{row.p95.median:.2f}",
        str(len(case.wall_ms[0])),
    )
    if case.variant.is_weft:
        return (*own, "", "", "", "", "")
    default, reaching = summary.weft_default(case.k), summary.weft_reaching(row)
    to_default = _ratio(default.times_faster_than(row)) if default else ""
    if reaching is None:
        return (*own, "none", "", "", "", to_default)
    name = f"{reaching.case.variant.title}, {reaching.case.setting.name}"
    return (
        *own,
        name,
        f"{reaching.recall_on(row):.3f}",
        f"{reaching.p50.median:.2f}",
        _ratio(reaching.times_faster_than(row)),
        to_default,
    )


def _spread(value: Spread) -> str:
    return f"{value.median:.2f} ({value.low:.2f}–{value.high:.2f})"


def _ratio(value: Spread) -> str:
    return f"{value.median:.1f}× ({value.low:.1f}–{value.high:.1f})"


def _builds(builds: Sequence[Build]) -> str:
    heads = ("engine", "build s (processor)", "bytes/token", "build MB", "open s", "search MB")
    rows = [
        (
            build.variant.title,
            f"{build.seconds:.1f} ({build.cpu_seconds:.1f})",
            f"{build.bytes_per_token:.1f}",
            _megabytes(build.build_peak),
            f"{build.open_seconds:.2f}",
            f"{_megabytes(build.search_peak)} ({_megabytes(build.search_anonymous)})",
        )
        for build in builds
    ]
    return "### Build, size, memory\n\n" + table(heads, rows)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f}"


def _failures(summary: Summary) -> Iterator[str]:
    if summary.failed:
        yield "Not measured:\n"
        yield "\n".join(f"- {name}: {why}" for name, why in summary.failed.items()) + "\n"
