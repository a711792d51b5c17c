"""The part of CloudWatch's metric math that the dashboard uses, on points that were counted here.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
"""

import ast
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from local.metrics import Key, Point

type Values = list[float | None]
"""One value a period; None where nothing was counted."""

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_PERCENTS = 100


class MetricMathError(Exception):
    """The dashboard uses something that is not known here."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a graph."""

    label: str
    values: Values
    colour: str | None = None


class Graphs:
    """Evaluates widgets on points, from one time to another."""

    def __init__(self, points: Sequence[Point], start: float, end: float, period: float) -> None:
        """Sort the points by metric and period; times are seconds since 1970."""
        self._period = period
        self._count = max(1, round((end - start) / period))
        self._by_key: dict[Key, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for point in points:
            place = int((point.at - start) / period)
            if 0 <= place < self._count:
                self._by_key[point.key][place].append(point.value)

    def lines(self, widget: Mapping[str, Any]) -> list[Line]:
        """Return the lines of a metric widget.

        Raises:
            MetricMathError: It uses what is not known here.
        """
        found: list[Line] = []
        named: dict[str, Values] = {}
        for metric in widget["properties"]["metrics"]:
            *names, options = metric
            if names:
                values = self._series((names[0], names[1], _pairs(names[2:])), options["stat"])
                lines = [Line(options["label"], values, options.get("color"))]
            else:
                made = self._evaluate(ast.parse(options["expression"], mode="eval").body, named)
                lines = [
                    replace(line, colour=options.get("color"))
                    for line in _labelled(made, options.get("label", ""), self._count)
                ]
            if name := options.get("id"):
                named[name] = lines[0].values if lines else [None] * self._count
            if options.get("visible", True):
                found += lines
        return found

    def _series(self, key: Key, stat: str) -> Values:
        counted = self._by_key.get(key, {})
        return [_statistic(counted[place], stat) if place in counted else None for place in range(self._count)]

    def _evaluate(  # noqa: PLR0911 - one kind of expression after the other
        self, node: ast.expr, named: Mapping[str, Values]
    ) -> Any:  # noqa: ANN401 - a number, a series or many
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return named[name]
            case ast.BinOp(left=left, op=op, right=right):
                return _both(_OPERATORS[type(op)], self._evaluate(left, named), self._evaluate(right, named))
            case ast.Compare(left=left, ops=[ast.GtE()], comparators=[right]):
                return _both(lambda a, b: float(a >= b), self._evaluate(left, named), self._evaluate(right, named))
            case ast.Call(func=ast.Name(id="IF"), args=[condition, then]):
                # A value where the condition is one and true; nothing where the condition has none.
                holds, then = (self._evaluate(one, named) for one in (condition, then))
                return [value if is_true else None for is_true, value in zip(holds, then, strict=True)]
            case ast.Call(func=ast.Name(id="FILL"), args=[series, filler]):
                value = self._evaluate(filler, named)
                return [value if one is None else one for one in self._evaluate(series, named)]
            case ast.Call(func=ast.Name(id="SEARCH"), args=args):
                query, stat, _ = (self._evaluate(arg, named) for arg in args)
                return self._search(query, stat)
            case ast.Call(func=ast.Name(id="PERIOD")):
                return self._period
            case ast.Call(func=ast.Name(id=("SUM" | "MAX") as name), args=[arg]):
                return _across(sum if name == "SUM" else max, list(self._evaluate(arg, named).values()), self._count)
        raise MetricMathError(f"{ast.unparse(node)}: not known here")

    def _search(self, query: str, stat: str) -> dict[Key, Values]:
        match = re.fullmatch(r"\{([^}]+)\} (.+)", query)
        if match is None:
            raise MetricMathError(f"{query}: expected {{namespace,dimensions}} and what to find")
        namespace, *dimensions = match[1].split(",")
        wanted = re.findall(r'(\w+)="([^"]*)"', match[2])
        return {
            key: self._series(key, stat)
            for key in sorted(self._by_key, key=lambda key: sorted(key[2]))
            if key[0] == namespace and {name for name, _ in key[2]} == set(dimensions) and _meets(key, wanted)
        }


def _meets(key: Key, wanted: Sequence[tuple[str, str]]) -> bool:
    """Tell whether a metric is one of those that are asked for: of a name that stands more than once, any value does."""
    allowed: dict[str, set[str]] = defaultdict(set)
    for name, value in wanted:
        allowed[name].add(value)
    has = {"MetricName": key[1], **dict(key[2])}
    return all(has.get(name) in values for name, values in allowed.items())


def _labelled(made: Any, label: str, count: int) -> list[Line]:  # noqa: ANN401 - as above
    if not isinstance(made, dict):
        return [Line(label, made if isinstance(made, list) else [made] * count)]
    return [
        Line(re.sub(r"\$\{PROP\('Dim\.(\w+)'\)\}", lambda match: dict(key[2])[match[1]], label), values)  # noqa: B023
        for key, values in made.items()
    ]


def _pairs(names: Sequence[str]) -> frozenset[tuple[str, str]]:
    return frozenset(zip(names[::2], names[1::2], strict=True))


def _statistic(values: Sequence[float], stat: str) -> float:
    if stat == "Sum":
        return sum(values)
    if stat == "Maximum":
        return max(values)
    if not re.fullmatch(r"p\d\d?", stat):
        raise MetricMathError(f"{stat}: expected Sum, Maximum or a percentile")
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=_PERCENTS, method="inclusive")[int(stat[1:]) - 1]


def _across(of: Callable[[list[float]], float], series: Sequence[Values], count: int) -> Values:
    columns = ([values[place] for values in series] for place in range(count))
    known = ([value for value in column if value is not None] for column in columns)
    return [of(column) if column else None for column in known]


def _both(of: Callable[[float, float], float], left: Any, right: Any) -> Any:  # noqa: ANN401 - as above
    if not isinstance(left, list) and not isinstance(right, list):
        return of(left, right)
    length = len(left) if isinstance(left, list) else len(right)
    lefts = left if isinstance(left, list) else [left] * length
    rights = right if isinstance(right, list) else [right] * length
    return [None if a is None or b is None else of(a, b) for a, b in zip(lefts, rights, strict=True)]
