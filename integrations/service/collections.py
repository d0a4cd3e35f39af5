"""The collections below the root: opened when first needed, followed, made and removed."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ...engine import limits
from ...engine.encoder.base import Encoder
from ...engine.errors import (
    CorruptIndexError,
    EncoderMismatchError,
    IndexExistsError,
    IndexNotFoundError,
    StorageError,
    WeftError,
)
from ...engine.index import Index
from ...workers import Client
from .encoders import Encoders
from .names import check_name, is_name, name_for
from .problems import Refusal
from .records import Records
from .settings import ServiceSettings

logger = logging.getLogger("weft.service")

PATIENCE_SECONDS: Final = 30.0
"""How long a removal waits for what is under way in its own process."""


class Collection:
    """One open collection; closed when it was retired and nobody uses it any more."""

    def __init__(self, name: str, index: Index, dim: int, encoder: Encoder | None) -> None:
        self.name = name
        self.dim = dim
        self.index = index
        self.encoder = encoder
        self._client: Client | None = None
        self._users = 0
        self._retired = False
        self._changed = threading.Condition()

    def client(self, broker_url: str | None) -> Client:
        """The client of its queue."""
        with self._changed:
            if self._client is None:
                self._client = Client(self.index, broker_url, full="raise")
            return self._client

    def acquire(self) -> bool:
        """Count a user; False if it was retired."""
        with self._changed:
            self._users += not self._retired
            return not self._retired

    def release(self) -> None:
        """Count one less; the last one closes what was retired."""
        with self._changed:
            self._users -= 1
            self._changed.notify_all()
            last = self._retired and not self._users
        if last:
            self._close()

    def retire(self) -> None:
        """Let nobody in any more."""
        with self._changed:
            already, self._retired = self._retired, True
            idle = not self._users
        if idle and not already:
            self._close()

    def wait_until_idle(self, seconds: float) -> None:
        """Wait for those who still use it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._users, seconds)

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
        self.index.close()


