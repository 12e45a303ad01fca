"""The recording file: lossless, private, readable, and checked when it is loaded."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dripline.clock import VirtualClock
from dripline.recordings.recording import (
    BadRecording,
    Exchange,
    ExchangeEnding,
    Piece,
    Recording,
    Request,
    Response,
    load_parts,
    parse,
)
from dripline.recordings.splits import as_recorded, every_byte, fixed, whole
from dripline.recordings.writer import RecordingWriter
from tests.support.recordings import recording_of, recordings

HEAD = '{"format":"dripline recording","version":1}'
REQUEST = '{"at":0,"request":{"method":"GET","url":"http://a/","headers":[],"text":""}}'
RESPONSE = '{"at":0.5,"response":{"status":200,"headers":[["A","b"]]}}'
PIECE = '{"at":1,"text":"Hi"}'
END = '{"at":2,"end":"eof"}'


@settings(deadline=None)
@given(recordings(exchange_count=4))
def test_saving_and_loading_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, recording: Recording
) -> None:
    """Whatever the bytes, times and headers are, and however many exchanges at once."""
    path = tmp_path_factory.mktemp("lossless") / "x.jsonl"
    recording.save(path)
    assert Recording.load(path) == recording


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.binary(min_size=1)), max_size=9), st.data())
def test_what_is_written_piece_by_piece_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    """Two exchanges at once in one file, each as it happened."""
    path, clock = tmp_path_factory.mktemp("written") / "x.jsonl", VirtualClock()
    with RecordingWriter(path, clock=clock) as writer:
        parts = {name: writer.begin(Request(), part=name) for name in "ab"}
        for part in parts.values():
            part.response(200, ())
        for name, piece in pieces:
            clock.now += data.draw(st.floats(0, 9))
            parts[name].piece(piece)
        parts["a"].end(ExchangeEnding.RESET)
    loaded = load_parts(path)
    assert {name: found.chunks for name, found in loaded.items()} == {
        name: [piece for owner, piece in pieces if owner == name] for name in "ab"
    }
    assert [found.ending for found in loaded.values()] == [
        ExchangeEnding.RESET,
        ExchangeEnding.CANCELLED,
    ]
    assert loaded["a"].ended == loaded["b"].ended == round(clock.now, 6)


def test_the_file_is_readable(tmp_path: Path) -> None:
    """Text is text, what cuts a character is base64, what does not print is escaped."""
    clock = VirtualClock()
    with RecordingWriter(tmp_path / "x.jsonl", about="Grüße", clock=clock) as writer:
        part = writer.begin(Request("POST", "http://a/chat", (("A", "b"),), b'{"x": 1}'))
        clock.now = 0.25
        part.response(200, (("Content-Type", "text/event-stream"),))
        for data in ("data: Grü✓\u0085\u2028\u202e👩\u200d👧\r\n".encode(), "ü".encode()[:1]):
            clock.now += 0.1
            part.piece(data)
        part.end(ExchangeEnding.TIMEOUT)
    assert (tmp_path / "x.jsonl").read_text() == (
        '{"format":"dripline recording","version":1,"date":"2023-11-14T22:13:20Z",'
        '"about":"Grüße"}\n'
        '{"at":0.0,"request":{"method":"POST","url":"http://a/chat","headers":[["A","b"]],'
        '"text":"{\\"x\\": 1}"}}\n'
        '{"at":0.25,"response":{"status":200,"headers":[["Content-Type","text/event-stream"]]}}\n'
        '{"at":0.35,"text":"data: Grü✓\\u0085\\u2028\\u202e👩\\u200d👧\\r\\n"}\n'
        '{"at":0.45,"base64":"ww=="}\n'
        '{"at":0.45,"end":"timeout"}\n'
    )


def test_the_file_is_private(tmp_path: Path) -> None:
    """Its owner alone may read it; it takes another's place only where that is asked for."""
    path = tmp_path / "x.jsonl"
    path.write_text("precious")
    path.chmod(0o644)
    recording = recording_of([b"a"])
    with pytest.raises(FileExistsError):
        recording.save(path)
    with pytest.raises(FileExistsError):
        RecordingWriter(path)
    assert path.read_text() == "precious"
    recording.save(path, overwrite=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Recording.load(path) == recording
    RecordingWriter(path, overwrite=True).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@settings(deadline=None)
@given(recordings(), st.data())
def test_a_crash_leaves_a_readable_recording(recording: Recording, data: st.DataObject) -> None:
    """Cut anywhere behind its request, a file loads, has whole pieces, and is unfinished."""
    lines = list(recording._lines())
    complete = b"".join(lines)
    cut = data.draw(st.integers(len(lines[0]) + len(lines[1]), len(complete)))
    [loaded] = parse(complete[:cut]).exchanges
    assert loaded.chunks == recording.chunks[: len(loaded.pieces)]
    # Without its last LF the file is still whole.
    whole_file = cut >= len(complete) - 1
    assert loaded.ending is (recording.ending if whole_file else ExchangeEnding.UNFINISHED)


def test_nothing_is_held_back(tmp_path: Path) -> None:
    """Each piece is in the file once it has been written, with nothing closed or flushed."""
    path = tmp_path / "x.jsonl"
    with RecordingWriter(path) as writer:
        part = writer.begin(Request())
        part.response(200, ())
        for count in range(1, 4):
            part.piece(b"x")
            loaded = Recording.load(path)
            assert (len(loaded.pieces), loaded.ending) == (count, ExchangeEnding.UNFINISHED)


def test_a_full_disk_ends_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written raises; nothing follows the half line, and the rest can be read."""
    path = tmp_path / "x.jsonl"
    with RecordingWriter(path) as writer:
        part = writer.begin(Request())
        part.response(200, ())
        room = [5]

        def full(file: int, data: bytes) -> int:
            if not room:
                raise OSError(28, "No space left on device")
            return write(file, data[: room.pop()])

        write = os.write
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(OSError, match="No space"):
                part.piece(b"lost")
        with pytest.raises(ValueError, match="is closed"):
            part.piece(b"more")
        part.end(ExchangeEnding.EOF)
    assert Recording.load(path).ending is ExchangeEnding.UNFINISHED


FAULTS: dict[str, tuple[list[str], int, str]] = {
    "an empty file": ([], 1, "not a recording"),
    "another file": (["# README"], 1, "not JSON"),
    "another format": (['{"log":{"version":"1.2"}}'], 1, '"format" is not "dripline recording"'),
    "a list": (["[]"], 1, "not a JSON object"),
    "a later version": ([HEAD.replace("1", "2")], 1, "version 2 is not supported, only 1"),
    "a version that is no number": (
        [HEAD.replace("1", '"1"')],
        1,
        "version: should be a whole number",
    ),
    "an unknown mark": ([HEAD.replace("}", ',"x":1}')], 1, "unknown: x"),
    "a mark of another type": (
        [HEAD.replace("}", ',"by_hand":1}')],
        1,
        "by_hand: should be true or false",
    ),
    "no time": ([HEAD, REQUEST.replace('"at":0,', "")], 2, "at: is missing; it should be a number"),
    "true as time": ([HEAD, REQUEST.replace("0", "true", 1)], 2, "at: should be a number"),
    "a time before 0": ([HEAD, REQUEST.replace("0", "-1", 1)], 2, "the time goes back"),
    "an endless time": ([HEAD, REQUEST.replace("0", "1e999", 1)], 2, "not JSON"),
    "time that goes back": ([HEAD, REQUEST, RESPONSE, PIECE, PIECE.replace("1", "0.9")], 5, "back"),
    "two requests": ([HEAD, REQUEST, REQUEST], 3, "request: part '1' already has one"),
    "no request": ([HEAD, RESPONSE], 2, "response: part '1' has no request yet"),
    "no response": ([HEAD, REQUEST, PIECE], 3, "text: there is no response yet"),
    "two responses": ([HEAD, REQUEST, RESPONSE, RESPONSE], 4, "the part already has one"),
    "a piece after the end": ([HEAD, REQUEST, RESPONSE, END, PIECE.replace("1", "2")], 5, "ended"),
    "two ends": ([HEAD, REQUEST, END, END], 4, "end: part '1' has ended already"),
    "an unknown ending": ([HEAD, REQUEST, END.replace("eof", "gone")], 3, "'gone' is not one of"),
    "unfinished as ending": ([HEAD, REQUEST, END.replace("eof", "unfinished")], 3, "not one of"),
    "an empty piece": ([HEAD, REQUEST, RESPONSE, '{"at":1,"text":""}'], 4, "at least one byte"),
    "base64 that is none": ([HEAD, REQUEST, RESPONSE, '{"at":1,"base64":"#"}'], 4, "base64: "),
    "base64 with a gap": ([HEAD, REQUEST, RESPONSE, '{"at":1,"base64":"w7 w="}'], 4, "base64: "),
    "text and base64": (
        [HEAD, REQUEST, RESPONSE, '{"at":1,"text":"a","base64":"YQ=="}'],
        4,
        "must be there, not 2",
    ),
    "nothing at all": ([HEAD, REQUEST, RESPONSE, '{"at":1}'], 4, "must be there, not 0"),
    "a misspelt field": ([HEAD, REQUEST, RESPONSE, PIECE.replace("}", ',"txt":""}')], 4, "unknown"),
    "a number as text": (
        [HEAD, REQUEST, RESPONSE, '{"at":1,"text":1}'],
        4,
        "text: should be a string",
    ),
    "a lone surrogate": ([HEAD, REQUEST, RESPONSE, '{"at":1,"text":"\\ud800"}'], 4, "not JSON"),
    "a broken line": ([HEAD, REQUEST, '{"at":0.5,"resp', PIECE], 3, "not JSON"),
    "a bad method": ([HEAD, REQUEST.replace("GET", "GET /")], 2, "method: 'GET /' is not"),
    "a request without URL": ([HEAD, REQUEST.replace("url", "uri")], 2, "unknown: uri"),
    "a status that is none": ([HEAD, REQUEST, RESPONSE.replace("200", "99")], 3, "status: 99"),
    "a header with line ends": (
        [HEAD, REQUEST, RESPONSE.replace('"b"', '"b\\r\\nSet-Cookie: x"')],
        3,
        "headers: A: a value has no line end",
    ),
    "a header name with blanks": ([HEAD, REQUEST, RESPONSE.replace("A", "A b")], 3, "'A b' is not"),
    "a header of one": ([HEAD, REQUEST, RESPONSE.replace(',"b"', "")], 3, "not a name and a value"),
    "a header of numbers": ([HEAD, REQUEST, RESPONSE.replace('"b"', "1")], 3, "not a name and a"),
    "an empty line": ([HEAD, "", REQUEST], 2, "not JSON"),
}


@pytest.mark.parametrize(("lines", "number", "problem"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_line(
    tmp_path: Path, lines: list[str], number: int, problem: str
) -> None:
    """The message has the file, the line and what is wrong there."""
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(BadRecording, match=re.escape(problem)) as raised:
        Recording.load(path)
    assert raised.value.line == number
    assert str(raised.value).startswith(f"{path}, line {number}: ")


def test_a_recording_of_several_exchanges(tmp_path: Path) -> None:
    """What can only be said of one says what to do; a part can be taken alone."""
    path = tmp_path / "x.jsonl"
    with RecordingWriter(path) as writer:
        assert load_parts(path) == {}
        with pytest.raises(BadRecording, match="it has no request yet"):
            Recording.load(path)
        writer.begin(Request("GET"))
        assert Recording.load(path).request.method == "GET"
        writer.begin(Request("DELETE"))
    both = Recording.load(path)
    assert [exchange.request.method for exchange in both.exchanges] == ["GET", "DELETE"]
    with pytest.raises(ValueError, match="holds 2 exchanges: choose one of"):
        _ = both.body
    with pytest.raises(ValueError, match="holds no exchange"):
        _ = Recording().request
    with pytest.raises(BadRecording, match="there is no part '3'"):
        Recording.load(path, part="3")
    assert Recording.load(path, part="2").request.method == "DELETE"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Exchange(pieces=[Piece(0, b"a")]),
        lambda: Exchange(response=Response(at=2), pieces=[Piece(1, b"a")]),
        lambda: Exchange(ended=1.0),
        lambda: Exchange(ending=ExchangeEnding.EOF),
        lambda: Exchange(started=float("nan")),
        lambda: Piece(0, b""),
        lambda: Request("G E T"),
        lambda: Request(headers=(("a", "b\n"),)),
        lambda: Response(101),
    ],
)
def test_what_cannot_be_is_refused(make: object) -> None:
    """So that what can be made can be saved and loaded."""
    assert callable(make)
    with pytest.raises(ValueError, match=r".+"):
        make()


def test_a_split_keeps_bytes_and_times() -> None:
    """A new piece comes when its last byte came."""
    recording = recording_of([b"ab", b"c", b"def"])
    assert recording.split(as_recorded) == recording
    assert recording.split(whole).pieces == (Piece(3.0, b"abcdef"),)
    assert [p.at for p in recording.split(every_byte).pieces] == [1, 1, 2, 3, 3, 3]
    assert recording.split(fixed(4)).pieces == (Piece(3.0, b"abcd"), Piece(3.0, b"ef"))
    assert recording.split(fixed(2)).pieces[1] == Piece(3.0, b"cd")


@settings(deadline=None)
@given(recordings(exchange_count=3), st.integers(1, 9))
def test_any_split_of_any_recording(recording: Recording, size: int) -> None:
    """The bodies stay, and the times stay in order."""
    for split, whole_ in zip(
        recording.split(fixed(size)).exchanges, recording.exchanges, strict=True
    ):
        assert split.body == whole_.body
        assert split.duration == whole_.duration or whole_.ended is None


@settings(deadline=None)
@given(recordings(exchange_count=3), recordings(exchange_count=3))
def test_one_recording_after_another(one: Recording, other: Recording) -> None:
    """The second's exchanges come behind the first's, as long as they were."""
    both = one.followed_by(other)
    assert both.exchanges[: len(one.exchanges)] == tuple(one.exchanges)
    assert [exchange.chunks for exchange in both.exchanges[len(one.exchanges) :]] == [
        exchange.chunks for exchange in other.exchanges
    ]
    again = parse(b"".join(both._lines()))
    assert again == both
    assert len({exchange.part for exchange in again.exchanges}) == len(both.exchanges)
