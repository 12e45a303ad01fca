"""Every option of the server, once: its flag, environment variable, default and meaning.

Nothing else in dripline reads the environment or defines a flag.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from yarl import URL

MIB = 1024 * 1024
DEFAULT_OLLAMA_URL = "http://127.0.0.1:11434"


class BadSetting(ValueError):
    """An option has a value that cannot be; the message names the option."""


def _number(text: str, *, least: float = 0) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise ValueError(f"not a number from {least:g} up")
    return value


def _whole(text: str, *, least: int, most: float = math.inf) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        upper = "up" if most == math.inf else f"to {most}"
        raise ValueError(f"not a whole number from {least} {upper}")
    return int(text)


def _count(text: str) -> int:
    return _whole(text, least=1)


def port_number(text: str) -> int:
    """Return the port that `text` names; 0 stands for a free one.

    Raises:
        ValueError: It names none.
    """
    return _whole(text, least=0, most=65535)


def _level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("not one of debug, info, warning, error")
    return text.lower()


def _url(text: str) -> str:
    """Take what OLLAMA_HOST may hold too: a bare host, which means port 11434, or a bare port."""
    if text.startswith(":") and text[1:].isdigit():
        text = f"127.0.0.1{text}"
    elif "://" not in text and text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # an IPv6 address
    url = URL(text if "://" in text else f"http://{text}")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("not an http:// or https:// address")
    if "://" not in text and url.explicit_port is None:
        url = url.with_port(11434)
    return str(url).rstrip("/")


def _run_log(text: str) -> str:
    if text != "memory" and not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("neither memory nor a redis://, rediss:// or unix:// address")
    return text


def _lease(text: str) -> float:
    return _number(text, least=1)


def option(
    default: Any,
    meaning: str,
    *,
    parse: Callable[[str], Any] = str,
    metavar: str = "TEXT",
    variable: str = "",
) -> Any:
    """Declare an option; one with its own `variable` is read from there and has no flag."""
    metadata = {"meaning": meaning, "parse": parse, "metavar": metavar, "variable": variable}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is told; the flag of `stall_timeout` is `--stall-timeout`."""

    host: str = option("127.0.0.1", "Address to listen on.", metavar="HOST")
    port: int = option(
        8000, "Port to listen on; 0 takes a free one.", parse=port_number, metavar="PORT"
    )
    ollama: str | None = option(
        None,
        "Where Ollama answers. By default where OLLAMA_HOST says, or at"
        f" {DEFAULT_OLLAMA_URL}, or else the built-in fake does; with this flag it never does.",
        parse=_url,
        metavar="URL",
    )
    ollama_host: str = option(
        DEFAULT_OLLAMA_URL,
        "Where Ollama answers, as Ollama's own tools read it; `--ollama` goes before it.",
        parse=_url,
        metavar="URL",
        variable="OLLAMA_HOST",
    )
    model: str = option("", "Model for requests that name none.", metavar="NAME")
    tools: str = option(
        "",
        "Python modules whose public functions models may call, such as package.module; several"
        " with commas between.",
        metavar="MODULES",
    )
    tool_timeout: float = option(
        30.0,
        "Seconds that a call of a tool may take where the tool does not say.",
        parse=_number,
        metavar="SECONDS",
    )
    max_tool_rounds: int = option(
        8,
        "How many times in one chat a model is asked with the server's tools; then it is asked to"
        " answer without.",
        parse=_count,
        metavar="NUMBER",
    )
    max_tool_result: int = option(
        65_536,
        "Longest result of a tool, in characters; what is beyond is cut off.",
        parse=_count,
        metavar="NUMBER",
    )
    stall_timeout: float = option(
        600.0,
        "Seconds that Ollama may be silent; loading a model counts. 0: no limit.",
        parse=_number,
        metavar="SECONDS",
    )
    heartbeat: float = option(
        15.0,
        "Seconds of silence before readers get a heartbeat comment. 0: none.",
        parse=_number,
        metavar="SECONDS",
    )
    reader_timeout: float = option(
        60.0,
        "Seconds for which a reader may take nothing of what waits for it. 0: no limit.",
        parse=_number,
        metavar="SECONDS",
    )
    loading_after: float = option(
        1.0,
        "Seconds of silence before readers are told that the model is loading.",
        parse=_number,
        metavar="SECONDS",
    )
    grace: float = option(
        30.0,
        "Seconds for which a chat goes on without a reader. 0: it stops at once.",
        parse=_number,
        metavar="SECONDS",
    )
    keep_time: float = option(
        300.0,
        "Seconds for which an ended chat can be read again.",
        parse=_number,
        metavar="SECONDS",
    )
    keep_runs: int = option(
        1000, "Ended chats that can be read again.", parse=_count, metavar="NUMBER"
    )
    max_runs: int = option(10_000, "Chats that go on at once.", parse=_count, metavar="NUMBER")
    max_readers: int = option(100, "Readers of one chat.", parse=_count, metavar="NUMBER")
    log_bytes: int = option(
        8 * MIB,
        "What can be read again of one chat, in bytes; older events are dropped.",
        parse=_count,
        metavar="BYTES",
    )
    total_log_bytes: int = option(
        512 * MIB, "The same, of all chats together.", parse=_count, metavar="BYTES"
    )
    record: str = option(
        "",
        "Folder for recordings, one file a chat: Ollama's bytes, and what was sent to each reader."
        " They hold what people write. None by default.",
        metavar="DIR",
    )
    run_log: str = option(
        "memory",
        "Where chats are kept: memory, or redis://HOST:PORT/DB, which several servers can share.",
        parse=_run_log,
        metavar="WHERE",
    )
    lease_time: float = option(
        5.0,
        "Seconds after which the chats of a server that died are given up; with Redis.",
        parse=_lease,
        metavar="SECONDS",
    )
    drain_time: float = option(
        10.0,
        "Seconds for which chats may go on after SIGTERM or Ctrl-C; a second one ends them.",
        parse=_number,
        metavar="SECONDS",
    )
    max_body: int = option(
        32 * MIB, "Largest request body, in bytes.", parse=_count, metavar="BYTES"
    )
    max_upstream_line: int = option(
        16 * MIB, "Largest line taken from Ollama, in bytes.", parse=_count, metavar="BYTES"
    )
    log_level: str = option(
        "info", "How much to log: debug, info, warning, error.", parse=_level, metavar="LEVEL"
    )

    @property
    def ollama_url(self) -> str:
        """Where Ollama should answer."""
        return self.ollama or self.ollama_host


