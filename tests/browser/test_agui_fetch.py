"""`agui-fetch.js` in a browser, whose `fetch` differs from that of Node.js."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from dripline.testing import Ending, Fault, Script
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.stack import stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORDS = [f"{n}é " for n in range(60)]
HEADERS = 2000  # of the preflight's answer, and of the stream's
READ = """async ([url, abortAfter]) => {
  const { createAguiFetch } = await import("/static/net/agui-fetch.js");
  const abort = new AbortController();
  const response = await createAguiFetch({ firstWait: 1, longestWait: 5 })(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    signal: abort.signal,
    body: JSON.stringify({
      threadId: "t", runId: "r", messages: [{ id: "1", role: "user", content: "Hi" }],
    }),
  });
  const text = new TextDecoder();
  let said = "";
  try {
    for (let reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return said;
      said += text.decode(value, { stream: true });
      if (said.includes(abortAfter)) abort.abort();
    }
  } catch (error) {
    return error.name;
  }
}"""


async def test_cuts(browser: Browser) -> None:
    """A page of another origin gets the whole answer, over connections that are cut."""
    async with (
        stack(Script("The page's own server.")) as home,
        stack(Script(WORDS), cors_origins=(home.url,)) as s,
        CuttingProxy(s.url) as proxy,
    ):
        page = await browser.new_page(bypass_csp=True)  # the other page has its own policy
        await page.goto(f"{home.url}/static/view/palette.js")
        proxy.cuts.extend(Cut(HEADERS + 400 * n, "RST" if n % 2 else "FIN") for n in range(9))
        said = await page.evaluate(READ, [f"{proxy.url}/agui", "nothing"])
        assert len(proxy.done) >= 3
        assert len(s.ollama.chats) == 1
        await page.close()
    deltas = [part.partition('"')[0] for part in said.split('"delta":"')[1:]]
    assert "".join(deltas) == "".join(WORDS)
    assert said.count("RUN_FINISHED") == 1


async def test_abort(browser: Browser) -> None:
    """It stops the model."""
    async with stack(Script(["a", "b"], fault=Fault.stall(at_token=1))) as s:
        page = await browser.new_page()
        await page.goto(f"{s.url}/static/view/palette.js")
        assert await page.evaluate(READ, ["/agui", "CONTENT"]) == "AbortError"
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        await page.close()
