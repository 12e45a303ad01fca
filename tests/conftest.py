"""What holds for every test."""

from collections.abc import Generator

import pytest
from hypothesis import settings

# No test depends on the machine being fast.
settings.register_profile("dripline", deadline=None)
settings.load_profile("dripline")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make what a test has logged fit to be sent: some log what is no Unicode, and xdist fails."""
    report = yield
    report.sections = [
        (name, text.encode(errors="replace").decode()) for name, text in report.sections
    ]
    return report
