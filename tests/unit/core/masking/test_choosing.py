"""Which masks hold for whom and where: in doubt they hold, and in doubt nothing takes them off."""

from __future__ import annotations

import msgspec
from tests.deciding import NOW, TWO_OF_SRE, agent, asks, gets, person, policy, rule, uses
from tests.unit.core.test_decide_approvals import approved

from narrowgate.core.approvals import ApprovalQuestion
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.identity import Chain, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.masking.choosing import ANYWHERE, MaskChoice, Where, is_masked, same_masks
from narrowgate.core.policy import Mask, Policy, Reveal, Subject, SubjectKind
from narrowgate.core.rulebook import compile_policies

GET = asks("get", "configmaps", "app", namespace="ci")
LIST = asks("list", "configmaps")
READ = rule("allow", "get", "configmaps", namespaces="*")
LISTS = rule("allow", "list", "configmaps", namespaces="*", id="lists")
HERE = Where("ci", "app")


def mask(id: str = "dsn", **other: object) -> Mask:
    return msgspec.structs.replace(
        Mask(id=id, api_groups=("",), resources=("configmaps",), fields=("data.dsn",)), **other
    )


def reveal(id: str = "see", **other: object) -> Reveal:
    return msgspec.structs.replace(Reveal(id=id, api_groups=("",), resources=("configmaps",)), **other)


def with_masks(*masks: Mask, reveals: tuple[Reveal, ...] = ()) -> Policy:
    return msgspec.structs.replace(policy(READ, LISTS), masks=masks, reveals=reveals)


def decided(
    *policies: Policy, what: Intent = GET, by: Chain | None = None, approvals: tuple[ApprovalQuestion, ...] = ()
) -> Decision:
    return decide(by or chain_of(agent()), what, compile_policies(policies, 3), (), approvals, NOW)


def choice(*policies: Policy, what: Intent = GET, by: Chain | None = None) -> MaskChoice | None:
    decision = decided(*policies, what=what, by=by)
    assert isinstance(decision, Allow)
    return decision.masks


def held(found: MaskChoice | None, where: Where = HERE) -> list[str]:
    """The masks of policies that hold there."""
    masks = () if found is None else found.held(where)
    return [mask.rule for mask in masks if not mask.rule.startswith("narrowgate/")]


def test_a_mask_holds_for_the_subjects_of_its_policy_and_its_resources() -> None:
    assert held(choice(with_masks(mask()))) == ["test/dsn"]
    assert held(choice(with_masks(mask(resources=("pods",))))) == []
    assert held(choice(with_masks(mask(api_groups=("apps",))))) == []
    others = msgspec.structs.replace(with_masks(mask()), name="others", rules=(), subjects=())
    assert held(choice(policy(READ), others)) == []


def test_what_the_gate_masks_by_itself_holds_for_everybody_but_people() -> None:
    of_agent = choice(policy(READ))
    assert of_agent is not None
    assert "narrowgate/config-secret" in [one.rule for one in of_agent.held(HERE)]
    assert of_agent.plan(HERE) is not None
    reveals = msgspec.structs.replace(policy(READ), reveals=(reveal(masks=("narrowgate/config-secret",)),))
    revealed = choice(reveals)
    assert revealed is not None
    assert "narrowgate/config-secret" not in [one.rule for one in revealed.held(HERE)]
    assert choice(msgspec.structs.replace(policy(READ), reveals=(reveal(),))) is None
    assert choice(policy(READ, subjects="Person/alice"), by=chain_of(person("alice"))) is None


def test_resources_without_a_place_for_secrets_are_not_masked_at_all() -> None:
    leases = asks("get", "leases", "a", namespace="ci", group="coordination.k8s.io")
    found = choice(policy(rule("allow", "get", "leases", groups="coordination.k8s.io", namespaces="*")), what=leases)
    assert found is None


def test_two_choices_are_the_same_where_they_say_the_same_in_any_revision() -> None:
    def of(revision: int, *policies: Policy) -> MaskChoice | None:
        decision = decide(chain_of(agent()), GET, compile_policies(policies, revision), (), (), NOW)
        assert isinstance(decision, Allow)
        return decision.masks

    assert same_masks(of(1, with_masks(mask())), of(2, with_masks(mask(line=9))))
    assert not same_masks(of(1, with_masks(mask())), of(1, with_masks(mask(fields=("data",)))))
    assert not same_masks(of(1, with_masks(mask())), of(1, with_masks(mask(), reveals=(reveal(),))))
    assert same_masks(None, None)
    assert not same_masks(of(1, with_masks(mask())), None)


