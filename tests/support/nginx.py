"""nginx, run in a folder of the test's."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.programs import require_program

# What a configuration is included in; all that nginx writes is in the folder that it runs in.
AROUND = """
daemon off;
pid nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{included}
}}
"""


@asynccontextmanager
async def run_nginx(included: str, folder: Path, port: int) -> AsyncIterator[Process]:
    """Run it with this in its `http` block, which has it listen on a port of this machine."""
    (folder / "nginx.conf").write_text(AROUND.format(included=included))
    process = await asyncio.create_subprocess_exec(
        require_program("nginx"), "-p", folder, "-c", "nginx.conf", "-e", "stderr"
    )
    try:
        await _wait_listening(port)
        yield process
    finally:
        process.terminate()
        await process.wait()


async def _wait_listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
