"""Every error that Weft raises on purpose.

    WeftError
    ├── InvalidInputError (ValueError)      what was handed in cannot be used
    │   ├── InvalidDocumentError            a text, id, metadata or span
    │   ├── DuplicateDocumentError          an id that is there already
    │   ├── InvalidEmbeddingError           NaN, infinity, zero rows, a wrong dtype or shape
    │   │   └── DimensionMismatchError      vectors of another dim than the index holds
    │   ├── InvalidQueryError               an empty or unusable query
    │   ├── InvalidParameterError           unknown, or outside its range
    │   ├── InvalidFilterError              a metadata filter that is not understood
    │   ├── InvalidTrainingDataError        a line that cannot be trained on; names it
    │   ├── ForeignIndexError               another package's index that cannot be imported
    │   └── InvalidSubmissionError          a file in the inbox that is no submission
    ├── EncoderError
    │   ├── EncoderMismatchError            the index was made with another encoder
    │   └── CheckpointError                 a model folder that cannot be read
    ├── TrainingError                       training diverged, or a run cannot go on
    ├── DeviceError
    │   ├── DeviceUnavailableError          no GPU can be used; says why
    │   ├── DeviceMemoryError (MemoryError) the index does not fit the GPU
    │   └── DeviceFailedError               the GPU or its driver failed
    ├── MissingDependencyError (ImportError) an extra that is not installed
    ├── IndexNotFoundError (FileNotFoundError)
    │   └── IndexReplacedError              another index stands where it was opened
    ├── IndexExistsError (FileExistsError)
    ├── UnsupportedFormatError              written by a newer Weft
    ├── CorruptIndexError                   a byte on disk is not what was written
    ├── StorageError (OSError)              the disk refused
    │   ├── CommitUncertainError            the outcome of a commit is not known
    │   ├── CommitConflictError             other writers kept winning
    │   ├── QueueFullError                  too many documents wait in the inbox
    │   └── WriterClosedError               a writer that failed an fsync, or was closed
    ├── SubmissionFailedError               workers set aside what was submitted
    ├── SubmissionPendingError (TimeoutError) not committed in the time that was given
    └── SnapshotClosedError                 a snapshot used after close, or collected

Each message names the culprit and the remedy. Nothing has been written when an
InvalidInputError is raised.
"""

from __future__ import annotations

from collections.abc import Mapping


class WeftError(Exception):
    """The root of all errors that Weft raises on purpose."""


class InvalidInputError(WeftError, ValueError):
    """What was handed in cannot be used; nothing was written."""


class InvalidDocumentError(InvalidInputError):
    """A document's text, id or metadata cannot be stored."""


class DuplicateDocumentError(InvalidInputError):
    """A document id is in the index, or twice in one call."""


class InvalidEmbeddingError(InvalidInputError):
    """Embeddings hold NaN, infinity, no rows, or have an unusable shape or dtype."""


class DimensionMismatchError(InvalidEmbeddingError):
    """Embeddings have another dim than the index."""


class InvalidQueryError(InvalidInputError):
    """A query is empty or of a type that cannot be searched."""


class InvalidParameterError(InvalidInputError):
    """A parameter is unknown or outside its range."""


class InvalidFilterError(InvalidInputError):
    """A metadata filter holds an unknown operator or an unusable operand."""


class InvalidTrainingDataError(InvalidInputError):
    """Queries, passages or scores that cannot be trained on; names file and line."""


class ForeignIndexError(InvalidInputError):
    """A folder is no index that can be imported, or a damaged one; names the file."""


class InvalidSubmissionError(InvalidInputError):
    """A file in the inbox is damaged, or was not written by Weft's client."""


class EncoderError(WeftError):
    """The root of errors about encoders."""


class EncoderMismatchError(EncoderError):
    """The index was made with another encoder: equal dims would give silent garbage."""


class CheckpointError(EncoderError):
    """A checkpoint folder is missing, of no known layout, or damaged."""


class TrainingError(WeftError):
    """A training run diverged, or what it left cannot be gone on with."""


class DeviceError(WeftError):
    """The root of errors about GPUs; with `device="auto"` none is raised."""


class DeviceUnavailableError(DeviceError):
    """A GPU was asked for and none can be used; the message says why."""


class DeviceMemoryError(DeviceError, MemoryError):
    """The memory of the GPU does not hold what is asked of it; the index can be opened without."""


class DeviceFailedError(DeviceError):
    """The GPU or its driver failed while it worked; this process may have lost it for good."""


class MissingDependencyError(WeftError, ImportError):
    """A package of an optional extra is not installed."""


class IndexNotFoundError(WeftError, FileNotFoundError):
    """The path holds no Weft index."""


class IndexReplacedError(IndexNotFoundError):
    """Another index has taken the place of the one that is open; open it again."""


class IndexExistsError(WeftError, FileExistsError):
    """The path already holds an index, or files that are not one."""


class UnsupportedFormatError(WeftError):
    """The index was written by a newer Weft, or needs a feature that this one lacks."""


class CorruptIndexError(WeftError):
    """A file of the index is missing or not what was written; names file and offset."""


class StorageError(WeftError, OSError):
    """The disk refused a read or a write."""


class CommitUncertainError(StorageError):
    """A commit may or may not have happened; read the index again to learn which."""


class CommitConflictError(StorageError):
    """A commit lost against other writers too many times; nothing of it was applied."""


class QueueFullError(StorageError):
    """As many documents wait in the inbox as are allowed; nothing was submitted."""


class WriterClosedError(StorageError):
    """The writer was closed, or ended itself after a failed fsync; open the index again."""


class SubmissionFailedError(WeftError):
    """Workers set aside what was submitted, or some documents of it; the others are in the index.

    Args:
        message: for people.
        reasons: why, by document id; "" stands for all of them.
    """

    def __init__(self, message: str, reasons: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reasons = dict(reasons or {})


class SubmissionPendingError(WeftError, TimeoutError):
    """What was submitted is durable, but was not committed in the time that was given."""


class SnapshotClosedError(WeftError):
    """A snapshot was used after it was closed or after its pin had expired."""
