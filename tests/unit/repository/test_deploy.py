"""What `deploy/` names is what dripline has: its variables, its metrics, its time-outs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from dripline.errors import ErrorCode
from dripline.events import End, Error
from dripline_server.metrics import Metrics
from dripline_server.settings import Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
FILES = sorted(path for path in DEPLOY.iterdir() if path.is_file())


def _variables() -> set[str]:
    return {f"DRIPLINE_{field.name.upper()}" for field in fields(Settings)} | {"DRIPLINE_OLLAMA"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    """A misspelled variable would be ignored in silence."""
    named = set(re.findall(r"\bDRIPLINE_[A-Z_]+", path.read_text()))
    assert named <= _variables()


@pytest.mark.parametrize("name", ["alerts.yml", "grafana-dashboard.json"])
def test_every_metric_is_there(name: str) -> None:
    """An alert on a metric that nobody exports never fires."""
    metrics = Metrics()
    metrics.watch(runs=lambda: 0, readers=lambda: 0, log_bytes=lambda: 0)
    metrics.run_ended(End("failed"), Error(ErrorCode.INTERNAL_ERROR, ""))
    metrics.tool_called("t", failed=False)
    exported = set(re.findall(r"^(dripline_\w+)", metrics.text().decode(), re.MULTILINE))
    named = set(re.findall(r"\bdripline_\w+", (DEPLOY / name).read_text()))
    assert named
    assert named <= exported


def test_the_dashboard_is_json() -> None:
    """Grafana imports it as it stands, and no two panels have one id."""
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("name", "grace"),
    [
        ("kubernetes.yaml", r"terminationGracePeriodSeconds: (\d+)"),
        ("compose.yaml", r"stop_grace_period: (\d+)s"),
        ("dripline.service", r"TimeoutStopSec=(\d+)"),
    ],
)
def test_nobody_is_killed_while_it_drains(name: str, grace: str) -> None:
    """The time to stop in is longer than the drain time, and what comes before and after it."""
    text = (DEPLOY / name).read_text()
    (allowed,) = re.findall(grace, text)
    (drain,) = re.findall(r"DRIPLINE_DRAIN_TIME\W+(?:value\W+)?(\d+)", text)
    assert int(allowed) >= int(drain) + 15


def test_the_image_and_the_manifest_agree_on_the_user() -> None:
    """`runAsNonRoot` needs a number, and the image's files are for that one."""
    (user,) = re.findall(r"^USER (\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert f"runAsUser: {user}" in (DEPLOY / "kubernetes.yaml").read_text()
    assert f"--uid {user}" in (DEPLOY / "Dockerfile").read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """It has no unknown line."""
    program = shutil.which("true")
    text = (DEPLOY / "dripline.service").read_text()
    unit = tmp_path / "dripline.service"
    unit.write_text(text.replace("/opt/dripline/bin/dripline-server", str(program)))
    found = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
