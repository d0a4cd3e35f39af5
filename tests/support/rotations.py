"""What a codec's rotation does, from its definition in docs/format.md, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np


def turned(rotation: Any, rows: Any) -> Any:
    """Rows as the codec's centroids stand: the components i, i + dim / b, ... make block i."""
    if rotation is None:
        return rows.astype(np.float64)
    blocks = rows.astype(np.float64).reshape(len(rows), len(rotation), -1).transpose(0, 2, 1)
    return (blocks @ rotation.astype(np.float64)).reshape(rows.shape)


def turned_back(rotation: Any, rows: Any) -> Any:
    """The inverse of `turned`."""
    if rotation is None:
        return rows.astype(np.float64)
    blocks = rows.astype(np.float64).reshape(len(rows), -1, len(rotation))
    blocks = blocks @ rotation.astype(np.float64).T
    return blocks.transpose(0, 2, 1).reshape(rows.shape)
