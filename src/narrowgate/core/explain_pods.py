"""What `explain` says of the pods that a request makes or gets into: what they would be, what their accounts may do,
and what each rule that may cover the request makes of that, in the words of its refusals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.matching import question_of
from narrowgate.core.named_templates import named_pods
from narrowgate.core.pod_judging import is_about_pods, minds_accounts, of_rule, paths_named
from narrowgate.core.pod_rules import Action, Level
from narrowgate.core.pod_security import violations
from narrowgate.core.pods_seen import AccountSeen, Template
from narrowgate.core.refusals import who
from narrowgate.core.rulebook import Rulebook
from narrowgate.core.stronger import Holder

SHOWN: Final = 10
"""Rights of one account, and pods of one object, that are listed; how many there are besides is said."""

_DOES: Final = {
    Action.DENY: "refuses",
    Action.APPROVE: "asks people",
    Action.MEND: "mends",
    Action.ALLOW: "allows",
}


class ExplainedPod(msgspec.Struct, frozen=True, kw_only=True):
    """One pod's spec in the object."""

    at: str
    accounts: tuple[str, ...]
    level: str
    """The strictest of Kubernetes' levels that it keeps to."""
    images: tuple[str, ...]
    token: str
    """What of its account's token it has."""
    node: str
    """The field by which it chooses its node; empty where it does not."""

    def __str__(self) -> str:
        words = [f"runs as {' or '.join(self.accounts)}", self.level, self.token]
        words += [f"images {', '.join(image or 'none' for image in self.images)}"] if self.images else []
        words += [f"chooses its node by {self.node}"] if self.node else []
        return f"pods by {self.at}: {'; '.join(words)}"


class ExplainedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One account, and what it may do."""

    account: str
    rights: tuple[str, ...] = ()
    """What everybody may do left out; at most SHOWN."""
    more: int = 0
    unknown: str = ""

    def lines(self) -> Iterator[str]:
        """Who it is, and each right in a line of its own."""
        if self.unknown:
            yield f"service account {self.account}: what it may do is not known: {self.unknown}"
            return
        yield f"service account {self.account}: {'may' if self.rights else 'may do what everybody may'}"
        yield from (f"    {right}" for right in self.rights)
        if self.more:
            yield f"    ... and {self.more} more"


class RuleOnPods(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule makes of it for a member of the chain, if it covers the request."""

    member: str
    rule: str
    says: tuple[str, ...]
    """Empty where it has nothing against it."""

    def __str__(self) -> str:
        return f"{self.member}: {self.rule}: {'; '.join(self.says) or 'has nothing against these pods'}"


class ExplainedPods(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; nothing where the request is about no pods."""

    pods: tuple[ExplainedPod, ...] = ()
    more: int = 0
    accounts: tuple[ExplainedAccount, ...] = ()
    rules: tuple[RuleOnPods, ...] = ()
    not_looked: str = ""
    """What would have a say and was not looked at; empty where all of it was."""

    def lines(self) -> Iterator[str]:
        """As text for a terminal."""
        yield from (str(pod) for pod in self.pods)
        if self.more:
            yield f"pods at {self.more} more places"
        for account in self.accounts:
            yield from account.lines()
        yield from (str(rule) for rule in self.rules)
        if self.not_looked:
            yield f"not looked at: {self.not_looked}"


def explain_pods(chain: Chain, what: Intent, rulebook: Rulebook, not_looked: str = "") -> ExplainedPods:
    """What has a say about pods. `not_looked` says what could not be had, where accounts have a say at all."""
    if not is_about_pods(what) and what.pods is None:
        return ExplainedPods()
    question = question_of(what)
    minds = minds_accounts(rulebook, chain, what, question)
    missed = not_looked if minds else ""
    if what.pods is None:
        return ExplainedPods(not_looked=missed)
    found = named_pods(paths_named(rulebook, chain, what, question), what.pods.made_of)
    templates = {template.at: template for template in (*what.pods.templates, *found.templates)}
    return ExplainedPods(
        pods=tuple(explained_pod(template) for template in list(templates.values())[:SHOWN]),
        more=max(0, len(templates) - SHOWN),
        accounts=tuple(
            explained_account(one) for one in (*what.pods.accounts, *what.pods.named) if minds and not missed
        ),
        rules=tuple(_rules(chain, what, rulebook)),
        not_looked=missed,
    )


def explained_account(seen: AccountSeen) -> ExplainedAccount:
    """An account, with as many of its rights as people read."""
    rights = tuple(str(held) for held in seen.rights[:SHOWN])
    more = max(0, len(seen.rights) - SHOWN)
    return ExplainedAccount(account=str(seen.account), rights=rights, more=more, unknown=seen.unknown)


def level_of(template: Template) -> Level:
    """The strictest level that a pod's spec keeps to."""
    for level in (Level.RESTRICTED, Level.BASELINE):
        if next(violations(template.spec, template.annotations, level), None) is None:
            return level
    return Level.PRIVILEGED


def token_of(template: Template) -> str:
    """What of its account's token its pods have."""
    projected = [f"a token for {audience or 'the API server'}" for audience in template.audiences]
    mounted = ["its account's token"] if template.mounts_token else []
    return " and ".join([*mounted, *projected]) or "no token"


def explained_pod(template: Template) -> ExplainedPod:
    """One pod's spec, by all that decides about it."""
    return ExplainedPod(
        at=template.at,
        accounts=template.accounts,
        level=level_of(template).value,
        images=tuple(dict.fromkeys(template.images)),
        token=token_of(template),
        node=template.chooses_node,
    )


def _rules(chain: Chain, what: Intent, rulebook: Rulebook) -> Iterator[RuleOnPods]:
    question = question_of(what)
    for member in chain:
        holding = rulebook.holding(member, what.cluster)
        found = holding.candidates(question)
        for rule in (*found.allow, *found.grantable, *found.approve):
            if rule.has_name(question):
                problems = of_rule(rule, Holder(member, holding, None), what, chain)
                says = tuple(f"{_DOES[action]}: {text}" for action, text in problems)
                yield RuleOnPods(member=who(member), rule=str(rule.ref), says=says)