def test_a_mask_of_an_object_holds_for_what_its_subresources_answer() -> None:
    masked = msgspec.structs.replace(
        with_masks(mask(resources=("pods",))), subjects=(Subject(SubjectKind.PERSON, "*"),)
    )
    found = compile_policies([masked], 3).holding(person("alice"), "prod")
    assert found.masks_on("", "pods/status") is not None
    assert found.masks_on("", "pods") is not None
    assert found.masks_on("", "services") is None


def test_namespaces_are_judged_object_by_object_and_in_doubt_the_mask_holds() -> None:
    found = choice(with_masks(mask(namespaces=("ci",))), what=LIST)
    assert found is not None
    assert found.varies
    assert held(found, Where("ci", "x")) == ["test/dsn"]
    assert held(found, Where("web", "x")) == []
    assert held(found, ANYWHERE) == ["test/dsn"]
    everywhere = choice(with_masks(mask()), what=LIST)
    assert everywhere is not None
    assert not everywhere.varies


def test_objects_of_one_namespace_that_no_reveal_names_have_the_same_masks() -> None:
    reveals = (reveal(names=("app", "b"), namespaces=("ci",)), reveal("other", names=("c",), masks=("test/key",)))
    found = choice(with_masks(mask(), reveals=reveals))
    assert found is not None
    assert found.names == {"app", "b", "c"}
    assert held(found, Where("ci", "x")) == held(found, Where("ci", None)) == ["test/dsn"]
    assert held(found) == []
    everywhere = choice(with_masks(mask()))
    assert everywhere is not None
    assert everywhere.names == frozenset()


def test_a_reveal_takes_off_what_it_names_where_it_names_it() -> None:
    two = (mask(), mask("key"))
    everything = choice(with_masks(*two, reveals=(reveal(),)))
    assert held(everything) == []
    one = choice(with_masks(*two, reveals=(reveal(masks=("test/key",)),)))
    assert held(one) == ["test/dsn"]
    named = choice(with_masks(*two, reveals=(reveal(names=("app",), namespaces=("ci",)),)))
    assert held(named) == []
    assert held(named, Where("ci", "other")) == ["test/dsn", "test/key"]
    assert held(named, Where("web", "app")) == ["test/dsn", "test/key"]
    assert held(named, ANYWHERE) == ["test/dsn", "test/key"]


def test_what_is_revealed_to_one_member_of_a_chain_is_masked_for_the_other() -> None:
    root = agent("root")
    of_root = msgspec.structs.replace(
        policy(READ, name="roots", subjects="Agent/root"), masks=(mask(),), reveals=(reveal(),)
    )
    assert held(choice(with_masks(mask()), of_root, by=(root, agent()))) == ["test/dsn"]
    assert held(choice(of_root, by=(root,))) == []


def test_a_reveal_gives_no_access() -> None:
    decision = decided(msgspec.structs.replace(policy(rule("allow", "get", "pods")), reveals=(reveal(),)))
    assert isinstance(decision, Deny)
    asking = msgspec.structs.replace(policy(rule("allow", "get", "pods")), reveals=(reveal(approval=TWO_OF_SRE),))
    assert isinstance(decided(asking), Deny)


def test_a_reveal_that_asks_people_holds_one_get_and_lifts_the_mask_for_that_one() -> None:
    asking = with_masks(mask(), reveals=(reveal(approval=TWO_OF_SRE),))
    held_for_people = decided(asking)
    assert isinstance(held_for_people, NeedsApproval)
    assert [str(ref) for ref in held_for_people.rules] == ["test/see"]
    answered = decided(asking, approvals=(approved("see"),))
    assert isinstance(answered, Allow)
    assert held(answered.masks) == []
    assert answered.approval == "q1"
    listed = decided(asking, what=LIST)
    assert isinstance(listed, Allow)
    assert held(listed.masks) == ["test/dsn"]


def test_an_approval_for_something_else_reveals_nothing() -> None:
    asking = with_masks(mask(), reveals=(reveal(approval=TWO_OF_SRE),))
    guarded = msgspec.structs.replace(asking, rules=(*asking.rules, rule("approve", "get", "configmaps", id="guard")))
    assert isinstance(decided(guarded, approvals=(approved("guard"),)), NeedsApproval)


def test_people_are_masked_by_the_policies_that_name_them_alone() -> None:
    theirs = msgspec.structs.replace(policy(READ, name="people", subjects="Person/alice"), masks=(mask(),))
    assert held(choice(theirs, by=chain_of(person("alice")))) == ["people/dsn"]
    assert choice(policy(READ, name="people", subjects="Person/alice"), by=chain_of(person("alice"))) is None


