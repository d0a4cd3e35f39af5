"""How adapters change an index: by themselves, or through the queue that workers drain.

Of documents as Weft knows them; no framework is imported here.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ..engine.documents import Document
from ..engine.errors import (
    InvalidParameterError,
    SubmissionFailedError,
    SubmissionPendingError,
)
from ..engine.index import Index
from ..engine.shown import shown
from ..engine.validation import check_flag, check_ids, check_integer, make_documents
from ..workers import Client, SubmissionStatus

SUBMISSION_OPERATIONS: Final = 1000
"""Documents or deletions of one submission; the inbox takes ten times as many."""

SUBMISSION_BYTES: Final = 16 * 2**20
"""JSON of one submission's documents; the inbox takes four times as much."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Writing:
    """Upserts and deletions of an adapter. Safe to share by threads.

    Args:
        index: that is changed.
        client: of its queue; None changes the index in this process.
        wait: whether queued changes block until they are committed.
        timeout: seconds to wait; None waits as long as it takes.
    """

    index: Index
    client: Client | None = None
    wait: bool = True
    timeout: float | None = None

    def upsert(
        self,
        documents: Sequence[Document],
        *,
        batch_size: int | None = None,
        wait: bool | None = None,
    ) -> None:
        """Add documents, replacing those whose id is there; they can be found afterwards.

        Args:
            documents: all are checked before any is written.
            batch_size: documents per commit; None makes one commit of all (or, by way of the
                queue, as many as fit into a submission).
            wait: False returns once the queue holds them; None is as constructed.

        Raises:
            InvalidDocumentError, DuplicateDocumentError: bad input; nothing was written.
            InvalidParameterError: batch_size or wait cannot be used.
            SubmissionFailedError: workers set some aside; the others are in the index.
            SubmissionPendingError: the time is over before all were committed.
            StorageError: the disk refused.
        """
        waits = self._waits(wait)
        batches = _batches(documents, batch_size)
        if self.client is None:
            for batch in batches:
                self.index.upsert(batch)
            return
        submitted = _submit(self.client, batches)
        if waits:
            self._check([self.client.wait(id, self.timeout) for id in submitted])

    async def aupsert(
        self,
        documents: Sequence[Document],
        *,
        batch_size: int | None = None,
        wait: bool | None = None,
    ) -> None:
        """`upsert` without blocking the event loop; no thread waits for the workers."""
        if self.client is None:
            await asyncio.to_thread(self.upsert, documents, batch_size=batch_size, wait=wait)
            return
        waits = self._waits(wait)
        submitted = await asyncio.to_thread(
            lambda client: _submit(client, _batches(documents, batch_size)), self.client
        )
        if waits:
            self._check([await self.client.await_(id, self.timeout) for id in submitted])

    def delete(self, ids: Sequence[str], *, wait: bool | None = None) -> list[str] | None:
        """Remove documents.

        Args:
            ids: unknown ones are no error.
            wait: as in `upsert`.

        Returns:
            Those that were there; None if nobody waited to see.

        Raises:
            InvalidDocumentError, InvalidParameterError, StorageError, SubmissionFailedError,
            SubmissionPendingError: as `upsert`.
        """
        waits = self._waits(wait)
        unique = list(dict.fromkeys(check_ids(ids)))
        if not unique:
            return []
        if self.client is None:
            return self.index.delete(unique).deleted
        present = self._present(unique)
        submitted = _submit_deletions(self.client, unique)
        if not waits:
            return None
        self._check([self.client.wait(id, self.timeout) for id in submitted])
        return present

    async def adelete(self, ids: Sequence[str], *, wait: bool | None = None) -> list[str] | None:
        """`delete` without blocking the event loop; no thread waits for the workers."""
        if self.client is None:
            return await asyncio.to_thread(self.delete, ids, wait=wait)
        waits = self._waits(wait)
        unique = list(dict.fromkeys(check_ids(ids)))
        if not unique:
            return []
        present = await asyncio.to_thread(self._present, unique)
        submitted = await asyncio.to_thread(_submit_deletions, self.client, unique)
        if not waits:
            return None
        self._check([await self.client.await_(id, self.timeout) for id in submitted])
        return present

    def all_ids(self) -> list[str]:
        """Ids of all documents of the newest generation."""
        return list(self.index.ids())

    def _present(self, ids: list[str]) -> list[str]:
        return [document.id for document in self.index.get(ids) if document is not None]

    def _waits(self, wait: bool | None) -> bool:
        if wait is None:
            return self.wait
        if check_flag("wait", wait) is False and self.client is None:
            raise InvalidParameterError(
                "wait=False has no meaning without a queue: a change in this process is committed "
                "when the call returns. Leave it out, or construct with queue=True."
            )
        return wait

    def _check(self, statuses: list[SubmissionStatus]) -> None:
        """Raise unless everything was committed."""
        pending = [status.id for status in statuses if not status.is_settled]
        reasons = {id: reason for status in statuses for id, reason in status.reasons.items()}
        failed = [status.id for status in statuses if status.state == "failed"]
        if failed:
            shown = "; ".join(f"{id or 'all of it'}: {why}" for id, why in [*reasons.items()][:3])
            raise SubmissionFailedError(
                f"Workers set aside {len(reasons)} of what was submitted as {failed[0]} ({shown}); "
                "the others are in the index. `weft dead-letters` lists, retries and drops them.",
                reasons,
            )
        if pending:
            raise SubmissionPendingError(
                f"Submission {pending[0]} was not committed within {self.timeout} seconds. It is "
                "durable and will be: start workers (`weft worker`), or wait longer."
            )


