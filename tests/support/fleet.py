"""Several workers on one index, of which some are killed and replaced."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

from worker_process import WorkerProcess

KINDS = ("whole group", "child alone", "parent alone")
END_SECONDS = 60


class Fleet:
    """Workers of an index.

    Args:
        index: its folder.
        broker: URL.
        folder: of the logs.
        n_workers: running at any time.
        options: of each worker.
    """

    def __init__(self, index, broker, folder, n_workers=2, **options):
        self._make = lambda log: WorkerProcess(index, broker, log, **options)
        self._folder = Path(folder)
        self._n_started = 0
        self.running = []
        self._groups = []
        self.kills = Counter()
        for _ in range(n_workers):
            self.start()

    def start(self):
        self._n_started += 1
        started = self._make(self._folder / f"fleet-{self._n_started}.log").start(wait=False)
        self.running.append(started)
        self._groups.append(started.process.pid)

    def await_oldest(self):
        """Until the worker that was started first is ready."""
        deadline = time.monotonic() + END_SECONDS
        while " ready." not in self.running[0].log.read_text(errors="replace"):
            assert self.running[0].process.poll() is None, self.tell()
            assert time.monotonic() < deadline, self.tell()
            time.sleep(0.01)

    def kill(self, kind):
        """Kill the oldest worker or a part of it; what is gone is replaced."""
        worker = self.running[0]
        self.kills[kind] += 1
        if kind == "child alone":
            for child in worker.children():
                kill(child)
            self.running.append(self.running.pop(0))
            return
        self.running.pop(0)
        if kind == "parent alone":
            kill(worker.process.pid)
            worker.process.wait()
        else:
            worker.kill()
        self.start()

    def orphans(self):
        """Processes of workers whose parents are gone."""
        living = {worker.process.pid for worker in self.running}
        return [group for group in self._groups if group not in living and lives(group)]

    def await_orphans(self):
        """Until the children of killed parents have ended by themselves; how long it took."""
        started = time.monotonic()
        while self.orphans():
            assert time.monotonic() - started < END_SECONDS, self.orphans()
            time.sleep(0.05)
        return time.monotonic() - started

    def tell(self):
        """The ends of the logs."""
        logs = [worker.log.read_text(errors="replace")[-2000:] for worker in self.running]
        return "\n\n".join(logs)

    def close(self):
        for worker in self.running:
            worker.kill()
        for group in self._groups:
            if lives(group):
                os.killpg(group, signal.SIGKILL)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def lives(group):
    """Whether a process group has a process that is no zombie."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False
