"""What an answer costs the browser, from its beginning to its end."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from playwright.async_api import Browser, CDPSession, expect

from dripline.testing import FakeOllama, Pace, Script
from tests.benchmarks.options import Options
from tests.benchmarks.report import Section, Table, Verdict
from tests.support.browser import ChatPage, chat_server, chromium, open_page
from tests.support.long_answer import long_answer

TOKENS, RATE = 20_000, 500
QUARTERS = ("first", "second", "third", "last")
WORK = "an answer on the page"
TEXT = (
    f"Headless Chromium shows an answer of {TOKENS:,} tokens of mixed Markdown at {RATE} a second,"
    " in the real page from the real server. Main thread: all that it did, by the browser's own"
    " count (script, style, layout, paint, garbage collection), for each token of a quarter of the"
    " answer. The longest task is in CPU time: on a busy machine the clock goes on while the"
    " browser waits for a core. Long tasks are what the page itself is told of (`longtask`): more"
    " than 50 ms by the clock. Heap: what it has grown by after garbage collection, in a second"
    " answer of the same text. Parsed anew: setting `innerHTML` to the whole text's Markdown, which"
    " the same library parses, and laying it out; the usual way does that for each token."
)

PARSE_ANEW = """async ([text]) => {
    const { parser } = await import("/static/view/markdown/parser.js");
    const element = document.createElement("div");
    element.className = "text prose";
    document.querySelector("#log").append(element);
    const began = performance.now();
    element.innerHTML = parser.render(text);
    element.getBoundingClientRect();
    const took = performance.now() - began;
    element.remove();
    return took;
}"""


# Not Playwright's way, which has the page look through all of it again and again.
DRAWN = """async () => {
    while (document.querySelector(".answer")?.ariaBusy !== "false") {
        await new Promise(requestAnimationFrame);
    }
}"""

NOTE_LONG_TASKS = """() => {
    window.longTasks = [];
    const note = (list) => window.longTasks.push(...list.getEntries().map((task) => task.duration));
    new PerformanceObserver(note).observe({ type: "longtask" });
}"""


async def run(options: Options) -> Section:
    """Measure the page, where Chromium is installed."""
    section = Section("What an answer costs the browser", TEXT)
    if not shutil.which("chromium"):
        section.notes.append("Not measured: there is no Chromium here.")
        return section
    tokens = long_answer(TOKENS // 50 if options.quick else TOKENS)
    size = 2**20 // 50 if options.quick else 2**20
    models = {
        "story": Script(tokens, Pace(tokens_per_second=RATE)),
        "mixed-markdown": Script(["".join(long_answer(size))[:size]]),
        "list-items": Script(["- a\n" * (size // 4)]),
    }
    async with (
        chromium() as browser,
        chat_server(models, model="story") as (ollama, server),
        open_page(browser, server.url) as chat,
    ):
        devtools = await chat.page.context.new_cdp_session(chat.page)
        await devtools.send("Performance.enable")
        await chat.page.evaluate(NOTE_LONG_TASKS)
        await browser.start_tracing(page=chat.page, categories=["toplevel"])
        times = await _show(chat, ollama, devtools, "TaskDuration", len(tokens))
        longest = await _longest_task(browser)
        section.notes.append(f"Long tasks in the first answer: {await _long_tasks(chat)}.")
        heap = await _show(chat, ollama, devtools, "JSHeapUsedSize", len(tokens))
        for name in [*models][1:]:
            section.notes.append(f"{size:,} characters in one token, {await _at_once(chat, name)}.")
        anew = [await _parse_anew(chat, tokens, quarter) for quarter in range(4)]
        section.verdicts.append(await _long_conversation(browser, server.url, options))
    _report(section, len(tokens), times, heap, anew)
    section.verdicts.append(Verdict(WORK, "longest task, CPU ms", longest, 50))
    return section


async def _show(
    chat: ChatPage, ollama: FakeOllama, devtools: CDPSession, metric: str, count: int
) -> list[float]:
    """Return what a token cost in each quarter of an answer: seconds, or bytes."""
    answers = await chat.answers.count()
    marks = [await _metric(devtools, metric)]
    await chat.ask("Tell me all of it")
    request = await ollama.wait_for_request(answers + 1)
    for quarter in range(1, 5):
        while request.tokens_sent < count * quarter / 4:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
        marks.append(await _metric(devtools, metric))
    await chat.wait_answered(answers + 1)
    return [(after - before) / (count / 4) for before, after in pairwise(marks)]


async def _longest_task(browser: Browser) -> float:
    """Return the most CPU time that the main thread took without a break, in ms."""
    events = json.loads(await browser.stop_tracing())["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = (
        float(event["tdur"])
        for event in events
        if (event["pid"], event["tid"]) in threads
        and event["name"] == "ThreadControllerImpl::RunTask"
        and "tdur" in event
    )
    return max(tasks) / 1000


async def _at_once(chat: ChatPage, model: str) -> str:
    """Say how long an answer that comes as a whole takes until it is drawn."""
    await chat.page.get_by_role("button", name="New chat").click()
    await chat.model.select_option(f"{model}:latest")
    await _long_tasks(chat)  # of what was before
    began = time.perf_counter()
    await chat.ask("All at once")
    await chat.page.evaluate(DRAWN)
    took = time.perf_counter() - began
    return f"{model}: drawn in {took:.1f} s; long tasks: {await _long_tasks(chat)}"


async def _long_conversation(browser: Browser, url: str, options: Options) -> Verdict:
    """Compare what the main thread does for an answer in a long conversation and in a new one."""
    took = []
    for count in (0, 498):
        async with open_page(browser, url) as chat:
            if count:
                text = "".join(long_answer(120))
                said = [
                    {"role": "user", "content": "Go on"},
                    {"role": "assistant", "content": text},
                ]
                file = json.dumps({"messages": said * (count // 2)}).encode()
                await chat.page.locator("#import-files").set_input_files(
                    {"name": "chat.json", "mimeType": "application/json", "buffer": file}
                )
                await expect(chat.answers).to_have_count(count // 2)
            await chat.model.select_option("story:latest")
            await chat.ask("Go on")
            await expect(chat.text).to_contain_text("a")
            devtools = await chat.page.context.new_cdp_session(chat.page)
            await devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
            before = await _metric(devtools, "TaskDuration")
            await asyncio.sleep(0.2 if options.quick else 5)  # of streaming
            took.append(await _metric(devtools, "TaskDuration") - before)
    what = "CPU of streaming in a conversation of 500 messages, of that in one of 2"
    return Verdict(WORK, what, took[1] / took[0], 1.3)


async def _long_tasks(chat: ChatPage) -> str:
    """Say what the page was told of since the last call."""
    long: list[float] = await chat.page.evaluate("window.longTasks.splice(0)")
    return f"{len(long)}, the longest {max(long):.0f} ms" if long else "none"


async def _metric(devtools: CDPSession, name: str) -> float:
    if name == "JSHeapUsedSize":
        await devtools.send("HeapProfiler.collectGarbage")
    found: dict[str, Any] = await devtools.send("Performance.getMetrics")
    values = {metric["name"]: float(metric["value"]) for metric in found["metrics"]}
    return values[name]


async def _parse_anew(chat: ChatPage, tokens: Sequence[str], quarter: int) -> float:
    middle = len(tokens) * (2 * quarter + 1) // 8
    text = "".join(tokens[:middle])
    times = [await chat.page.evaluate(PARSE_ANEW, [text]) for _ in range(5)]
    return float(sorted(times)[2])


def _report(
    section: Section,
    count: int,
    times: Sequence[float],
    heap: Sequence[float],
    anew: Sequence[float],
) -> None:
    milliseconds = [1000 * cost for cost in times]
    rows = [list(row) for row in zip(QUARTERS, milliseconds, heap, anew, strict=True)]
    header = [
        "quarter",
        "main thread, ms a token",
        "heap, bytes a token",
        "parsed anew, ms a token",
    ]
    section.tables.append(Table(f"An answer of {count:,} tokens", header, rows))
    growth = "last quarter's of the first's"
    section.verdicts += [
        Verdict(WORK, f"time of a token, {growth}", times[-1] / times[0], 1.25),
        Verdict(WORK, "heap of a token in the last quarter, bytes", heap[-1], 1024),
    ]
