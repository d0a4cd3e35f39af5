"""A cheap, deterministic encoder: one random unit vector per word, the same wherever it stands."""

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from weft.engine.encoder.base import EncoderIdentity, Token

WORD = re.compile(r"\w+|[^\w\s]")


@cache
def word_vector(seed, dim, word):
    digest = hashlib.blake2b(f"{seed}:{word}".encode(), digest_size=8).digest()
    values = np.random.default_rng(int.from_bytes(digest, "little")).normal(size=dim)
    return (values / np.linalg.norm(values)).astype(np.float32)


@dataclass
class WordEncoder:
    dim: int = 32
    document_maxlen: int = 40
    overlap: int = 5
    seed: int = 0
    source: str = "word-encoder"
    announcement: str | None = None
    calls: list = field(default_factory=list)

    @property
    def identity(self):
        return EncoderIdentity(
            name=f"words-{self.seed}",
            content_hash=hashlib.blake2b(f"{self.seed}".encode(), digest_size=16).hexdigest(),
            dim=self.dim,
            query_maxlen=64,
            document_maxlen=self.document_maxlen,
            details={"kind": "words"},
        )

    def vector(self, word):
        return word_vector(self.seed, self.dim, word.lower())

    def _encode(self, text):
        words = [t.text for t in self.passage_tokens(text)] or [""]
        return np.stack([self.vector(word) for word in words])

    def encode_queries(self, texts):
        self.calls.append(("queries", len(texts)))
        return [self._encode(text) for text in texts]

    def encode_passages(self, texts, *, languages=None, progress=False):
        self.calls.append(("passages", len(texts)))
        return [self._encode(text) for text in texts]

    def split(self, text):
        words = [m.span() for m in WORD.finditer(text)]
        if len(words) <= self.document_maxlen:
            return [(0, len(text))]
        step = self.document_maxlen - self.overlap
        starts = range(0, len(words) - self.overlap, step)
        return [
            (words[s][0], words[min(s + self.document_maxlen, len(words)) - 1][1]) for s in starts
        ]

    def split_many(self, texts):
        return [self.split(text) for text in texts]

    def query_tokens(self, text):
        return self.passage_tokens(text)

    def passage_tokens(self, text):
        return [Token(m.group(), *m.span()) for m in WORD.finditer(text)]
