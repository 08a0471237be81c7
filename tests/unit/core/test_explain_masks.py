"""Explaining masks: which hold in an answer, what lifts them, and for whom."""

from __future__ import annotations

import msgspec
from tests.deciding import TWO_OF_SRE, agent, asks, gets, person, policy, rule

from narrowgate.core.explain_masks import ExplainedMasks, explain_masks
from narrowgate.core.identity import Identity, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.masking.patterns import TEXT_RULES
from narrowgate.core.policy import Mask, Policy, Reveal
from narrowgate.core.rulebook import compile_policies

READ = rule("allow", "get list", "configmaps", namespaces="*")
GET = asks("get", "configmaps", "app", namespace="ci")
LIST_HERE = asks("list", "configmaps", namespace="ci")
LIST = asks("list", "configmaps")


def written(*masks: Mask, reveals: tuple[Reveal, ...] = (), subjects: str = "Agent/ci") -> Policy:
    return msgspec.structs.replace(policy(READ, subjects=subjects), masks=masks, reveals=reveals)


def mask(id: str = "dsn", **other: object) -> Mask:
    made = Mask(id=id, api_groups=("",), resources=("configmaps",), fields=("data.dsn", "data.key"), line=7)
    return msgspec.structs.replace(made, **other)


def reveal(id: str = "see", **other: object) -> Reveal:
    return msgspec.structs.replace(Reveal(id=id, api_groups=("",), resources=("configmaps",), line=9), **other)


def explained(what: Intent, *policies: Policy, by: tuple[Identity, ...] = (agent(),)) -> ExplainedMasks:
    return explain_masks(chain_of(*by), what, compile_policies(policies, 1))


def of_policies(found: ExplainedMasks) -> dict[str, tuple[bool, str]]:
    return {one.mask: (one.holds, one.why) for one in found.masks if not one.mask.startswith("narrowgate/")}


def said(found: ExplainedMasks) -> dict[str, tuple[tuple[str, ...], str]]:
    """Of each reveal the masks of policies that it lifts, and why."""
    return {
        one.reveal: (tuple(mask for mask in one.lifts if not mask.startswith("narrowgate/")), one.why)
        for one in found.reveals
    }


def test_a_mask_of_a_policy_is_told_with_its_fields_and_its_place() -> None:
    (found,) = [one for one in explained(GET, written(mask())).masks if one.mask == "test/dsn"]
    assert (found.member, found.place, found.masks) == ('agent "ci"', "test.yaml:7", "data.dsn, data.key")
    assert (found.holds, found.why) == (True, "")


def test_where_a_mask_holds_is_told_where_that_is_not_everywhere() -> None:
    near = written(mask(namespaces=("ci",)))
    assert of_policies(explained(GET, near)) == {"test/dsn": (True, "")}
    assert of_policies(explained(LIST, near)) == {"test/dsn": (True, "in namespaces ci")}
    far = written(mask(namespaces=("web", "db")))
    assert of_policies(explained(LIST_HERE, far)) == {"test/dsn": (False, "its namespaces are web, db")}


def test_what_lifts_a_mask_is_named_with_what_it_lifts() -> None:
    found = explained(GET, written(mask(), reveals=(reveal(masks=("test/dsn",)),)))
    assert of_policies(found) == {"test/dsn": (False, "lifted by test/see")}
    assert said(found) == {"test/see": (("test/dsn",), "asks nobody")}
    env = next(one for one in found.masks if one.mask == "narrowgate/config-secret")
    assert env.holds


def test_a_reveal_of_some_objects_of_a_list_says_of_which() -> None:
    some = written(mask(), reveals=(reveal(namespaces=("ci",), names=("app",)),))
    listed = explained(LIST, some)
    assert of_policies(listed) == {"test/dsn": (True, "")}
    assert said(listed) == {"test/see": (("test/dsn",), "asks nobody, off objects named app in namespaces ci")}
    assert said(explained(LIST_HERE, some))["test/see"][1] == "asks nobody, off objects named app"
    other = explained(asks("get", "configmaps", "other", namespace="ci"), some)
    assert said(other) == {"test/see": ((), "its names are app")}
    elsewhere = explained(asks("get", "configmaps", "app", namespace="web"), some)
    assert said(elsewhere) == {"test/see": ((), "its namespaces are ci")}


def test_a_reveal_behind_people_is_for_one_get_and_says_who_is_asked() -> None:
    asking = written(mask(), reveals=(reveal(approval=TWO_OF_SRE),))
    found = explained(GET, asking)
    assert of_policies(found) == {"test/dsn": (True, "")}
    assert said(found) == {
        "test/see": (("test/dsn",), "when 2 of group sre say yes to this very get within 10m"),
    }
    ((lifts, why),) = said(explained(LIST_HERE, asking)).values()
    assert lifts == ()
    assert why == "people can show one object, for one get of it: everything else stays masked"


def test_a_reveal_that_names_other_masks_lifts_none() -> None:
    found = explained(GET, written(mask(), reveals=(reveal(masks=("test/typo",)),)))
    assert said(found) == {"test/see": ((), "none of the masks it names speaks of this")}


def test_each_member_is_told_apart_and_people_have_no_masks_of_the_gate() -> None:
    theirs = msgspec.structs.replace(policy(READ, name="people", subjects="Person/alice"), masks=(mask(),))
    found = explained(GET, written(), theirs, by=(person("alice"), agent()))
    by_member = {(one.member, one.mask) for one in found.masks}
    assert ('person "alice"', "people/dsn") in by_member
    assert ('person "alice"', "narrowgate/config-secret") not in by_member
    assert ('agent "ci"', "narrowgate/config-secret") in by_member
    assert ('agent "ci"', "people/dsn") not in by_member


def test_streams_of_programs_and_paths_have_no_masks() -> None:
    shell = explained(asks("create", "pods/exec", "web", namespace="ci"), written(mask()))
    assert shell.unread
    assert shell.lines()[0].startswith("masks: none, because")
    assert explained(gets("/version"), written(mask())).lines() == ["masks: none speaks of this answer"]


def test_as_text_the_masks_of_text_stand_on_one_line() -> None:
    lines = explained(GET, written(mask(), reveals=(reveal(masks=("test/dsn",)),))).lines()
    assert lines[0] == 'agent "ci": masked in the answer'
    assert "    mask      test/dsn (test.yaml:7): data.dsn, data.key (lifted by test/see)" in lines
    assert "  * reveal    test/see (test.yaml:9): lifts test/dsn: asks nobody" in lines
    of_text = [line for line in lines if "in any text" in line]
    assert len(of_text) == 1
    assert all(rule.removeprefix("narrowgate/") in of_text[0] for rule in TEXT_RULES)
