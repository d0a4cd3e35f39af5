"""`weft serve` under load, and what HTTP adds to a query, both beside the engine's own latency.

    python benchmarks/service/load.py                    # 64 clients for 120 seconds
    python benchmarks/service/load.py --seconds 30 --processes 2

Starts the real command on a free port, with collections of made-up unit vectors. First one client
asks the service and an index of its own in turn, the same queries. "added" is a request's time
beyond what the engine took for it inside the service; "difference" is that of the medians, which
on a busy machine also tells two engines apart. Then all clients ask at once while documents
stream in; the engine is asked by as many threads without a service for comparison.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import weft
from weft import Index

QUERY_VECTORS = 32
DIMS = (128, 384)


class Connection:
    """HTTP/1.1 over one socket, as little of it as a benchmark needs."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    engine_seconds = 0.0
    """What the engine took for the last answer, as its header `Server-Timing` tells."""

    def ask(self, message: bytes) -> tuple[int, bytes]:
        self._socket.sendall(message)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._received()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self._received()
        timing = head.lower().partition(b"search;dur=")[2].split(b"\r\n")[0]
        self.engine_seconds = float(timing) / 1000 if timing else 0.0
        return int(head.split(b" ", 2)[1]), body

    def _received(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the service closed the connection")
        return data


def message(method: str, path: str, body: object = None) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def in_base64(array: np.ndarray) -> str:
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


class Corpus:
    """Passages whose tokens lie around common centres, as those of texts do."""

    def __init__(self, dim: int) -> None:
        self._random = np.random.default_rng(dim)
        self._centres = self._random.normal(size=(500, dim))

    def vectors(self, n: int) -> np.ndarray:
        found = self._centres[self._random.integers(500, size=n)]
        found = found + 0.7 * self._random.normal(size=found.shape)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def passages(self, n: int, tokens: int) -> list[np.ndarray]:
        return [self.vectors(tokens) for _ in range(n)]


def build(root: Path, dim: int, passages: int, tokens: int) -> None:
    with Index.create(root / f"dim{dim}", dim=dim) as index:
        corpus = Corpus(dim)
        for first in range(0, passages, 1000):
            ids = [f"p{n}" for n in range(first, min(first + 1000, passages))]
            texts = [f"Passage {id}. " + "What it says. " * 20 for id in ids]
            index.add(texts, ids=ids, embeddings=corpus.passages(len(ids), tokens))
        index.compact()


def start(root: Path, processes: int) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "from weft.integrations.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", str(root), "--port", str(port)]
    command += ["--processes", str(processes), "--log-level", "warning"]
    service = subprocess.Popen(command)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if Connection(port).ask(message("GET", "/readyz"))[0] == 200:
                return service, port
        except OSError:
            time.sleep(0.05)
    service.kill()
    raise TimeoutError("weft serve did not start")


def overhead(root: Path, port: int, dim: int, n: int) -> str:
    queries = [Corpus(dim).vectors(QUERY_VECTORS) for _ in range(50)]
    path = f"/v1/collections/dim{dim}/search"
    messages = [message("POST", path, {"embeddings": in_base64(q), "k": 10}) for q in queries]
    connection, service, engine, added = Connection(port), [], [], []
    with Index.open(root / f"dim{dim}") as index:
        for number in range(n + 50):
            query = queries[number % len(queries)]
            started = time.perf_counter()
            status, body = connection.ask(messages[number % len(queries)])
            between = time.perf_counter()
            hits = index.search(query, 10)
            ended = time.perf_counter()
            assert status == 200
            if number < 50:  # the first ones warm both up, and are compared
                found = [hit["id"] for hit in json.loads(body)["hits"]]
                assert found == [hit.id for hit in hits]
                continue
            service.append(between - started)
            added.append(between - started - connection.engine_seconds)
            engine.append(ended - between)
    ours, theirs, beyond = quantiles(service), quantiles(engine), quantiles(added)
    return (
        f"| {QUERY_VECTORS}x{dim} | {theirs[0]:.2f} | {theirs[1]:.2f} | {ours[0]:.2f} | "
        f"{ours[1]:.2f} | {ours[0] - theirs[0]:+.2f} | {beyond[0]:.2f} |"
    )


