"""Install the peers, build every index, measure all in turn, write the page of results.

    python -m benchmarks.peers.run --cache DIR [--sizes 10000 40000] [--dims 128]

Run it from the root of the repository with an interpreter that has Weft. DIR holds the corpus
(see `benchmarks.corpus.build`) unless --corpus names another folder; environments, vectors and
indexes of the peers go to DIR/peers and are found there again, so that an interrupted run goes
on where it stopped. The first run compiles parts of colbert-ai and downloads 6 GB for fast-plaid.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import weft
from benchmarks.corpus.layout import CorpusError, Layout
from weft import kernels

from .catalogue import OWN, PEERS, Variant, chosen
from .environments import ROOT, PeerError, python_of
from .measure import Measured, Plan, measure
from .plot import draw
from .report import machine, page
from .summary import Summary, summarise
from .vectors import Collection, build_index, collection


@dataclass
class Ready:
    """Engines whose index is there, and those that have none."""

    pythons: dict[Variant, Path] = field(default_factory=dict)
    built: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def get_ready(
    data: Collection, variants: Sequence[Variant], cache: Path, threads: int, rebuild: str
) -> Ready:
    """Environments and indexes; a peer that fails is left out, and named.

    Args:
        data: what to index.
        variants: which engines.
        cache: of the peers.
        threads: for building.
        rebuild: what is built although it is in the cache: "none", "weft" or "all".
    """
    ready = Ready()
    for variant in variants:
        try:
            python = python_of(variant.peer, cache) if variant.peer else Path(sys.executable)
            anew = rebuild == "all" or (rebuild == "weft" and variant.is_weft)
            built = build_index(data, variant, python, cache, threads, anew)
        except PeerError as error:
            print(f"  left out: {error}", flush=True)
            ready.failed[variant.name] = str(error)
        else:
            ready.pythons[variant], ready.built[variant.name] = python, built
    return ready


def run(arguments: argparse.Namespace) -> list[Summary]:
    """All sizes in all dimensions, one after the other.

    Raises:
        CorpusError: the corpus lacks a size or a dimension.
    """
    cache = arguments.cache.resolve() / "peers"
    corpus = (arguments.corpus or arguments.cache).resolve()
    variants = chosen(arguments.peers)
    plan = Plan(
        arguments.repeats,
        arguments.seconds_per_setting,
        arguments.queries,
        max(os.sched_getaffinity(0)),
    )
    summaries = []
    for dim in arguments.dims:
        for size in arguments.sizes:
            data = collection(corpus, cache, size, dim)
            threads = arguments.build_threads
            ready = get_ready(data, variants, cache, threads, arguments.rebuild)
            measured = Measured([], {}, {})
            if not arguments.build_only:
                measured = measure(data, ready.pythons, cache, plan)
                measured.write(cache / "results" / f"{data.folder.name}.json")
            summaries.append(summarise(data, measured, ready.built, ready.failed, arguments.clock))
    return summaries


@contextmanager
def lock(cache: Path) -> Iterator[None]:
    """Keep a second run, which would remove what the first one builds, out of the cache.

    Raises:
        PeerError: a run is going on there.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PeerError(f"another run is going on in {cache}") from error
        yield


def facts(arguments: argparse.Namespace) -> list[str]:
    """What a reader has to know of this run."""
    clock = "wall clock" if arguments.clock == "wall" else "processor time"
    return [
        f"Machine: {machine()}; Linux {platform.release()}, Python {platform.python_version()}",
        f"Date: {datetime.date.today().isoformat()}; Weft {weft.__version__}, "
        f"kernels {kernels.active_target()}",
        f"Rounds: {arguments.repeats}; times are {clock}; builds use "
        f"{arguments.build_threads} threads",
    ]


def texts_of(corpus: Path) -> str:
    """What the passages of a corpus were cut from."""
    made_of = Layout(corpus).read_settings().get("made_of", [])
    names = [Path(name).parent.name for name in made_of if name.endswith(".jsonl.gz")]
    if names:
        return f"the documents of test collections ({', '.join(names)})"
    return "dictionary entries and other prose packaged by Debian"


def command_line(arguments: argparse.Namespace) -> str:
    """The command without this machine's folders."""
    parts = ["python -m benchmarks.peers.run --cache DIR"]
    parts.append("--sizes " + " ".join(map(str, arguments.sizes)))
    parts.append("--dims " + " ".join(map(str, arguments.dims)))
    parts.append(f"--repeats {arguments.repeats}")
    parts.append(f"--seconds-per-setting {arguments.seconds_per_setting:g}")
    if arguments.queries:
        parts.append(f"--queries {arguments.queries}")
    if sorted(arguments.peers) != sorted((*OWN, *PEERS)):
        parts.append("--peers " + " ".join(arguments.peers))
    if arguments.clock != "wall":
        parts.append(f"--clock {arguments.clock}")
    return " ".join(parts)


def write(arguments: argparse.Namespace, summaries: Sequence[Summary]) -> None:
    """Print the page and put it, with its plot, where it belongs."""
    output: Path = arguments.output
    plot = output.with_suffix(".svg")
    drawn = draw(summaries, plot)
    if not drawn:
        plot.unlink(missing_ok=True)
        print("no plot: matplotlib is not installed", flush=True)
    text = page(
        summaries,
        command_line(arguments),
        facts(arguments),
        arguments.seconds_per_setting,
        plot.name if drawn else "",
        texts_of((arguments.corpus or arguments.cache).resolve()),
    )
    output.write_text(text, encoding="utf-8")
    print(text)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="outside the repository; 10 GB and more")
    add("--corpus", type=Path, help="where the corpus lies, if not in the cache")
    add("--sizes", type=int, nargs="+", default=[10_000, 40_000])
    add("--dims", type=int, nargs="+", default=[128])
    add("--peers", nargs="+", default=[*OWN, *PEERS], choices=[*OWN, *PEERS])
    add("--repeats", type=int, default=3, help="rounds")
    add("--seconds-per-setting", type=float, default=20.0, help="in each round")
    add("--queries", type=int, default=0, help="at most, in each round; 0 for all")
    add("--build-threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--rebuild", choices=("none", "weft", "all"), default="weft", help="although cached")
    add("--build-only", action="store_true", help="install and build, measure nothing")
    add("--clock", choices=("wall", "cpu"), default="wall", help="cpu on a busy machine")
    add("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    return parser.parse_args(words)


def main() -> int:
    """Run as told."""
    arguments = parse()
    try:
        with lock(arguments.cache.resolve() / "peers"):
            summaries = run(arguments)
    except (CorpusError, PeerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not arguments.build_only:
        write(arguments, summaries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
