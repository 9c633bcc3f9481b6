"""The verbs on stored objects: get, list, watch, create, update, patch, delete."""

import base64
import json
from typing import Any

from tests.kubesim import apply, patches, protobuf, schema, selectors, status, tables
from tests.kubesim.apply import Manager
from tests.kubesim.http import Headers, Request, Response, json_response, parse
from tests.kubesim.negotiation import view_of
from tests.kubesim.registry import Registry, WriteOptions
from tests.kubesim.requestinfo import RequestInfo
from tests.kubesim.resources import Resource
from tests.kubesim.store import Object, name_of, namespace_of
from tests.kubesim.watch import Watches, WatchOptions

_PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


class Objects:
    """Serves requests on stored resources."""

    def __init__(self, registry: Registry, watches: Watches) -> None:
        self._registry = registry
        self._store = registry.store
        self._watches = watches

    async def serve(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        """Answer a request on a resource or on its `status`, `ephemeralcontainers` or `resize`.

        Raises:
            ApiError: whatever the API refuses it with.
        """
        return _deprecated(await self._serve(request, info, res), res)

    async def _serve(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        if info.verb == "get":
            return self.shown(
                request, res, self._store.get(res, info.namespace if res.namespaced else "", info.name)
            )
        if info.verb == "list":
            return self._list(request, info, res)
        if info.verb == "watch":
            return self._watch(request, info, res)
        if info.verb == "create":
            return await self._create(request, info, res)
        if info.verb == "update":
            return await self._update(request, info, res)
        if info.verb == "patch":
            return await self._patch(request, info, res)
        if info.verb == "delete":
            return await self._delete(request, info, res)
        if info.verb == "deletecollection":
            return await self._delete_all(request, info, res)
        raise status.method_not_allowed()

    def shown(
        self, request: Request, res: Resource, obj: Object, code: int = 200, headers: Headers | None = None
    ) -> Response:
        """Return one object in the form that the client asks for."""
        view = view_of(request)
        shown = obj
        if view.form == "table":
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            shown = tables.table(res, [obj], meta, view.include)
        elif view.form == "metadata":
            shown = tables.partial(obj)
        return json_response(request, shown, code, headers=headers)

    def _selected(self, request: Request, info: RequestInfo, res: Resource) -> selectors.Predicate:
        fields = request.query("fieldSelector")
        selects = selectors.both(request.query("labelSelector"), fields, res.plural)
        if not info.name:
            return selects
        return lambda obj: name_of(obj) == info.name and selects(obj)

    def _list(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        selects, view = self._selected(request, info, res), view_of(request)
        namespace = info.namespace if res.namespaced else ""
        found = [obj for obj in self._store.list(res, namespace) if selects(obj)]
        page, meta = self._page(request, found)
        if view.form == "table":
            return json_response(request, tables.table(res, page, meta, view.include))
        if view.form == "metadata":
            items = [tables.partial(obj) for obj in page]
            kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        else:
            items = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in page]
            kind, version = f"{res.kind}List", res.api_version
        return json_response(request, {"kind": kind, "apiVersion": version, "metadata": meta, "items": items})

    def _page(self, request: Request, found: list[Object]) -> tuple[list[Object], Object]:
        """Return a page of a list and the list's metadata; the token names the last object that was shown."""
        limit, token = request.number("limit") or 0, request.query("continue")
        version = str(self._store.version)
        if token:
            try:
                last = json.loads(base64.urlsafe_b64decode(token))
                after, version = (last["namespace"], last["name"]), last["version"]
            except (ValueError, KeyError, TypeError) as error:
                raise status.bad_request("continue key is not valid: it was not made here") from error
            found = [obj for obj in found if (namespace_of(obj), name_of(obj)) > after]
        meta: Object = {"resourceVersion": version}
        if not limit or len(found) <= limit:
            return found, meta
        last_shown = found[limit - 1]
        position = {"namespace": namespace_of(last_shown), "name": name_of(last_shown), "version": version}
        meta["continue"] = base64.urlsafe_b64encode(json.dumps(position).encode()).decode()
        meta["remainingItemCount"] = len(found) - limit
        return found[:limit], meta

    def _watch(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        selects, view = self._selected(request, info, res), view_of(request)
        options = WatchOptions.of(request)
        namespace = info.namespace if res.namespaced else ""
        lines = self._watches.stream(res, namespace, selects, options, view)
        return Response(200, [("Content-Type", "application/json")], stream=lines)

    async def _create(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        body = await request.object()
        headers = self.checked(request, res, body)
        created = self._registry.create(res, info.namespace, body, write_options(request, info))
        return self.shown(request, res, created, 201, headers)

    async def _update(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        body = await request.object()
        headers = self.checked(request, res, body)
        options = write_options(request, info)
        namespace = info.namespace if res.namespaced else ""
        updated = self._registry.update(res, namespace, info.name, lambda _: body, options)
        return self.shown(request, res, updated, 200, headers)

    async def _patch(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        kind, data = request.media_type, await request.body()
        if kind not in _PATCH_TYPES:
            raise status.ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        namespace = info.namespace if res.namespaced else ""
        if kind == "application/apply-patch+yaml":
            return self._apply(request, info, res, parse(data, yaml_too=True))
        patch = _parsed_patch(data)
        if isinstance(patch, list) != (kind == "application/json-patch+json"):
            raise status.bad_request(f"the patch is not of the form of {kind}")
        warnings: Headers = []

        def change(current: Object) -> Object:
            patched = self._patched(current, patch, kind, res)
            warnings.extend(self.checked(request, res, patched))
            return patched

        options = write_options(request, info)
        updated = self._registry.update(res, namespace, info.name, change, options)
        return self.shown(request, res, updated, 200, warnings)

    def _patched(self, current: Object, patch: Any, kind: str, res: Resource) -> Object:
        if kind == "application/json-patch+json":
            patched = patches.json_patch(current, patch)
        elif kind == "application/merge-patch+json":
            patched = patches.merge_patch(current, patch)
        else:
            patched = patches.strategic_merge(current, patch, self._registry.shape(res))
        if not isinstance(patched, dict):
            raise status.bad_request("the patch does not leave an object")
        return patched

    def _apply(self, request: Request, info: RequestInfo, res: Resource, config: Object) -> Response:
        if not request.query("fieldManager"):
            cause = ("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")
            raise status.invalid("PatchOptions", "meta.k8s.io", "", [cause])
        if config.get("metadata", {}).get("managedFields"):
            raise status.bad_request("metadata.managedFields must be nil")
        headers = self.checked(request, res, config)
        options = write_options(request, info, "Apply")
        shape, force = self._registry.shape(res), request.flag("force")
        config = schema.prune(config, shape)
        config.setdefault("metadata", {}).setdefault("name", info.name)
        namespace = info.namespace if res.namespaced else ""

        def applied(live: Object | None) -> Object:
            return apply.apply(live, config, shape, options.manager, resource=res, force=force)

        if self._store.peek(res, namespace, info.name) is None and not info.subresource:
            created = self._registry.create(res, namespace, applied(None), options)
            return self.shown(request, res, created, 201, headers)
        updated = self._registry.update(res, namespace, info.name, applied, options)
        return self.shown(request, res, updated, 200, headers)

    def checked(self, request: Request, res: Resource, body: Object) -> Headers:
        """Check an object against its type and return the warnings about unknown fields.

        Raises:
            ApiError: 400 wrong kind, wrong type of a field, or an unknown one under `fieldValidation=Strict`.
        """
        kind, version = body.get("kind", res.kind), body.get("apiVersion", res.api_version)
        if (kind, version) != (res.kind, res.api_version):
            text = f"the API version in the data ({version}) does not match the expected API version ({res.api_version})"
            if version == res.api_version:
                text = f'{kind} in version "{version}" cannot be handled as a {res.kind}'
            raise status.bad_request(text)
        shape = self._registry.shape(res)
        wrong = schema.type_error(body, shape)
        if wrong is not None:
            path, found, expected = wrong
            why = f"json: cannot unmarshal {found} into Go struct field {res.kind}.{path} of type {expected}"
            version_text = f'{res.kind} in version "{res.version}" cannot be handled as a {res.kind}'
            raise status.bad_request(f"{version_text}: {why}")
        unknown = [f'unknown field "{path}"' for path in schema.unknown_fields(body, shape)]
        mode = request.query("fieldValidation", "Warn")
        if unknown and mode == "Strict":
            version_text = f'{res.kind} in version "{res.version}" cannot be handled as a {res.kind}'
            raise status.bad_request(f"{version_text}: strict decoding error: {', '.join(unknown)}")
        if mode == "Ignore":
            return []
        return [_warning(text) for text in unknown]

    async def _delete(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        grace, dry_run, conditions, policy = await _delete_options(request)
        namespace = info.namespace if res.namespaced else ""
        self._check_conditions(res, self._store.get(res, namespace, info.name), conditions)
        self._orphan(res, namespace, info.name, policy)
        obj, gone = self._registry.delete(res, namespace, info.name, grace=grace, dry_run=dry_run)
        if gone and res.kind not in ("Pod", "Namespace"):
            return json_response(
                request, status.success(res.plural, res.group, info.name, obj["metadata"]["uid"])
            )
        return self.shown(request, res, obj, 200)

    def _orphan(self, res: Resource, namespace: str, name: str, policy: str) -> None:
        """Note on the object how its dependents are to be treated; the garbage collector reads it."""
        if policy not in ("Orphan", "Foreground"):
            return
        finalizer = "orphan" if policy == "Orphan" else "foregroundDeletion"

        def mark(obj: Object) -> Object:
            obj["metadata"].setdefault("finalizers", []).append(finalizer)
            return obj

        self._registry.update(res, namespace, name, mark, WriteOptions(Manager("kubectl")))

    def _check_conditions(self, res: Resource, obj: Object, conditions: Object) -> None:
        for field, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            wanted, found = conditions.get(field), obj["metadata"][field]
            if wanted and wanted != found:
                why = (
                    f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {found}"
                )
                raise status.conflict(res.plural, res.group, name_of(obj), why)

    async def _delete_all(self, request: Request, info: RequestInfo, res: Resource) -> Response:
        if "deletecollection" not in res.verbs:
            raise status.method_not_allowed()
        grace, dry_run, _, _ = await _delete_options(request)
        selects = self._selected(request, info, res)
        found = [
            obj for obj in self._store.list(res, info.namespace if res.namespaced else "") if selects(obj)
        ]
        for obj in found:
            self._registry.delete(res, namespace_of(obj), name_of(obj), grace=grace, dry_run=dry_run)
        meta = {"resourceVersion": str(self._store.version)}
        items = {"kind": f"{res.kind}List", "apiVersion": res.api_version, "metadata": meta, "items": found}
        return json_response(request, items)


def _warning(text: str) -> tuple[str, str]:
    return ("Warning", "299 - " + json.dumps(text))


def _deprecated(response: Response, res: Resource) -> Response:
    """Add the warning that a deprecated resource's answers carry."""
    if res.plural == "endpoints":
        text = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
        response.headers.append(_warning(text))
    return response


def _parsed_patch(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise status.bad_request(f"error decoding patch: {error}") from error


def write_options(request: Request, info: RequestInfo, operation: str = "Update") -> WriteOptions:
    """Return what a write's query says, and the User-Agent's name where it names no field manager.

    Raises:
        ApiError: 422, dryRun has another value than `All`.
    """
    dry_run = request.query("dryRun")
    if dry_run not in ("", "All"):
        cause = (
            "dryRun",
            "FieldValueNotSupported",
            f'Unsupported value: "{dry_run}": supported values: "All"',
        )
        raise status.invalid("CreateOptions", "meta.k8s.io", "", [cause])
    agent = request.header("user-agent").partition("/")[0] or "unknown"
    manager = Manager(request.query("fieldManager") or agent, operation, info.subresource)
    return WriteOptions(manager, dry_run == "All", info.subresource)


async def _delete_options(request: Request) -> tuple[int | None, bool, Object, str]:
    """Return grace, dry run, preconditions and propagation policy, from body or query."""
    data = await request.body()
    options: Object = {}
    if data:
        kind = request.media_type
        if kind == "application/vnd.kubernetes.protobuf":
            options = protobuf.decode(data)
        else:
            options = parse(data, yaml_too=True)
    grace = options.get("gracePeriodSeconds", request.number("gracePeriodSeconds"))
    dry_run = "All" in (options.get("dryRun") or []) or request.query("dryRun") == "All"
    policy = options.get("propagationPolicy") or request.query("propagationPolicy")
    if options.get("orphanDependents"):
        policy = "Orphan"
    return grace, dry_run, options.get("preconditions") or {}, str(policy)
