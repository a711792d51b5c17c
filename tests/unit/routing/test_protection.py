"""Protection: what each rule leaves of a record, byte for byte."""

import base64
import json
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.model import Kind, RouteName
from routing.protection import masks
from routing.protection.paths import read_path
from routing.protection.rules import Action, Change, Piece, Protection, Rule
from routing.protection.sealing import SealError, attach, context_of, detach, pack, restore, unpack
from tests.property.strategies import json_objects

OLDER = base64.b64encode(b"\x01\x80\x03\x78" + bytes(100)).decode()
NEWER = base64.b64encode(b"\x02\x05\x78" + bytes(100)).decode()


def rule(action: Action, *paths: str, mask: Change | None = None) -> Rule:
    return Rule(action=action, paths=tuple(read_path(path) for path in paths), mask=mask)


def remove(*paths: str) -> Rule:
    return rule(Action.REMOVE, *paths)


def keep(*paths: str) -> Rule:
    return rule(Action.KEEP, *paths)


def seal(*paths: str) -> Rule:
    return rule(Action.SEAL, *paths)


def hide(*paths: str) -> Rule:
    return rule(Action.MASK, *paths, mask=masks.fixed("#"))


def token(*paths: str) -> Rule:
    return rule(Action.HASH, *paths)


def token_of_keys(*paths: str) -> Rule:
    return Rule(action=Action.HASH, paths=tuple(read_path(path) for path in paths), keys=True)


def protection(*rules: Rule) -> Protection:
    return Protection(rules, lambda _: lambda text: f"token of {len(text)}")


def seen(document: str, *rules: Rule) -> str:
    return protection(*rules).apply(document.encode()).data.decode()


