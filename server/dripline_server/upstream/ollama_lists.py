"""Parses the answers of `/api/tags`, `/api/ps` and `/api/show`. No I/O.

Other servers imitate Ollama, and each version of Ollama has its own fields. So an odd entry is
skipped, or read without its odd fields. It never spoils the other entries.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dripline_server.upstream.model_names import canonical, is_remote

logger = logging.getLogger(__name__)

MAX_SIZE = 2**53
# Go writes nine digits; Python before 3.11.4 reads only six.
_FRACTION = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True, slots=True)
class Listed:
    """A model in `/api/tags`.

    Attributes:
        name: As Ollama writes it.
        digest: The digest of its manifest; "" if unknown, like the other texts.
        size: Bytes on disk.
        details: Its format, family, size and quantisation; equal for models with the same files.
        family: Its architecture, for example "llama".
        capabilities: Its capabilities; empty if Ollama does not say, as before 0.33.
        created: When it was last changed, in seconds since 1970; 0 if unknown.
        remote: Whether another host runs it.
    """

    name: str
    digest: str
    size: int
    details: tuple[str, ...]
    family: str
    capabilities: tuple[str, ...]
    created: int
    remote: bool


@dataclass(frozen=True, slots=True)
class InMemory:
    """A model in `/api/ps`.

    Attributes:
        name: Its canonical name.
        digest: The digest of its manifest; "" if unknown.
        context: The `num_ctx` with which it was loaded; 0 if unknown.
        details: As in `Listed`.
        expires: When Ollama unloads it, in seconds since 1970; 0 if unknown.
    """

    name: str
    digest: str
    context: int
    details: tuple[str, ...]
    expires: float


@dataclass(frozen=True, slots=True)
class Shown:
    """A model in `/api/show`.

    Attributes:
        capabilities: Its capabilities; empty if Ollama does not say.
        blobs: Its files. Models with the same files share one place in memory.
        context: The most tokens that it can see; 0 if unknown.
        remote: Whether another host runs it.
    """

    capabilities: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()
    context: int = 0
    remote: bool = False


def read_tags(content: object) -> list[Listed]:
    """Return the models of `/api/tags`, in its order.

    Raises:
        ValueError: The content is not a list of models.
    """
    found = []
    for entry in _entries(content):
        details = _mapping(entry.get("details"))
        name = _name(entry)
        found.append(
            Listed(
                name=name,
                digest=_text(entry.get("digest")),
                size=_count(entry.get("size")),
                details=_details(details),
                family=_text(details.get("family")),
                capabilities=_texts(entry.get("capabilities")),
                created=max(0, int(_time(entry.get("modified_at")))),
                remote=_is_remote(entry) or is_remote(name),
            )
        )
    return found


def read_ps(content: object) -> list[InMemory]:
    """Return the models of `/api/ps`.

    Raises:
        ValueError: The content is not a list of models.
    """
    return [
        InMemory(
            name=canonical(_name(entry)),
            digest=_text(entry.get("digest")),
            context=_count(entry.get("context_length")),
            details=_details(_mapping(entry.get("details"))),
            expires=_time(entry.get("expires_at")),
        )
        for entry in _entries(content)
    ]


def read_show(content: object) -> Shown:
    """Return the details of a model from `/api/show`.

    Raises:
        ValueError: The content is not an object.
    """
    if not isinstance(content, Mapping):
        raise ValueError("it sent no JSON object")
    info = _mapping(content.get("model_info"))
    contexts = [_count(info[key]) for key in info if str(key).endswith(".context_length")]
    return Shown(
        capabilities=_texts(content.get("capabilities")),
        blobs=_blobs(_text(content.get("modelfile"))),
        context=max(contexts, default=0),
        remote=_is_remote(content),
    )


def read_details(content: object) -> dict[str, object]:
    """Return what `/api/show` says of a model, for people.

    Raises:
        ValueError: The content is not an object.
    """
    shown = read_show(content)
    fields = _mapping(content)
    details = _mapping(fields.get("details"))
    return {
        "family": _text(details.get("family")),
        "parameter_size": _text(details.get("parameter_size")),
        "quantization": _text(details.get("quantization_level")),
        "context_length": shown.context,
        "capabilities": shown.capabilities,
        "system": _text(fields.get("system")),
        "parameters": _text(fields.get("parameters")),
        "license": _text(fields.get("license")),
    }


def read_version(content: object) -> str:
    """Return the version from `/api/version`.

    Raises:
        ValueError: The content has no version.
    """
    version = _text(_mapping(content).get("version"))
    if not version:
        raise ValueError("it says no version")
    return version


def _entries(content: object) -> Iterator[Mapping[str, Any]]:
    models = content.get("models") if isinstance(content, Mapping) else content
    # Go writes null for an empty list that was never allocated.
    if not isinstance(content, Mapping) or not isinstance(models, list | None):
        raise ValueError("it sent no list of models")
    for entry in models or ():
        if isinstance(entry, Mapping) and _name(entry):
            yield entry
        else:
            logger.debug("an entry without a name, in a list of models, is left out")


def _name(entry: Mapping[str, Any]) -> str:
    return _text(entry.get("model")) or _text(entry.get("name"))


def _details(details: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        _text(details.get(name))
        for name in ("format", "family", "parameter_size", "quantization_level")
    )


def _is_remote(content: Mapping[str, Any]) -> bool:
    return bool(_text(content.get("remote_host")) or _text(content.get("remote_model")))


def _blobs(modelfile: str) -> tuple[str, ...]:
    """Return the files at the start of a modelfile. Later text may contain similar lines."""
    found = []
    for line in modelfile.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word.upper() in ("FROM", "ADAPTER"):
            found.append(rest.strip())
        elif word and not word.startswith("#"):
            break
    return tuple(sorted(found))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(filter(None, map(_text, value))) if isinstance(value, list) else ()


def _count(value: object) -> int:
    whole = isinstance(value, int | float) and 0 < value <= MAX_SIZE
    return int(value) if whole else 0  # type: ignore[call-overload]  # mypy loses the narrowing


def _time(value: object) -> float:
    try:
        found = datetime.fromisoformat(_FRACTION.sub(r"\1", _text(value))).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0
    return found
