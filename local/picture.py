"""`make picture`: the dashboard, drawn from the real metrics of a run on this machine, to docs/dashboard.png.

Three of its panels, large enough to be read, go to docs/incident.png.

Traffic comes in bursts; for a while the key of one route is disabled, then enabled again and what waited is
replayed. Periods are seconds instead of the dashboard's minutes. What the function says is what it logged as EMF;
what Lambda and Kinesis would count by themselves is counted by the event source of this folder.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from cli.replay import Replay, function_of
from doctor.resolve import Resolver
from local.connect import ConnectStandIn
from local.deployment import STACK, Deployed, build, deploy, mend
from local.emulator import ROOT, Emulator, emulator
from local.event_source import EventSource
from local.metric_math import Graphs, Line
from local.metrics import Counted, of_logs
from local.translate import translated
from routing.lambda_event import ACCOUNT

_STEPS = 24
_PERIOD_SECONDS = 5.0
_DISABLED_STEPS = range(8, 13)
_REPLAYED_STEP = 17
_FILE = ROOT / "docs" / "dashboard.png"
_INCIDENT = ("Records delivered, by route", "Dead letters, by route and reason", "Records replayed")
_OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/ReplayOperator"
_INCHES_A_COLUMN, _INCHES_A_ROW = 0.95, 0.55


def main(file: Path = _FILE) -> int:
    """Run, and draw; return the exit code."""
    build()
    with emulator(is_enforcing=True) as running:
        deployed = deploy(running, ReplayOperators=_OPERATOR, FreshnessObjectiveSeconds="60")
        list(mend(running, deployed))
        start = time.time()
        counted = _run(running, deployed)
        end = time.time()
        counted.points += of_logs(running, deployed).points
        counted.put(running)
        states = _states(running)
    template = Resolver(translated(), {"ReplayOperators": _OPERATOR}).resources()
    body = json.loads(template["Dashboard"]["Properties"]["DashboardBody"])
    # The template's own ids, which the resolver invents, are the emulator's here.
    graphs = Graphs(_renamed(counted, deployed), start, end, _PERIOD_SECONDS)
    _draw(body, graphs, states, file)
    _draw_incident(body, graphs, file.with_name("incident.png"))
    print(f"drawn: {file.relative_to(ROOT)}")  # noqa: T201 - for whoever runs it
    return 0


def _run(running: Emulator, deployed: Deployed) -> Counted:
    counted, random = Counted(), Random(11)  # noqa: S311 - traffic, not a secret
    stand_in = ConnectStandIn(running, deployed.stream, seed=11)
    source = EventSource(running.client, deployed.mapping)
    kms, key = running.client("kms"), deployed.key_id("orders")
    ask = function_of(STACK, lambda service, **_: running.client(service))
    for step in range(_STEPS):
        began = time.time()
        if step == _DISABLED_STEPS.start:
            kms.disable_key(KeyId=key)
        if step == _DISABLED_STEPS.stop:
            kms.enable_key(KeyId=key)
        if step == _REPLAYED_STEP:
            list(Replay({"source": "dead-letters", "apply": True}).slices(ask))
        sent = stand_in.send(random.choice((20, 60, 120, 300)), lambda _: None)
        counted.count("AWS/Kinesis", "IncomingRecords", began, len(sent), StreamName=deployed.stream)
        counted.count("AWS/Kinesis", "IncomingBytes", began, sum(map(len, sent)), StreamName=deployed.stream)
        _drive(source, counted, deployed, sent_at=began)
        if step % 3 == 0:
            running.client("lambda").invoke(FunctionName=f"{deployed.function}-grant-check")
        time.sleep(max(0.0, _PERIOD_SECONDS - (time.time() - began)))
    return counted


def _drive(source: EventSource, counted: Counted, deployed: Deployed, *, sent_at: float) -> None:
    """Let the function take what waits, and count what Lambda would."""
    taken: list[int] = []
    began = time.time()
    calls = source.drain(taken.append)
    of_function, of_mapping = {"FunctionName": deployed.function}, {"EventSourceMappingUUID": deployed.mapping}
    now = time.time()
    counted.count("AWS/Lambda", "Invocations", now, calls, **of_function)
    counted.count("AWS/Lambda", "Errors", now, 0, **of_function)
    counted.count("AWS/Lambda", "Throttles", now, 0, **of_function)
    counted.count("AWS/Lambda", "ConcurrentExecutions", now, 1, **of_function)
    counted.count("AWS/Lambda", "IteratorAge", now, (began - sent_at) * 1000, **of_function)
    for _ in range(calls):
        counted.count("AWS/Lambda", "Duration", now, (now - began) * 1000 / max(calls, 1), **of_function)
    for name in ("PolledEventCount", "InvokedEventCount"):
        counted.count("AWS/Lambda", name, now, sum(taken), **of_mapping)
    for name in ("FailedInvokeEventCount", "FilteredOutEventCount", "DroppedEventCount"):
        counted.count("AWS/Lambda", name, now, 0, **of_mapping)
    counted.count("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", now, 0, **of_mapping)


def _renamed(counted: Counted, deployed: Deployed) -> list[Any]:
    """Give the mapping the id that the resolved template has."""
    made = Counted()
    for point in counted.points:
        namespace, name, dimensions = point.key
        kept = {key: "StreamMapping" if value == deployed.mapping else value for key, value in dimensions}
        made.count(namespace, name, point.at, point.value, **kept)
    return made.points


def _states(running: Emulator) -> dict[str, str]:
    found = running.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}


def _draw(body: Mapping[str, Any], graphs: Graphs, states: Mapping[str, str], file: Path) -> None:
    mpl.rcParams.update({"font.size": 7, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False})
    rows = max(widget["y"] + widget["height"] for widget in body["widgets"])
    figure = plt.figure(figsize=(24 * _INCHES_A_COLUMN, rows * _INCHES_A_ROW), facecolor="#f4f5f7")
    for widget in body["widgets"]:
        axes = figure.add_axes(
            (
                (widget["x"] + 0.45) / 24,
                1 - (widget["y"] + widget["height"] - 0.9) / rows,
                (widget["width"] - 0.75) / 24,
                (widget["height"] - 1.7) / rows,
            )
        )
        axes.set_title(widget["properties"].get("title", ""), loc="left", fontweight="bold")
        match widget["type"], widget["properties"].get("view"):
            case "alarm", _:
                _draw_alarms(axes, widget, states)
            case "text", _:
                _draw_text(axes, widget["properties"]["markdown"])
            case _, "singleValue":
                _draw_numbers(axes, graphs.lines(widget))
            case _, "table":
                _draw_rows(axes, graphs.lines(widget))
            case _:
                _draw_lines(axes, graphs.lines(widget), widget["properties"])
    figure.savefig(file, dpi=75, facecolor=figure.get_facecolor())


def _draw_incident(body: Mapping[str, Any], graphs: Graphs, file: Path) -> None:
    """Draw what a disabled key looks like: a route stops, its records are set aside, a replay delivers them."""
    found = {widget["properties"].get("title"): widget for widget in body["widgets"]}
    mpl.rcParams.update({"font.size": 10, "axes.titlesize": 12})
    figure, panels = plt.subplots(1, len(_INCIDENT), figsize=(16, 4), layout="constrained")
    for axes, title in zip(panels, _INCIDENT, strict=True):
        axes.set_title(title, loc="left", fontweight="bold")
        _draw_lines(axes, graphs.lines(found[title]), found[title]["properties"])
        axes.set_xlabel("seconds of the run")
        axes.axvspan(
            _DISABLED_STEPS.start * _PERIOD_SECONDS, _DISABLED_STEPS.stop * _PERIOD_SECONDS, color="#fdecea", zorder=0
        )
        axes.axvline(_REPLAYED_STEP * _PERIOD_SECONDS, color="#1b4f9c", linestyle=":")
    figure.savefig(file, dpi=80)


def _draw_lines(axes: Axes, lines: list[Line], properties: Mapping[str, Any]) -> None:
    for line in lines:
        values = [float("nan") if value is None else value for value in line.values]
        places = [place * _PERIOD_SECONDS for place in range(len(values))]
        axes.plot(places, values, marker=".", label=line.label, color=line.colour)
    axes.set_ylabel(properties["yAxis"]["left"]["label"].replace("a minute", f"in {_PERIOD_SECONDS:.0f} s"))
    highest = max((value for line in lines for value in line.values if value is not None), default=0.0)
    for limit in properties.get("annotations", {}).get("horizontal", []):
        if limit["value"] <= max(highest, 1.0) * 1.4:
            axes.axhline(limit["value"], color=limit["color"], linewidth=0.8, linestyle="--")
    axes.set_ylim(0, max(highest, 1.0) * 1.45)  # room for the legend
    axes.set_xlim(0, _STEPS * _PERIOD_SECONDS)
    axes.grid(visible=True, color="#e3e5e8")
    axes.set_facecolor("white")
    if lines:
        axes.legend(fontsize=6, loc="upper left", frameon=False, ncols=2)
    else:
        axes.text(0.5, 0.5, "nothing was counted", ha="center", va="center", transform=axes.transAxes, color="gray")


def _draw_rows(axes: Axes, lines: list[Line]) -> None:
    """Draw a row for each metric: its name, and its highest value."""
    axes.axis("off")
    for place, line in enumerate(lines):
        known = [value for value in line.values if value is not None]
        column, row = place % 2, place // 2
        top = 0.97 - row * 0.97 / ((len(lines) + 1) // 2)
        shown, colour = (
            ("--", "#9e9e9e") if not known else (f"{max(known):.0f}", "#c62828" if max(known) else "#2e7d32")
        )
        axes.text(0.5 * column, top, f"{shown}  {line.label}", va="top", color=colour)


def _draw_numbers(axes: Axes, lines: list[Line]) -> None:
    axes.axis("off")
    for place, line in enumerate(lines):
        known = [value for value in line.values if value is not None]
        shown = f"{known[-1]:,.4g}" if known else "--"
        top = 0.95 - place * 0.95 / max(len(lines), 1)
        axes.text(0.0, top, shown, fontsize=13, va="top", fontweight="bold", color="#1b4f9c")
        axes.text(0.42, top - 0.03, line.label, fontsize=7, va="top", color="#444444")


def _draw_alarms(axes: Axes, widget: Mapping[str, Any], states: Mapping[str, str]) -> None:
    axes.axis("off")
    colours = {"ALARM": "#c62828", "OK": "#2e7d32"}
    names = [arn.partition(":alarm:")[2] for arn in widget["properties"]["alarms"]]
    for place, name in enumerate(names):
        state = states.get(name, "INSUFFICIENT_DATA")
        column, row = place % 2, place // 2
        top = 0.97 - row * 0.97 / ((len(names) + 1) // 2)
        short = name.partition(" ")[2]
        axes.text(0.5 * column, top, f"■ {short}", va="top", color=colours.get(state, "#9e9e9e"))


def _draw_text(axes: Axes, markdown: str) -> None:
    axes.axis("off")
    titles = [line.partition("](")[0].removeprefix("[") for line in markdown.splitlines() if line]
    axes.text(0.0, 0.95, "\n\n".join(titles), va="top", color="#1b4f9c")


if __name__ == "__main__":
    sys.exit(main())
