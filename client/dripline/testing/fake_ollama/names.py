"""Model names as Ollama reads them: `[host/][namespace/]model[:tag]`, and where a model runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from dripline.testing.fake_ollama.go.go_writing import quoted

HOST = "registry.ollama.ai"
NAMESPACE = "library"
TAG = "latest"
MISSING = "!MISSING!"  # stands for a part that its separator promises

_START = re.compile(r"[A-Za-z0-9_]")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


class BadName(ValueError):
    """A name that cannot be a model's."""


class NoName(BadName):
    """There is no name at all."""


class TwoSources(BadName):
    """A name that says both ":local" and ":cloud"; the text is Ollama's."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model's name in full.

    Attributes:
        scheme: "https", or what stands before "://".
    """

    model: str
    tag: str = TAG
    namespace: str = NAMESPACE
    host: str = HOST
    scheme: str = "https"

    @staticmethod
    def parse(text: str) -> ModelName:
        """Return a name with its missing parts filled in; it may be no valid one."""
        tag = host = namespace = scheme = ""
        if text.rfind(":") > text.rfind("/"):
            text, _, tag = text.rpartition(":")
            text, tag = text or MISSING, tag or MISSING
        if "/" in text:
            text, _, model = text.rpartition("/")
            text, model = text or MISSING, model or MISSING
            if "/" in text:
                text, _, namespace = text.rpartition("/")
                host, namespace = text or MISSING, namespace or MISSING
                if "://" in host:
                    scheme, _, host = host.partition("://")
            else:
                namespace = text
        else:
            model = text
        return ModelName(model, tag or TAG, namespace or NAMESPACE, host or HOST, scheme or "https")

    @property
    def valid(self) -> bool:
        """Whether each part is of allowed characters, and not too long."""
        return bool(
            _HOST.fullmatch(self.host)
            and _NAMESPACE.fullmatch(self.namespace)
            and _PART.fullmatch(self.model)
            and _PART.fullmatch(self.tag)
        )

    @property
    def key(self) -> str:
        """What it is kept under: case does not matter."""
        return self.shortest.lower()

    @property
    def full(self) -> str:
        """All four parts, as Ollama's messages have them."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def shortest(self) -> str:
        """The name as Ollama shows it: with its tag, without host and namespace that are usual."""
        if self.host.lower() != HOST:
            return self.full
        if self.namespace.lower() != NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"


def canonical(name: str) -> str:
    """Return what Ollama keeps a model under: `x` is `x:latest`, in any case."""
    return ModelName.parse(name).key


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A name in a request, which may say where the model runs.

    Attributes:
        name: The model.
        cloud: Whether it is Ollama's cloud that is to run it.
        base: The name without its source.
    """

    name: ModelName
    cloud: bool
    base: str


def _split_source(text: str) -> tuple[str, str]:
    """Return a name without what says where it runs, and that: "", "cloud" or "local"."""
    before, colon, suffix = text.rpartition(":")
    if colon:
        source = suffix.strip().lower()
        if source in ("cloud", "local"):
            return before, source
        if "/" not in suffix and source.endswith("-cloud"):
            return f"{before}:{suffix.strip()[: -len('-cloud')]}", "cloud"
    return text, ""


def read_ref(text: str) -> ModelRef:
    """Return what a request's name of a model means.

    Raises:
        BadName: Nothing. A subclass says that there is no name, or two sources.
    """
    text = text.strip()
    if not text:
        raise NoName("model is required")
    base, source = _split_source(text)
    if source and _split_source(base)[1]:
        raise TwoSources(f"use either :local or :cloud, not both: {quoted(text)}")
    name = ModelName.parse(base)
    if not name.valid:
        raise BadName("invalid model name")
    return ModelRef(name, source == "cloud", base)


def read_pull_ref(text: str) -> ModelName:
    """Return the model that a pull or a deletion means, where a cloud's model is a stub.

    Raises:
        BadName: As for `read_ref`.
    """
    text = text.strip()
    if not text:
        raise NoName("model is required")
    base, source = _split_source(text)
    if source and _split_source(base)[1]:
        raise TwoSources(f"use either :local or :cloud, not both: {quoted(text)}")
    if source == "cloud":
        base = f"{base}-cloud" if base.rfind(":") > base.rfind("/") else f"{base}:cloud"
    name = ModelName.parse(base)
    if not name.valid:
        raise BadName("invalid model name")
    return name


def renamed(name: ModelName, existing: ModelName) -> ModelName:
    """Return a name with the spelling of an existing one."""
    return replace(existing, scheme=name.scheme)
