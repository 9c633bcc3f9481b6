"""Reviews: who am I, may I, whose token is this, and a token for a service account."""

import time
from datetime import UTC, datetime
from typing import Any

from tests.kubesim import clock, status
from tests.kubesim.authentication import Authenticator
from tests.kubesim.http import Request, User
from tests.kubesim.rbac import Attributes, Authorizer
from tests.kubesim.resources import resource
from tests.kubesim.store import Object, Store

Json = dict[str, Any]


class Reviews:
    """Answers the kinds that are posted but never stored."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer, store: Store) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._store = store

    def answer(self, kind: str, body: Object, request: Request) -> Object:
        """Return the review with its status.

        Raises:
            ApiError: 422, the review asks nothing.
        """
        spec = body.get("spec") or {}
        if kind == "SelfSubjectReview":
            return self._filled(body, {"userInfo": request.user.info()})
        if kind == "TokenReview":
            return self._filled(body, self._token(spec))
        if kind == "SelfSubjectRulesReview":
            return self._filled(body, self._rules(request.user, spec.get("namespace", "")))
        user = request.user
        if kind != "SelfSubjectAccessReview":
            user = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
        allowed, reason = self._authorizer.decide(user, _attributes(kind, spec))
        return self._filled(body, {"allowed": allowed} | ({"reason": reason} if reason else {}))

    def _filled(self, body: Object, state: Json) -> Object:
        meta = {"creationTimestamp": clock.now()} if "userInfo" in state else {"creationTimestamp": None}
        return body | {"metadata": (body.get("metadata") or {}) | meta, "status": state}

    def _token(self, spec: Json) -> Json:
        audiences = spec.get("audiences") or []
        user = self._authenticator.user_of(spec.get("token", ""), audiences)
        if user is None:
            return {"authenticated": False, "user": {}, "error": "invalid bearer token"}
        return {"authenticated": True, "user": user.info(), "audiences": audiences}

    def _rules(self, user: User, namespace: str) -> Json:
        if "system:masters" in user.groups:
            rules: list[Json] = [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ]
        else:
            rules = [rule for rule, _ in self._authorizer.rules(user, namespace)]
        named = [r for r in rules if r.get("resources")]
        paths = [r for r in rules if r.get("nonResourceURLs")]
        return {"resourceRules": named, "nonResourceRules": paths, "incomplete": False}

    def token_request(self, namespace: str, account: str, body: Object) -> Object:
        """Return a TokenRequest with a fresh token for a service account.

        Raises:
            ApiError: 404 no such account, 422 less than ten minutes.
        """
        found = self._store.get(resource("serviceaccounts"), namespace, account)
        spec = body.get("spec") or {}
        seconds = spec.get("expirationSeconds") or 3600
        if seconds < 600:
            why = "Invalid value: " + str(seconds) + ": may not specify a duration less than 10 minutes"
            causes = [("spec.expirationSeconds", "FieldValueInvalid", why)]
            raise status.invalid("TokenRequest", "authentication.k8s.io", "", causes)
        audiences = spec.get("audiences") or ["https://kubernetes.default.svc.cluster.local"]
        uid = found["metadata"]["uid"]
        token, expires = self._authenticator.accounts.issue(namespace, account, uid, audiences, int(seconds))
        until = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        now = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": account, "namespace": namespace, "creationTimestamp": now},
            "spec": {"audiences": audiences, "expirationSeconds": int(seconds), "boundObjectRef": None},
            "status": {"token": token, "expirationTimestamp": until},
        }  # fmt: skip


def _attributes(kind: str, spec: Json) -> Attributes:
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    asked = spec.get("resourceAttributes")
    if asked is None:
        text = "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise status.invalid(kind, "authorization.k8s.io", "", [("spec", "FieldValueInvalid", text)])
    return Attributes(
        asked.get("verb", ""), asked.get("group", ""), asked.get("resource", ""), asked.get("subresource", ""),
        asked.get("namespace", ""), asked.get("name", ""),
    )  # fmt: skip
