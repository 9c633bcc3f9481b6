"""Who asks: client certificates, bearer tokens from a file that may change, service-account tokens, impersonation."""

import base64
import csv
import hashlib
import hmac
import json
import secrets
import time
import uuid
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.kubesim import status
from tests.kubesim.http import Request, Response, User, text_response
from tests.kubesim.rbac import Attributes, Authorizer
from tests.kubesim.resources import resource
from tests.kubesim.store import Store

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
_EXTRA: Final = "impersonate-extra-"


class UnnamedImpersonation(Exception):
    """Groups, uid or extras to impersonate, but no user: answered by the apiserver with plain text and 500."""

    def response(self) -> Response:
        return text_response(str(self), 500)


class TokenFile:
    """Static tokens in a CSV file, `token,user,uid,"group,group"`; read again whenever it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._users: dict[str, User] = {}

    def user_of(self, token: str) -> User | None:
        """Return whose token it is, by the file as it is now."""
        state = self.path.stat()
        seen = (state.st_mtime_ns, state.st_size, state.st_ino)
        if seen != self._seen:
            self._users, self._seen = self._read(), seen
        return self._users.get(token)

    def _read(self) -> dict[str, User]:
        users = {}
        with self.path.open(newline="") as file:
            for row in csv.reader(file):
                token, name, uid, groups = (*row, "", "", "")[:4]
                users[token] = User(name, tuple(filter(None, groups.split(","))), uid)
        return users


class ServiceAccountTokens:
    """Tokens of the TokenRequest API: signed, bound to their audience, and worthless once expired."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = secrets.token_bytes(32)

    def issue(
        self, namespace: str, account: str, uid: str, audiences: list[str], seconds: int
    ) -> tuple[str, float]:
        """Return a token and when it expires."""
        now = int(time.time())
        claims = {
            "aud": audiences or [ISSUER], "exp": now + seconds, "iat": now, "iss": ISSUER, "jti": str(uuid.uuid4()),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": uid}},
            "nbf": now, "sub": f"system:serviceaccount:{namespace}:{account}",
        }  # fmt: skip
        head = _encode({"alg": "HS256", "kid": "kubesim"})
        signed = f"{head}.{_encode(claims)}"
        return f"{signed}.{self._sign(signed)}", now + seconds

    def user_of(self, token: str, audiences: list[str] | None = None) -> User | None:
        """Return whose token it is, or None where it is expired, forged, for others, or its account is gone."""
        signed, _, signature = token.rpartition(".")
        if signed.count(".") != 1 or not hmac.compare_digest(signature, self._sign(signed)):
            return None
        claims = json.loads(base64.urlsafe_b64decode(signed.split(".")[1] + "=="))
        if claims["exp"] < time.time() or not set(claims["aud"]) & set(audiences or [ISSUER]):
            return None
        bound = claims["kubernetes.io"]
        namespace, name, uid = (
            bound["namespace"],
            bound["serviceaccount"]["name"],
            bound["serviceaccount"]["uid"],
        )
        account = self._store.peek(resource("serviceaccounts"), namespace, name)
        if account is None or account["metadata"]["uid"] != uid:
            return None
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        credential = {"authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]}
        return User(claims["sub"], groups, uid, credential)

    def _sign(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encode(value: dict[str, Any]) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


class Authenticator:
    """Finds out who a request is from, and who it acts as."""

    def __init__(self, tokens: TokenFile, accounts: ServiceAccountTokens, authorizer: Authorizer) -> None:
        self.tokens = tokens
        self.accounts = accounts
        self._authorizer = authorizer

    def authenticate(self, request: Request) -> User:
        """Return whose request it is: the certificate counts before the token; neither is `system:anonymous`.

        Raises:
            ApiError: 401, a token is given and no good.
        """
        if request.peer_certificate is not None:
            return _certificate_user(request.peer_certificate)
        kind, _, token = request.header("authorization").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            return User("system:anonymous", ("system:unauthenticated",))
        user = self.user_of(token.strip())
        if user is None:
            raise status.unauthorized()
        return user

    def user_of(self, token: str, audiences: list[str] | None = None) -> User | None:
        """Return whose bearer token it is, or None."""
        user = self.tokens.user_of(token) or self.accounts.user_of(token, audiences)
        if user is None or "system:authenticated" in user.groups:
            return user
        return User(user.name, (*user.groups, "system:authenticated"), user.uid, user.extra)

    def impersonate(self, request: Request, actor: User) -> User:
        """Return who the request acts as: its `Impersonate-*` headers' identity, or `actor` itself.

        Raises:
            ApiError: 403, the actor may not.
            UnnamedImpersonation: groups, uid or extras stand without a user; an empty user counts as none.
        """
        name, uid = request.header("impersonate-user"), request.header("impersonate-uid")
        groups = request.header_values("impersonate-group")
        extra: dict[str, list[str]] = {}
        for key, value in request.headers:
            if key.lower().startswith(_EXTRA):
                extra.setdefault(unquote(key[len(_EXTRA) :]).lower(), []).append(value)
        if not name:
            if groups or uid or extra:
                asked = " ".join(filter(None, (*groups, uid, *extra)))
                text = f'Internal Server Error: "{request.target}": requested [{asked}] without impersonating a user'
                raise UnnamedImpersonation(text)
            return actor
        self._allow(actor, name, groups, uid, extra)
        return User(name, _effective_groups(name, groups), uid, extra)

    def _allow(
        self, actor: User, name: str, groups: list[str], uid: str, extra: dict[str, list[str]]
    ) -> None:
        asked: list[Attributes] = []
        if name.startswith("system:serviceaccount:") and name.count(":") == 3:
            _, _, namespace, account = name.split(":")
            asked.append(Attributes("impersonate", "", "serviceaccounts", "", namespace, account))
        else:
            asked.append(Attributes("impersonate", "", "users", name=name))
        asked += [Attributes("impersonate", "", "groups", name=group) for group in groups]
        api = "authentication.k8s.io"
        asked += [Attributes("impersonate", api, "uids", name=uid)] if uid else []
        for key, values in extra.items():
            asked += [Attributes("impersonate", api, "userextras", key, name=value) for value in values]
        for attributes in asked:
            self._authorizer.require(actor, attributes)


def _effective_groups(name: str, groups: list[str]) -> tuple[str, ...]:
    if name.startswith("system:serviceaccount:") and not groups:
        namespace = name.split(":")[2]
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    if name == "system:anonymous":
        return tuple(groups) or ("system:unauthenticated",)
    return (*groups, *(() if "system:authenticated" in groups else ("system:authenticated",)))


def _certificate_user(der: bytes) -> User:
    certificate = x509.load_der_x509_certificate(der)
    names = [str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if not names or not names[0]:
        raise status.unauthorized()
    credential = f"X509SHA256={hashlib.sha256(der).hexdigest()}"
    extra = {"authentication.kubernetes.io/credential-id": [credential]}
    return User(names[0], (*groups, "system:authenticated"), "", extra)