class Collections:
    """All collections of a service. Safe to share by threads; its calls block.

    Args:
        settings: with the root, which is made if it is not there.
        encoders: of the service.
    """

    def __init__(self, settings: ServiceSettings, encoders: Encoders) -> None:
        self._settings = settings
        self._encoders = encoders
        self._root = settings.root
        self._lock = threading.Lock()
        self._open: dict[str, Collection] = {}
        self._opening: dict[str, threading.Lock] = {}
        self._removing: set[str] = set()
        self.single: str | None = None
        if is_index(self._root):
            self.single = name_for(self._root.resolve().name)
        else:
            self._root.mkdir(parents=True, exist_ok=True)
        self.records = Records(self._root)

    def names(self) -> list[str]:
        """Of all collections, in order."""
        if self.single is not None:
            return [self.single]
        return sorted(
            entry.name for entry in self._root.iterdir() if is_name(entry.name) and is_index(entry)
        )

    def open_names(self) -> list[str]:
        """Of collections that this process has open."""
        with self._lock:
            return list(self._open)

    def path(self, name: str) -> Path:
        """Folder of a collection, whether it is there or not.

        Raises:
            InvalidParameterError: the name leads elsewhere.
        """
        check_name(name)
        return self._root if name == self.single else self._root / name

    def acquire_open(self, name: str) -> Collection | None:
        """A collection that is open already, counted as used; never blocks for long."""
        collection = self._open.get(name)
        return collection if collection is not None and collection.acquire() else None

    def acquire(self, name: str) -> Collection:
        """A collection, opened if need be, counted as used.

        Raises:
            Refusal: there is none of that name.
        """
        path = self.path(name)
        if (self.single is not None and name != self.single) or not is_index(path):
            raise missing(name)
        with self._lock:
            opening = self._opening.setdefault(name, threading.Lock())
        with opening:  # others are opened meanwhile: an encoder may take seconds to load
            if name in self._removing:
                raise missing(name)
            collection = self.acquire_open(name)
            if collection is None:
                collection = self._opened(name, path)
                collection.acquire()
                with self._lock:
                    self._open[name] = collection
            return collection

    def _opened(self, name: str, path: Path) -> Collection:
        threads = self._settings.threads
        index = Index.open(path, threads=threads)
        try:
            with index.snapshot() as view:
                dim = view.manifest.dim
                encoder = self._encoders.for_index(view.manifest.encoder)
        except BaseException:
            index.close()
            raise
        if encoder is None:
            return Collection(name, index, dim, None)
        try:
            shared = Index.open(path, encoder=encoder, threads=threads)
        except EncoderMismatchError:  # the same weights, but other settings: it loads its own
            return Collection(name, index, dim, None)
        index.close()
        return Collection(name, shared, dim, encoder)

    @contextmanager
    def using(self, name: str) -> Iterator[Collection]:
        """A collection for the time of the block.

        Raises:
            Refusal: there is none of that name, or it was removed meanwhile.
        """
        collection = self.acquire(name)
        try:
            yield collection
        except (IndexNotFoundError, CorruptIndexError, StorageError) as error:
            raise self.explained(collection, error) from error
        finally:
            collection.release()

    def explained(self, collection: Collection, error: Exception) -> Exception:
        """The error itself, or that the collection was removed or replaced under a request."""
        if not isinstance(error, IndexNotFoundError):
            try:
                with collection.index.snapshot():
                    return error
            except IndexNotFoundError as gone:
                error = gone
            except WeftError:
                if is_index(self.path(collection.name)):
                    return error
        self.forget(collection)
        return error if is_index(self.path(collection.name)) else missing(collection.name)

    def forget(self, collection: Collection) -> None:
        """Open it anew the next time."""
        with self._lock:
            if self._open.get(collection.name) is collection:
                del self._open[collection.name]
        collection.retire()

    def create(
        self,
        name: str,
        *,
        dim: int | None = None,
        bits: int = limits.DEFAULT_BITS,
        flat_below_tokens: int = limits.FLAT_BELOW_TOKENS,
    ) -> None:
        """Make an empty collection, with the service's encoder unless `dim` is given.

        Raises:
            Refusal: there is one of that name, or the service has one index alone.
            InvalidParameterError: name, dim or another parameter cannot be used.
        """
        self.require_many()
        path = self.path(name)
        encoder = None if dim is not None else self._encoders.default()
        try:
            Index.create(
                path, encoder=encoder, dim=dim, bits=bits, flat_below_tokens=flat_below_tokens
            ).close()
        except IndexExistsError as error:
            raise Refusal(
                409, "collection_exists", f"There is a collection {name!r}.", param="name"
            ) from error

    def delete(self, name: str) -> None:
        """Remove a collection with all its documents; what is under way in it ends first.

        Raises:
            Refusal: there is none of that name, or the service has one index alone.
        """
        self.require_many()
        path = self.path(name)
        with self._lock:
            if name in self._removing or not is_index(path):
                raise missing(name)
            self._removing.add(name)
            opening = self._opening.setdefault(name, threading.Lock())
        try:
            with opening:  # whoever is opening it has done so, and nobody does from now on
                collection = self._open.pop(name, None)
            if collection is not None:
                collection.retire()
                collection.wait_until_idle(PATIENCE_SECONDS)
            self._remove(name, path)
        finally:
            with self._lock:
                self._removing.discard(name)

    def _remove(self, name: str, path: Path) -> None:
        trash = self.records.trash()
        try:
            path.rename(trash)  # at once for all processes, and for whoever makes it anew
        except FileNotFoundError as error:
            raise missing(name) from error
        self.records.forget_store(name)
        shutil.rmtree(trash, ignore_errors=True)

    def require_many(self) -> None:
        """Refuse where one index alone is served."""
        if self.single is not None:
            raise Refusal(
                403,
                "single_index",
                "This service serves one index: start it on a folder of collections instead.",
            )

    def close(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Close all, when nobody uses them any more."""
        with self._lock:
            found, self._open = list(self._open.values()), {}
        deadline = time.monotonic() + seconds
        for collection in found:
            collection.retire()
        for collection in found:
            collection.wait_until_idle(max(0.0, deadline - time.monotonic()))


def is_index(folder: Path) -> bool:
    """Whether a folder holds an index."""
    try:
        return any(entry.name.startswith("manifest.") for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False


def missing(name: str) -> Refusal:
    """There is no collection of that name."""
    return Refusal(404, "collection_not_found", f"There is no collection {name!r}.")
