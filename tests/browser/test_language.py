"""Which language a text is taken for: fonts and voices are chosen by it."""

from __future__ import annotations

import pytest

from dripline.testing import Script
from tests.browser.conftest import Opener
from tests.support.browser import chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

LANGUAGES = {
    "The sky is blue, and this is what you have not seen.": "en",
    "Der Himmel ist blau, und das ist nicht die Farbe von Licht.": "de",
    "Le ciel est bleu, et les nuages dans une image qui est belle.": "fr",
    "El cielo es azul y los colores que están con una luz más clara.": "es",
    "Il cielo è blu, e questo è anche più bello che non di sera.": "it",
    "O céu é azul e não é mais que uma cor para você.": "pt",
    "De lucht is blauw en het is niet van een kleur die wordt gezien.": "nl",
    "空は青いです。漢字も多い。": "ja",
    "天空是蓝色的。": "zh",
    "하늘은 파랗다": "ko",
    "Небо синее, и это красиво": "ru",
    "Небо синє, і це її колір": "uk",
    "السماء زرقاء": "ar",
    "השמיים כחולים": "he",
    "x = 1": "",
    "Hello": "",
    "": "",
    "👩‍🔬 42": "",
}


async def test_languages_are_told_apart(opener: Opener) -> None:
    """By their letters, or by several of their commonest words; where neither tells, by nothing."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        found = await chat.page.evaluate(
            """async (texts) => {
                const { languageOf } = await import("/static/chat/language.js");
                return texts.map(languageOf);
            }""",
            list(LANGUAGES),
        )
        assert dict(zip(LANGUAGES, found, strict=True)) == LANGUAGES
