"""The tokens that are valid now: DRIPLINE_TOKEN, and those of the file of `--tokens`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from dripline_server import token_file
from dripline_server.callers import UNNAMED, Caller
from dripline_server.settings import BadSetting, Settings
from dripline_server.token_file import BadTokenFile

logger = logging.getLogger(__name__)

# Seconds between two looks at the file.
PERIOD = 0.4


class KnownTokens:
    """Finds the caller whose token a request has.

    Args:
        settings: Give DRIPLINE_TOKEN and the file.

    Raises:
        BadSetting: The file cannot be read or used.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = Path(settings.tokens) if settings.tokens else None
        self._token = settings.token
        self._removed: list[Callable[[str], None]] = []
        self._callers: dict[str, Caller] = {}
        self._names: frozenset[str] = frozenset()
        self._seen: str | BadTokenFile = ""
        if self._path:
            try:
                self._seen = token_file.content(self._path)
                self._set(token_file.parse(self._seen, self._path))
            except BadTokenFile as error:
                raise BadSetting(f"--tokens: {error}") from error
        else:
            self._set({})

    @property
    def needed(self) -> bool:
        """Whether the server needs a token. An empty file is one that nobody has a token in."""
        return bool(self._token or self._path)

    def caller_of(self, token: bytes) -> Caller | None:
        """Return the caller who has this token; None if nobody has it.

        It is looked up by its hash. So the time that this takes can reveal something about the hash
        at most, from which nobody can compute a token.
        """
        if not self.needed:
            return UNNAMED
        # No token is nobody's, even if the file has the hash of an empty text by mistake.
        return self._callers.get(token_file.hash_of(token)) if token else None

    def knows(self, name: str) -> bool:
        """Whether the caller of this name may still use the server."""
        return not name or name in self._names

    def when_removed(self, act: Callable[[str], None]) -> None:
        """Call `act` with each name that is removed from the file, in the event loop."""
        self._removed.append(act)

    async def watch(self) -> None:
        """Read the file again whenever it changes, until cancelled.

        A file that cannot be used changes nothing: who had a token before still has it. So does one
        that another look, a moment later, finds changed again: an editor may be writing it, and
        half of a file is often a valid file that lacks names.
        """
        if self._path is None:
            return
        before = self._seen
        while True:
            await asyncio.sleep(PERIOD)
            # Each time the whole text: a file can change within its time stamp's resolution. In a
            # thread, because the file may be on a network.
            found = await asyncio.to_thread(_content, self._path)
            if _same(found, before) and not _same(found, self._seen):
                self._seen = found
                try:
                    await self._read_again(found, self._path)
                except Exception:  # the next change has to be seen all the same
                    logger.exception("a fault in dripline")
            before = found

    async def _read_again(self, found: str | BadTokenFile, path: Path) -> None:
        try:
            if isinstance(found, BadTokenFile):
                raise found
            callers = await asyncio.to_thread(token_file.parse, found, path)
        except BadTokenFile as error:
            logger.error("--tokens: %s; the tokens stay as they were", error)
            return
        before = self._names
        self._set(callers)
        logger.info("the tokens have changed", extra={"tokens": len(callers)})
        for name in sorted(before - self._names):
            for act in self._removed:
                act(name)

    def _set(self, callers: dict[str, Caller]) -> None:
        main = {token_file.hash_of(self._token.encode()): UNNAMED} if self._token else {}
        # If one of them is DRIPLINE_TOKEN too, its limits hold.
        self._callers = {**main, **callers}
        self._names = frozenset(caller.name for caller in callers.values())


def _content(path: Path) -> str | BadTokenFile:
    try:
        return token_file.content(path)
    except BadTokenFile as error:
        return error


def _same(one: str | BadTokenFile, other: str | BadTokenFile) -> bool:
    return type(one) is type(other) and str(one) == str(other)
