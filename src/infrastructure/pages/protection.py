"""What docs/protection.md quotes: each rule at work on a record, and the presets."""

import base64
import tomllib
from collections.abc import Iterator

from routing.errors import Fault
from routing.protection.paths import show_path
from routing.protection.presets import PRESETS
from routing.protection.rules import SEALED, Protection, Rule
from routing.stages.protect import token_maker
from routing.table.rule_reader import read_rule

# What the rule shows, the rules as they stand in routes.toml, and a record.
_ENCRYPTED = base64.b64encode(b"\x01\x80\x03\x78" + bytes(90)).decode()
_EXAMPLES = (
    ("a field is removed", ['remove = ["Queue.Name"]'], '{"Queue":{"Name":"Orders","Duration":7}}'),
    ("any key or element", ['remove = ["References.*.Value"]'], '{"References":[{"Type":"URL","Value":"https://x"}]}'),
    ("any depth", ['remove = ["**.Address"]'], '{"CustomerEndpoint":{"Address":"+81312345678","Type":"X"}}'),
    ("a key with a dot", ["remove = ['Attributes.\"order.id\"']"], '{"Attributes":{"order.id":"1","order":"2"}}'),
    ("the last characters", ['mask = ["Address"]\nlast = 4'], '{"Address":"+81312345678"}'),
    ("never more than half", ['mask = ["Address"]\nlast = 4'], '{"Address":"12345"}'),
    ("the first characters", ['mask = ["Address"]\nfirst = 2'], '{"Address":"東京都千代田区"}'),
    ("an e-mail address", ['mask = ["Address"]\nemail = true'], '{"Address":"taro@example.co.jp"}'),
    ("a fixed text", ['mask = ["Name"]\ntext = "[removed]"'], '{"Name":"山田太郎"}'),
    ("a pattern", ["mask = [\"Note\"]\nmatching = '\\d{4,19}'"], '{"Note":"card 4111111111111111, pin 12"}'),
    ("all that is inside", ['mask = ["Attributes"]\ntext = "*"'], '{"Attributes":{"a":"x","b":[1.5,true,null,""]}}'),
    ("a token", ['hash = ["CustomerId"]'], '{"CustomerId":"c-77","Channel":"VOICE"}'),
    ("sealed out", ['seal = ["CustomerEndpoint"]'], '{"ContactId":"1","CustomerEndpoint":{"Address":"+81312345678"}}'),
    ("an allow-list", ['keep = ["ContactId", "Queue.Name"]'], '{"ContactId":"1","Queue":{"Name":"Orders","ARN":"arn"},"New":"?"}'),
    (
        "the first rule that meets a value decides",
        ['mask = ["Attributes.phone"]\nlast = 4', 'remove = ["Attributes"]'],
        '{"Attributes":{"phone":"+81312345678","note":"x"}}',
    ),
    ("what nothing touches keeps its bytes", ['remove = ["b"]'], '{"a": 1.50e+400, "b":1,"c":{ "x":0 }}'),
    ("what Connect has encrypted stays", ['mask = ["Attributes"]\ntext = "*"'], f'{{"Attributes":{{"pin":"{_ENCRYPTED}"}}}}'),
)  # fmt: skip


def examples() -> str:
    """Return a table of rules, each with a record before and after."""
    rows = ["| shows | rules | before | after |", "|---|---|---|---|"]
    rows += [
        f"| {says} | {_code(*(one.replace(chr(10), ', ') for one in rules))} | {_code(before)} | {_code(after)} |"
        for says, rules, before, after in shown()
    ]
    return "\n".join(rows) + "\n"


def shown() -> Iterator[tuple[str, list[str], str, str]]:
    """Yield what each example shows, its rules, and the record before and after them."""
    for says, texts, before in _EXAMPLES:
        protected = Protection([_rule(text) for text in texts], lambda _: token_maker(b"key of the example")).apply(
            before.encode()
        )
        after = protected.data.decode()
        if protected.pieces:
            after = f'{after[:-1]},"{SEALED}":"AgV4..."}}'
        yield says, texts, before, after


def presets() -> str:
    """Return each preset with its paths."""
    return "\n".join(
        f"`@{preset.name}`: {preset.about}.\n\n```\n" + "\n".join(show_path(path) for path in preset.read) + "\n```\n"
        for preset in PRESETS.values()
    )


def _rule(text: str) -> Rule:
    faults: list[Fault] = []
    rule = read_rule(tomllib.loads(text), "example", faults)
    if rule is None or faults:
        raise ValueError(str(faults))
    return rule


def _code(*texts: str) -> str:
    short = (text.replace(_ENCRYPTED, f"{_ENCRYPTED[:6]}...") for text in texts)
    return "<br>".join(f"`{text.replace('|', chr(92) + '|')}`" for text in short)
