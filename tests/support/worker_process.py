"""A real worker in a process of its own, with the cheap encoder; also the program that it runs.

python worker_process.py INDEX BROKER JSON
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
START_SECONDS = 60


class WorkerProcess:
    """`weft worker` in a process group, so that it can be killed whole or in part."""

    def __init__(self, index, broker, log, **options):
        self.index = Path(index)
        self.log = Path(log)
        self.command = [sys.executable, str(HERE / "worker_process.py"), str(index), broker]
        self.command.append(json.dumps(options))
        self.process = None

    def start(self, *, wait=True):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        if wait:
            self._await_ready(self.log.read_text(errors="replace").count(" ready."))
        return self

    def _await_ready(self, before):
        deadline = time.monotonic() + START_SECONDS
        while self.log.read_text(errors="replace").count(" ready.") <= before:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.log.read_text(errors="replace")[-4000:])
            time.sleep(0.02)

    def signal_all(self, number):
        """Send a signal to the worker and its children."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def kill(self):
        self.signal_all(signal.SIGKILL)
        self.process.wait()

    def children(self):
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in task.read_text().split()]

    def stop(self):
        """End it as an operator would."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            self.kill()


def main():
    from word_encoder import WordEncoder

    from weft.workers import BatchLimits, WorkerSettings, serve, set_up_logging

    index, broker, given = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    pool = given.pop("pool", "prefork")
    concurrency = given.pop("concurrency", 1)
    kinds = given.pop("kinds", ["encode", "maintenance"])
    metrics_port = given.pop("metrics_port", None)
    encoder = WordEncoder()
    if given.pop("model", False):
        # The index's own.
        encoder = None
    if given.pop("poison", False):
        encoder = PoisonedEncoder()
    if given.pop("soak", False):
        from searching import SoakEncoder

        encoder = SoakEncoder()
    limits = BatchLimits(**given.pop("limits", {}))
    settings = WorkerSettings((Path(index),), broker, limits, **given)
    set_up_logging("info")
    serve(
        settings,
        kinds=kinds,
        pool=pool,
        concurrency=concurrency,
        metrics_port=metrics_port,
        encoder=encoder,
    )


def PoisonedEncoder():
    """An encoder that one text makes fail, another one kills, and a third one never lets go."""
    from word_encoder import WordEncoder

    class Poisoned(WordEncoder):
        def encode_passages(self, texts, *, languages=None, progress=False):
            for text in texts:
                if "failing" in text:
                    raise ValueError("this text cannot be encoded")
                if "killing" in text:
                    os.kill(os.getpid(), signal.SIGKILL)
                if "slow" in text:
                    time.sleep(1)
                if "endless" in text:
                    time.sleep(3600)
            return super().encode_passages(texts)

    return Poisoned()


if __name__ == "__main__":
    main()
