"""Self-subject reviews, answered for gate and cluster together: `kubectl auth can-i` and whatever else asks the same.

The cluster is asked in the caller's name and knows nothing of the gate's rules; the answers are put together by
`core/reviews.py`. Nothing is cached: an answer is about now.
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, RuleRef
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.policy import Effect
from narrowgate.core.reviews import (
    GrantedRule,
    access_review_answer,
    is_access_review,
    is_rules_review,
    review_intent,
    review_namespace,
    rules_intersection,
    rules_review_answer,
)
from narrowgate.core.rulebook import RuleInForce
from narrowgate.core.upstream_names import upstream_groups, upstream_user
from narrowgate.proxy.exchange import Exchange, Response, Understood
from narrowgate.wire.http1 import write_answer

ACCOUNTS_ASKED = 16
"""Accounts that one SelfSubjectRulesReview asks the cluster about; more policies than that get a shorter list."""


class Reviews:
    """Answers what an identity asks about itself."""

    def answers(self, what: Intent) -> bool:
        """Whether this request is such a question."""
        return is_access_review(what.info) or is_rules_review(what.info) or _asks_who(what)

    async def answer(self, exchange: Exchange, who: Chain, what: Understood, allowed: Allow) -> Response:
        """Answer it. Raises Malformed for a review that asks nothing, and what asking the cluster raises."""
        if is_access_review(what.intent.info):
            answer = await self._access(exchange, who, what)
        elif _asks_who(what.intent):
            answer = _who(who, what.intent)
        else:
            answer = await self._rules(exchange, who, what, allowed)
        body = orjson.dumps(answer)
        client = exchange.answers_to
        client.write(write_answer(201, "Created", body, close=client.must_close))
        return Response(code=201, bytes_out=len(body))

    async def _access(self, exchange: Exchange, who: Chain, what: Understood) -> Any:
        review = what.intent.object
        asked = review_intent(what.intent.cluster, review, what.served.cluster.known())
        decision = decide(who, asked, what.snapshot.rulebook, what.snapshot.grants_of(who), (), time.time())
        # Asked under the account that such a request would travel under: in mode serviceAccount, its rule's own.
        theirs = await self._ask_cluster(exchange, who, what, decision.rule) if isinstance(decision, Allow) else None
        return access_review_answer(review, decision, theirs)

    async def _rules(self, exchange: Exchange, who: Chain, what: Understood, allowed: Allow) -> Any:
        review = what.intent.object
        namespace = review_namespace(review)
        # A chain may do what every member may; its sender's rules are listed, the others' shown by being refused.
        rules = what.snapshot.rulebook.rules_for(who[-1], what.intent.cluster, namespace)
        granted = [_granted(rule) for rule in rules if rule.rule.effect is Effect.ALLOW]
        withheld = [_granted(rule) for rule in rules if rule.rule.effect in (Effect.DENY, Effect.APPROVE)]
        theirs = await self._ask_cluster(exchange, who, what, allowed.rule)
        if what.served.cluster.access.mode is UpstreamMode.SERVICE_ACCOUNT:
            # Each policy travels under an account of its own; what the cluster gives is what they give together.
            policies = {rule.ref.policy: rule.ref for rule in rules if rule.rule.effect is Effect.ALLOW}
            for ref in list(policies.values())[:ACCOUNTS_ASKED]:
                theirs = _together(theirs, await self._ask_cluster(exchange, who, what, ref))
        return rules_review_answer(review, rules_intersection(granted, withheld, theirs))

    async def _ask_cluster(
        self, exchange: Exchange, who: Chain, what: Understood, rule: RuleRef
    ) -> dict[str, Any] | None:
        headers = await what.served.account.headers(what.told(who), rule, exchange.audit_id)
        status, _, answer = await what.served.cluster.call(
            "POST", what.intent.info.path, body=orjson.dumps(what.intent.object), headers=headers
        )
        if status != 201:
            return None
        found: dict[str, Any] = orjson.loads(answer).get("status") or {}
        return found


def _together(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any] | None:
    """Two statuses of SelfSubjectRulesReview as one; what is not known of either makes it incomplete."""
    if one is None or other is None:
        return one or other
    return {
        "resourceRules": [*(one.get("resourceRules") or []), *(other.get("resourceRules") or [])],
        "nonResourceRules": [*(one.get("nonResourceRules") or []), *(other.get("nonResourceRules") or [])],
        "incomplete": bool(one.get("incomplete") or other.get("incomplete")),
        "evaluationError": str(one.get("evaluationError") or other.get("evaluationError") or ""),
    }


def _asks_who(what: Intent) -> bool:
    """Whether this is `kubectl auth whoami` (KEP-3325)."""
    info = what.info
    asked = (info.verb, info.api_group, info.resource, info.subresource)
    return asked == ("create", "authentication.k8s.io", "selfsubjectreviews", "")


def _who(who: Chain, what: Intent) -> dict[str, Any]:
    """Whom the gate takes the caller for. The cluster would name the account that requests travel under."""
    sender = who[-1]
    extra = {"narrowgate.dev/chain": [str(member) for member in who], "narrowgate.dev/cluster": [what.cluster]}
    if sender.owner:
        extra["narrowgate.dev/owner"] = [sender.owner]
    user = {"username": upstream_user(sender), "groups": list(upstream_groups(sender)), "extra": extra}
    return {
        "kind": "SelfSubjectReview",
        "apiVersion": f"authentication.k8s.io/{what.info.api_version}",
        "metadata": {"creationTimestamp": None},
        "status": {"userInfo": user},
    }


def _granted(rule: RuleInForce) -> GrantedRule:
    written = rule.rule
    return GrantedRule(
        verbs=written.verbs,
        api_groups=written.api_groups,
        resources=written.resources,
        names=written.names,
        non_resource_urls=written.non_resource_urls,
        conditional=bool(written.when) or written.looks_inside,
    )
