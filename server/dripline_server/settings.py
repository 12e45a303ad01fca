"""Every option of the server, once: its flag, environment variable, default and meaning.

No other module of the server reads the environment. Only `cli.py` adds flags of its own.
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

# Each heading of `--help`, by the field name of the first option under it.
GROUPS = {
    "host": "address and access",
    "ollama": "Ollama",
    "openai": "OpenAI-compatible servers",
    "agents": "agents, and tools that models may call",
    "grace": "chats",
    "heartbeat": "connections to readers",
    "max_runs": "limits",
    "record": "logging and recording",
}


class BadSetting(ValueError):
    """An option has an invalid value; the message names the option."""


def _number(text: str, *, least: float = 0) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise ValueError(f"must be a number, {least:g} or more")
    return value


def _whole(text: str, *, least: int, most: float = math.inf) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        bounds = f"{least} or more" if most == math.inf else f"from {least} to {most}"
        raise ValueError(f"must be a whole number, {bounds}")
    return int(text)


def count(text: str) -> int:
    """Parse a number of things, 1 or more.

    Raises:
        ValueError: `text` is no such number.
    """
    return _whole(text, least=1)


def port_number(text: str) -> int:
    """Parse a port number; 0 stands for any free port.

    Raises:
        ValueError: `text` is no port number.
    """
    return _whole(text, least=0, most=65535)


def _level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("must be debug, info, warning or error")
    return text.lower()


def _url(text: str) -> str:
    """Parse a URL or any other form that OLLAMA_HOST may have: a bare host or a bare port.

    A bare host means port 11434. Blanks and quotes around the address are ignored, as Ollama does
    it: Docker's `--env-file` passes quotes on.
    """
    text = text.strip().strip("\"'").strip()
    if text.startswith(":") and text[1:].isdigit():
        text = f"127.0.0.1{text}"
    elif "://" not in text and text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # an IPv6 address
    url = URL(text if "://" in text else f"http://{text}")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be an http:// or https:// address")
    if url.raw_query_string or url.raw_fragment:
        raise ValueError("must be an address without ? and #")
    if "://" not in text and url.explicit_port is None:
        url = url.with_port(11434)
    return str(url).rstrip("/")


def _openai_urls(text: str) -> tuple[str, ...]:
    """Parse one address a line; one without a path gets OpenAI's usual `/v1`."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if "://" not in line:
            raise ValueError("must be an http:// or https:// address")
        url = URL(_url(line))
        found.append(str(url if url.path.strip("/") else url / "v1"))
    return tuple(found)


def _openai_keys(text: str) -> tuple[str, ...]:
    return tuple(_api_key(key) if key.strip() else "" for key in text.split(","))


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    """Parse one header a line; a line `@PATH` reads more of them from a file."""
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
        raise ValueError("must be ASCII characters without blanks")
    return key


def _run_log(text: str) -> str:
    schemes = ("redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://")
    if text != "memory" and not text.startswith(schemes):
        raise ValueError(
            f"must be memory, or start with {', '.join(schemes[:-1])} or {schemes[-1]}"
        )
    return text


def _short_time(text: str) -> float:
    return _number(text, least=0.01)


def _lease(text: str) -> float:
    return _number(text, least=1)


