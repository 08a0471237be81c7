"""What becomes of a request that makes pods, or gets into one, because of what these pods are.

`decide` asks here once a rule covers the request, for each member of the chain by what covers that member. Of all
rules that give it the most generous counts, so that their order does not matter. Without a word in any rule (`pods`),
agents and whatever they have started make and enter no pods whose account can do more than they can (`stronger`), and
no mirror pods; people may.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from narrowgate.core.body import may_create
from narrowgate.core.identity import Chain, Kind
from narrowgate.core.intent import Intent
from narrowgate.core.judging import Answer, Evidence, Granted, Held, Refused, covers_of
from narrowgate.core.matching import CompiledRule, Question
from narrowgate.core.named_templates import PLACES_LIMIT, NamedPods, TemplatePath, named_pods
from narrowgate.core.pod_rules import Action, PodRules
from narrowgate.core.pod_security import violations
from narrowgate.core.pod_templates import TEMPLATES_LIMIT, enters_pod, makes_pods
from narrowgate.core.pods_seen import CONTAINERS, PodsSeen, Template
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.rulebook import Rulebook
from narrowgate.core.stronger import Holder
from narrowgate.core.uses import BUILT_IN_GROUPS

MIRROR: Final = "kubernetes.io/config.mirror"
"""Annotation of pods that a node says it runs by itself (k8s.io/kubernetes/pkg/apis/core, `MirrorPodAnnotationKey`)."""

_TOLD: Final = 2
"""Rights, or violations, that a refusal names."""

_NO_RULES: Final = PodRules()


class _Problem(NamedTuple):
    """One thing about the pods that is not as it should be, and what then becomes of the request."""

    action: Action
    text: str


def is_about_pods(what: Intent) -> bool:
    """Whether what pods are has a say in this request at all."""
    return makes_pods(what.info) or enters_pod(what.info)


def pod_is_there(what: Intent) -> bool:
    """Whether a request writes to a pod that exists: an apply makes one where there is none."""
    is_pod = (what.info.api_group, what.info.resource) == ("", "pods")
    return is_pod and what.info.verb != "create" and not may_create(what)


def minds_accounts(rulebook: Rulebook, chain: Chain, what: Intent, question: Question) -> bool:
    """Whether it matters what the accounts of the pods may do: for any rule that may cover this, for any member."""
    default = _default_action(chain)
    for member in chain:
        holding = rulebook.holding(member, what.cluster)
        found = holding.candidates(question)
        rules = (*found.allow, *found.grantable, *found.approve)
        minding = any(_stronger(rule.rule.pods or _NO_RULES, default) is not Action.ALLOW for rule in rules)
        if minding and not Holder(member, holding, None).holds_everything(what):
            return True
    return False


def minds_templates(rulebook: Rulebook, chain: Chain, what: Intent, question: Question) -> bool:
    """Whether any rule that may cover this asks for more of the pods than for their account."""
    for member in chain:
        found = rulebook.holding(member, what.cluster).candidates(question)
        giving = (*found.allow, *found.grantable, *found.approve)
        if any(rule.rule.pods and rule.rule.pods.reads_templates for rule in giving):
            return True
    return False


def paths_named(rulebook: Rulebook, chain: Chain, what: Intent, question: Question) -> tuple[TemplatePath, ...]:
    """Where any rule that may cover this says that pods are kept, each path once."""
    paths: dict[TemplatePath, None] = {}
    for member in chain:
        found = rulebook.holding(member, what.cluster).candidates(question)
        for rule in (*found.allow, *found.grantable, *found.approve):
            paths |= dict.fromkeys(rule.rule.pods.templates if rule.rule.pods else ())
    return tuple(paths) if names_places(what) else ()


def names_places(what: Intent) -> bool:
    """Whether rules have to say where pods are kept in this, which is nothing that Kubernetes has itself."""
    return what.info.api_group not in BUILT_IN_GROUPS


def with_pods(answer: Answer, holder: Holder, chain: Chain, question: Question, evidence: Evidence) -> Answer:
    """The answer about the request itself, once the pods that it is about have their say."""
    what = evidence.what
    if what.pods is None or not isinstance(answer, RuleRef | Granted | Held):
        return answer
    default = _default_action(chain)
    if isinstance(answer, Held):
        return _with_cover(answer, holder, what, default, _rule_of(holder, question, _ref(answer.cover)))
    best: Answer | None = None
    for rule, cover in covers_of(holder.holding, holder.identity, question, evidence, holder.grants):
        judged = _judged(rule, cover, holder, what, default)
        if isinstance(judged, RuleRef | Granted):
            return judged
        if best is None or (isinstance(judged, Held) and not isinstance(best, Held)):
            best = judged
    # What covers it is none of these: a rule that the gate brings along, about no pods.
    return answer if best is None else best


def mended(rules: Iterable[CompiledRule], what: Intent) -> tuple[tuple[str, ...], ...]:
    """The places of the templates whose pods must not be given a token, by the rules that cover the request."""
    found: dict[tuple[str, ...], None] = {}
    if pod_is_there(what):
        # It has its token or not, and no write changes that.
        return ()
    for rule in rules:
        if what.pods is not None and rule.rule.pods and rule.rule.pods.automount_token is Action.MEND:
            templates = (*what.pods.templates, *_named(rule.rule.pods, what).templates)
            found |= dict.fromkeys(one.steps for one in templates if one.steps and one.mounts_token)
    return tuple(found)


def of_rule(rule: CompiledRule, holder: Holder, what: Intent, chain: Chain) -> tuple[tuple[Action, str], ...]:
    """What a rule would say of the pods if it covered the request: what becomes of it, and why. For whoever asks."""
    if what.pods is None:
        return ()
    return tuple(_problems(rule.rule.pods or _NO_RULES, holder, what, _default_action(chain)))


def _with_cover(answer: Held, holder: Holder, what: Intent, default: Action, rule: CompiledRule | None) -> Answer:
    """What people are asked about anyhow: they are not asked to lift what they cannot see."""
    pods = rule.rule.pods if rule is not None and rule.rule.pods is not None else _NO_RULES
    problems = [one for one in _problems(pods, holder, what, default) if one.action is not Action.MEND]
    if not problems:
        return answer
    blamed = rule or answer.rules[0]
    denied = [one for one in problems if one.action is Action.DENY]
    if denied or blamed.rule.approval is None:
        return Refused(blamed, because=_told(denied or problems), hint=_hint(blamed))
    return Held((*answer.rules, blamed), answer.cover, _told(problems))


def _judged(rule: CompiledRule, cover: RuleRef | Granted, holder: Holder, what: Intent, default: Action) -> Answer:
    problems = list(_problems(rule.rule.pods or _NO_RULES, holder, what, default))
    denied = [one for one in problems if one.action is Action.DENY]
    asking = [one for one in problems if one.action is Action.APPROVE]
    if denied or (asking and rule.rule.approval is None):
        return Refused(rule, because=_told(denied or asking), hint=_hint(rule))
    if asking:
        return Held((rule,), cover, _told(asking))
    return cover


def _problems(pods: PodRules, holder: Holder, what: Intent, default: Action) -> Iterator[_Problem]:
    seen = what.pods
    assert seen is not None
    action, named = _stronger(pods, default), _named(pods, what)
    if action is not Action.ALLOW:
        text = _beyond(seen, holder, what, named.names)
        if text:
            yield _Problem(action, text)
    if default is Action.DENY and any(MIRROR in one.annotations for one in (*seen.templates, *named.templates)):
        yield _Problem(Action.DENY, f"a pod with the annotation {MIRROR} is a node's to write")
    if not pods.reads_templates or (enters_pod(what.info) and what.info.subresource != "ephemeralcontainers"):
        return
    if seen.inexact:
        yield _Problem(Action.DENY, seen.inexact)
    elif len(seen.templates) > TEMPLATES_LIMIT:
        yield _Problem(Action.DENY, f"it holds more than {TEMPLATES_LIMIT} pod templates")
    for template in seen.templates[:TEMPLATES_LIMIT]:
        # By the mapping itself: how places are written out, two of them may look the same.
        if not any(template.spec is one.spec for one in named.templates):
            yield from _of_template(pods, template, what, is_pod=_has_containers(template))
    yield from _of_named(pods, named, what)
    if audiences := _foreign_audiences(pods, seen.audiences):
        allowed = _some(pods.token_audiences or ())
        yield _Problem(pods.otherwise, f"the token is for {audiences[0]}, and allowed are {allowed}")


def _named(pods: PodRules, what: Intent) -> NamedPods:
    """What stands where the rule says that pods are kept."""
    if not pods.templates or not names_places(what) or what.pods is None or what.pods.made_of is None:
        return NamedPods()
    return named_pods(pods.templates, what.pods.made_of)


def _of_named(pods: PodRules, named: NamedPods, what: Intent) -> Iterator[_Problem]:
    for at in named.missing[:_TOLD]:
        yield _Problem(Action.DENY, f"{at} is not there, and pods are made of it")
    for at in named.unread[:_TOLD]:
        yield _Problem(Action.DENY, f"{at} is neither a pod nor the name of a service account")
    if named.too_many:
        yield _Problem(Action.DENY, f"pods are made of more than {PLACES_LIMIT} places in it")
    for template in named.templates:
        yield from _of_template(pods, template, what, is_pod=True)
    for at, name in named.accounts:
        yield from _of_account(pods, at, (name,))


def _of_account(pods: PodRules, at: str, names: tuple[str, ...]) -> Iterator[_Problem]:
    others = [name for name in names if name not in (pods.service_accounts or ())]
    if pods.service_accounts is not None and others:
        allowed = _some(pods.service_accounts)
        yield _Problem(pods.otherwise, f"{at} runs as service account {others[0][:100]}, and allowed are {allowed}")


def _of_template(pods: PodRules, template: Template, what: Intent, *, is_pod: bool) -> Iterator[_Problem]:
    """What is wrong with one; what only looks as if pods were made of it says nothing of how they are confined."""
    at, otherwise = template.at, pods.otherwise
    if images := _foreign_images(pods, template):
        yield _Problem(otherwise, f"{at} has the image {images[0][:100]!r}, and allowed are {_some(pods.images or ())}")
    broken = list(violations(template.spec, template.annotations, pods.level)) if is_pod else []
    if broken:
        yield _Problem(otherwise, f"{at} is not {pods.level.value}: {_some(broken)}")
    if pod_is_there(what):
        # Nothing else of a pod can be written once it is there, and the API server has completed it.
        return
    yield from _of_account(pods, at, template.accounts)
    if template.mounts_token and pods.automount_token is not Action.ALLOW:
        mend = pods.automount_token is Action.MEND
        action = pods.automount_token if not mend or _mendable(template, what) else Action.DENY
        yield _Problem(action, f"{at} does not say automountServiceAccountToken: false")
    if audiences := _foreign_audiences(pods, template.audiences):
        allowed = _some(pods.token_audiences or ())
        yield _Problem(otherwise, f"{at} projects a token for {audiences[0]}, and allowed are {allowed}")
    if not pods.node_choice and template.chooses_node:
        yield _Problem(otherwise, f"{at}.{template.chooses_node} chooses a node")


def _foreign_audiences(pods: PodRules, audiences: Iterable[str]) -> list[str]:
    """Those that the rule does not name, as they are called in a sentence."""
    if pods.token_audiences is None:
        return []
    return [name[:100] or "the API server" for name in audiences if name not in pods.token_audiences]


def _mendable(template: Template, what: Intent) -> bool:
    return bool(template.steps) and what.info.subresource == ""


def _has_containers(template: Template) -> bool:
    return any(template.spec.get(field) for field in CONTAINERS)


def _foreign_images(pods: PodRules, template: Template) -> list[str]:
    if pods.images is None:
        return []
    exact = {image for image in pods.images if not image.endswith("*")}
    prefixes = tuple(image[:-1] for image in pods.images if image.endswith("*"))
    return [image for image in template.images if image not in exact and not (image and image.startswith(prefixes))]


def _beyond(seen: PodsSeen, holder: Holder, what: Intent, names: tuple[str, ...]) -> str:
    """What the pods' accounts may do that the member may not, in words; empty where there is nothing. `names` are those
    that stand where the rule says.
    """
    if holder.holds_everything(what):
        # Then nobody has looked, since no account can do more.
        return ""
    if seen.unknown:
        return f"the accounts that come with it are not known: {seen.unknown}"
    known = {one.account.name for one in (*seen.accounts, *seen.named)}
    if unknown := [name for name in names if name not in known]:
        return f"nobody has looked what service account {unknown[0][:100]} may do; send it again"
    for account in (*seen.accounts, *(one for one in seen.named if one.account.name in names)):
        if account.unknown:
            return f"what service account {account.account} may do is not known: {account.unknown}"
        over = [str(held) for held, _ in zip(holder.exceeded_by(account.rights, what), range(_TOLD + 1), strict=False)]
        if over:
            return f"service account {account.account} may also {_some(over)}, and {holder.identity} may not"
    if over := [str(held) for held in holder.exceeded_by(seen.of_node, what)]:
        return f"whoever is in the pod may also {_some(over)}, and {holder.identity} may not"
    return ""


def _some(words: Iterable[str]) -> str:
    listed = list(dict.fromkeys(words))
    return "; ".join(listed[:_TOLD]) + ("; ..." if len(listed) > _TOLD else "") or "none"


def _told(problems: list[_Problem]) -> str:
    return _some(problem.text for problem in problems)


def _hint(rule: CompiledRule) -> str:
    pods = rule.rule.pods
    said = "has no pods: strongerAccounts" if pods is None else "narrows what pods may be with its key pods"
    return f"rule {rule.rule.id} of policy {rule.ref.policy} {said}; use another account or template"


def _stronger(pods: PodRules, default: Action) -> Action:
    return default if pods.stronger_accounts is None else pods.stronger_accounts


def _default_action(chain: Chain) -> Action:
    return Action.ALLOW if all(member.kind is Kind.PERSON for member in chain) else Action.DENY


def _ref(cover: RuleRef | Granted) -> RuleRef:
    return cover.ref if isinstance(cover, Granted) else cover


def _rule_of(holder: Holder, question: Question, ref: RuleRef) -> CompiledRule | None:
    found = holder.holding.candidates(question)
    return next((rule for rule in (*found.allow, *found.grantable, *found.approve) if rule.ref == ref), None)
