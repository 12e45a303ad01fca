"""Where `dripline-server` begins: whoever has installed dripline without the server is told how."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command and return its exit code; 2 too where the server is not installed."""
    # As process 1 of a container, it would not hear of this signal until it has a handler.
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
