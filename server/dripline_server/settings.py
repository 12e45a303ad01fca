"""Every option of the server, once: its flag, environment variable, default and meaning.

Nothing else in the server reads the environment; `cli.py` alone has flags beside these.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from yarl import URL

from dripline_server.upstream.address import parse_header

MIB = 1024 * 1024
DEFAULT_OLLAMA_URL = "http://127.0.0.1:11434"

# The options from the one named on belong together, under this heading.
GROUPS = {
    "host": "address and access",
    "ollama": "Ollama",
    "tools": "tools that models may call",
    "grace": "chats",
    "heartbeat": "readers of chats",
    "max_runs": "limits",
    "record": "what is written down",
}


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
    """Take what OLLAMA_HOST may hold too: a bare host, which means port 11434, or a bare port.

    As Ollama does, blanks and quotes around it are left out: files for `--env-file` have them.
    """
    text = text.strip().strip("\"'").strip()
    if text.startswith(":") and text[1:].isdigit():
        text = f"127.0.0.1{text}"
    elif "://" not in text and text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # an IPv6 address
    url = URL(text if "://" in text else f"http://{text}")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("not an http:// or https:// address")
    if url.raw_query_string or url.raw_fragment:
        raise ValueError("an address without ? and #")
    if "://" not in text and url.explicit_port is None:
        url = url.with_port(11434)
    return str(url).rstrip("/")


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    """Take one header a line, or `@` and the path of a file of such lines."""
    found: list[tuple[str, str]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if not line.startswith("@"):
            found.append(parse_header(line))
            continue
        try:
            lines = Path(line[1:]).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ValueError(f"{line[1:]!r} cannot be read: {why}") from None
        kept = (one for one in map(str.strip, lines) if one and not one.startswith("#"))
        found.extend(map(parse_header, kept))
    return tuple(found)


def _api_key(text: str) -> str:
    key = text.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("an API key has no blanks and no characters beyond ASCII")
    return key


def _run_log(text: str) -> str:
    schemes = ("redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://")
    if text != "memory" and not text.startswith(schemes):
        raise ValueError(f"neither memory nor a {', '.join(schemes[:-1])} or {schemes[-1]} address")
    return text


def _lease(text: str) -> float:
    return _number(text, least=1)


def _switch(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
        raise ValueError("neither true nor false")
    return text.lower() in ("1", "true", "yes", "on")


def _think_tags(text: str) -> str:
    if text.lower() not in ("auto", "off"):
        raise ValueError("neither auto nor off")
    return text.lower()


def _list(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


# Of pages, browser extensions and desktop shells: https:, chrome-extension:, tauri:, ...
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@\s]+)(.*)")
_USUAL_PORTS = {"http": ":80", "https": ":443"}


def _origins(text: str) -> tuple[str, ...]:
    return tuple(map(_origin, _list(text)))


def _origin(text: str) -> str:
    """Return an origin as browsers send it: RFC 6454, section 6.2.

    Raises:
        ValueError: No browser sends such a one; says what is too much.
    """
    found = _ORIGIN.fullmatch(text.lower())
    if not found or found[1] == "file":
        raise ValueError(f"{text!r} is no origin such as https://chat.example.com:8443")
    scheme, authority, rest = found.groups()
    if rest == "/":
        raise ValueError(f"{text!r} ends with a slash, which an origin does not have")
    if rest:
        raise ValueError(f"{text!r} has a path, which an origin does not have")
    if (port := _USUAL_PORTS.get(scheme)) and authority.endswith(port):
        raise ValueError(f"{text!r} names the usual port; browsers leave {port} out")
    if scheme in _USUAL_PORTS:
        try:
            return str(URL(text).origin())
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from None
    return text


def _networks(text: str) -> tuple[str, ...]:
    networks = _list(text)
    for network in networks:
        if network != "unix":
            ip_network(network)  # it names what is wrong
    return networks


def _host(text: str) -> str:
    if unix_path(text) == "":
        raise ValueError("name the socket's file: unix:/run/dripline/socket")
    return text


def _token(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]{16,}=*", text):  # RFC 6750, section 2.1
        raise ValueError("not 16 or more letters, digits and -._~+/")
    return text


def unix_path(host: str) -> str | None:
    """Return the path of the Unix domain socket that `unix:/path` names; None for other hosts."""
    return host.removeprefix("unix:") if host.startswith("unix:") else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on this host."""
    if unix_path(host) is not None:
        return True
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def option(
    default: Any,
    meaning: str,
    *,
    parse: Callable[[str], Any] = str,
    metavar: str = "TEXT",
    variable: str = "",
    flag: str = "",
    secret: bool = False,
    in_repr: bool = True,
) -> Any:
    """Declare an option; one with its own `variable` is read from there and has no flag.

    One with its own `flag` may be given several times; its variable has a line for each. A `secret`
    is shown nowhere; what may hold one is not `in_repr`. An option that is False by default is a
    flag without a value.
    """
    metadata = {
        "meaning": meaning,
        "parse": parse,
        "metavar": metavar,
        "variable": variable,
        "flag": flag,
        "secret": secret,
    }
    return field(default=default, metadata=metadata, repr=in_repr and not secret)


