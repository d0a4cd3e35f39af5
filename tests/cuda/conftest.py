"""Every test of kernels runs on the device on the host, and with `-m cuda` on the GPU as well."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from devices import DEVICES, module_of

from weft.kernels import cuda_device


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each device in turn, as the module that all kernels then come from."""
    module = module_of(request.param)
    with cuda_device.use_cuda_module(module):
        yield module


@pytest.fixture
def emulation() -> Iterator[Any]:
    """The device on the host alone, and what steers it; nothing was overrun at the end."""
    module = module_of("emulated")
    state = module.emulation()
    state.memory_bytes, state.fail_after, state.n_devices = 1 << 33, -1, 1
    state.order = module.Order.forward
    overruns = state.n_overruns
    with cuda_device.use_cuda_module(module):
        yield state
    state.memory_bytes, state.fail_after, state.n_devices = 1 << 33, -1, 1
    state.order = module.Order.forward
    gc.collect()
    assert state.n_overruns == overruns
