"""The parts of `dripline chat` that need no terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from dripline import Answer, TextMessage, Thinking
from dripline.cli.terminal.clipboard import CannotCopy, copy
from dripline.cli.terminal.conversation import BadConversation, Conversation, from_json, to_json
from dripline.cli.terminal.history import open_history
from dripline.cli.terminal.images import read_image
from dripline.cli.terminal.request_options import read_option, request_fields

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 20


def test_a_conversation_is_saved_whole() -> None:
    """What is read is what was written; the model is not told its thinking."""
    conversation = Conversation("m", "Be brief", {"temperature": 0.2})
    conversation.ask("Hi", ["aW1hZ2U="])
    answer = Answer()
    answer.add(Thinking("Hmm"))
    answer.add(TextMessage("Hello"))
    conversation.add_answer(answer)
    assert from_json(to_json(conversation)) == conversation
    assert conversation.request_messages == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Hi", "images": ["aW1hZ2U="]},
        {"role": "assistant", "content": "Hello"},
    ]


HEAD = b'{"format": "dripline-conversation", "version": 1, '
BAD_FILES = {
    b"hello": "not JSON",
    b"[]": "not a JSON object",
    b'{"format": "other"}': "format",
    b'{"format": "dripline-conversation", "version": 2}': "version",
    HEAD + b'"messages": {}}': "messages: should be a list",
    HEAD + b'"messages": [1]}': "messages.0: should be an object",
    HEAD + b'"messages": [{"role": "king"}]}': "messages.0.role",
    HEAD + b'"messages": [{"role": "user"}]}': "messages.0.content",
    HEAD + b'"messages": [{"role": "user", "content": 1}]}': "messages.0.content",
    HEAD + b'"messages": [{"role": "user", "content": "", "images": [1]}]}': "messages.0.images",
    HEAD + b'"model": 1}': "model",
    HEAD + b'"options": {"temperature": "hot"}}': "options.temperature",
    HEAD + b'"options": {"magic": 1}}': "options.magic",
}


@pytest.mark.parametrize(("content", "said"), BAD_FILES.items())
def test_a_bad_file_is_refused(content: bytes, said: str) -> None:
    """By name of the field."""
    with pytest.raises(BadConversation, match=said):
        from_json(content)


OPTIONS = {
    ("temperature", "0.2"): 0.2,
    ("top_k", "40"): 40,
    ("num_predict", "-1"): -1,
    ("think", "off"): False,
    ("think", "high"): "high",
    ("stop", "END"): "END",
    ("keep_alive", "-1"): "-1",
    ("temperature", "nan"): "from 0 to 10",
    ("temperature", "inf"): "from 0 to 10",
    ("top_p", "1.1"): "from 0 to 1",
    ("seed", "1.5"): "a whole number",
    ("num_ctx", "0"): "from 1",
    ("think", "maybe"): "low, medium",
    ("keep_alive", "soon"): "such as 10m",
    ("temprature", "1"): "did you mean temperature",
    ("zzz", "1"): "there are temperature",
}


@pytest.mark.parametrize(("typed", "result"), OPTIONS.items(), ids=str)
def test_options_are_checked(typed: tuple[str, str], result: object) -> None:
    """The value, or what is wrong with it."""
    name, text = typed
    if isinstance(result, str) and result not in ("high", "END", "-1"):
        with pytest.raises(ValueError, match=result):
            read_option(name, text)
    else:
        assert read_option(name, text) == result


def test_options_go_where_ollama_takes_them() -> None:
    """`think` and `keep_alive` stand beside the others."""
    assert request_fields({"temperature": 1, "stop": "END", "think": True, "keep_alive": "-1"}) == {
        "options": {"temperature": 1, "stop": ["END"]},
        "think": True,
        "keep_alive": -1,
        "ui_control": "auto",
    }
    assert request_fields({}) == {"ui_control": "auto"}


def test_pictures_are_checked(tmp_path: Path) -> None:
    """By what is in them, not by their name."""
    picture, text = tmp_path / "a.txt", tmp_path / "b.png"
    picture.write_bytes(PNG)
    text.write_text("no picture")
    assert read_image(picture).startswith("iVBOR")
    with pytest.raises(ValueError, match="not an image of a supported kind"):
        read_image(text)


def test_the_history_is_private_and_bounded(tmp_path: Path) -> None:
    """Mode 0600 whatever it was; the oldest entries go; a place that cannot be is said."""
    path = tmp_path / "state" / "history"
    path.parent.mkdir()
    path.write_text("\n# then\n+old\n" * 90_000)
    path.chmod(0o644)
    _, trouble = open_history(path)
    assert trouble == ""
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size < 600_000
    assert path.read_bytes().startswith(b"\n# then\n+old\n")
    _, trouble = open_history(path / "below a file")
    assert "cannot be saved" in trouble


async def test_copying_takes_the_first_program_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so where there is none, and no terminal."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotCopy, match="no terminal"):
        await copy("hi")
    for name, line in {"wl-copy": "exit 1", "xclip": f"read x; echo $x > {tmp_path}/got"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    assert await copy("hi\n") == "with xclip"
    assert (tmp_path / "got").read_text() == "hi\n"
