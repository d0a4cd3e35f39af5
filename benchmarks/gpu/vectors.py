"""Test vectors made on the device, clustered like those of a late-interaction encoder.

How: `n_topics` directions are drawn uniformly; each topic has `per_topic` word senses, directions
at a cosine of about .8 to it; 64 further senses stand for function words that every passage has. A
passage draws three topics, and each of its 70 tokens is a function word with probability .2, else
a sense of one of its topics, the i-th with probability proportional to 1 / (i + 3) (Zipf). A
token's vector is its sense plus Gaussian noise of length .55, normalised: its cosine with the
sense is about .88, like that of real tokens with their centroid at this many centroids. A query is
the first 32 tokens of a passage made by the same rule and not indexed, each mixed anew with noise.
Chunk number and seed decide every number, so that chunks can be made again instead of being kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

TOKENS = 70
DIM = 128
FUNCTION_WORDS = 64


@dataclass
class World:
    """Where vectors come from.

    Args:
        senses: float32 [n_topics * per_topic, dim], unit.
        common: float32 [FUNCTION_WORDS, dim], unit.
        per_topic: senses of a topic.
    """

    senses: torch.Tensor
    common: torch.Tensor
    per_topic: int

    @property
    def n_topics(self) -> int:
        return len(self.senses) // self.per_topic


def unit(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows, dim=-1)


def make_world(device: str, n_topics: int, per_topic: int = 32, seed: int = 1) -> World:
    """Topics with their senses."""
    generator = torch.Generator(device).manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    topics = unit(draw(n_topics, 1, DIM))
    noise = unit(draw(n_topics, per_topic, DIM))
    senses = unit(topics * 0.8 + noise * 0.6).reshape(-1, DIM)
    return World(senses, unit(draw(FUNCTION_WORDS, DIM)), per_topic)


def passages(world: World, n: int, seed: int, noise: float = 0.55) -> torch.Tensor:
    """float16 [n, TOKENS, DIM], unit."""
    device = world.senses.device
    generator = torch.Generator(device).manual_seed(seed)
    shape = (n, TOKENS)
    topics = torch.randint(world.n_topics, (n, 3), generator=generator, device=device)
    which = torch.randint(3, shape, generator=generator, device=device)
    weights = 1 / (torch.arange(world.per_topic, device=device, dtype=torch.float32) + 3)
    ranks = torch.multinomial(weights, n * TOKENS, True, generator=generator).reshape(shape)
    rows = world.senses[topics.gather(1, which) * world.per_topic + ranks]
    words = torch.randint(FUNCTION_WORDS, shape, generator=generator, device=device)
    is_common = torch.rand(shape, generator=generator, device=device) < 0.2
    rows = torch.where(is_common[..., None], world.common[words], rows)
    spread = torch.randn(n, TOKENS, DIM, generator=generator, device=device)
    return unit(rows + spread * (noise / DIM**0.5)).half()


def queries(world: World, n: int, seed: int) -> torch.Tensor:
    """float32 [n, 32, DIM], unit."""
    rows = passages(world, n, seed)[:, :32].float()
    generator = torch.Generator(rows.device).manual_seed(seed + 1)
    spread = torch.randn(rows.shape, generator=generator, device=rows.device)
    return unit(rows + spread * (0.3 / DIM**0.5))