def flag_of(declared: Field[Any]) -> str | None:
    """Return the option's flag, such as `--stall-timeout`, or None where it has none."""
    return None if declared.metadata["variable"] else "--" + declared.name.replace("_", "-")


def variable_of(declared: Field[Any]) -> str:
    """Return the option's environment variable, such as `DRIPLINE_STALL_TIMEOUT`."""
    return declared.metadata["variable"] or "DRIPLINE_" + declared.name.upper()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give `parser` every flag; what is not given stays out of its result."""
    for declared in fields(Settings):
        flag = flag_of(declared)
        if flag is None:
            continue
        default = f" [{declared.default}]" if declared.default not in (None, "") else ""
        parser.add_argument(
            flag,
            metavar=declared.metadata["metavar"],
            default=argparse.SUPPRESS,
            help=f"{declared.metadata['meaning']}{default}",
        )


def load(flags: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Make settings of flags (by field name), then the environment, then the defaults.

    An empty environment variable counts as not set.

    Raises:
        BadSetting: A value cannot be; the message names the flag or variable.
    """
    values: dict[str, Any] = {}
    for declared in fields(Settings):
        variable = variable_of(declared)
        if declared.name in flags:
            source, text = flag_of(declared) or declared.name, flags[declared.name]
        elif text := environment.get(variable, ""):
            source = variable
        else:
            continue
        try:
            values[declared.name] = declared.metadata["parse"](text)
        except ValueError as error:
            raise BadSetting(f"{source}: {text!r}: {error}") from error
    return Settings(**values)
