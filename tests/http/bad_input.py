"""Thousands of requests that are wrong in some way, the same ones in every run: the bar "bad input"."""

import itertools
import json
import random
import re
from dataclasses import dataclass, field
from urllib.parse import quote, quote_from_bytes

from moneta.entrypoints.http.calls import JSON_BODY, NO_BODY, YAML_BODY
from moneta.entrypoints.http.routes import ROUTES
from tests.shared_vectors import VECTORS

JSON_TYPE = "application/json"
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
KID = "A" * 43


@dataclass(frozen=True)
class BadRequest:
    """One request. ``path`` is as it goes on the wire; ``template`` names the operation it is meant for."""

    what: str
    method: str
    template: str
    path: str
    content: bytes = b""
    headers: dict = field(default_factory=dict)
    is_anonymous: bool = False


def strings():
    """Give strings that have broken something somewhere."""
    listed = json.loads((VECTORS / "blns" / "blns-half.json").read_text(encoding="utf-8")) if VECTORS.is_dir() else []
    found = [item for item in listed if isinstance(item, str)]
    own = ["", " ", "\x00", "\ufeff", "\u202e", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "💥", "ﬀ"]
    return [*own, *found, "x" * 10_000, "%", "%00", "../" * 20, "null", "-1", "1e309", "'; --", "{{7*7}}", "${1}"]


VALUES = (
    *("null", "true", "false", "0", "-0", "-1", "1.5", "1e400", "-1e-400", "9007199254740992", "1" * 400),
    *('""', '" "', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"' + "x" * 70_000 + '"', "[]", "{}", "[[]]"),
    *('{"a": {"b": []}}', "[1, null, {}]", '["a", "a"]', "[" * 17 + "]" * 17, '{"": ""}', '{"__proto__": 1}'),
)
"""JSON texts to stand where something else is expected."""

DOCUMENTS = (
    *(b"", b" ", b"\x00", b"{", b"}", b"[]", b'"a"', b"1", b"null", b"{}x", b"{,}", b'{"a"}', b"{'a': 1}", b"\xff\xfe"),
    *(b'\xef\xbb\xbf{"a": 1}', '{"a": 1}'.encode("utf-16"), '{"a": 1}'.encode("utf-32"), b'{"a": "\xed\xa0\x80"}'),
    *(b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 1}}', b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 01}', b'{"a": +1}'),
    *(b"[" * 100_000, b'{"a":' * 50_000, b'{"a": ' + b"9" * 100_000 + b"}", b'{"a": 1' + b"0" * 5_000 + b".5}"),
    *(b'{"a": "\\', b'{"a": "\\u12', b'{"a": "\n"}', b'{"\xc0\x80": 1}', b"{" + b'"k":0,' * 20_000 + b'"z":0}'),
)

CONTENT_TYPES = (
    "",
    "text/plain",
    "application/xml",
    "application/json; charset=utf-16",
    "application/jsonx",
    ";",
    "*/*",
)

TOKENS = (
    *("", "Bearer", "Bearer a", "Bearer a.b", "Bearer a.b.c", "Bearer a.b.c.d", "Bearer ...", "Basic YTpi"),
    *("Bearer eyJhbGciOiJub25lIn0.e30.", "bearer x y", "Bearer " + "A" * 5_000, "Bearer " + "A" * 3_000 + ".e30.AA"),
    *("Bearer e30.e30.e30", "Bearer W10.W10.AA", "Bearer " + "WzEsW" * 500 + ".e30.AA", "Token x", "Bearer \xe9.a.b"),
)

CONDITIONS = ("", "1", '"', '""', 'W/"1"', '"1","2"', '"' + "9" * 400 + '"', '"-1"', "*, *", '"\xe9"')

QUERIES = (
    *(
        "a=1",
        "limit=0",
        "limit=-1",
        "limit=201",
        "limit=1e2",
        "limit=%31%30%30%30",
        "limit=",
        "limit",
        "limit=1&limit=1",
    ),
    *("cursor=", "cursor=x", "cursor=" + "A" * 513, "cursor=AAAA", "cursor=%00", "cursor=eyJhIjoxfQ", "cursor=..%2F"),
    *(
        "status=",
        "status=nope",
        "status=%F0%9F%92%A5",
        "status=%ff",
        "%=1",
        "%zz=1",
        "=",
        "&&&",
        "a[]=1",
        ";",
        "?",
        "+",
    ),
    *("received_from=-1", "received_from=1.5", "received_to=" + "9" * 400, "received_from=%D9%A1", "received_from=nan"),
    *(
        "mo_id=%00",
        "mo_id=" + "x" * 129,
        "mo_id=.",
        "mo_id=a%2Fb",
        "source=%20",
        "source=..",
        "contract_id=%27",
        "mic=a",
    ),
)

