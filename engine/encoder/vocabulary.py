"""A checkpoint's tokenizer file: token numbers, special tokens and character offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import CheckpointError
from .checkpoint import Checkpoint
from .configuration import Settings, read_object

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_PROBE: Final = "a"
# Without any of these, transformers makes up a tokenizer that knows special tokens only.
_VOCABULARIES: Final = (
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
_USUAL: Final = {
    "mask_token": ("[MASK]", "<mask>"),
    "pad_token": ("[PAD]", "<pad>"),
    "eos_token": ("</s>", "[SEP]"),
    "unk_token": ("[UNK]", "<unk>"),
}


class Vocabulary:
    """A fast tokenizer without truncation and padding, and its special tokens. Thread-safe.

    Args:
        tokenizer: used as it is from here on; nobody else may change it.
        special: names of special tokens by role (`mask_token`, `pad_token`, `eos_token`,
            `unk_token`).
        folder: whose tokenizer it is, for messages.

    Raises:
        CheckpointError: by it and by each method, where the files contradict themselves.
    """

    def __init__(self, tokenizer: Tokenizer, special: dict[str, str], folder: Path) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        with _refusals_of(folder, Exception):
            tokenizer.no_padding()
            tokenizer.no_truncation()
            self.prefix, self.suffix = self._surroundings()
            self.mask = self._role(special, "mask_token")
            self.end = self._role(special, "eos_token")
            self.unknown = self._role(special, "unk_token")
            self.padding = self._role(special, "pad_token") or 0

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokens of each text, without special tokens, with character offsets."""
        with _refusals_of(self._folder):
            return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)

    def number(self, token: str) -> int | None:
        """A token's number, or None where it is not in the vocabulary."""
        with _refusals_of(self._folder, UnicodeEncodeError):
            return self._tokenizer.token_to_id(token)

    def name(self, number: int) -> str:
        """A token as it stands in the vocabulary."""
        return self._tokenizer.id_to_token(number) or f"#{number}"

    def _surroundings(self) -> tuple[list[int], list[int]]:
        encoding = self._tokenizer.encode(_PROBE)
        own = [n for n, special in enumerate(encoding.special_tokens_mask) if not special]
        if not own:
            # The probe is unknown and dropped, so all special tokens count as a prefix.
            return list(encoding.ids), []
        return encoding.ids[: own[0]], encoding.ids[own[-1] + 1 :]

    def _role(self, special: dict[str, str], role: str) -> int | None:
        names = (special[role],) if role in special else _USUAL[role]
        found = (self._tokenizer.token_to_id(name) for name in names)
        return next((number for number in found if number is not None), None)


def load_vocabulary(checkpoint: Checkpoint) -> Vocabulary:
    """Read a checkpoint's tokenizer, from `tokenizer.json` directly where there is one.

    Raises:
        CheckpointError: there is no tokenizer, it is damaged, or has no fast form.
    """
    folder = checkpoint.backbone
    settings = _tokenizer_settings(folder)
    path = folder / "tokenizer.json"
    tokenizer = _from_file(path) if path.is_file() else _converted(folder)
    known, embedded = tokenizer.get_vocab_size(), checkpoint.config.get("vocab_size")
    if isinstance(embedded, int) and known > embedded:
        raise CheckpointError(
            f"{folder}: its tokenizer knows {known} tokens, but config.json has embeddings for "
            f"{embedded}; use the tokenizer files published with the weights"
        )
    _apply_casing(tokenizer, folder, settings, checkpoint.rules.lower_case)
    return Vocabulary(tokenizer, _special_tokens(settings), folder)


@contextmanager
def _refusals_of(folder: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Turn what the tokenizer library raises on unusable files into an error that names them.

    A panic of its Rust code is no `Exception` in Python, and its class has no public name.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, kinds) and type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(
            f"{folder}: its tokenizer cannot be used ({type(error).__name__}: {error}); use the "
            "tokenizer files published with the checkpoint"
        ) from error


def _from_file(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        # The library raises nothing more precise.
        raise CheckpointError(
            f"{path} cannot be read as a tokenizer ({error}); fetch it again"
        ) from error


def _converted(folder: Path) -> Tokenizer:
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise CheckpointError(
            f"{folder} holds no tokenizer; copy the checkpoint's tokenizer.json there"
        )
    try:
        found: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, LookupError, TypeError, ImportError) as error:
        raise CheckpointError(
            f"{folder} holds no tokenizer.json, and no other tokenizer could be made of its files "
            f"({type(error).__name__}: {error}); copy the checkpoint's tokenizer files there"
        ) from error
    tokenizer: Tokenizer | None = getattr(found, "backend_tokenizer", None)
    if tokenizer is None:
        raise CheckpointError(
            f"{folder}: its tokenizer has no fast form, which character spans need; save it as "
            "tokenizer.json"
        )
    return tokenizer


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings.update(read_object(folder / name))
    return settings


def _special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    special = {}
    for role in _USUAL:
        found = settings.get(role)
        if isinstance(found, dict):
            found = found.get("content")
        if isinstance(found, str):
            special[role] = found
    return special


def _apply_casing(
    tokenizer: Tokenizer, folder: Path, settings: dict[str, Any], lower_case: bool
) -> None:
    """Let `tokenizer_config.json` decide on casing where it contradicts `tokenizer.json`."""
    from tokenizers import normalizers

    present = tokenizer.normalizer
    found = Settings(folder / "tokenizer_config.json", settings)
    if isinstance(present, normalizers.BertNormalizer):
        for key, attribute in (
            ("do_lower_case", "lowercase"),
            ("strip_accents", "strip_accents"),
            ("tokenize_chinese_chars", "handle_chinese_chars"),
        ):
            if settings.get(key) is not None:
                setattr(present, attribute, found.flag(key, False))
        tokenizer.normalizer = present
    if lower_case:
        steps = [normalizers.Lowercase(), *([present] if present is not None else [])]
        tokenizer.normalizer = normalizers.Sequence(steps)
