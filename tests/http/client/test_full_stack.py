"""Ollama to Python through real sockets, with every byte on its own."""

from __future__ import annotations

from dripline import TextMessage
from dripline.recordings.splits import every_byte
from dripline.testing import Reply, Script
from tests.support.stack import stack

TOKENS = [
    "Latin: naïve façade, ",
    "Ελληνικά: καλημέρα, ",
    "Кириллица: здравствуйте, ",
    "עברית: שלום, ",
    "العربية: مرحبا, ",
    "हिन्दी: नमस्ते, ",
    "ไทย: สวัสดี, ",
    "中文：你好，",
    "日本語：こんにちは、",
    "한국어: 안녕하세요, ",
    "👩‍👩‍👧‍👦 ",
    "🏳️‍🌈 ",
    "🇨🇭 ",
    "e\u0301 ",
    "next line: \u0085 ",
    "line separator: \u2028, paragraph separator: \u2029 ",
    "tab\t, vertical tab \x0b, form feed \x0c, NUL \x00, delete \x7f ",
    "\r\n",
    "\r",
    "\n\n",
    "data: not a field\n\n",
    'quotes " and \\ and </script> & <b>',
    "\ufeff",
    "\ufffd",
    "\U0010ffff",
    " ",
]


async def test_the_text_arrives_exactly() -> None:
    """Eight scripts and more, emoji with joiners, and every kind of line break: token by token."""
    script = Script(Reply(TOKENS, thinking=TOKENS), split=every_byte)
    async with stack(script) as s:
        answer = await s.client.ask("Say it")
        async with s.client.chat("Again") as stream:
            texts = [event.content async for event in stream if isinstance(event, TextMessage)]
    assert answer.text == "".join(TOKENS)
    assert answer.thinking == "".join(TOKENS)
    assert answer.end
    assert answer.end.status == "completed"
    assert texts == TOKENS
