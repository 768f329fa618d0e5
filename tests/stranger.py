"""Somebody else's client: written from the protocol's page alone, with a stock JOSE library, and nothing of ours.

It registers an MO and a publisher, has the MO send a contract and the publisher sign it in its webhook's answer, and
verifies whatever it is shown: the webhook's HMAC, every signature alone with the key of its role, the chain of heads,
and the receipt. What the hub gets wrong fails an assertion here, or is refused there.
"""

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

ORDER = ("mo", "moneta", "publisher")
FINALIZED = "moneta.contract.finalized"
CALL_S_MAX = 60
PAUSE_S = 0.2


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sha256(raw):
    return hashlib.sha256(raw).digest()


def new_key(algorithm):
    made = {
        "RS256": {"kty": "RSA", "size": 2048},
        "ES256": {"kty": "EC", "crv": "P-256"},
        "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
    }[algorithm]
    return JWK.generate(**made, alg=algorithm)


def public(key):
    return {name: value for name, value in key.export_public(as_dict=True).items() if name != "kid"}


def signed(key, payload, **header):
    """Return a compact JWS."""
    made = JWS(payload)
    made.add_signature(key, protected=json.dumps({"alg": key["alg"], "kid": key.thumbprint(), **header}))
    return made.serialize(compact=True)


def verified(compact, keys):
    """Return the header and the payload of a JWS by one of ``keys``, which are those of whoever claims it."""
    header = json.loads(unb64(compact.split(".")[0]))
    key = keys[header["kid"]]
    assert header["alg"] == key["alg"]
    made = JWS()
    made.deserialize(compact, key, alg=header["alg"])
    return header, made.payload


def head_of(entry):
    """Return the head after a step of one signature."""
    return b64(sha256(sha256(f"{entry['protected']}.{entry['signature']}".encode())))


class Organization:
    """One party: its keys, its webhook, its calls."""

    def __init__(self, hub, operator_token, *, kind, algorithm):
        self.hub, self.kind = hub, kind
        self.key, self.auth_key = new_key(algorithm), new_key("EdDSA")
        self.asked, self.told, self.failures = [], [], []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), webhook_handler(self))
        code = uuid.uuid4().hex[:12].upper()
        made = self.call(
            "POST",
            f"/organizations/{kind}",
            {
                "name": f"A stranger, {kind}",
                "mic" if kind == "mo" else "mpc": code,
                "metadata": {"webhook_url": f"http://127.0.0.1:{self.server.server_port}/"},
                "keys": [self.offered(self.key, "contract", code), self.offered(self.auth_key, "auth", code)],
            },
            token=operator_token,
        )
        self.id, self.secret = made["id"], made["webhook_secret"]
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.call("PUT", f"/organizations/{kind}/{self.id}/status", {"status": "Active"}, token=operator_token)

    def offered(self, key, use, code):
        claims = {"aud": self.hub, "sub": code, "kid": key.thumbprint(), "iat": int(time.time())}
        return {"jwk": public(key), "use": [use], "proof": signed(key, json.dumps(claims), typ="moneta-key-proof+jws")}

    def token(self):
        now = int(time.time())
        claims = {
            "iss": self.id,
            "sub": self.id,
            "aud": self.hub,
            "iat": now,
            "exp": now + 300,
            "jti": uuid.uuid4().hex,
        }
        return signed(self.auth_key, json.dumps(claims), typ="JWT")

    def call(self, method, path, body=None, *, token=None):
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token or self.token()}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.hub}{path}", content, headers, method=method)  # noqa: S310  # the hub's
        try:
            with urllib.request.urlopen(request, timeout=CALL_S_MAX) as answer:  # noqa: S310  # likewise
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def keys_of(self, role, body):
        """Return the keys by which a role may have signed, by their thumbprints."""
        path = "/.well-known/jwks.json" if role == "moneta" else f"/organizations/{role}/{body[f'{role}_id']}/jwks"
        found = [JWK(**one) for one in self.call("GET", path)["keys"]]
        return {key.thumbprint(): key for key in found}

    def entry(self, payload, prev):
        """Return this party's signature on a contract's bytes."""
        header = {
            "typ": "moneta-contract+jws",
            "iat": int(time.time()),
            "aud": self.hub,
            "role": self.kind,
            "prev": prev,
        }
        protected, _, signature = signed(self.key, payload, **header).split(".")
        return {"protected": protected, "signature": signature}

    def checked(self, contract):
        """Return the body of a contract in which every signature is its role's, in order, each on the one before."""
        body = json.loads(unb64(contract["payload"]))
        prev = None
        for role, entry in zip(ORDER, contract["signatures"], strict=False):
            compact = f"{entry['protected']}.{contract['payload']}.{entry['signature']}"
            header, _ = verified(compact, self.keys_of(role, body))
            assert (header["typ"], header["role"], header["aud"]) == ("moneta-contract+jws", role, self.hub)
            assert header["prev"] == prev
            prev = head_of(entry)
        return body

    def check_receipt(self, shown):
        """Return once the receipt is Moneta's, and of just this contract at its end."""
        body_bytes = unb64(shown["jws"]["payload"])
        header, payload = verified(shown["receipt"], self.keys_of("moneta", {}))
        receipt = json.loads(payload)
        assert header["typ"] == "moneta-receipt+jws"
        assert (receipt["iss"], receipt["contract_id"]) == (self.hub, shown["contract_id"])
        assert (receipt["status"], receipt["finalized_at"]) == ("finalized", shown["finalized_at"])
        assert receipt["head"] == head_of(shown["jws"]["signatures"][-1])
        assert receipt["body_sha256"] == b64(sha256(body_bytes))

    # Webhooks.

    def answer(self, headers, content):
        """Return the answer to a webhook, None for an empty one."""
        told = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
        secret = base64.b64decode(self.secret.removeprefix("whsec_"))
        mac = "v1," + base64.b64encode(hmac.digest(secret, told, "sha256")).decode()
        assert mac in headers["webhook-signature"].split(" ")
        message = json.loads(content)
        assert (message["id"], message["source"]) == (headers["webhook-id"], self.hub)
        if message["type"] != "moneta.contract.signature_requested":
            self.told.append((message["type"], message["subject"]))
            return None
        contract = message["data"]["contract"]
        assert self.checked(contract)["contract_id"] == message["subject"]
        self.asked.append(message["subject"])
        entry = self.entry(unb64(contract["payload"]), head_of(contract["signatures"][-1]))
        return {"contract": {**contract, "signatures": [*contract["signatures"], entry]}}