@pytest.mark.parametrize(
    ("rules", "document", "expected"),
    [
        # remove
        ([remove("a")], '{"a":1,"b":2}', '{"b":2}'),
        ([remove("a.b")], '{"a":{"b":1,"c":2}}', '{"a":{"c":2}}'),
        ([remove("a.b")], '{"a":{"b":1}}', '{"a":{}}'),
        ([remove("a.b")], '{"a":7,"b":8}', '{"a":7,"b":8}'),
        ([remove("a")], '{"a":null}', "{}"),
        ([remove("a.*")], '{"a":[1,{"b":2},null]}', '{"a":[]}'),
        ([remove("a.*.b")], '{"a":[{"b":1,"c":2},{"b":3}],"b":4}', '{"a":[{"c":2},{}],"b":4}'),
        ([remove("**.b")], '{"b":1,"a":{"b":2,"c":[{"b":3,"d":4}]}}', '{"a":{"c":[{"d":4}]}}'),
        ([remove("a.**.b")], '{"a":{"b":1,"c":{"d":{"b":2}}},"b":3}', '{"a":{"c":{"d":{}}},"b":3}'),
        ([remove("**")], '{"a":1,"b":{"c":2}}', "{}"),
        ([remove('a."x.y"')], '{"a":{"x.y":1,"x":{"y":2}}}', '{"a":{"x":{"y":2}}}'),
        ([remove('"*"')], '{"*":1,"a":2}', '{"a":2}'),
        ([remove('"é"')], '{"\\u00e9":1,"a":2}', '{"a":2}'),
        # what no rule touches keeps its bytes, white space and all
        ([remove("z")], '{ "a" : 1.50e+400, "b":2 }', '{ "a" : 1.50e+400, "b":2 }'),
        ([remove("b")], '{"a":123456789012345678901234567890,"b":1,"A":-0.0}', '{"a":123456789012345678901234567890,"A":-0.0}'),
        ([remove("b.c")], '{"a": {"x" : 1},"b":{"c":1}}', '{"a":{"x" : 1},"b":{}}'),
        # keys of what is hashed, if the rule says so; not the key of the field itself, nor those of arrays
        ([token_of_keys("a")], '{"a":{"bc":"x","d":null},"e":1}', '{"a":{"token of 2":"token of 1","token of 1":null},"e":1}'),
        ([token_of_keys("a")], '{"a":[{"b":[1]}]}', '{"a":[{"token of 1":["token of 1"]}]}'),
        ([token("a.b"), token_of_keys("a")], '{"a":{"b":{"c":2}}}', '{"a":{"token of 1":{"c":"token of 1"}}}'),
        ([remove("a.b"), token_of_keys("a")], '{"a":{"b":1,"cd":2}}', '{"a":{"token of 2":"token of 1"}}'),
        # mask and hash: texts, numbers, truth values; null and empty stay
        ([hide("a")], '{"a":"text"}', '{"a":"#"}'),
        ([hide("a")], '{"a":12.50}', '{"a":"#"}'),
        ([hide("a")], '{"a":true,"b":true}', '{"a":"#","b":true}'),
        ([hide("a")], '{"a":null}', '{"a":null}'),
        ([hide("a")], '{"a":""}', '{"a":""}'),
        ([hide("a")], "{}", "{}"),
        ([hide("a")], '{"a":{"b":"x","c":[1,null,"",{"d":"y"}]}}', '{"a":{"b":"#","c":["#",null,"",{"d":"#"}]}}'),
        ([token("a")], '{"a":["12",12,{"b":1.5}]}', '{"a":["token of 2","token of 2",{"b":"token of 3"}]}'),
        # Connect's own ciphertext is never altered, and may be removed
        ([hide("a"), token("b")], f'{{"a":"{OLDER}","b":"{NEWER}"}}', f'{{"a":"{OLDER}","b":"{NEWER}"}}'),
        ([remove("a")], f'{{"a":"{OLDER}"}}', "{}"),
        # but what only begins as one is
        ([hide("a")], f'{{"a":"{OLDER}, +81312345678"}}', '{"a":"#"}'),
        ([hide("a")], '{"a":"AYADeAAA"}', '{"a":"#"}'),
        ([hide("a")], '{"a":"A"}', '{"a":"#"}'),
        ([hide("a")], f'{{"a":"{OLDER[4:]}"}}', '{"a":"#"}'),
        # keep: an allow-list, whatever Connect adds tomorrow
        ([keep("a", "b.c")], '{"a":{"x":1},"b":{"c":1,"d":2},"new":"x"}', '{"a":{"x":1},"b":{"c":1}}'),
        ([keep("a.b")], '{"a":7}', "{}"),
        ([keep("a.b")], '{"a":{"x":1}}', "{}"),
        ([keep("a.*.b")], '{"a":[{"b":1,"c":2},{"c":3}]}', '{"a":[{"b":1}]}'),
        ([keep("a"), hide("a.b"), hide("c")], '{"a":{"b":"x","d":1},"c":"x","e":1}', '{"a":{"b":"#","d":1},"c":"#"}'),
        # one rule a value: the first that meets it or what it is in
        ([hide("a"), remove("a")], '{"a":"x"}', '{"a":"#"}'),
        ([hide("a.b"), remove("a")], '{"a":{"b":"x","c":1}}', '{"a":{"b":"#"}}'),
        ([remove("a"), hide("a.b")], '{"a":{"b":"x","c":1}}', "{}"),
        ([hide("a.b"), token("a")], '{"a":{"b":"x","c":"yy"}}', '{"a":{"b":"#","c":"token of 2"}}'),
        ([hide("a"), hide("a")], '{"a":"x"}', '{"a":"#"}'),
        # a key that stands twice: nobody reads the first, and it must not slip through
        ([hide("a")], '{"a":"secret","a":"x"}', '{"a":"#"}'),
        ([remove("b")], '{"a":"secret","a":"x","b":1}', '{"a":"x"}'),
        ([hide("a")], '{"a":"secret","a":null}', '{"a":null}'),
        ([hide("a")], '{"a":"secret","a":""}', '{"a":""}'),
        ([remove("a.b")], '{"a":{"b":"secret"},"a":{"c":1}}', '{"a":{"c":1}}'),
        ([remove("a.b")], '{"a":{"b":"secret"},"a":7}', '{"a":7}'),
        ([keep("a.c")], '{"a":{"b":"secret"},"a":{"c":1}}', '{"a":{"c":1}}'),
        ([seal("z"), hide("a")], '{"a":"secret","a":null,"z":1}', '{"a":null}'),
        # unpaired surrogates are JSON
        ([remove("a")], '{"a":1,"\\ud800":{"b":[1,2],"c":"]"},"d":"x"}', '{"\\ud800":{"b":[1,2],"c":"]"},"d":"x"}'),
        ([hide("a")], '{"a":"\\ud800"}', '{"a":"#"}'),
    ],
)  # fmt: skip
def test_rules_leave(rules: Sequence[Rule], document: str, expected: str) -> None:
    assert seen(document, *rules) == expected
    assert seen(expected, *rules) == expected or Action.HASH in {rule.action for rule in rules}, "twice is once"


def test_what_lies_too_deep_to_be_looked_at_goes_where_a_rule_might_meet_it() -> None:
    deep = '{"x":' * 100 + '{"secret":1}' + "}" * 100
    assert "secret" not in seen(deep, remove("**.secret"))
    assert seen(deep, remove("a.secret")) == deep


