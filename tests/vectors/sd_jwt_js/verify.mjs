// Verifies what is given on standard input as the library of the OpenWallet Foundation does, and prints what it finds:
// for each of [{presentation, status_list, hub_jwk, nonce, now}] the claims, or why not.

import { text } from "node:stream/consumers";
import { ES256, digest } from "@sd-jwt/crypto-nodejs";
import { SDJwtVcInstance } from "@sd-jwt/sd-jwt-vc";

async function verified({ presentation, status_list, hub_jwk, nonce, now }) {
  const library = new SDJwtVcInstance({
    verifier: await ES256.getVerifier(hub_jwk),
    kbVerifier: async (data, signature, payload) => (await ES256.getVerifier(payload.cnf.jwk))(data, signature),
    hasher: digest,
    hashAlg: "sha-256",
    statusListFetcher: async () => status_list,
  });
  const { payload, kb } = await library.verify(presentation, { currentDate: now, keyBindingNonce: nonce });
  return { claims: payload, kb: kb.payload };
}

const results = [];
for (const one of JSON.parse(await text(process.stdin))) {
  try {
    results.push(await verified(one));
  } catch (error) {
    results.push({ error: String(error.message) });
  }
}
console.log(JSON.stringify(results));
