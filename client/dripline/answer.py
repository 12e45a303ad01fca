"""The answer that the events of a run add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dripline.events import (
    AddButton,
    ChangeAccent,
    ChangeTextSize,
    ChangeTheme,
    Custom,
    End,
    Error,
    Event,
    RemoveButton,
    Start,
    State,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
    UiControl,
    UndoChange,
)


@dataclass(slots=True)
class Answer:
    """An answer: the whole of it, or the part that has arrived so far.

    Attributes:
        run_id: The run's id; "" before its `start`.
        model: The name of the model that answers.
        tool_calls: The model's tool calls.
        tool_results: The results of tools; the client must answer calls that have no result here.
        ui_controls: The `ui_control` events, which change the page.
        logprobs: Ollama's token log probabilities, if the request asked for them: those of the
            text, of the reasoning and of calls, in the order of the tokens.
        state: The newest state of an agent's application; None if there is none.
        custom: The events of an agent's own.
        error: The error, if the run failed.
        end: The `end` event. While it is None, the answer is incomplete.
    """

    run_id: str = ""
    model: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    tool_results: list[ToolResult] = field(default_factory=list)
    ui_controls: list[UiControl] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    state: Any = None
    custom: list[Custom] = field(default_factory=list)
    error: Error | None = None
    end: End | None = None
    _text: list[str] = field(default_factory=list, repr=False)
    _thinking: list[str] = field(default_factory=list, repr=False)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._text)

    @property
    def thinking(self) -> str:
        """The reasoning so far."""
        return "".join(self._thinking)

    def add(self, event: Event) -> None:
        """Add the run's next event."""
        if type(event) is TextMessage:  # the usual event: four times as fast as `match`
            self._text.append(event.content)
            if event.logprobs:
                self.logprobs += event.logprobs
            return
        match event:
            case Thinking(content, logprobs):
                self._thinking.append(content)
                self.logprobs += logprobs or ()
            case Start(_, run_id, model):
                self.run_id, self.model = run_id, model
            case (
                ChangeTheme()
                | ChangeAccent()
                | ChangeTextSize()
                | AddButton()
                | RemoveButton()
                | UndoChange()
            ):
                self.ui_controls.append(event)
            case ToolCall() | ToolResult():
                self._add_of_tool(event)
            case State() | Custom():
                self._add_of_agent(event)
            case Error():
                self.error = event
            case End():
                self.end = event

    def _add_of_tool(self, event: ToolCall | ToolResult) -> None:
        if isinstance(event, ToolCall):
            self.tool_calls.append(event)
        else:
            self.tool_results.append(event)

    def _add_of_agent(self, event: State | Custom) -> None:
        if isinstance(event, State):
            self.state = event.value
        else:
            self.custom.append(event)
