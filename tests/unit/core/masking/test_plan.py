from __future__ import annotations

from narrowgate.core.masking.plan import (
    Action,
    Anywhere,
    Arguments,
    Embedded,
    Encoded,
    Entry,
    Every,
    Forget,
    Hide,
    Key,
    KeyGlob,
    OfKind,
    OtherThan,
    Place,
    Plan,
    Root,
    Scan,
    SecretAnnotation,
    SecretHeader,
    SecretKey,
    SecretlyNamed,
    Step,
    compile_plan,
)

A, B = Hide("a/one"), Hide("b/two")


def plan(*entries: tuple[tuple[Step, ...], Action]) -> Plan:
    compiled = compile_plan(Entry(Root.OBJECT, steps, action) for steps, action in entries)
    assert compiled is not None
    return compiled


def at(compiled: Plan, *keys: str | int) -> Place | None:
    """The place of a path; a number is an element of a list."""
    place = compiled.objects
    for key in keys:
        if place is None:
            return None
        place = place.element if isinstance(key, int) else place.child(key)
    return place


def hidden(compiled: Plan, *keys: str | int) -> str:
    place = at(compiled, *keys)
    return place.hides.rule if place is not None and place.hides is not None else ""


def test_nothing_is_no_plan() -> None:
    assert compile_plan([]) is None


def test_a_path_leads_to_its_end_and_nowhere_else() -> None:
    one = plan(((Key("data"), Key("dsn")), A))
    assert hidden(one, "data", "dsn") == "a/one"
    assert at(one, "data", "other") is None
    assert at(one, "dsn") is None
    assert one.status is None


def test_a_glob_is_one_keys_and_of_any_case() -> None:
    one = plan(((Key("data"), KeyGlob("*pass?ord*")), A))
    assert hidden(one, "data", "DB_PASSWORD_1") == "a/one"
    assert hidden(one, "data", "db.password\nx") == "a/one"
    assert at(one, "data", "pass") is None


def test_every_is_keys_and_elements_alike() -> None:
    one = plan(((Key("a"), Every(), Key("b")), A))
    assert hidden(one, "a", 0, "b") == "a/one"
    assert hidden(one, "a", "any", "b") == "a/one"


def test_a_list_is_gone_through_where_a_path_does_not_say_so() -> None:
    one = plan(((Key("a"), Key("b")), A))
    assert hidden(one, "a", 0, "b") == "a/one"
    assert hidden(one, "a", 0, 0, "b") == "a/one"
    assert hidden(one, "a", "b", 0) == "a/one"


def test_anywhere_is_at_any_depth_and_at_none() -> None:
    one = plan(((Key("spec"), Anywhere(), Key("x")), A))
    assert hidden(one, "spec", "x") == "a/one"
    assert hidden(one, "spec", "p", 0, "q", "x") == "a/one"
    assert hidden(one, "x") == ""


def test_paths_that_meet_are_both_there() -> None:
    one = plan(((Key("a"), Key("b")), A), ((Key("a"), KeyGlob("c*")), B), ((Anywhere(), Key("d")), B))
    assert (hidden(one, "a", "b"), hidden(one, "a", "cc"), hidden(one, "a", "d")) == ("a/one", "b/two", "b/two")


def test_where_two_say_something_the_stronger_holds_then_the_first_by_name_whatever_the_order() -> None:
    entries: list[tuple[tuple[Step, ...], Action]] = [
        ((Key("x"),), Scan()),
        ((Key("x"),), Embedded(Root.ANYTHING)),
        ((Key("x"),), Hide("b/two", strings_only=True)),
        ((Key("x"),), Hide("a/one", strings_only=True)),
    ]
    for shuffled in (entries, entries[::-1]):
        place = at(plan(*shuffled), "x")
        assert place is not None
        assert place.text == Hide("a/one", strings_only=True)
        assert place.hides is None
    both = at(plan(((Key("x"),), B), ((Key("x"),), A)), "x")
    assert both is not None
    assert both.hides == A


def test_a_copy_of_the_object_is_that_before_it_is_any_document() -> None:
    place = at(plan(((Every(),), Embedded(Root.ANYTHING)), ((Key("x"),), Embedded(Root.OBJECT, "n/unreadable"))), "x")
    assert place is not None
    assert place.text == Embedded(Root.OBJECT, "n/unreadable")


