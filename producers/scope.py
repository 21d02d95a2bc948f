"""A block that works with `with` and `async with` alike, written once."""

import logging
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from procurator.errors import ProcuratorError

log = logging.getLogger(__name__)


class Scope(ABC):
    """Subclasses say what entering and leaving do; neither waits for IO, so both kinds of block may call them.

    What may wait to be entered overrides `_enter_async` too.
    """

    @abstractmethod
    def _enter(self) -> None:
        """Enter the block."""

    async def _enter_async(self) -> None:
        self._enter()

    @abstractmethod
    def _leave(self, error: BaseException | None) -> None:
        """Leave the block; ``error`` is what leaves with it and is never swallowed."""

    def _instead(self, error: BaseException | None) -> BaseException | None:
        """Return what is to leave the block in place of ``error`` (None: nothing leaves), None to leave that alone."""
        return None

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exit(error)

    def _exit(self, error: BaseException | None) -> None:
        try:
            self._leave(error)
        except ProcuratorError as ours:
            if error is None:
                raise
            log.error("%s", ours)  # What already leaves the block says more.
        finally:
            instead = self._instead(error)
        if instead is not None:
            raise instead from error

    async def __aenter__(self) -> Self:
        await self._enter_async()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._exit(error)