def test_nobody_is_asked_to_show_what_is_not_hidden() -> None:
    asking = reveal(approval=TWO_OF_SRE)
    of_people = msgspec.structs.replace(policy(READ, subjects="Person/alice"), reveals=(asking,))
    assert isinstance(decided(of_people, by=chain_of(person("alice"))), Allow)
    masked_too = msgspec.structs.replace(of_people, masks=(mask(),))
    assert isinstance(decided(masked_too, by=chain_of(person("alice"))), NeedsApproval)
    elsewhere = msgspec.structs.replace(of_people, masks=(mask(namespaces=("web",)),))
    assert isinstance(decided(elsewhere, by=chain_of(person("alice"))), Allow)
    lifted_already = with_masks(mask(), reveals=(reveal("free"), asking))
    assert isinstance(decided(lifted_already), Allow)
    lifted_in_part = with_masks(mask(), reveals=(reveal("free", masks=("test/dsn",)), asking))
    assert isinstance(decided(lifted_in_part), NeedsApproval)
    unknown = with_masks(mask(), reveals=(reveal(masks=("test/other",), approval=TWO_OF_SRE),))
    assert isinstance(decided(unknown), Allow)


def test_who_is_held_hears_what_for_and_where_it_is_masked_at_once() -> None:
    asking = with_masks(mask(), reveals=(reveal(approval=TWO_OF_SRE),))
    answer = decided(asking)
    assert isinstance(answer, NeedsApproval)
    assert answer.message.endswith("rule see of policy test asks people before it shows what is masked in it")
    assert answer.hint.startswith("it needs approval by 2 of group sre; a list ")
    guarded = msgspec.structs.replace(asking, rules=(*asking.rules, rule("approve", "get", "configmaps", id="guard")))
    both = decided(guarded)
    assert isinstance(both, NeedsApproval)
    assert [str(ref) for ref in both.rules] == ["test/guard", "test/see"]
    assert [str(ref) for ref in both.reveals] == ["test/see"]
    assert "list" not in both.hint


def test_what_could_be_read_in_a_pod_is_held_by_the_same_people() -> None:
    what = asks("create", "pods", "web", namespace="ci", uses=(uses("configmaps", "app"),))
    rules = (rule("allow", "create", "pods", namespaces="*", id="pods"), rule("allow", "use", "configmaps", id="use"))
    asking = msgspec.structs.replace(with_masks(mask(), reveals=(reveal(approval=TWO_OF_SRE),)), rules=(READ, *rules))
    answer = decided(asking, what=what)
    assert isinstance(answer, NeedsApproval)
    assert "holds it for approval" in answer.message
    assert isinstance(decided(msgspec.structs.replace(asking, reveals=()), what=what), Allow)


def test_everything_that_speaks_of_a_resource_is_there_for_whoever_asks_why() -> None:
    book = compile_policies([with_masks(mask(), reveals=(reveal(),))], 3)
    holding = book.holding(agent(), "prod")
    assert holding.masks_on("", "configmaps") is None
    met = holding.met_on("", "configmaps")
    assert "test/dsn" in [str(one.ref) for one in met.masks]
    assert [str(one.ref) for one in met.reveals] == ["test/see"]


def test_what_programs_say_is_not_masked() -> None:
    assert is_masked(GET.info)
    assert is_masked(asks("get", "pods/log", "web", namespace="ci").info)
    assert not is_masked(asks("create", "pods/exec", "web", namespace="ci").info)
    assert not is_masked(asks("get", "services/proxy", "web", namespace="ci").info)
    assert not is_masked(gets("/version").info)


def test_a_reveal_of_an_object_shows_no_log_of_it_and_no_token() -> None:
    def lifted(written: str, resource: str) -> bool:
        reveals = (reveal(resources=(written,)),)
        with_reveal = msgspec.structs.replace(policy(READ), reveals=reveals)
        found = compile_policies([with_reveal], 3).holding(agent(), "prod").masks_on("", resource)
        return found is None

    assert lifted("pods", "pods")
    assert not lifted("pods", "pods/log")
    assert not lifted("pods/log", "pods")
    assert not lifted("serviceaccounts", "serviceaccounts/token")
    assert lifted("pods/log", "pods/log")
    assert lifted("*/log", "pods/log")
    assert not lifted("*/log", "pods")
    assert lifted("*", "pods/log")


def test_where_masked_will_do_nobody_is_asked_and_nothing_is_shown() -> None:
    asking = with_masks(mask(), reveals=(reveal(approval=TWO_OF_SRE),))
    looking = msgspec.structs.replace(GET, masked_will_do=True)
    for approvals in ((), (approved("see"),)):
        answer = decided(asking, what=looking, approvals=approvals)
        assert isinstance(answer, Allow)
        assert held(answer.masks) == ["test/dsn"]
        assert answer.approval == ""
    guarded = msgspec.structs.replace(asking, rules=(*asking.rules, rule("approve", "get", "configmaps", id="guard")))
    assert isinstance(decided(guarded, what=looking), NeedsApproval)
