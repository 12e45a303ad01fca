"""How log records look."""

from __future__ import annotations

import logging

from dripline_server.access_log import KeyValueFormatter


def test_no_value_passes_for_another_field_or_line() -> None:
    """Names of models come from requests; plain values stay as they are."""
    fields = {
        "model": "m\n2026-01-01 ERROR forged",
        "code": "x status=completed",
        "line": "a\u2028b",
        "long": "y" * 10_000,
        "status": "failed",
        "seconds": 1.5,
        "none": "",
    }
    record = logging.makeLogRecord({"msg": "run ended", "levelname": "INFO", **fields})
    line = KeyValueFormatter().format(record)
    assert len(line.splitlines()) == 1
    shown = line.partition(" INFO run ended ")[2]
    assert shown == (
        r'model="m\n2026-01-01 ERROR forged" code="x status=completed" line="a\u2028b"'
        f" long={'y' * 200} status=failed seconds=1.5"
    )