def quantiles(seconds: list[float]) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds."""
    p50, p99 = np.quantile(np.array(seconds), [0.5, 0.99]) * 1000
    return float(p50), float(p99)


def crowd(clients: int, seconds: float, ask: object) -> tuple[list[float], list[str]]:
    """Have as many threads ask, one query after the other; latencies and errors."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    errors: list[str] = []
    deadline = time.monotonic() + seconds

    def work(number: int) -> None:
        try:
            once = ask(number)  # type: ignore[operator]
            while time.monotonic() < deadline:
                started = time.perf_counter()
                problem = once()
                latencies[number].append(time.perf_counter() - started)
                if problem:
                    errors.append(problem)
        except (OSError, ValueError, weft.errors.WeftError) as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [x for some in latencies for x in some], errors


class Stream:
    """Documents that are put one by one, and looked up once they are committed."""

    def __init__(self, port: int, dim: int, every_seconds: float) -> None:
        self._port, self._dim, self._every = port, dim, every_seconds
        self._ending = threading.Event()
        self.n_documents = 0
        self.errors: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        connection = Connection(self._port)
        path = f"/v1/collections/dim{self._dim}/documents"
        vectors = np.random.default_rng(1)
        while not self._ending.wait(self._every):
            rows = vectors.normal(size=(40, self._dim))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            document = {"id": f"new{self.n_documents}", "embeddings": in_base64(rows)}
            status, body = connection.ask(message("PUT", path, {"documents": [document]}))
            if status != 200:
                self.errors.append(f"{status} {body[:200]!r}")
            self.n_documents += 1


def under_load(root: Path, port: int, arguments: argparse.Namespace) -> None:
    dim = DIMS[0]
    queries = [Corpus(dim).vectors(QUERY_VECTORS) for _ in range(100)]
    path = f"/v1/collections/dim{dim}/search"
    messages = [message("POST", path, {"embeddings": in_base64(q), "k": 10}) for q in queries]

    def over_http(number: int) -> object:
        connection, turn = Connection(port), [number]

        def once() -> str | None:
            turn[0] += 1
            status, body = connection.ask(messages[turn[0] % len(messages)])
            return None if status == 200 else f"{status} {body[:200]!r}"

        return once

    with Stream(port, dim, arguments.every) as stream:
        http, errors = crowd(arguments.clients, arguments.seconds, over_http)
    errors += stream.errors
    with Index.open(root / f"dim{dim}") as index:

        def in_process(number: int) -> object:
            turn = [number]

            def once() -> None:
                turn[0] += 1
                index.search(queries[turn[0] % len(queries)], 10, threads=1)

            return once

        engine, _ = crowd(arguments.clients, min(20.0, arguments.seconds), in_process)
        alone, _ = crowd(1, 3.0, in_process)
    print(
        f"\n{arguments.clients} clients, {arguments.seconds:g} s, {arguments.processes} processes:"
    )
    print(f"errors: {len(errors)}", *errors[:3])
    print(f"documents streamed in: {stream.n_documents:,}")
    print("| | queries/s | p50 ms | p99 ms |\n|---|---:|---:|---:|")
    rows = (
        (f"weft serve, {arguments.clients} clients, writing", http, arguments.seconds),
        (f"engine, {arguments.clients} threads, no writing", engine, min(20.0, arguments.seconds)),
        ("engine, 1 thread", alone, 3.0),
    )
    for name, seconds, length in rows:
        p50, p99 = quantiles(seconds)
        print(f"| {name} | {len(seconds) / length:,.0f} | {p50:.2f} | {p99:.2f} |")
    sys.exit(1 if errors else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--passages", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--queries", type=int, default=1000, help="for what the service adds")
    parser.add_argument("--every", type=float, default=0.05, help="seconds between two documents")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for dim in DIMS:
            build(root, dim, arguments.passages, arguments.tokens)
        service, port = start(root, arguments.processes)
        try:
            print("What the service adds to one query, k = 10 (ms):")
            print("| query | engine p50 | p99 | service p50 | p99 | difference | added p50 |")
            print("|---|---:|---:|---:|---:|---:|---:|")
            for dim in DIMS:
                print(overhead(root, port, dim, arguments.queries), flush=True)
            if arguments.seconds:
                under_load(root, port, arguments)
        finally:
            service.terminate()
            service.wait(60)


if __name__ == "__main__":
    main()
