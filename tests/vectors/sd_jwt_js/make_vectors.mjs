// Credentials, presentations and a status list as the library of the OpenWallet Foundation makes them: the file
// vectors.json, which is committed. `npm ci && npm run make-vectors` makes it anew, with new keys.

import { createHash } from "node:crypto";
import { ES256, digest, generateSalt } from "@sd-jwt/crypto-nodejs";
import { StatusList, createHeaderAndPayload } from "@sd-jwt/jwt-status-list";
import { SDJwtVcInstance } from "@sd-jwt/sd-jwt-vc";

const NOW = 1_795_000_000;
const ISSUER = "https://hub.example";
const URI = `${ISSUER}/status-lists/mo-1.0`;
const INDEX = 4711;
const AUDIENCE = "publisher-1";
const NONCE = "n-0123456789abcdef";
const PLACES = 65_536;
const STATUSES = { 0: 1, [INDEX - 1]: 2, [INDEX + 1]: 1, [PLACES - 1]: 2 };
const CLAIMS = {
  mpass_id: "2f0d7c1e-6f0a-4b7e-9d43-0a5f7f5a1c11",
  number: "ACME12345678901234565",
  tier: "gold",
  mo: { id: "mo-1", mic: "ACME", name: "Ächme & Söhne" },
  policy: { limits: [{ currency: "USD", per: "day", amount: "100.00" }], valid_until: NOW + 86_400 },
};

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function publicJwk({ crv, kty, x, y }) {
  const thumbprint = createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
  return { crv, kty, x, y, alg: "ES256", kid: thumbprint };
}

const hub = await ES256.generateKeyPair();
const holder = await ES256.generateKeyPair();
const hubJwk = publicJwk(hub.publicKey);
const holderJwk = publicJwk(holder.publicKey);
const hubSigner = await ES256.getSigner(hub.privateKey);

const library = new SDJwtVcInstance({
  signer: hubSigner,
  signAlg: "ES256",
  kbSigner: await ES256.getSigner(holder.privateKey),
  kbSignAlg: "ES256",
  hasher: digest,
  hashAlg: "sha-256",
  saltGenerator: generateSalt,
});

const credential = await library.issue(
  {
    iss: ISSUER,
    iat: NOW,
    exp: NOW + 86_400,
    vct: "urn:moneta:mpass:1",
    cnf: { jwk: holderJwk },
    status: { status_list: { idx: INDEX, uri: URI } },
    ...CLAIMS,
  },
  { _sd: Object.keys(CLAIMS) },
  { header: { kid: hubJwk.kid } },
);

async function presentation(...names) {
  const text = await library.present(credential, Object.fromEntries(names.map((name) => [name, true])), {
    kb: { payload: { iat: NOW, aud: AUDIENCE, nonce: NONCE } },
  });
  return { text, claims: Object.fromEntries(names.map((name) => [name, CLAIMS[name]])) };
}

const list = new StatusList(new Array(PLACES).fill(0), 2);
for (const [index, status] of Object.entries(STATUSES)) list.setStatus(Number(index), status);
const made = createHeaderAndPayload(
  list,
  { sub: URI, iat: NOW, exp: NOW + 60, ttl: 30 },
  { alg: "ES256", kid: hubJwk.kid, typ: "statuslist+jwt" },
);
const signed = `${encode(made.header)}.${encode(made.payload)}`;

const vectors = {
  made_by: "@sd-jwt/sd-jwt-vc 0.19.0, @sd-jwt/jwt-status-list 0.19.0",
  now: NOW,
  issuer: ISSUER,
  audience: AUDIENCE,
  nonce: NONCE,
  hub_jwk: hubJwk,
  holder_jwk: holderJwk,
  status_uri: URI,
  status_index: INDEX,
  statuses: STATUSES,
  status_list: `${signed}.${await hubSigner(signed)}`,
  credential,
  presentations: {
    nothing: await presentation(),
    "the number": await presentation("number"),
    "the tier and the MO": await presentation("tier", "mo"),
    everything: await presentation(...Object.keys(CLAIMS)),
  },
};
console.log(JSON.stringify(vectors, null, 1));