def make_writing(
    index: Index,
    *,
    client: Client | None = None,
    broker_url: str | None = None,
    queue: bool = False,
    wait: bool = True,
    timeout: float | None = None,
) -> Writing:
    """The writing half of an adapter, from what its constructor was given.

    Args:
        index: that is changed.
        client: of its queue.
        broker_url: of the workers' Redis: makes a client.
        queue: makes a client without Redis; workers find what it submits at their next sweep.
        wait, timeout: see `Writing`.

    Raises:
        InvalidParameterError: two ways to a queue, a wait without one, or a timeout that is no
            finite number from 0.
        MissingDependencyError: broker_url without the extra `workers`.
    """
    check_flag("queue", queue)
    check_flag("wait", wait)
    _check_timeout(timeout)
    if client is not None and broker_url is not None:
        raise InvalidParameterError("client and broker_url exclude each other: leave one out.")
    if client is not None and not isinstance(client, Client):
        raise InvalidParameterError(
            f"client is a {type(client).__name__}: pass a weft.workers.Client."
        )
    if client is None and (queue or broker_url is not None):
        client = Client(index, broker_url)
    if client is None and not (wait and timeout is None):
        raise InvalidParameterError(
            "wait and wait_seconds are about the queue: pass client, broker_url or queue=True too."
        )
    return Writing(index, client, wait, timeout)


def _check_timeout(timeout: object) -> None:
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is not None and not (number and 0 <= float(timeout) < math.inf):  # type: ignore[arg-type]
        raise InvalidParameterError(
            f"wait_seconds is {shown(timeout)}: use a finite number from 0, or None."
        )


def _submit(client: Client, batches: list[list[Document]]) -> list[str]:
    return [client.submit(part) for batch in batches for part in _submissions(batch)]


def _submit_deletions(client: Client, ids: list[str]) -> list[str]:
    return [client.submit(delete=part) for part in _chunks(ids, SUBMISSION_OPERATIONS)]


def _batches(documents: Sequence[Document], batch_size: int | None) -> list[list[Document]]:
    """Checked documents, cut into commits."""
    checked = make_documents(documents, None, None, None)
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1, 2**31)
    return _chunks(checked, batch_size or max(1, len(checked)))


def _chunks(items: list[Item], size: int) -> list[list[Item]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def _submissions(documents: list[Document]) -> Iterator[list[Document]]:
    """Cut documents into submissions of bounded number and length."""
    part: list[Document] = []
    n_bytes = 0
    for document in documents:
        size = len(json.dumps([document.text, document.metadata], default=dict))
        if part and (len(part) == SUBMISSION_OPERATIONS or n_bytes + size > SUBMISSION_BYTES):
            yield part
            part, n_bytes = [], 0
        part.append(document)
        n_bytes += size
    if part:
        yield part
