"""What holds for every test."""

import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

# No test depends on the machine being fast.
settings.register_profile("dripline", deadline=None)
settings.load_profile("dripline")


@pytest.fixture(scope="session", autouse=True)
def signals_of_a_terminal() -> None:
    """Have these signals end what tests start, also where the tests run in the background."""
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make what a test has logged fit to be sent: some log what is no Unicode, and xdist fails."""
    report = yield
    report.sections = [
        (name, text.encode(errors="replace").decode()) for name, text in report.sections
    ]
    return report
