"""The chat itself: send the user's messages to the server, and show the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from prompt_toolkit.input import Input
from prompt_toolkit.keys import Keys

from dripline.answer import Answer
from dripline.chat.chat_stream import ChatStream
from dripline.chat.client import ChatClient
from dripline.cli.terminal.conversation import Conversation
from dripline.cli.terminal.keys import watching
from dripline.cli.terminal.output import AnswerView, ChatOutput
from dripline.cli.terminal.questions import Questions
from dripline.cli.terminal.request_options import request_fields
from dripline.cli.terminal.server_info import ServerInfo, read_server
from dripline.errors import DriplineError, RequestError, RequestRefused, RunFailed, RunGone
from dripline.events import AddButton, ChangeTheme, RemoveButton

PAINT_SECONDS = 0.05
MAX_BUTTONS: Final = 20


class CommandError(RequestError):
    """The user asked for something that is not possible; the message says what to do."""


class TerminalChat:
    """One user, one conversation, one server.

    Args:
        run_command: Does what a line that begins with a slash says.

    Attributes:
        client: Where answers come from.
        output: Where they are shown.
        conversation: What has been said.
        server: What the server said of itself when it was asked last.
        buttons: What the model put up, by the number that presses it.
        images: Pictures that go with the next message, as base64, by name.
        file: Where the conversation was saved last, or loaded from; "" for nowhere.
        draft: What the prompt begins with: a question that is being edited; "" for none.
        leaving: Whether this was the last message.
        color: What the model has coloured the prompt with, "#RRGGBB"; "" for nothing.
        keyboard: Where a person types; None where nobody does.
    """

    def __init__(
        self,
        client: ChatClient,
        output: ChatOutput,
        conversation: Conversation,
        run_command: Callable[[TerminalChat, str], Awaitable[None]],
        *,
        keyboard: Input | None = None,
    ) -> None:
        self.client = client
        self.output = output
        self.conversation = conversation
        self.server: ServerInfo = ServerInfo()
        self.buttons: dict[int, AddButton] = {}
        self.images: dict[str, str] = {}
        self.file = ""
        self.draft: str = ""
        self.leaving: bool = False
        self.color: str = ""
        self.keyboard = keyboard
        self._run_command = run_command
        self._view: AnswerView | None = None
        self._buttons_made = 0
        self._handling: asyncio.Task[None] | None = None
        self._stop_answer: Callable[[], None] | None = None
        self._interrupts = 0

    @property
    def interactive(self) -> bool:
        """Whether a person types; if not, the first failure ends the chat."""
        return self.keyboard is not None

    @property
    def model(self) -> str:
        """The name of the model that answers, if it is known."""
        return self.conversation.model or self.server.default

    async def run(self, questions: Questions) -> None:
        """Chat until the user leaves.

        Raises:
            DriplineError: Something failed, and there is nobody to tell.
        """
        while not self.leaving:
            draft, self.draft = self.draft, ""
            try:
                text = await questions.read(draft)
            except EOFError:
                return
            except KeyboardInterrupt:
                self._interrupts += 1
                if self._interrupts > 1:
                    return
                self.output.note("Ctrl-C again leaves")
                continue
            self._interrupts = 0
            with self._errors_shown():
                await self._handle_interruptibly(text, edited=bool(draft))

    async def _handle_interruptibly(self, text: str, *, edited: bool) -> None:
        self._handling = asyncio.create_task(self._handle(text, edited=edited))
        try:
            with self._watching():
                await asyncio.wait({self._handling})
        finally:
            # If this task was cancelled, it must stop the run first; otherwise the run has ended.
            self._handling.cancel()
            await asyncio.wait({self._handling})
        if not self._handling.cancelled():
            self._handling.result()

    def interrupt(self) -> None:
        """Handle Ctrl-C or SIGINT: stop the answer, or else cancel the current action."""
        self._interrupts += 1
        if self._interrupts > 1:
            self.leaving = True
        if self._stop_answer and not self.leaving:
            self._stop_answer()
        elif self._handling:
            self._handling.cancel()

    @contextmanager
    def _errors_shown(self) -> Iterator[None]:
        """Show an error and continue if a person types; otherwise raise it."""
        try:
            yield
        except DriplineError as error:
            if not self.interactive:
                raise
            self.output.error(sentence_of(error))

    async def _handle(self, text: str, *, edited: bool) -> None:
        """Handle a message: run a command, press a button, or ask the model."""
        said = text.strip()
        # A leading space means that the text is neither a command nor a button's number.
        as_it_is = text.startswith((" ", "\t")) or edited
        if not said:
            return
        if said.startswith("/") and not as_it_is:
            await self._run_command(self, said)
        elif said.isdecimal() and int(said) in self.buttons and not as_it_is:
            message = self.buttons[int(said)].message
            self.output.question(message)
            await self.send(message)
        else:
            if edited and (question := self.conversation.undo()):
                kept = question.get("images", [])
                self.images |= {f"picture {n}": image for n, image in enumerate(kept, 1)}
            if not self.interactive:
                self.output.question(said)
            await self.send(said)

    async def send(self, text: str) -> None:
        """Send a message, and show the answer.

        Raises:
            DriplineError: There is none, or not all of it.
        """
        if self.images:
            self.check_vision()
        self.conversation.ask(text, list(self.images.values()))
        self.images.clear()
        await self.answer()

    async def answer(self) -> None:
        """Show the answer to the last question; Ctrl-C stops it, a second one leaves.

        Raises:
            DriplineError: There is none, or not all of it.
        """
        fields = request_fields(self.conversation.options)
        if self.conversation.model:
            fields["model"] = self.conversation.model
        stream = self.client.chat(self.conversation.request_messages, **fields)
        self._view = view = self.output.answer(self.model)
        following = asyncio.create_task(self._follow(stream, view))
        tasks = [following, asyncio.create_task(_paint(view))]

        def stop() -> None:
            tasks.append(asyncio.create_task(_stop(stream, following)))

        self._stop_answer = stop
        try:
            await asyncio.wait({following})
        finally:
            self._stop_answer = None
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._view = None
            view.close()
            self.conversation.add_answer(stream.answer)
            self._learn_model(stream.answer)
        if not following.cancelled() and (error := following.exception()):
            raise error

    async def _follow(self, stream: ChatStream, view: AnswerView) -> None:
        async with stream:
            if self._interrupts:
                await stream.stop()
            async for event in stream:
                if isinstance(event, AddButton):
                    view.button(self._add_button(event), event)
                else:
                    view.show(event)
                if isinstance(event, ChangeTheme):
                    self.color = event.color
                elif isinstance(event, RemoveButton):
                    self._remove_button(event.label)

    def _remove_button(self, label: str) -> None:
        for number, button in list(self.buttons.items()):
            if button.label.casefold() == label.casefold():
                del self.buttons[number]

    def _add_button(self, button: AddButton) -> int:
        """Add a button and return its number; remove the oldest one if there are too many."""
        self._buttons_made += 1
        self.buttons[self._buttons_made] = button
        if len(self.buttons) > MAX_BUTTONS:
            del self.buttons[min(self.buttons)]
        return self._buttons_made

    @contextmanager
    def _watching(self) -> Iterator[None]:
        if self.keyboard is None:
            yield
            return
        actions = {Keys.ControlC: self.interrupt, Keys.ControlT: self._toggle_thinking}
        with watching(self.keyboard, actions):
            yield

    def _toggle_thinking(self) -> None:
        if self._view:
            self._view.toggle_thinking()

    def dropped(self) -> None:
        """Show that the answer's stream has lost its connection."""
        if self._view:
            self._view.dropped()

    def _learn_model(self, answer: Answer) -> None:
        if not self.model:
            self.conversation.model = answer.model

    def check_vision(self) -> None:
        """Check that the model can see images, if the server lists its capabilities.

        Raises:
            CommandError: It cannot.
        """
        model = self.server.find(self.model)
        if model and "vision" not in model.capabilities:
            seeing = [m.name for m in self.server.models if "vision" in m.capabilities]
            way_out = f"/model {seeing[0]} can" if seeing else "no model of this server can"
            raise CommandError(f"{model.name} cannot read images; {way_out}")

    async def refresh_server(self) -> None:
        """Ask the server for its models; choose one if neither side has a default.

        Raises:
            DriplineError: It cannot say.
        """
        self.server = await read_server(self.client)
        if not self.model and self.server.models:
            loaded = [model for model in self.server.models if model.loaded]
            self.conversation.model = (*loaded, *self.server.models)[0].name


async def _paint(view: AnswerView) -> None:
    while True:
        view.paint()
        await asyncio.sleep(PAINT_SECONDS)


async def _stop(stream: ChatStream, following: asyncio.Task[None]) -> None:
    """Stop the run; if the server cannot be reached, leave it running."""
    try:
        if stream.run_id:
            await stream.stop()
    except DriplineError:
        following.cancel()


def sentence_of(error: DriplineError) -> str:
    """Return an error's text, with advice on what to do."""
    match error:
        case CommandError():
            return str(error)
        case RunGone():
            return "the server was restarted, and the rest of the answer is lost; /retry asks again"
        case RunFailed(message=message, retryable=retryable):
            return f"{message} /retry asks again." if retryable else message
        case RequestRefused(message=message, retryable=False):
            return message
        case _:
            return f"{error}; /retry asks again"