def webhook_handler(organization):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                answer = organization.answer(self.headers, content)
            except Exception as error:
                organization.failures.append(error)
                raise
            sent = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_):
            """Say nothing."""

    return Handler


@contextmanager
def organizations(hub, operator_token):
    """Give an MO and a publisher, whose webhooks are open until the block ends."""
    mo = Organization(hub, operator_token, kind="mo", algorithm="RS256")
    publisher = Organization(hub, operator_token, kind="publisher", algorithm="ES256")
    try:
        yield mo, publisher
    finally:
        for one in (mo, publisher):
            one.server.shutdown()
            one.server.server_close()


def until(is_so, timeout_s):
    ends_at = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < ends_at, f"not within {timeout_s} s"
        time.sleep(PAUSE_S)


def play(hub, operator_token, *, timeout_s=60):
    """Play a whole contract at a hub, and fail if anything of it is not as the protocol says."""
    with organizations(hub, operator_token) as (mo, publisher):
        mpass = mo.call("POST", "/mpass", {"mo_id": mo.id, "member_ref": "member-1"})["id"]
        mo.call("PUT", f"/mpass/{mpass}/status", {"status": "Active"})
        name = f"contract_{uuid.uuid4()}"
        body = {
            "contract_id": name,
            "template_id": "transaction-contract",
            "version": 1,
            "mo_id": mo.id,
            "publisher_id": publisher.id,
            "mpass_id": mpass,
            "created_at": int(time.time()),
            "payload": {"transaction": {"amount": "100.00", "currency": "USD", "description": "Premium access"}},
        }
        raw = json.dumps(body).encode()
        event = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": mo.id,
            "type": "moneta.contract.submit",
            "subject": name,
            "data": {"contract": {"payload": b64(raw), "signatures": [mo.entry(raw, None)]}},
        }
        accepted = mo.call("POST", "/event", event)
        assert (accepted["status"], accepted["contract_id"]) == ("accepted", name)
        until(lambda: all(one.failures or (FINALIZED, name) in one.told for one in (mo, publisher)), timeout_s)
        assert [*mo.failures, *publisher.failures] == []
        assert set(publisher.asked) == {name}  # once as a rule, and at least once
        assert mo.call("GET", f"/events/{event['id']}")["status"] == "processed"
        for party in (mo, publisher):
            shown = party.call("GET", f"/contracts/{name}")
            assert (shown["status"], shown["next_signers"]) == ("finalized", [])
            assert party.checked(shown["jws"]) == body
            assert len(shown["jws"]["signatures"]) == len(ORDER)
            party.check_receipt(shown)
