"""A cluster that signs ServiceAccount tokens and reviews them, in memory: `ClusterTokens` without an API server.

It passes `tests/contract/test_cluster_tokens.py`, as the gate's own calls to a real API server do. What it knows of
pods and accounts, and whether it answers at all, is for tests to change.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, KeySet, RSAKey

from narrowgate.authenticators.cluster_tokens import ClusterSilent, TokenReview

AUDIENCE = "narrowgate"
ISSUER = "https://kubernetes.default.svc.cluster.local"
"""What most clusters are called by default: several registered ones may well share it."""
MADE_AT = 1_000
ENDS_AT = 10_000


class ToldCluster:
    """One cluster, with accounts that have a pod each."""

    def __init__(self, issuer: str = ISSUER, *, key: RSAKey | ECKey | None = None) -> None:
        self.told_issuer = issuer
        self.key = key or ECKey.generate_key("P-256", {"kid": str(uuid.uuid4())})
        self.published: list[RSAKey | ECKey] = [self.key]
        self.accounts: dict[str, str] = {}
        """UID by `namespace/name`."""
        self.pods: dict[str, str] = {}
        """UID by `namespace/name`."""
        self.silent = ""
        """Why it does not answer; empty while it does."""
        self.keys_asked = 0
        self.reviews_asked = 0

    # --- what it does for its pods

    def claims(self, account: str = "ci/deployer", pod: str = "web-1", **more: Any) -> dict[str, Any]:
        """The claims of a projected token; what is not there yet is made."""
        namespace, _, name = account.partition("/")
        uid = self.accounts.setdefault(account, str(uuid.uuid4()))
        kubernetes: dict[str, Any] = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        if pod:
            pod_uid = self.pods.setdefault(f"{namespace}/{pod}", str(uuid.uuid4()))
            kubernetes |= {"pod": {"name": pod, "uid": pod_uid}, "node": {"name": "node-1", "uid": "n-1"}}
        return {
            "iss": self.told_issuer,
            "aud": [AUDIENCE],
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "jti": str(uuid.uuid4()),
            "iat": MADE_AT,
            "nbf": MADE_AT,
            "exp": ENDS_AT,
            "kubernetes.io": kubernetes,
            **more,
        }

    def sign(self, claims: dict[str, Any], *, key: RSAKey | ECKey | None = None, **header: Any) -> str:
        """Claims as a token."""
        by = key or self.key
        algorithm = "RS256" if isinstance(by, RSAKey) else "ES256"
        head = {"alg": algorithm, "kid": by.kid, **header}
        return jws.serialize_compact(head, json.dumps(claims), by, algorithms=[algorithm])

    def token(self, account: str = "ci/deployer", pod: str = "web-1", **more: Any) -> str:
        """A projected token."""
        return self.sign(self.claims(account, pod, **more))

    # --- ClusterTokens

    async def issuer(self) -> str:
        self._speak()
        return self.told_issuer

    async def keys(self) -> bytes:
        self._speak()
        self.keys_asked += 1
        return json.dumps(KeySet(self.published).as_dict(private=False)).encode()

    async def review(self, token: str, audience: str) -> TokenReview:
        self._speak()
        self.reviews_asked += 1
        try:
            claims = json.loads(jws.deserialize_compact(token, KeySet(self.published), ["RS256", "ES256"]).payload)
            kubernetes, audiences = claims["kubernetes.io"], claims["aud"]
            namespace, account = kubernetes["namespace"], kubernetes["serviceaccount"]
        except Exception:  # noqa: BLE001 whatever is no such token is not accepted
            return TokenReview(error="invalid bearer token")
        if audience not in audiences:
            return TokenReview(error=f'token audiences "{audiences}" is invalid for the target audiences "{audience}"')
        if self.accounts.get(f"{namespace}/{account['name']}") != account["uid"]:
            return TokenReview(error="service account not found")
        extra = {"credential-id": f"JTI={claims['jti']}"}
        if pod := kubernetes.get("pod"):
            if self.pods.get(f"{namespace}/{pod['name']}") != pod["uid"]:
                return TokenReview(error="service account token has been invalidated")
            extra |= {"pod-name": pod["name"], "pod-uid": pod["uid"], "node-name": kubernetes["node"]["name"]}
        return TokenReview(
            authenticated=True,
            audiences=(audience,),
            username=f"system:serviceaccount:{namespace}:{account['name']}",
            uid=account["uid"],
            extra={f"authentication.kubernetes.io/{key}": (value,) for key, value in extra.items()},
        )

    def _speak(self) -> None:
        if self.silent:
            raise ClusterSilent(self.silent)
