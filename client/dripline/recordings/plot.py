"""Draw the number of tokens over time, a line for each stream. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dripline.recordings.exchange import Exchange
from dripline.recordings.view import units
from dripline.visible import visible


class PlotUnavailable(ImportError):
    """Matplotlib is not installed."""

    def __str__(self) -> str:
        return "drawing needs matplotlib: pip install 'dripline[plot]'"


def plot(exchanges: Mapping[str, Exchange], path: str | Path) -> None:
    """Draw how many tokens had arrived at each time; for streams without tokens, count units.

    Args:
        exchanges: The exchanges, by the name to show.
        path: The image to create; its suffix chooses the format: ".png", ".svg", ".pdf".

    Raises:
        PlotUnavailable: Matplotlib is not installed.
        ValueError: There is no suffix, or matplotlib does not support it.
        OSError: The picture cannot be written.
    """
    try:
        # Not pyplot, which may open windows and keeps all figures in memory.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotUnavailable from error
    if not Path(path).suffix:
        raise ValueError(f"{path}: a picture's name ends with its kind, such as .png")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, exchange in exchanges.items():
        found = units(exchange)
        times = [unit.at for unit in found if unit.token] or [unit.at for unit in found]
        x = [0.0, *(at - exchange.started for at in times), exchange.duration]
        axes.step(x, [0, *range(1, len(times) + 1), len(times)], where="post", label=_label(name))
        axes.plot(x[-1], len(times), marker="|", markersize=12, color=axes.lines[-1].get_color())
    axes.set_xlabel("seconds since the request")
    axes.set_ylabel("tokens")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, dpi=150)


def _label(name: str) -> str:
    """Escape a name for matplotlib, which would read text between two dollars as a formula."""
    return visible(name).replace("$", r"\$")