def test_what_is_scanned_is_scanned_in_all_that_lies_below() -> None:
    for action in (Scan(), Embedded(Root.ANYTHING), Arguments("a/one")):
        below = at(plan(((Key("x"),), action)), "x", "deep", 0, "er")
        assert below is not None
        assert below.text == action


def test_strings_only_hides_strings_of_a_list_and_not_those_of_an_object() -> None:
    one = plan(((Key("token"),), Hide("a/one", strings_only=True)))
    element = at(one, "token", 0)
    assert element is not None
    assert element.text == Hide("a/one", strings_only=True)
    assert at(one, "token", "secretKeyRef") is None


def test_what_is_masked_may_depend_on_the_name_beside_it() -> None:
    one = plan(((Key("env"), Every(), SecretlyNamed(), Key("value")), A), ((Key("env"), Every(), Key("value")), Scan()))
    element = at(one, "env", 0)
    assert element is not None
    assert element.by_name
    rules = {}
    for name in ("PASSWORD", "PORT", "", None):
        named = element.named(name, "")
        value = named.child("value") if named is not None else None
        rules[name] = value.hides is not None if value is not None else None
    assert rules == {"PASSWORD": True, "PORT": False, "": False, None: True}


def test_a_header_and_a_kind_are_judged_the_same_way() -> None:
    one = plan(((SecretHeader(), Key("value")), A), ((Anywhere(), OfKind("Secret"), Key("data")), B))
    root = one.objects
    assert root is not None

    def hides(name: str | None, kind: str | None) -> list[str]:
        here = root.named(name, kind)
        below = [(key, here.child(key)) for key in ("value", "data")] if here is not None else []
        return [key for key, place in below if place is not None and place.hides is not None]

    assert hides("Authorization", "") == ["value"]
    assert hides("", "Secret") == ["data"]
    assert hides("Accept", "ConfigMap") == []
    assert hides(None, None) == ["value", "data"]


def test_a_place_knows_the_only_keys_that_lead_on() -> None:
    one = plan(((Key("a"), Key("b")), A), ((Key("a"), Key("c")), A), ((Key("d"), SecretKey()), A))
    root, below, open_ended = one.objects, at(one, "a"), at(one, "d")
    assert root is not None
    assert below is not None
    assert open_ended is not None
    assert root.exact == {"a", "d"}
    assert below.exact == {"b", "c"}
    assert open_ended.exact is None


def test_an_encoded_place_says_so() -> None:
    one = plan(((Key("data"),), A), ((Key("data"), Every()), Encoded()))
    data, value = at(one, "data"), at(one, "data", "x")
    assert data is not None
    assert value is not None
    assert data.hides is not None
    assert not data.encoded
    assert value.encoded


def test_managed_fields_tell_by_their_keys() -> None:
    whole, field, secret = Forget("a/one"), Forget("a/one", "name"), Forget("a/one", secret_fields=True)
    keys = ['v:"x"', 'k:{"name":"x"}', 'k:{"port":80}', 'k:{"protocol":"TCP","token":"x"}', "f:name", "."]
    assert [whole.tells(key) for key in keys] == [True, True, True, True, False, False]
    assert [field.tells(key) for key in keys] == [False, True, False, False, False, False]
    assert [secret.tells(key) for key in keys] == [False, False, False, True, False, False]
    assert [Forget("a/one", texts=True).tells(key) for key in keys] == [True, True, True, True, False, False]


def test_an_annotation_is_named_by_what_stands_behind_the_slash() -> None:
    one = plan(((Key("annotations"), SecretAnnotation()), A))
    for key in ("password", "example.com/db-password", "example.com/apiKey"):
        assert at(one, "annotations", key) is not None
    for key in ("external-secrets.io/store", "secret.reloader.example.com/reload", "token-ttl", "example.com/note"):
        assert at(one, "annotations", key) is None


def test_a_cell_is_found_by_its_column_and_a_second_column_of_a_name_is_another() -> None:
    compiled = compile_plan([Entry(Root.CELL, (OtherThan(frozenset({"Name", "Age"})),), A)])
    assert compiled is not None
    assert [place is not None for place in compiled.cells(["Name", "Secret", "Age", "Name", ""])] == [
        False, True, False, True, True,
    ]  # fmt: skip


def test_the_same_place_is_the_same_however_it_is_reached() -> None:
    one = plan(((Key("spec"), Anywhere(), Key("x")), A))
    assert at(one, "spec", "a") is at(one, "spec", "b", 0, "c")
