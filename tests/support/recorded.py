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