@pytest.mark.parametrize(
    ("mask", "text", "expected"),
    [
        (masks.last(4), "+81312345678", "********5678"),
        (masks.last(4), "12345", "***45"),
        (masks.last(4), "1", "*"),
        (masks.last(4), "０９０１２３４５６７８", "*******５６７８"),
        (masks.first(2), "東京都千代田区", "東京*****"),
        (masks.first(2), "東京", "東*"),
        (masks.email, "taro@example.co.jp", "t********@example.co.jp"),
        (masks.email, "@example.com", "********"),
        (masks.email, "no address", "********"),
        (masks.email, "a@b my card is 4111111111111111", "********"),
        (masks.email, "see @ +819012345678", "********"),
        (masks.email, "taro@+819012345678", "********"),
        (masks.email, "t@x.jp", "t********@x.jp"),
        (masks.fixed("[removed]"), "x", "[removed]"),
        (masks.matching(masks.bounded_pattern(r"\d{4,19}")), "card 4111111111111111, pin 12", "card ****************, pin 12"),
        (masks.matching(masks.bounded_pattern("a")), "b" * 5000, "********"),
    ],
)  # fmt: skip
def test_masks_show(mask: Change, text: str, expected: str) -> None:
    assert mask(text) == expected
    assert mask("") == ""


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a|b", "expected no groups"),
        (r"\d+", "at character 3"),
        (r"(\d{1,3}){1,3}", "at character 1"),
        (r"\d{1,99}\d{1,99}", "at most 1000 ways"),
        (r"a|\d{1,99}\d{1,99}", "at most 1000 ways, got 9801|at most 1000 ways"),
        ("a{0,3}", "an empty text does not match"),
        ("a|", "an empty text does not match"),
        (r"(\d)\1", "at character 1"),
        (r"a\1", "at character 2"),
        ("(?=a)a", "at character 1"),
        ("[b-a]", "expected a regular expression"),
        ("a{5,2}", "expected a regular expression"),
    ],
)
def test_pattern_without_a_bound_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        masks.bounded_pattern(pattern)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a key"),
        ("a..b", "expected a key"),
        (".a", "expected a key"),
        ("a.", "expected a key"),
        ("a b", "expected a dot at character 2"),
        ('"a', "expected a key"),
        ("a*", "expected a dot"),
        (".".join("a" * 33), "expected at most 32 keys"),
    ],
)
def test_path_that_is_none_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_path(text)


# --- sealing ------------------------------------------------------------------------------------------


def sealed(document: str, *rules: Rule) -> tuple[bytes, list[Piece]]:
    done = protection(*rules).apply(document.encode())
    return done.data, unpack(pack(done.pieces))


@pytest.mark.parametrize(
    ("paths", "document", "shown"),
    [
        (["a"], '{"a":1,"b":2,"c":3}', '{"b":2,"c":3}'),
        (["b"], '{"a":1,"b":{"x": 1.50},"c":3}', '{"a":1,"c":3}'),
        (["a", "c"], '{"a":1,"b":2,"c":3}', '{"b":2}'),
        (["a.*"], '{"a":{"x":1,"y":2},"b":3}', '{"a":{},"b":3}'),
        (["a.*.x"], '{"a":[{"x":1,"y":2},{"y":3},{"x":4}]}', '{"a":[{"y":2},{"y":3},{}]}'),
        (["a.*"], '{"a":[1,[2],3]}', '{"a":[]}'),
        (["**.x"], '{"x":1,"a":{"x":2,"b":{"x":3}}}', '{"a":{"b":{}}}'),
        (["a"], '{ "a" : 1, "b":2 }', '{"b":2}'),
        (["a"], '{"a":"x","a":1,"b":2}', '{"b":2}'),
        (["a"], '{"\\u0062":2,"a":1}', '{"b":2}'),
        (["a.b"], '{"a":{"b":"secret"},"a":{"c":1}}', '{"a":{"c":1}}'),
        (["a"], '{"b":1,"b":2}', '{"b":2}'),
        (["a"], '{"a":"\\ud800","b":{"\\ud800":[1,2]}}', '{"b":{"\\ud800":[1,2]}}'),
        (["a"], '{"a":{"\\ud800":1, "x":"]}"}}', "{}"),
        (["a"], '{"\\ud800":2,"a":1}', '{"\\ud800":2}'),
        (["a"], '{"_sealed":"mine","a":1}', "{}"),
        (["a.x"], '{"a":{"x":1, "y":2},"b":3}', '{"a":{"y":2},"b":3}'),
    ],
)  # fmt: skip
def test_sealed_record_is_restored_byte_for_byte(paths: list[str], document: str, shown: str) -> None:
    data, pieces = sealed(document, seal(*paths))
    assert data.decode() == shown
    assert restore(data, pieces) == document.encode()
    line = attach(data, "bWVzc2FnZQ==")
    assert json.loads(line)["_sealed"] == "bWVzc2FnZQ=="
    assert detach(line) == (data, "bWVzc2FnZQ==")


