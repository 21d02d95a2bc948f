"""A block that works with `with` and `async with` alike, written once."""

import logging
from types import TracebackType
from typing import Self

from procurator.errors import ProcuratorError

log = logging.getLogger(__name__)


class Scope:
    """Subclasses say what entering and leaving do; neither waits for IO, so both kinds of block may call them."""

    def _enter(self) -> None:
        raise NotImplementedError

    def _leave(self, error: BaseException | None) -> None:
        """Leave the block; ``error`` is what leaves with it and is never swallowed."""
        raise NotImplementedError

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

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._exit(error)
