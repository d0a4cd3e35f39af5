"""The official OpenAI client against `weft serve`: only the base URL is another.

The service is started here so that the example runs anywhere; usually it runs already. Needs
`weft[service]` and the package `openai`.
"""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import openai

MANUAL = {
    "ferry.txt": "The ferry to the island leaves at nine and comes back at six.",
    "ticket.md": "Tickets for the crossing are sold on the pier and cost four crowns.",
    "bread.txt": "Bread dough must rest for an hour before it is baked.",
}


@contextmanager
def service(key: str) -> Iterator[str]:
    """`weft serve` on a free port; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        weft = "from weft.integrations.cli import main; main()"
        command = [sys.executable, "-c", weft, "serve", folder, "--port", str(port)]
        command += ["--log-level", "warning"]
        running = subprocess.Popen(command, env={**os.environ, "WEFT_API_KEY": key})
        try:
            while running.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            running.terminate()
            running.wait()


def main() -> None:
    """Upload files, search them, restrict the search, embed a query."""
    key = secrets.token_urlsafe(32)
    with service(key) as base_url, openai.OpenAI(base_url=base_url, api_key=key) as client:
        store = client.vector_stores.create(name="Manual")
        for name, text in MANUAL.items():
            file = client.files.create(file=(name, text.encode()), purpose="assistants")
            done = client.vector_stores.files.create_and_poll(
                file.id,
                vector_store_id=store.id,
                attributes={"kind": name.rpartition(".")[2]},
                poll_interval_ms=50,
            )
            print(f"{name}: {done.status}")

        found = client.vector_stores.search(store.id, query="When does the boat leave?").data[0]
        print(f"search: {found.filename} {found.score:.2f} {found.content[0].text}")

        only = {"type": "eq", "key": "kind", "value": "md"}
        found = client.vector_stores.search(store.id, query="boat", filters=only).data[0]
        print(f"filter: {found.filename}")

        made = client.embeddings.create(model="default", input="a boat").data[0]
        tokens, dim = made.shape  # one vector per token: an extension of Weft's
        print(f"embedding: {tokens} vectors of {dim}, {len(made.embedding)} numbers")


if __name__ == "__main__":
    main()
