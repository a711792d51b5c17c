"""Where in a route table a fault is: the path of a fault -> its line. TOML readers do not keep lines."""

import re
from collections.abc import Iterator

from msgspec import Struct, field

_HEADER = re.compile(r"\s*\[\[?\s*([^\]#]+?)\s*\]\]?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')\s*[.=]")
_ROUTE = re.compile(r"route '(?P<name>[^']*)'(?: of line (?P<line>\d+))?(?:: (?P<path>.*))?")
_STEP = re.compile(r"([A-Za-z0-9_-]+)(?:\[(\d+)\])?")


class _Block(Struct):
    """A route, or the rest of the file: where it begins, and where each of its keys stands.

    Attributes:
        line: Of its header; 1 for the rest of the file.
        name: Of a route, as it is written.
        keys: The lines of each key; several for an array of tables.
    """

    line: int
    name: str = ""
    keys: dict[str, list[int]] = field(default_factory=dict)


class Lines:
    """The lines of one file."""

    def __init__(self, text: str) -> None:
        """Read headers and keys, line by line; what is no header and no key is part of a value."""
        self._top = _Block(1)
        self._routes: list[_Block] = []
        self._read(text)

    def of_route(self, index: int) -> int | None:
        """Return the line of a route's header."""
        return self._routes[index].line if index < len(self._routes) else None

    def of(self, where: str) -> int | None:
        """Return the line of a fault by its path, e.g. `route 'orders': protect[1].mask`; None if it is not found."""
        match = _ROUTE.match(where)
        if match is None:
            return self._in(self._top, where)
        block = next(self._blocks(match["name"], match["line"]), None)
        if block is None:
            return None
        return self._in(block, match["path"] or "") or block.line

    def _blocks(self, name: str, line: str | None) -> Iterator[_Block]:
        for index, block in enumerate(self._routes):
            if (block.name == name or name == f"#{index + 1}") and line in {None, str(block.line)}:
                yield block

    @staticmethod
    def _in(block: _Block, path: str) -> int | None:
        """Return the line of the deepest step that has one."""
        found = None
        step = _STEP.match(path)
        if step is not None and step[1] in block.keys:
            lines = block.keys[step[1]]
            found = lines[min(int(step[2] or 0), len(lines) - 1)]
        return found

    def _read(self, text: str) -> None:
        block = self._top
        prefix = ""
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.match(line):
                steps = [step.strip().strip("\"'") for step in header[1].split(".")]
                if steps == ["routes"]:
                    block, prefix = _Block(number), ""
                    self._routes.append(block)
                    continue
                if steps[0] != "routes":
                    block = self._top
                prefix = steps[1] if steps[0] == "routes" and len(steps) > 1 else steps[0]
                if len(steps) <= 2:  # noqa: PLR2004 - `[[routes.protect]]`, not what is below one
                    block.keys.setdefault(prefix, []).append(number)
            elif (key := _KEY.match(line)) and not prefix:
                name = key[1].strip("\"'")
                block.keys.setdefault(name, []).append(number)
                if name == "name" and (value := re.search(r"=\s*[\"']([^\"']*)[\"']", line)):
                    block.name = value[1]
