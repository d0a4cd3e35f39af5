"""The near end of a worker: starts the process, sends commands, waits for answers."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weft.engine.closing import Closing

from .catalogue import Variant
from .environments import ROOT, PeerError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "WEFT_THREADS",
)


def environment(threads: int, python: Path, cache: Path) -> dict[str, str]:
    """Variables for a worker: so many threads everywhere, and compiled extensions in the cache."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    tools = f"{python.parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {
        **kept,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PATH": tools,
        "TORCH_EXTENSIONS_DIR": str(cache / "extensions"),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }


class WorkerProcess(Closing):
    """One engine over one index in a process that lives as long as it is used.

    Args:
        variant: what it serves.
        python: interpreter of its environment.
        cache: of the peers; its log is written there.
        data: folder of the vectors.
        folder: of the index.
        threads: that it may use.
        core: the one core it runs on; None for all.
    """

    def __init__(
        self,
        variant: Variant,
        python: Path,
        cache: Path,
        data: Path,
        folder: Path,
        *,
        threads: int = 1,
        core: int | None = None,
    ) -> None:
        self.title = variant.title
        self.log = cache / "logs" / f"{data.name}.{variant.name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        where = "all" if core is None else str(core)
        arguments = (variant.engine, str(data), str(folder), json.dumps(dict(variant.options)))
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", "benchmarks.peers.worker", *arguments, where],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment(threads, python, cache),
                text=True,
            )

    def ask(self, command: str, seconds: float, **arguments: Any) -> Mapping[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            PeerError: the engine failed, ended, or took longer than so many seconds.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise PeerError(f"{self.title} has no pipes")
        try:
            print(json.dumps({"command": command, **arguments}), file=stdin, flush=True)
        except BrokenPipeError as error:
            raise PeerError(f"{self.title} ended, see {self.log}") from error
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                self._process.kill()  # a late answer would be taken for that to the next command
                raise PeerError(f"{self.title} took more than {seconds:.0f} s to {command}")
        line = stdout.readline()
        if not line:
            raise PeerError(f"{self.title} ended with {self._process.wait()}, see {self.log}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.title}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                self._process.kill()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
