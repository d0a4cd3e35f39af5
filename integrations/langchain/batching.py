"""Retrievers whose `batch` encodes and searches once, and whose settings a config may change."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForRetrieverRun,
    CallbackManager,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, RetrieverOutput
from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig, RunnableSerializable
from langchain_core.runnables.config import ensure_config, get_config_list, run_in_executor
from langchain_core.runnables.utils import AnyConfigurableField

from .settings import NAMES

Documents = list[Document]


class BatchedRetriever(BaseRetriever):
    """What Weft's retrievers have in common; not to be used by itself.

    `config={"configurable": {"k": 3}}` changes what a call's own arguments do not set.
    """

    configurable: tuple[str, ...] = NAMES
    """Names that a config's `configurable` may set."""

    @abstractmethod
    def _retrieve(
        self, queries: Sequence[str], given: Sequence[Mapping[str, Any]]
    ) -> list[Documents | Exception]:
        """Documents per query, or the error that concerns it alone.

        Args:
            queries: texts.
            given: what each call sets, over what the retriever was made with.
        """

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """What a config may set."""
        # The same for every retriever, so that two of them in a chain do not contradict.
        return [
            ConfigurableFieldSpec(
                id=name,
                annotation=Any,
                name=name,
                description=f"`{name}` of Weft's retrievers; None leaves it as it was made.",
                default=None,
            )
            for name in self.configurable
        ]

    def configurable_fields(
        self, **kwargs: AnyConfigurableField
    ) -> RunnableSerializable[str, RetrieverOutput]:
        """Fields that a config may set under ids of the caller's choice, and no longer ours."""
        left = tuple(name for name in self.configurable if name not in kwargs)
        return BaseRetriever.configurable_fields(
            self.model_copy(update={"configurable": left}), **kwargs
        )

    def _given(self, config: RunnableConfig | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        configured = ensure_config(config).get("configurable") or {}
        return {name: configured[name] for name in self.configurable if name in configured} | {
            **kwargs
        }

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Documents:
        """The documents for a query.

        Args:
            input: the query.
            config: of the run; its `configurable` may set what `kwargs` may.
            kwargs: `k`, `filter`, keys and search parameters for this call.
        """
        return super().invoke(input, config, **self._given(config, kwargs))

    async def ainvoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Documents:
        """`invoke` without blocking the event loop."""
        return await super().ainvoke(input, config, **self._given(config, kwargs))

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Documents]:
        """The documents for several queries, encoded together and searched on one generation.

        Args:
            inputs: the queries.
            config: of all runs, or one for each.
            return_exceptions: put the error that concerns one query into its place.
            kwargs: as of `invoke`, for all of them.
        """
        if not inputs:
            return []
        configs = get_config_list(config, len(inputs))
        runs = [self._start(*call, kwargs) for call in zip(inputs, configs, strict=True)]
        try:
            outcomes = self._retrieve(inputs, [self._given(c, kwargs) for c in configs])
        except BaseException as error:
            for run in runs:
                run.on_retriever_error(error)
            raise
        for run, outcome in zip(runs, outcomes, strict=True):
            if isinstance(outcome, Exception):
                run.on_retriever_error(outcome)
            else:
                run.on_retriever_end(outcome)
        return _checked(outcomes, return_exceptions)

    async def abatch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Documents]:
        """`batch` without blocking the event loop."""
        if not inputs:
            return []
        configs = get_config_list(config, len(inputs))
        runs = [await self._astart(*call, kwargs) for call in zip(inputs, configs, strict=True)]
        given = [self._given(c, kwargs) for c in configs]
        try:
            outcomes = await run_in_executor(configs[0], self._retrieve, inputs, given)
        except BaseException as error:
            for run in runs:
                await run.on_retriever_error(error)
            raise
        for run, outcome in zip(runs, outcomes, strict=True):
            if isinstance(outcome, Exception):
                await run.on_retriever_error(outcome)
            else:
                await run.on_retriever_end(outcome)
        return _checked(outcomes, return_exceptions)

    def _start(
        self, query: str, config: RunnableConfig, kwargs: Mapping[str, Any]
    ) -> CallbackManagerForRetrieverRun:
        manager = CallbackManager.configure(
            config.get("callbacks"), None, **self._tracing(config, kwargs)
        )
        return manager.on_retriever_start(None, query, **self._naming(config))

    async def _astart(
        self, query: str, config: RunnableConfig, kwargs: Mapping[str, Any]
    ) -> AsyncCallbackManagerForRetrieverRun:
        manager = AsyncCallbackManager.configure(
            config.get("callbacks"), None, **self._tracing(config, kwargs)
        )
        return await manager.on_retriever_start(None, query, **self._naming(config))

    def _tracing(self, config: RunnableConfig, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """As `BaseRetriever.invoke` does it."""
        return {
            "inheritable_tags": config.get("tags"),
            "local_tags": self.tags,
            "inheritable_metadata": {
                **(config.get("metadata") or {}),
                **self._get_ls_params(**kwargs),
            },
            "local_metadata": self.metadata,
        }

    def _naming(self, config: RunnableConfig) -> dict[str, Any]:
        return {"name": config.get("run_name") or self.get_name(), "run_id": config.get("run_id")}


def _checked(outcomes: list[Documents | Exception], return_exceptions: bool) -> list[Documents]:
    if not return_exceptions:
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
    return outcomes  # type: ignore[return-value]  # as the interface has it
