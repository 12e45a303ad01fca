"""The charts of a run, as SVG. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.report import Chart

COLOURS = ("#2e7d32", "#b0bec5", "#90a4ae", "#78909c", "#546e7a", "#cfd8dc", "#37474f")


def plot(chart: Chart, path: Path) -> None:
    """Draw a chart's bars on a logarithmic scale, each with its figure."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.28 * len(chart.groups) * (len(chart.bars) + 1)))
    axes = figure.add_subplot()
    step = len(chart.bars) + 1
    for at, (name, values) in enumerate(chart.bars.items()):
        # What was not measured has no bar.
        places = [group * step + at for group, value in enumerate(values) if value == value]
        values = [value for value in values if value == value]
        colour = COLOURS[at % len(COLOURS)]
        bars = axes.barh(places, values, color=colour, label=name, height=0.85)
        axes.bar_label(bars, [f" {name} {value:.3g}" for value in values], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(right=axes.get_xlim()[1] * 12)
    axes.set_yticks([group * step + step / 2 - 1 for group in range(len(chart.groups))])
    axes.set_yticklabels(chart.groups)
    axes.invert_yaxis()
    axes.set_title(f"{chart.title} ({chart.unit})", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    # The same figures give the same file.
    with rc_context({"svg.hashsalt": "dripline"}):
        figure.savefig(path, metadata={"Date": None})
