"""The recordings in tests/recordings/."""

from __future__ import annotations

from pathlib import Path

from dripline.recordings.recording import Recording

FOLDER = Path(__file__).parents[1] / "recordings"


def recorded(kind: str) -> dict[str, Recording]:
    """Those whose name begins with `kind`: "ollama", "chat" or "sse"."""
    found = {path.stem: Recording.load(path) for path in sorted(FOLDER.glob(f"{kind}-*.jsonl"))}
    assert found, f"no recordings of {kind} in {FOLDER}"
    return found


def real(path: str = "/api/chat") -> dict[str, Recording]:
    """Answers of real Ollamas to requests of this path, by version and name: "0.33 plain"."""
    found = {
        f"{file.parent.name.removeprefix('ollama-')} {file.stem}": Recording.load(file)
        for file in sorted(FOLDER.glob("ollama-*/*.jsonl"))
    }
    chosen = {name: one for name, one in found.items() if one.request.url.endswith(path)}
    assert chosen, f"no recordings of {path} in {FOLDER}"
    return chosen