def test_other_rules_are_not_undone() -> None:
    data, pieces = sealed('{"a":"x","b":"y","c":"z"}', hide("a"), seal("b"), remove("c"))
    assert restore(data, pieces) == b'{"a":"#","b":"y"}'


def test_nothing_is_seen_of_what_is_sealed_as_a_whole_though_a_rule_might_meet_something_inside() -> None:
    document = '{"a":{"taro@example.com":{"x":"1"},"y":[{"z":[1]}]},"b":1}'
    data, pieces = sealed(document, hide("**.phone"), seal("a"))
    assert data == b'{"b":1}'
    assert restore(data, pieces) == document.encode()


def test_field_of_the_sealed_ones_name_obeys_the_rules() -> None:
    assert sealed('{"_sealed":{"Address":"x"},"a":1}', remove("_sealed"), seal("a"))[1] == [Piece((), 0, "a", b"1")]
    assert sealed('{"_sealed":{"Address":"x"},"a":1,"b":2}', keep("b"), seal("a")) == (
        b'{"b":2}',
        [Piece((), 0, "a", b"1")],
    )


def test_states_of_wild_paths_do_not_grow_with_the_records() -> None:
    wild = protection(remove("**.a." + ".".join("*" * 24)))
    random = Random(1)
    for _ in range(300):
        wild.apply("".join(f'{{"{random.choice("ab")}":' for _ in range(40)).encode() + b"1" + b"}" * 40)
    assert len(wild._reach._known) <= 1000


def test_repeated_key_that_a_mask_hides_is_not_sealed_either() -> None:
    data, pieces = sealed('{"a":"secret","a":null,"b":1}', hide("a"), seal("b"))
    assert data == b'{"a":null}'
    assert restore(data, pieces) == b'{"a":null,"b":1}'


def test_what_an_earlier_rule_met_stays_where_the_rest_is_sealed() -> None:
    data, pieces = sealed('{"a":{"b":"x","c":"y","d":{"e":1}}}', hide("a.b"), seal("a"))
    assert data == b'{"a":{"b":"#"}}'
    assert restore(data, pieces) == b'{"a":{"b":"#","c":"y","d":{"e":1}}}'


@given(
    document=json_objects, paths=st.lists(st.sampled_from(["a", "b", "*.a", "**.b", '"a.b"', "a.*", "**"]), min_size=1)
)
def test_any_record_is_restored(document: dict[str, object], paths: list[str]) -> None:
    text = json.dumps(document)
    data, pieces = sealed(text, seal(*paths))
    if pieces:
        assert restore(data, pieces) == text.encode()
    else:
        assert data == text.encode()


def test_pieces_of_another_record_are_refused() -> None:
    _, pieces = sealed('{"a":{"b":{"c":1,"d":2}}}', seal("a.b.c"))
    for other in (b"{}", b'{"a":1}', b'{"a":{"b":[]}}', b'{"a":{}}'):
        with pytest.raises(SealError):
            restore(other, pieces)
    with pytest.raises(SealError, match="expected sealed values, got 2 bytes"):
        unpack(b"{}")


def test_line_without_a_sealed_message_is_told_from_one_with() -> None:
    for line in (b"{}", b'{"a":1}', b'{"_sealed":"x","a":1}', b'{"_sealed":1}'):
        assert detach(line) == (line, None)
    assert detach(attach(b"{}", "eA==")) == (b"{}", "eA==")


def test_context_binds_what_the_route_shows() -> None:
    bound = context_of("stack", RouteName("claims"), Kind.CONTACT_RECORD, b'{"ContactId":"c-1"}')
    assert bound == {
        "ctr-fanout:stack": "stack",
        "ctr-fanout:route": "claims",
        "ctr-fanout:kind": "contact_record",
        "ctr-fanout:contact": "c-1",
    }
    hidden = [
        b"{}",
        b'{"ContactId":null}',
        b'{"ContactId":""}',
        b'{"ContactId":"%s"}' % (b"x" * 66_000),
        b'{"ContactId":"\\ud800"}',
    ]
    bound_to = [context_of("s", RouteName("r"), Kind.OTHER, line)["ctr-fanout:contact"] for line in hidden]
    assert all(one.startswith("sha256:") and len(one) == 71 for one in bound_to), (
        "whose contact is not shown is bound to its line"
    )
    assert len(set(bound_to)) == len(hidden)
