"""`dripline record`, `replay` and `show`, as real processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import aiohttp
import orjson
import pytest

from dripline import ChatClient
from dripline.recordings.recorder import Recorder
from dripline.recordings.recording import (
    Exchange,
    ExchangeEnding,
    Piece,
    Recording,
    Request,
    Response,
    load_parts,
)
from dripline.testing import FakeOllama, Fault, Script
from tests.support.processes import command, line, run
from tests.support.recordings import exchange_of, recording_of
from tests.support.stack import stack

TOKENS = ["Es", " wär", " ✓"]
PNG = b"\x89PNG\r\n"


async def test_record_a_chat_and_replay_it(tmp_path: Path) -> None:
    """`record` prints what `ask` prints; against the replay, `ask` prints it again."""
    path = str(tmp_path / "x.jsonl")
    async with stack(Script(TOKENS)) as s:
        ask = ("record", path, "--about", "three tokens", "--", "ask", "Hi", "--model", "story")
        code, out, err = await run("dripline", "--server", s.url, *ask)
        assert (code, out, err) == (0, "Es wär ✓\n", "")
    recording = Recording.load(path)
    assert recording.ending in (
        ExchangeEnding.EOF,
        ExchangeEnding.CANCELLED,
    )  # `ask` leaves after `end`
    assert recording.about == "three tokens"
    assert orjson.loads(recording.request.body)["model"] == "story"
    async with command(
        "dripline", "replay", path, "--port", "0", "--speed", "inf", "--split", "every_byte"
    ) as server:
        said = await line(server)
        assert said.startswith(f"{path} is at http://127.0.0.1:")
        code, out, err = await run("dripline", "--server", said.rpartition(" ")[2], "ask", "Ho")
        assert (code, out, err) == (0, "Es wär ✓\n", "")
        server.send_signal(signal.SIGINT)
        assert await server.wait() == 0


async def test_record_any_url(tmp_path: Path) -> None:
    """Ollama itself: what comes is printed, keys stay out, the body may come from a file."""
    path, data = tmp_path / "x.jsonl", tmp_path / "chat.json"
    data.write_text('{"model": "story", "messages": [{"role": "user", "content": "Hi"}]}')
    async with FakeOllama({"story": Script(TOKENS)}) as ollama:
        url = ("--url", f"{ollama.url}/api/chat", "--data", f"@{data}")
        code, out, _ = await run(
            "dripline", "record", str(path), *url, "-H", "Authorization: Bearer hunter2"
        )
        assert ollama.chats[0].headers["Authorization"] == "Bearer hunter2"
        assert ollama.chats[0].headers["Content-Type"] == "application/json"
    assert code == 0
    assert out.count('"done":false') == 3
    assert Recording.load(path).body.decode() == out
    assert "hunter2" not in path.read_text()


@pytest.mark.parametrize(
    ("fault", "ending"), [(Fault.cut(at_token=1), "cut"), (Fault.reset(at_token=1), "reset")]
)
async def test_record_a_stream_that_breaks(tmp_path: Path, fault: Fault, ending: str) -> None:
    """The exit code says that it broke, and the file how."""
    path = tmp_path / "x.jsonl"
    async with FakeOllama({"story": Script(TOKENS, fault=fault)}) as ollama:
        chat = '{"model": "story", "messages": [{"role": "user", "content": "Hi"}]}'
        url = ("--url", f"{ollama.url}/api/chat", "--data", chat)
        code, out, err = await run("dripline", "record", str(path), *url)
    assert code == 4
    assert out.count("\n") == 1
    assert "the stream broke" in err
    assert Recording.load(path).ending == ending


async def test_record_until_ctrl_c(tmp_path: Path) -> None:
    """What came is in the file, with how it ended."""
    path = tmp_path / "x.jsonl"
    async with stack(Script(TOKENS, fault=Fault.stall(at_token=1))) as s:
        ask = ("record", str(path), "--", "ask", "Hi")
        async with command("dripline", "--server", s.url, *ask) as process:
            assert process.stdout
            assert await process.stdout.readexactly(2) == b"Es"
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
    parts = list(load_parts(path).values())
    # The client stops the run and leaves; the server's end may come before it has left.
    assert parts[0].ending in (ExchangeEnding.CANCELLED, ExchangeEnding.EOF)
    assert b'"Es"' in parts[0].body


BAD = os.fsdecode(b"\xff")
WRONG: dict[str, tuple[list[str], int, str]] = {
    "nothing to record": (["record", "new.jsonl"], 2, "give either --url or -- and a command"),
    "both": (["record", "new.jsonl", "--url", "http://a", "--", "ask"], 2, "give either"),
    "a file that is there": (["record", "x.jsonl", "--url", "http://a/"], 2, "--force replaces it"),
    "no folder": (["record", "no/x.jsonl", "--url", "http://a/"], 2, "No such file"),
    "no address": (["record", "new.jsonl", "--url", "a"], 2, "not an HTTP address"),
    "nobody there": (["record", "new.jsonl", "--url", "http://127.0.0.1:1/"], 3, "connect"),
    "no data file": (["record", "n", "--url", "http://a/", "--data", "@no"], 2, "No such file"),
    "no header": (["record", "n", "--url", "http://a/", "-H", "X"], 2, "is not 'Name: value'"),
    "replay of nothing": (["replay", "no.jsonl"], 2, "No such file"),
    "replay of no recording": (["replay", "bad.jsonl"], 2, "bad.jsonl, line 1: not JSON"),
    "no such part": (["replay", "x.jsonl", "--part", "7"], 2, "there is no part '7'"),
    "no such split": (["replay", "x.jsonl", "--split", "half"], 2, "no split plan 'half'"),
    "no such speed": (["replay", "x.jsonl", "--speed", "0"], 2, "speed must be above 0"),
    "a text that is no Unicode": (["record", "n", "--about", BAD, "--", "ask"], 2, "--about"),
    "no method": (["record", "n", "--url", "http://a/", "--method", "G T"], 2, "'G T'"),
    "no name of a header": (["record", "n", "--url", "http://a/", "-H", "a b: c"], 2, "'a b'"),
    "no time": (["record", "n", "--url", "http://a/", "--timeout", "nan"], 2, "--timeout: should"),
    "endless data": (["record", "n", "--url", "http://a/", "--data", "@/dev/zero"], 2, "64 MiB"),
    "what is no file": (["record", "pipe", "--force", "--url", "http://a/"], 2, "pipe exists"),
    "an endless recording": (["show", "/dev/zero"], 2, "more than 512 MiB: '/dev/zero'"),
    "a folder": (["show", "."], 2, "Is a directory"),
    "no such port": (["replay", "x.jsonl", "--port", "99999"], 2, "from 0 to 65535"),
    "no such host": (["replay", "x.jsonl", "--host", ".."], 2, "argument --host"),
    "an empty host": (["replay", "x.jsonl", "--host", ""], 2, "argument --host"),
    "a picture without a kind": (["show", "x.jsonl", "--plot", "x"], 2, "such as .png"),
    "show nothing": (["show", "no.jsonl"], 2, "No such file"),
    "a picture of no kind": (["show", "x.jsonl", "--plot", "x.doc"], 2, "doc"),
}


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    """One sentence, an exit code, and no traceback; a file that was there stays."""
    monkeypatch.chdir(tmp_path)
    recording_of([b"a"]).save("x.jsonl")
    (tmp_path / "bad.jsonl").write_text("bad\n")
    os.mkfifo("pipe")
    found, _, err = await run("dripline", *arguments)
    assert found == code
    assert words in err
    assert "Traceback" not in err
    assert Recording.load("x.jsonl").body == b"a"
    assert (tmp_path / "pipe").is_fifo()


async def test_show(tmp_path: Path) -> None:
    """Events with their times and gaps, bars where reads ended, and the figures."""
    text = 'id: 1\ndata: {"type":"text_message","data":{"content":"Grü\u202e"}}\n\n'.encode()
    cut = text.index("ü".encode()) + 1
    end = b'id: 2\ndata: {"type":"text_message","data":{"content":"!"}}\n\n: ping\n'
    exchange = Exchange(
        Request("POST", "http://a/chat"),
        Response(200, (("Content-Type", "text/event-stream"),), 0.5),
        (Piece(1.0, text[:cut]), Piece(1.25, text[cut:] + end[:9]), Piece(3.0, end[9:])),
        ExchangeEnding.RESET,
        ended=3.5,
    )
    Recording((exchange,), about="an example", by_hand=True).save(tmp_path / "x.jsonl")
    code, out, err = await run("dripline", "show", str(tmp_path / "x.jsonl"))
    assert (code, err) == (0, "")
    assert out == (
        f"{tmp_path}/x.jsonl\n"
        "POST http://a/chat\n"
        "(an example)\n"
        "(written by hand)\n"
        "\n"
        "    time      gap   ¦ is where a read ended\n"
        "   0.500    0.500   200 text/event-stream\n"
        '   1.250    0.750   id: 1⏎data: {"type":"text_message","data":{"content":'
        '"Gr\\xc3¦\\xbc\\u202e"}}⏎⏎\n'
        '   3.000    1.750   id: 2⏎dat¦a: {"type":"text_message","data":{"content":"!"}}⏎⏎\n'
        "   3.000    0.000   : ping⏎¦\n"
        "   3.500    0.500   reset\n"
        "\n"
        "ending              reset after 3.500 s\n"
        "headers             0.500 s\n"
        "first token         1.250 s\n"
        "tokens              2\n"
        "tokens a second     0.6\n"
        "longest gap         1.750 s, to 3.000 s\n"
        "bytes               133\n"
        "reads               3\n"
        "inside a character  1\n"
        "inside an event     2\n"
    )


async def test_show_compares_two_and_draws(tmp_path: Path) -> None:
    """Figures side by side, where the texts part, and a picture."""
    paths = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    for path, tokens in zip(paths, ([b"One", b" two"], [b"One", b" too", b"!"]), strict=True):
        lines = [b'{"message":{"content":"%b"}}\n' % token for token in tokens]
        recording_of(lines, content_type="application/x-ndjson").save(path)
    picture = tmp_path / "x.png"
    code, out, err = await run("dripline", "show", *paths, "--plot", str(picture))
    assert (code, err) == (0, "")
    rows = out.splitlines()
    assert rows[0].split() == paths
    assert rows[1].split("  ")[-1].strip() == "eof after 4.000 s"
    assert rows[4].split() == ["tokens", "2", "3"]
    assert rows[5].split()[-2:] == ["1.0", "1.0"]
    assert out.rstrip().splitlines()[-3:] == [
        "The texts part after 5 characters:",
        f"  {paths[0]}  ...One two",
        f"  {paths[1]}  ...One too!",
    ]
    assert picture.read_bytes().startswith(PNG)
    code, out, _ = await run("dripline", "show", paths[0], paths[0])
    assert code == 2


async def test_show_without_matplotlib(tmp_path: Path) -> None:
    """It says what to install."""
    path = tmp_path / "x.jsonl"
    recording_of([b"a"]).save(path)
    hide = "import sys; sys.modules['matplotlib'] = None; from dripline.cli.main import main; "
    code, _, err = await run(
        "python", "-c", f"{hide}sys.exit(main({['show', str(path), '--plot', 'x.png']}))"
    )
    assert code == 2
    assert "pip install 'dripline[plot]'" in err


async def test_show_a_file_of_several_parts(tmp_path: Path) -> None:
    """Each under its name; a part alone with `--part`."""
    path = tmp_path / "x.jsonl"
    async with (
        stack(Script(TOKENS)) as s,
        Recorder(path) as recorder,
        ChatClient(s.url, middlewares=[recorder]) as client,
    ):
        await client.models()
        assert (await client.ask("Hi")).text == "Es wär ✓"
    code, out, _ = await run("dripline", "show", str(path))
    assert code == 0
    assert f"{path} 1\nGET {s.url}/models" in out
    assert f"{path} 2\nPOST {s.url}/chat" in out
    code, out, _ = await run("dripline", "show", str(path), "--part", "1")
    assert "/models" in out
    assert "/chat" not in out


async def test_replay_of_many_exchanges(tmp_path: Path) -> None:
    """All of them; what is unexpected is refused and said; `--repeat` begins again."""
    path = str(tmp_path / "x.jsonl")
    ask = Request("POST", "http://localhost/chat")
    Recording(
        (
            exchange_of([b"one"], request=ask),
            exchange_of([b"two"], request=ask),
            exchange_of([b"three"], request=Request("GET", "http://localhost/models")),
        )
    ).save(path)
    fast = ("replay", path, "--port", "0", "--speed", "inf")

    async def answers(*arguments: str) -> tuple[list[str], str]:
        async with (
            command("dripline", *fast, *arguments) as server,
            aiohttp.ClientSession() as http,
        ):
            url = (await line(server)).rpartition(" ")[2]
            found = []
            for method, address in (
                ("GET", "/models"),
                *[("POST", "/chat")] * 3,
                ("DELETE", "/runs/1"),
            ):
                async with http.request(method, url + address) as response:
                    found.append((await response.text())[:5] if response.ok else "refused")
            server.send_signal(signal.SIGINT)
            _, err = await server.communicate()
            return found, err.decode()

    found, err = await answers()
    assert found == ["three", "one", "two", "refused", "refused"]
    assert "dripline replay: unexpected request: POST /chat" in err
    assert "the recording has it twice, and it has come more often" in err
    assert "dripline replay: unexpected request: DELETE /runs/1" in err
    found, err = await answers("--repeat")
    assert found == ["three", "one", "two", "one", "refused"]
    found, err = await answers("--match", "order")
    assert found == ["refused", "one", "two", "refused", "refused"]
    assert "path: recorded /models, came /chat" in err
