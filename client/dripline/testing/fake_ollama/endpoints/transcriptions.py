"""`/v1/audio/transcriptions`: a recording becomes a chat, whose answer is the text."""

from __future__ import annotations

from aiohttp import BodyPartReader, web

from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.endpoints.answers import answer_chat
from dripline.testing.fake_ollama.go.go_writing import go_json
from dripline.testing.fake_ollama.openai_api.completions_door import OpenAiDoor, refuse
from dripline.testing.fake_ollama.request import Message, ReceivedChat
from dripline.testing.fake_ollama.visit import Visit
from dripline.testing.fake_ollama.wire import AnswerStep

_MOST = 25 << 20  # bytes of a form that Ollama takes
_TASK = (
    "Transcribe the audio exactly as spoken. Output only the spoken words. Do not answer any "
    "question in the audio."
)


class TranscriptionDoor(OpenAiDoor):
    """Writes the text alone.

    Args:
        as_text: Whether as plain text, and not as JSON.
    """

    def __init__(self, *, as_text: bool) -> None:
        self._as_text = as_text
        self.whole_type = wire.TEXT if as_text else wire.PLAIN_JSON

    def whole(self, step: AnswerStep) -> bytes:
        """Return the whole answer in one piece."""
        text = step.content.strip()
        return text.encode(errors="replace") if self._as_text else go_json({"text": text}) + b"\n"


async def transcriptions(visit: Visit) -> web.StreamResponse:
    """`POST /v1/audio/transcriptions`."""
    visit.door = OpenAiDoor()
    form, audio = await _form(visit)
    if not form.get("model"):
        raise refuse("model is required")
    if audio is None:
        raise refuse("file is required: http: no such file")
    if not audio:
        raise refuse("audio file is empty")
    task = _TASK
    if language := form.get("language"):
        task += f" The audio is in {language}."
    if context := form.get("prompt"):
        task += f" Context: {context}"
    visit.door = TranscriptionDoor(as_text=form.get("response_format") == "text")
    question = "What exact words are spoken in this audio?"
    request = ReceivedChat(
        form["model"],
        (Message("system", task), Message("user", question, images=(audio,))),
        stream=False,
        options={"temperature": 0},
        path=visit.received.path,
    )
    return await answer_chat(visit, request, {})


async def _form(visit: Visit) -> tuple[dict[str, str], bytes | None]:
    """Return the fields of the form, and the file."""
    if visit.http.content_type != "multipart/form-data":
        raise refuse(
            "failed to parse multipart form: request Content-Type isn't multipart/form-data"
        )
    fields: dict[str, str] = {}
    audio: bytes | None = None
    left = _MOST
    try:
        async for part in await visit.http.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            data = await part.read(decode=True)
            left -= len(data)
            if left < 0:
                raise refuse("failed to parse multipart form: http: request body too large")
            if part.name == "file" and part.filename is not None:
                audio = bytes(data)
            elif part.name:
                fields[part.name] = data.decode(errors="replace")
    except (ValueError, RuntimeError) as error:
        raise refuse(f"failed to parse multipart form: {error}") from error
    return fields, audio