YAMLS = (
    *(b"", b"a", b"- a", b"a: &x 1\nb: *x", b"a: !!python/object:os.system x", b"<<: {a: 1}", b"a: 1\na: 2", b"\x00"),
    *(
        b"[" * 5_000,
        b"a: [" * 2_000,
        b"- " * 5_000 + b"a",
        b"? " * 3_000,
        b"a: |\n  " + b"x" * 60_000,
        b"%YAML 9.9\n---\na",
    ),
    *(b"--- a\n--- b", b"\xff\xfe\x00", b"a: \xed\xa0\x80", b"{" * 200, b'"\\ud800"', b"a: 2001-01-01", b"\t\ta: 1"),
    *(b"template_name: x\nversion: 1e9999", b"template_name: [x]\nversion: 1", b"template_name: x\nversion: -1"),
    *(b"template_name: x\nversion: 99999999999999999999", b"a: " + b"9" * 50_000, b"a: 0x" + b"f" * 10_000, b"&a a: 1"),
)

BODIES = {
    "/organizations/{kind}": {
        "name": "n",
        "mic": "FUZZ",
        "metadata": {"webhook_url": "https://fuzz.example/", "contact_email": "a@b.c", "region": "EU"},
        "services": ["s"],
        "industries": ["i"],
        "policies": {"industries": {"denied": ["x"]}},
        "certificates": [],
        "keys": [
            {"jwk": {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": KID}, "use": ["auth"], "proof": "a.b.c"}
        ],
    },
    "/organizations/{kind}/{organization_id}": {
        "metadata": {"webhook_url": "https://fuzz.example/"},
        "services": ["s"],
    },
    "/organizations/{kind}/{organization_id}/status": {"status": "Suspended", "reason": "r"},
    "/organizations/{kind}/{organization_id}/keys": {
        "jwk": {"kty": "EC", "crv": "P-256", "alg": "ES256", "x": KID, "y": KID},
        "use": ["auth"],
        "proof": "a.b.c",
    },
    "/organizations/{kind}/{organization_id}/keys/{kid}/status": {"status": "retired", "since": 1},
    "/organizations/{kind}/{organization_id}/webhook-secret": {"overlap_s": 60},
    "/deliveries/replay": {"from": 1, "to": 2, "organization_id": "MO", "cursor": "c"},
    "/contracts": {
        "contract_id": "c",
        "template_id": "transaction-contract",
        "version": 1,
        "mo_id": "MO",
        "expires_at": 1,
        "payload": {"transaction": {"amount": "1.00", "currency": "USD"}},
    },
    "/mpass": {"mo_id": "MO", "member_ref": "m", "tier": "t", "expires_at": 1, "policy": {"a": 1}, "holder_jwk": {}},
    "/mpass/{mpass_id}/status": {"status": "Locked", "reason": "r", "on_behalf_of": "user"},
    "/templates/{name}/{version}/status": {"status": "retired"},
    "/changes/{change_id}": {"decision": "approve", "reason": "r"},
    "/event": {
        "specversion": "1.0",
        "id": "e",
        "source": "MO",
        "type": "moneta.contract.submit",
        "subject": "c",
        "time": "2026-11-24T10:00:00Z",
        "data": {"contract": {"payload": "YQ", "signatures": [{"protected": "YQ", "signature": "YQ"}]}},
    },
}
"""A body of about the right shape for each call that takes JSON; ``MO`` stands for the caller."""


def bad_requests(*, values, target, mo, count, seed=1):
    """Give ``count`` requests, spread over every kind of fault and every route.

    ``values``: those of the paths' names. ``target``: what the faulty changes are sent to. ``mo``: who sends events.
    """
    chance = random.Random(seed)  # noqa: S311  # the same requests in every run
    kinds = [
        list(_members(mo)),
        list(_documents()),
        list(_content_types()),
        list(_tokens()),
        list(_headers(mo)),
        list(_queries()),
        list(_paths()),
        list(_flipped(chance, mo)),
    ]
    known = {**values, **target}
    for kind in kinds:
        chance.shuffle(kind)
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
    found = (one for one in in_turn if one is not None)
    return [_placed(one, known) for one in itertools.islice(found, count)]


def _placed(request, values):
    path = re.sub(r"{(\w+)}", lambda name: values[name[1]], request.path)
    return BadRequest(**{**request.__dict__, "path": path})


def _targets():
    """Give (method, template, kind of body) of every call."""
    return [("POST", "/event", JSON_BODY), *((route.method, route.path, route.body) for route in ROUTES)]


def _with_json():
    return [(method, path) for method, path, body in _targets() if body is JSON_BODY]


def _json(what, method, path, content, **headers):
    given = {"content-type": JSON_TYPE, **headers}
    return BadRequest(what, method, path, path, content=content, headers=given)


def _members(mo):
    """Every member, at every depth, replaced by every value, and by strings; or taken away; or doubled."""
    for method, path in _with_json():
        body = json.loads(json.dumps(BODIES[path]).replace('"MO"', json.dumps(mo)))
        for place in _places(body):
            texts = [*VALUES, *(json.dumps(text) for text in strings()[::12])]
            for text in texts:
                yield _json(f"{place} = {text[:30]}", method, path, _replaced(body, place, text))
        for name in body:
            rest = {key: value for key, value in body.items() if key != name}
            yield _json(f"without {name}", method, path, json.dumps(rest).encode())
            doubled = json.dumps(body)[:-1] + f", {json.dumps(name)}: 1}}"
            yield _json(f"{name} twice", method, path, doubled.encode())
        yield _json("one more", method, path, json.dumps({**body, "more": 1}).encode())


def _places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in items:
        yield (*path, name)
        yield from _places(member, (*path, name))


def _replaced(body, place, text):
    changed = json.loads(json.dumps(body))
    parent = changed
    for name in place[:-1]:
        parent = parent[name]
    parent[place[-1]] = "\x00HERE\x00"
    return json.dumps(changed).replace(json.dumps("\x00HERE\x00"), text).encode("utf-8", "surrogatepass")


def _documents():
    suite = sorted((VECTORS / "jsontestsuite").glob("[ni]_*.json")) if VECTORS.is_dir() else []
    documents = [*DOCUMENTS, *(file.read_bytes() for file in suite)]
    for document in documents:
        for method, path in _with_json():
            yield _json(f"document {document[:20]!r}", method, path, document)
    for payload in (*YAMLS, *(text.encode("utf-8", "replace") for text in strings()[::4])):
        for method, path, body in _targets():
            if body is YAML_BODY:
                headers = {"content-type": "application/yaml"}
                yield BadRequest(f"YAML {payload[:20]!r}", method, path, path, content=payload, headers=headers)


def _content_types():
    for method, path, body in _targets():
        for media_type in CONTENT_TYPES if body is not NO_BODY else ():
            headers = {"content-type": media_type}
            yield BadRequest(f"type {media_type}", method, path, path, content=b"{}", headers=headers)
            yield BadRequest(
                "compressed", method, path, path, headers={"content-encoding": "gzip"}, content=b"\x1f\x8b"
            )


def _tokens():
    for method, path, body in _targets():
        for token in TOKENS:
            headers = {"authorization": token}
            content = b"" if body is NO_BODY else b"{}"
            yield BadRequest(f"token {token[:20]}", method, path, path, content, headers, is_anonymous=True)


def _headers(mo):
    for (method, path), text in itertools.product(_with_json(), CONDITIONS):
        content = json.dumps(BODIES[path]).replace('"MO"', json.dumps(mo)).encode()
        yield _json(f"if-match {text[:20]}", method, path, content, **{"if-match": text, "idempotency-key": text})


def _queries():
    for method, path, body in _targets():
        for query in QUERIES:
            headers, content = ({}, b"") if body is NO_BODY else ({"content-type": JSON_TYPE}, b"{}")
            yield BadRequest(f"query {query[:20]}", method, path, f"{path}?{query}", content, headers)


def _paths():
    for method, path, body in _targets():
        for name in re.findall(r"{(\w+)}", path):
            for text in strings()[::6]:
                value = quote(text[:3_000], safe="", errors="surrogatepass") or "%20"
                placed = path.replace(f"{{{name}}}", value)
                content = b"" if body is NO_BODY else b"{}"
                yield BadRequest(f"{name} {text[:20]!r}", method, path, placed, content, {"content-type": JSON_TYPE})
            for value in ("%ff", "%c0%80", "%00", "%2e%2e", quote_from_bytes(b"\xed\xa0\x80"), "%25", "9" * 30, "a;b"):
                placed = path.replace(f"{{{name}}}", value)
                yield BadRequest(f"{name} {value}", method, path, placed, b"", {"content-type": JSON_TYPE})


def _flipped(chance, mo):
    """Bodies with some bytes changed, cut, or copied."""
    for method, path in _with_json() * 20:
        content = bytearray(json.dumps(BODIES[path]).replace('"MO"', json.dumps(mo)).encode())
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(content))
            content[at : at + chance.randint(0, 3)] = bytes(
                chance.choices(b'{}[]",:\\\x00\x80\xff019eE.-+nulltrue', k=2)
            )
        yield _json("flipped", method, path, bytes(content))
