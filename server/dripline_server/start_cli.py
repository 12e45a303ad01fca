"""The entry point of `dripline-server`. Without the server extra it says how to install it."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command and return its exit code; 2 if the server extra is not installed."""
    # Process 1 of a container does not receive SIGTERM until it has a handler for it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        from dripline_server.cli import main as run

        return run()
    except ModuleNotFoundError as missing:
        package = (missing.name or "").split(".")[0]
        if package == "dripline_server":
            raise
        sys.stderr.write(f"dripline-server needs {package}: pip install 'dripline[server]'\n")
        return 2