def _without_password(text: str) -> str:
    return re.sub(r"[^/]*@", "***@", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is told; the flag of `stall_timeout` is `--stall-timeout`."""

    host: str = option(
        "127.0.0.1",
        "Address to listen on, or unix:/path for a Unix domain socket.",
        parse=_host,
        metavar="HOST",
    )
    port: int = option(
        8000, "Port to listen on; 0 takes a free one.", parse=port_number, metavar="PORT"
    )
    token: str = option(
        "",
        "Token that requests must carry as `Authorization: Bearer`. Has no flag, since every user"
        " of a machine can read command lines.",
        parse=_token,
        variable="DRIPLINE_TOKEN",
        secret=True,
    )
    no_auth: bool = option(
        False,
        "Listen beyond this machine without a token: whoever reaches the port may use it.",
        parse=_switch,
    )
    allowed_hosts: tuple[str, ...] = option(
        (),
        "Names by which browsers may reach this server, beside localhost and IP addresses:"
        " chat.example.com,box.local.",
        parse=_list,
        metavar="NAMES",
    )
    cors_origins: tuple[str, ...] = option(
        (),
        "Origins of other pages that may use this server: https://app.example.com,...",
        parse=_origins,
        metavar="ORIGINS",
    )
    trusted_proxies: tuple[str, ...] = option(
        (),
        "Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Host count:"
        " 127.0.0.1,10.0.0.0/8; unix for those on a Unix domain socket.",
        parse=_networks,
        metavar="NETWORKS",
    )
    ollama: str | None = option(
        None,
        "Where Ollama answers. By default where OLLAMA_HOST says, or else at"
        f" {DEFAULT_OLLAMA_URL}; if neither is set, the built-in fake stands in until an Ollama"
        " answers there.",
        parse=_url,
        metavar="URL",
        in_repr=False,  # it may have a password
    )
    ollama_host: str | None = option(
        None,
        "Where Ollama answers, as Ollama's own tools read it; `--ollama` goes before it.",
        parse=_url,
        metavar="URL",
        in_repr=False,  # it may have a password
        variable="OLLAMA_HOST",
    )
    ollama_headers: tuple[tuple[str, str], ...] = option(
        (),
        "Header to send with every request to Ollama, such as `Authorization: Bearer ...`; can be"
        " repeated. @PATH reads them from a file, one a line; so no other user sees them.",
        parse=_headers,
        metavar="HEADER",
        flag="--ollama-header",
        secret=True,
    )
    ollama_api_key: str = option(
        "",
        "API key for Ollama, sent as `Authorization: Bearer`: for ollama.com, and for proxies that"
        " ask for one.",
        parse=_api_key,
        variable="OLLAMA_API_KEY",
        secret=True,
    )
    model: str = option("", "Model for requests that name none.", metavar="NAME")
    stall_timeout: float = option(
        600.0,
        "Seconds that Ollama may be silent; loading a model counts. 0: no limit.",
        parse=_number,
        metavar="SECONDS",
    )
    think_tags: str = option(
        "auto",
        "What to do with <think> tags at the start of a model's text: auto makes thinking of them"
        " unless Ollama knows the model as thinking, off leaves them as they are.",
        parse=_think_tags,
        metavar="WHEN",
    )
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
    heartbeat: float = option(
        15.0,
        "Seconds of silence before readers get a heartbeat comment. 0: none.",
        parse=_number,
        metavar="SECONDS",
    )
    loading_after: float = option(
        1.0,
        "Seconds of silence before readers are told what the chat waits for.",
        parse=_number,
        metavar="SECONDS",
    )
    reader_timeout: float = option(
        60.0,
        "Seconds for which a reader may take nothing of what waits for it. 0: no limit.",
        parse=_number,
        metavar="SECONDS",
    )
    max_readers: int = option(100, "Readers of one chat.", parse=_count, metavar="NUMBER")
    max_runs: int = option(10_000, "Chats that go on at once.", parse=_count, metavar="NUMBER")
    log_bytes: int = option(
        8 * MIB,
        "What can be read again of one chat, in bytes; older events are dropped.",
        parse=_count,
        metavar="BYTES",
    )
    total_log_bytes: int = option(
        512 * MIB, "The same, of all chats together.", parse=_count, metavar="BYTES"
    )
    max_body: int = option(
        32 * MIB, "Largest request body, in bytes.", parse=_count, metavar="BYTES"
    )
    body_time: float = option(
        120.0, "Seconds in which a request's body has to be here.", parse=_number, metavar="SECONDS"
    )
    idle_time: float = option(
        75.0,
        "Seconds for which a connection may be open without a whole request header.",
        parse=_number,
        metavar="SECONDS",
    )
    max_upstream_line: int = option(
        16 * MIB, "Largest line taken from Ollama, in bytes.", parse=_count, metavar="BYTES"
    )
    record: str = option(
        "",
        "Folder for recordings, one file a chat: Ollama's bytes, and what was sent to each reader."
        " They hold what people write. None by default.",
        metavar="DIR",
    )
    log_level: str = option(
        "info", "How much to log: debug, info, warning, error.", parse=_level, metavar="LEVEL"
    )

    def __post_init__(self) -> None:
        """Refuse to open a model to a whole network by mistake.

        Raises:
            BadSetting: The address is reached from elsewhere, and there is no token.
        """
        if not (is_loopback(self.host) or self.token or self.no_auth):
            raise BadSetting(
                f"--host: other machines can reach {self.host!r}. Set a token in DRIPLINE_TOKEN, or"
                " say --no-auth to let everybody use your models."
            )

    @property
    def ollama_url(self) -> str:
        """Where Ollama should answer."""
        return self.ollama or self.ollama_host or DEFAULT_OLLAMA_URL

    @property
    def names_ollama(self) -> bool:
        """Whether somebody has said where Ollama answers, so that nothing else may stand in."""
        return bool(self.ollama or self.ollama_host)


def flag_of(declared: Field[Any]) -> str | None:
    """Return the option's flag, such as `--stall-timeout`, or None where it has none."""
    if declared.metadata["variable"]:
        return None
    return declared.metadata["flag"] or "--" + declared.name.replace("_", "-")


def variable_of(declared: Field[Any]) -> str:
    """Return the option's environment variable, such as `DRIPLINE_STALL_TIMEOUT`."""
    return declared.metadata["variable"] or "DRIPLINE_" + declared.name.upper()


def default_of(declared: Field[Any]) -> str:
    """Return the option's default as one would write it; "" where it is nothing."""
    default = declared.default
    if default is False or default in (None, "", ()):
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give `parser` every flag, in groups; what is not given stays out of its result."""
    group: argparse._ActionsContainer = parser
    for declared in fields(Settings):
        if declared.name in GROUPS:
            group = parser.add_argument_group(GROUPS[declared.name])
        flag = flag_of(declared)
        if flag is None:
            continue
        meaning = declared.metadata["meaning"]
        if declared.default is False:
            group.add_argument(
                flag, action="store_const", const="true", default=argparse.SUPPRESS, help=meaning
            )
            continue
        default = f" [{text}]" if (text := default_of(declared)) else ""
        group.add_argument(
            flag,
            dest=declared.name,
            action="append" if declared.metadata["flag"] else "store",
            metavar=declared.metadata["metavar"],
            default=argparse.SUPPRESS,
            help=f"{meaning}{default}",
        )


def load(
    flags: Mapping[str, str | list[str]], environment: Mapping[str, str] = os.environ
) -> Settings:
    """Make settings of flags (by field name), then the environment, then the defaults.

    An environment variable that is empty or blank counts as not set.

    Raises:
        BadSetting: A value cannot be; the message names the flag or variable.
    """
    values: dict[str, Any] = {}
    for declared in fields(Settings):
        variable = variable_of(declared)
        if declared.name in flags:
            source, given = flag_of(declared) or declared.name, flags[declared.name]
            text = given if isinstance(given, str) else "\n".join(given)
        elif (text := environment.get(variable, "")).strip():
            source = variable
        else:
            continue
        try:
            values[declared.name] = declared.metadata["parse"](text)
        except ValueError as error:
            shown = "" if declared.metadata["secret"] else f" {_without_password(text)!r}:"
            raise BadSetting(f"{source}:{shown} {error}") from None
    return Settings(**values)


@dataclass(frozen=True, slots=True)
class ServiceManagerSettings:
    """What a service manager, such as systemd, says to a process that it starts.

    Attributes:
        address: The Unix socket on which it listens; "" where there is none.
        watchdog: Seconds of silence after which it takes the process for stuck; 0 for never.
    """

    address: str = ""
    watchdog: float = 0


def service_manager(environment: Mapping[str, str] = os.environ) -> ServiceManagerSettings:
    """Return what `NOTIFY_SOCKET` and `WATCHDOG_USEC` say; see systemd's sd_notify(3)."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return ServiceManagerSettings()
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
    watchdog = int(microseconds) / 1e6 if meant and microseconds.isdecimal() else 0
    return ServiceManagerSettings(address, watchdog)