def _switch(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
        raise ValueError("must be true or false")
    return text.lower() in ("1", "true", "yes", "on")


def _think_tags(text: str) -> str:
    if text.lower() not in ("auto", "off"):
        raise ValueError("must be auto or off")
    return text.lower()


def names(text: str) -> tuple[str, ...]:
    """Parse a list whose parts are separated by commas."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


# Web pages have http: or https:; extensions and desktop shells chrome-extension:, tauri:, ...
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@\s]+)(.*)")
_USUAL_PORTS = {"http": ":80", "https": ":443"}


def _origins(text: str) -> tuple[str, ...]:
    return tuple(map(_origin, names(text)))


def _origin(text: str) -> str:
    """Return the origin as browsers send it (RFC 6454, section 6.2).

    Raises:
        ValueError: No browser sends such an origin; the message says which part is wrong.
    """
    found = _ORIGIN.fullmatch(text.lower())
    if not found or found[1] == "file":
        raise ValueError(f"{text!r} is not an origin such as https://chat.example.com:8443")
    scheme, authority, rest = found.groups()
    if rest == "/":
        raise ValueError(f"{text!r} ends with a slash, which an origin does not have")
    if rest:
        raise ValueError(f"{text!r} has a path, which an origin does not have")
    if (port := _USUAL_PORTS.get(scheme)) and authority.endswith(port):
        raise ValueError(f"{text!r} names the default port; browsers leave {port} out")
    if scheme in _USUAL_PORTS:
        try:
            return str(URL(text).origin())
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from None
    return text


def _networks(text: str) -> tuple[str, ...]:
    networks = names(text)
    for network in networks:
        if network != "unix":
            ip_network(network)  # its own message says what is wrong
    return networks


def _host(text: str) -> str:
    if unix_path(text) == "":
        raise ValueError("name the socket's file: unix:/run/dripline/socket")
    return text


def _token(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]{16,}=*", text):  # RFC 6750, section 2.1
        raise ValueError("must be at least 16 characters: letters, digits and -._~+/")
    return text


def unix_path(host: str) -> str | None:
    """Return the path in `unix:/path`; None if `host` names no Unix domain socket."""
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
    """Declare an option.

    A switch becomes a flag without a value.

    Args:
        default: Its default value.
        meaning: Its text in `--help` and in the README.
        parse: Turns the text of the flag or variable into the value.
        metavar: The placeholder of its value in `--help`.
        variable: An environment variable of another name. Such an option has no flag.
        flag: A flag of another name. It may be repeated; its variable then has a line for each.
        secret: Whether to keep the value out of messages and of `repr`.
        in_repr: Whether `repr` shows the value; False if the value may contain a password.
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
    """The options of one server. The field `stall_timeout` has the flag `--stall-timeout`."""

    host: str = option(
        "127.0.0.1",
        "Address to listen on, or unix:/path for a Unix domain socket.",
        parse=_host,
        metavar="HOST",
    )
    port: int = option(
        8000, "Port to listen on; 0 picks a free one.", parse=port_number, metavar="PORT"
    )
    token: str = option(
        "",
        "Token that requests must send as `Authorization: Bearer`. It has no flag, because every"
        " user of a machine can read command lines.",
        parse=_token,
        variable="DRIPLINE_TOKEN",
        secret=True,
    )
    tokens: str = option(
        "",
        "File of named tokens, each with limits of its own; `dripline-server token` changes it.",
        metavar="FILE",
    )
    no_auth: bool = option(
        False,
        "Let other machines connect without a token. Everybody who reaches the port can use it.",
        parse=_switch,
    )
    allowed_hosts: tuple[str, ...] = option(
        (),
        "Host names under which browsers may reach this server, besides localhost and IP addresses:"
        " chat.example.com,box.local.",
        parse=names,
        metavar="NAMES",
    )
    cors_origins: tuple[str, ...] = option(
        (),
        "Origins of other web pages that may use this server: https://app.example.com,...",
        parse=_origins,
        metavar="ORIGINS",
    )
    trusted_proxies: tuple[str, ...] = option(
        (),
        "Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Host are trusted:"
        " 127.0.0.1,10.0.0.0/8; unix for proxies on a Unix domain socket.",
        parse=_networks,
        metavar="NETWORKS",
    )
    ollama: str | None = option(
        None,
        f"Address of Ollama. By default OLLAMA_HOST, or else {DEFAULT_OLLAMA_URL}. If neither is"
        " set, a built-in demo model answers until Ollama runs there.",
        parse=_url,
        metavar="URL",
        in_repr=False,  # it may have a password
    )
    ollama_host: str | None = option(
        None,
        "Address of Ollama, read as Ollama's own tools read it. `--ollama` overrides it.",
        parse=_url,
        metavar="URL",
        in_repr=False,  # it may have a password
        variable="OLLAMA_HOST",
    )
    ollama_headers: tuple[tuple[str, str], ...] = option(
        (),
        "Header to send with every request to Ollama, such as `Authorization: Bearer ...`; can be"
        " repeated. @PATH reads headers from a file, one a line, which hides them from other users"
        " of the machine.",
        parse=_headers,
        metavar="HEADER",
        flag="--ollama-header",
        secret=True,
    )
    ollama_api_key: str = option(
        "",
        "API key for ollama.com or for a proxy in front of Ollama, sent as"
        " `Authorization: Bearer`.",
        parse=_api_key,
        variable="OLLAMA_API_KEY",
        secret=True,
    )
    allow_model_changes: bool | None = option(
        None,
        "Let requests add, change and remove Ollama's models: pull, push, create, copy, delete and"
        " blobs. By default only a server that listens on this machine alone and has no token does;"
        " its variable can be false, too.",
        parse=_switch,
    )
    openai: tuple[str, ...] = option(
        (),
        "Address of an OpenAI-compatible server (vLLM, llama.cpp, LM Studio, a hosted one) whose"
        " models are offered too, up to and with /v1; can be repeated.",
        parse=_openai_urls,
        metavar="URL",
        flag="--openai",
        in_repr=False,  # it may have a password
    )
    openai_api_keys: tuple[str, ...] = option(
        (),
        "API keys for the servers of `--openai`, in their order, separated by commas; none is sent"
        " to another server.",
        parse=_openai_keys,
        variable="OPENAI_API_KEY",
        secret=True,
    )
    model: str = option("", "Default model, for requests that name none.", metavar="NAME")
    stall_timeout: float = option(
        600.0,
        "Give up when Ollama, or an agent, sends nothing for this many seconds, loading included."
        " 0: never.",
        parse=_number,
        metavar="SECONDS",
    )
    think_tags: str = option(
        "auto",
        "What to do with <think> tags at the start of a model's text. auto turns them into thinking"
        " unless Ollama already does that for the model; off leaves them in the text.",
        parse=_think_tags,
        metavar="WHEN",
    )
    agents: str = option(
        "",
        "Python modules whose public async generator functions are agents, which chats can name as"
        " their model, separated by commas: package.module,other.",
        metavar="MODULES",
    )
    agent_stop_time: float = option(
        5.0,
        "Seconds that an agent may need to end when its chat is stopped.",
        parse=_short_time,
        metavar="SECONDS",
    )
    tools: str = option(
        "",
        "Python modules whose public functions models may call, separated by commas:"
        " package.module,other.",
        metavar="MODULES",
    )
    tool_timeout: float = option(
        30.0,
        "Seconds that one tool call may last, for tools without their own limit.",
        parse=_number,
        metavar="SECONDS",
    )
    max_tool_rounds: int = option(
        8,
        "How many rounds of calls to the server's tools one chat may have; after that the model has"
        " to answer without them.",
        parse=count,
        metavar="NUMBER",
    )
    max_tool_result: int = option(
        65_536,
        "Longest result of a tool, in characters. Longer results are truncated.",
        parse=count,
        metavar="NUMBER",
    )
    grace: float = option(
        30.0,
        "Seconds that a chat continues after its last reader has left. 0: stop at once.",
        parse=_number,
        metavar="SECONDS",
    )
    keep_time: float = option(
        300.0,
        "Seconds that a finished chat can be read again.",
        parse=_number,
        metavar="SECONDS",
    )
    keep_runs: int = option(
        1000, "How many finished chats can be read again.", parse=count, metavar="NUMBER"
    )
    run_log: str = option(
        "memory",
        "Where chats are kept: memory, or redis://HOST:PORT/DB, which several servers can share.",
        parse=_run_log,
        metavar="WHERE",
    )
    lease_time: float = option(
        5.0,
        "With Redis: seconds after which the chats of a dead server are ended as failed.",
        parse=_lease,
        metavar="SECONDS",
    )
    drain_time: float = option(
        10.0,
        "Seconds that chats may continue after SIGTERM or Ctrl-C. A second signal ends them.",
        parse=_number,
        metavar="SECONDS",
    )
    heartbeat: float = option(
        15.0,
        "Send readers a heartbeat comment after this many seconds of silence. 0: never.",
        parse=_number,
        metavar="SECONDS",
    )
    loading_after: float = option(
        1.0,
        "Seconds of silence before readers get a status: loading (the model) or waiting.",
        parse=_number,
        metavar="SECONDS",
    )
    reader_timeout: float = option(
        60.0,
        "Disconnect a client that reads nothing for this many seconds. 0: never.",
        parse=_number,
        metavar="SECONDS",
    )
    max_readers: int = option(
        100, "How many readers one chat may have.", parse=count, metavar="NUMBER"
    )
    max_runs: int = option(
        10_000, "How many chats may run at the same time.", parse=count, metavar="NUMBER"
    )
    log_bytes: int = option(
        8 * MIB,
        "Bytes of one chat that can be read again. Older events are discarded.",
        parse=count,
        metavar="BYTES",
    )
    total_log_bytes: int = option(
        512 * MIB, "The same limit for all chats together.", parse=count, metavar="BYTES"
    )
    max_body: int = option(
        32 * MIB, "Largest request body, in bytes.", parse=count, metavar="BYTES"
    )
    body_time: float = option(
        120.0, "Seconds in which a request body has to arrive.", parse=_number, metavar="SECONDS"
    )
    idle_time: float = option(
        75.0,
        "Close a connection that sends no complete request header for this many seconds.",
        parse=_number,
        metavar="SECONDS",
    )
    max_upstream_line: int = option(
        16 * MIB, "Longest line accepted from Ollama, in bytes.", parse=count, metavar="BYTES"
    )
    record: str = option(
        "",
        "Record each chat to a file in this folder: the bytes from Ollama and the bytes to each"
        " reader. Recordings contain what people write. By default nothing is recorded.",
        metavar="DIR",
    )
    log_level: str = option(
        "info", "Log level: debug, info, warning or error.", parse=_level, metavar="LEVEL"
    )

    def __post_init__(self) -> None:
        """Refuse to open a model to a whole network by mistake.

        Raises:
            BadSetting: Other machines can reach the address, and no token is needed.
        """
        if not (is_loopback(self.host) or self.token or self.tokens or self.no_auth):
            raise BadSetting(
                f"--host: other machines can reach {self.host!r}. Set a token in DRIPLINE_TOKEN,"
                " name a file of tokens with --tokens, or pass --no-auth to let everybody use your"
                " models."
            )

    @property
    def lets_models_change(self) -> bool:
        """Whether requests may change Ollama's models."""
        if self.allow_model_changes is None:
            return is_loopback(self.host) and not (self.token or self.tokens)
        return self.allow_model_changes

    @property
    def ollama_url(self) -> str:
        """The address of Ollama."""
        return self.ollama or self.ollama_host or DEFAULT_OLLAMA_URL

    @property
    def names_ollama(self) -> bool:
        """Whether the user named an address of Ollama, so that the demo model must not stand in."""
        return bool(self.ollama or self.ollama_host)


def flag_of(declared: Field[Any]) -> str | None:
    """Return the option's flag, such as `--stall-timeout`; None if it has none."""
    if declared.metadata["variable"]:
        return None
    return declared.metadata["flag"] or "--" + declared.name.replace("_", "-")


def variable_of(declared: Field[Any]) -> str:
    """Return the option's environment variable, such as `DRIPLINE_STALL_TIMEOUT`."""
    return declared.metadata["variable"] or "DRIPLINE_" + declared.name.upper()


def default_of(declared: Field[Any]) -> str:
    """Return the option's default as a user would type it; "" if it is empty."""
    default = declared.default
    if default is False or default in (None, "", ()):
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add every flag to `parser`, in groups. Its result lacks the flags that were not given."""
    group: argparse._ActionsContainer = parser
    for declared in fields(Settings):
        if declared.name in GROUPS:
            group = parser.add_argument_group(GROUPS[declared.name])
        flag = flag_of(declared)
        if flag is None:
            continue
        meaning = declared.metadata["meaning"]
        if declared.metadata["parse"] is _switch:
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
    """Read the settings: a flag (by field name) overrides the environment, then come the defaults.

    An environment variable that is empty or blank counts as not set.

    Raises:
        BadSetting: A value is invalid; the message names the flag or variable.
    """
    given = {option.name: _given(option, flags, environment) for option in fields(Settings)}
    return Settings(**{name: value for name, value in given.items() if value is not None})


def load_tokens(
    flags: Mapping[str, str | list[str]], environment: Mapping[str, str] = os.environ
) -> str:
    """Return the file of tokens alone, for the commands that change it.

    Raises:
        BadSetting: No file is named.
    """
    declared = Settings.__dataclass_fields__["tokens"]
    path = _given(declared, flags, environment)
    if not path:
        raise BadSetting(
            f"name the file of tokens with {flag_of(declared)} or {variable_of(declared)}"
        )
    return str(path)


def _given(
    declared: Field[Any], flags: Mapping[str, str | list[str]], environment: Mapping[str, str]
) -> Any:
    """Return the value that a flag or a variable gives an option; None if neither does."""
    variable = variable_of(declared)
    if declared.name in flags:
        source, given = flag_of(declared) or declared.name, flags[declared.name]
        text = given if isinstance(given, str) else "\n".join(given)
    elif (text := environment.get(variable, "")).strip():
        source = variable
    else:
        return None
    try:
        return declared.metadata["parse"](text)
    except ValueError as error:
        shown = "" if declared.metadata["secret"] else f" {_without_password(text)!r}:"
        raise BadSetting(f"{source}:{shown} {error}") from None


@dataclass(frozen=True, slots=True)
class ServiceManagerSettings:
    """The settings that a service manager, such as systemd, passes to a process that it starts.

    Attributes:
        address: The Unix socket on which the manager listens; "" if there is none.
        watchdog: Seconds of silence after which the manager restarts the process; 0 for never.
    """

    address: str = ""
    watchdog: float = 0


def service_manager(environment: Mapping[str, str] = os.environ) -> ServiceManagerSettings:
    """Read `NOTIFY_SOCKET` and `WATCHDOG_USEC`; see systemd's sd_notify(3)."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return ServiceManagerSettings()
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
    watchdog = int(microseconds) / 1e6 if meant and microseconds.isdecimal() else 0
    return ServiceManagerSettings(address, watchdog)
