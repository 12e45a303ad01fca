"""Somebody's project with tests of its own, run by pytest in a process of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

RunTests = Callable[..., pytest.RunResult]


def runs_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *plugins: str
) -> RunTests:
    """Return what runs a test file, and returns pytest's result.

    Of all plugins only those it is about are loaded, dripline's by the name that it installs: the
    others take many times as long as the tests. The README's tests run with all.
    """
    pytester.makeini(
        "[pytest]\nfilterwarnings = error\n"
        + "asyncio_default_fixture_loop_scope = function\n" * ("pytest_asyncio.plugin" in plugins)
    )
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_PLUGINS", raising=False)
    monkeypatch.delenv("CI", raising=False)

    def run(code: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=code)
        loaded = [word for plugin in ("dripline", *plugins) for word in ("-p", plugin)]
        return pytester.runpytest_subprocess("-v", *loaded, *arguments)

    return run
