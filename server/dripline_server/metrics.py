"""The metrics of `GET /metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from dripline.events import End, Error

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# The name in `start` of the runs that Ollama's models answer.
OLLAMA = "ollama"
# Names of callers that have a series of their own; the others share one. Names come and go for as
# long as the server runs, and series stay.
MAX_CALLERS = 1000
OTHERS = "(others)"  # which cannot be a name
# Names of models in metrics. Clients choose the names, so their number has to be bounded.
MOST_MODELS = 100
OTHER_MODEL = "other"

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The figures of one server, in a registry of their own.

    Attributes:
        tokens: How many pieces of answers Ollama has sent.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.tokens = 0
        self._registry.register(_Tokens(self))
        self._runs = self._counter("dripline_runs", "Runs that have ended.", "status")
        self._agent_runs = self._counter(
            "dripline_agent_runs", "Runs of agents that have ended.", "agent", "status"
        )
        self._caller_runs = self._counter(
            "dripline_caller_runs", "Ended runs of named tokens.", "caller", "status"
        )
        self._callers: set[str] = set()
        self._errors = self._counter("dripline_run_errors", "Runs that failed.", "code")
        self._tool_calls = self._counter(
            "dripline_tool_calls", "Calls of the server's tools.", "tool", "outcome"
        )
        self._first_token = Histogram(
            "dripline_first_token_seconds",
            "From the start of a run to its first piece of answer.",
            buckets=_SECONDS,
            registry=self._registry,
        )

        self._relayed = self._counter(
            "dripline_relayed_requests",
            "Requests that were passed on to Ollama, by the class of its status; failed: Ollama did"
            " not answer, or broke off; left: the client did.",
            "endpoint",
            "model",
            "outcome",
        )
        self._relay_head = Histogram(
            "dripline_relay_head_seconds",
            "From a relayed request to the head of Ollama's answer.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._models: set[str] = set()

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self._registry)

    def watch(
        self,
        *,
        runs: Callable[[], int],
        readers: Callable[[], int],
        log_bytes: Callable[[], int],
    ) -> None:
        """Register gauges that call these functions whenever the metrics are read."""
        for name, meaning, value in (
            ("dripline_active_runs", "Active runs.", runs),
            ("dripline_readers", "Readers attached to runs of this process.", readers),
            ("dripline_log_bytes", "Bytes held by run logs.", log_bytes),
        ):
            Gauge(name, meaning, registry=self._registry).set_function(value)

    def run_ended(
        self, end: End, error: Error | None, agent: str = OLLAMA, caller: str = ""
    ) -> None:
        """Count a finished run, which this agent answered for this caller."""
        self._runs.labels(end.status).inc()
        if agent != OLLAMA:
            self._agent_runs.labels(agent, end.status).inc()
        if caller:
            self._caller_runs.labels(self.label_of(caller), end.status).inc()
        if error:
            self._errors.labels(error.code).inc()
        if end.usage.first_token_time is not None:
            self._first_token.observe(end.usage.first_token_time)

    def label_of(self, caller: str) -> str:
        """Return the label of a caller's series."""
        if len(self._callers) < MAX_CALLERS:
            self._callers.add(caller)
        return caller if caller in self._callers else OTHERS

    def tool_called(self, name: str, failed: bool) -> None:
        """Count a call of one of the server's tools."""
        self._tool_calls.labels(name, "failed" if failed else "ok").inc()

    def relayed(self, endpoint: str, model: str, outcome: str) -> None:
        """Count a request that was passed on to Ollama.

        Args:
            endpoint: A name from a bounded set.
            model: The model that the request names. Only names that Ollama has accepted are kept,
                and no more than `MOST_MODELS`.
            outcome: "2xx" and so on, "failed" or "left".
        """
        if model and outcome == "2xx" and len(self._models) < MOST_MODELS:
            self._models.add(model)
        if model and model not in self._models:
            model = OTHER_MODEL
        self._relayed.labels(endpoint, model, outcome).inc()

    def relay_answered(self, endpoint: str, seconds: float) -> None:
        """Note how long Ollama took to answer a request that was passed on."""
        self._relay_head.labels(endpoint).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class _Tokens(Collector):
    """Reports the tokens. A `Counter` would take its lock for every token, which costs 1 µs."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the current count."""
        meaning = "Pieces of answers that Ollama sent."
        yield CounterMetricFamily("dripline_tokens", meaning, value=self._metrics.tokens)
