// npm `jose` signs tokens and proofs; npm `oidc-provider` is the issuer. Both rotate their keys.
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import * as jose from "jose";
import { Provider } from "oidc-provider";
import { setTimeout as sleep } from "node:timers/promises";
import { listen, send, start } from "./gate.mjs";

/** A little longer than the cool-down between two fetches for unknown keys. */
const COOL_DOWN = 31_000;

const get = (base, fields) =>
  send(base, { method: "GET", target: "/v1/mine", headers: { Host: new URL(base).host, ...fields } });
const bearer = (base, token) => get(base, { Authorization: `Bearer ${token}` });
const told = ({ status, code }) => `${status} ${code}`.trim();

async function pair(alg, kid) {
  const keys = await jose.generateKeyPair(alg, { extractable: true });
  return { alg, kid, ...keys, jwk: { ...(await jose.exportJWK(keys.publicKey)), kid, alg, use: "sig" } };
}

async function proof(key, base, token) {
  return new jose.SignJWT({
    htm: "GET",
    htu: `${base}/v1/mine`,
    jti: randomUUID(),
    ath: createHash("sha256").update(token).digest("base64url"),
  })
    .setProtectedHeader({ typ: "dpop+jwt", alg: key.alg, jwk: await jose.exportJWK(key.publicKey) })
    .setIssuedAt()
    .sign(key.privateKey);
}

describe("jose", () => {
  let issuer, gate, base, published, fetches;

  before(async () => {
    published = [await pair("ES256", "es-1"), await pair("RS256", "rs-1"), await pair("EdDSA", "ed-1"), await pair("PS256", "ps-1")];
    fetches = 0;
    issuer = await listen((asked, answer) => {
      answer.setHeader("Content-Type", "application/json");
      if (asked.url === "/jwks") fetches++;
      const documents = {
        "/.well-known/openid-configuration": { issuer: issuer.url, jwks_uri: `${issuer.url}/jwks` },
        "/jwks": { keys: published.map((key) => key.jwk) },
      };
      answer.end(JSON.stringify(documents[asked.url] ?? {}));
    });
    gate = await start({ issuer: issuer.url, algorithms: "[RS256, ES256, PS256, EdDSA]" });
    base = await gate.serve();
  });
  after(() => {
    gate?.close();
    issuer?.close();
  });

  const token = (key, claims = {}, header = {}) =>
    new jose.SignJWT({ scope: "read", client_id: "app", ...claims })
      .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: "at+jwt", ...header })
      .setIssuer(issuer.url)
      .setAudience("shop")
      .setSubject("alice")
      .setIssuedAt()
      .setExpirationTime("5m")
      .setJti(randomUUID())
      .sign(key.privateKey);

  test("tokens of every algorithm pass", async () => {
    for (const key of published.slice(0, 4)) assert.equal(told(await bearer(base, await token(key))), "200", key.alg);
  });

  test("tokens that are not ours do not", async () => {
    const [key] = published;
    assert.equal(told(await bearer(base, await token(key, {}, { typ: "JWT" }))), "200");
    assert.equal(told(await bearer(base, await token(key, { nonce: "n" }, { typ: "JWT" }))), "401 token-invalid");
    assert.equal(told(await bearer(base, await token(key, {}, { typ: "logout+jwt" }))), "401 token-invalid");
    assert.equal(told(await bearer(base, await token({ ...(await pair("ES256", key.kid)) }))), "401 token-invalid");
    const unsecured = new jose.UnsecuredJWT({ scope: "read" }).setIssuer(issuer.url).setAudience("shop").setSubject("alice");
    assert.equal((await bearer(base, unsecured.setExpirationTime("5m").encode())).status, 401);
  });

  test("DPoP proofs pass once", async () => {
    for (const alg of ["ES256", "EdDSA", "PS256", "RS256"]) {
      const client = await pair(alg, undefined);
      const jkt = await jose.calculateJwkThumbprint(await jose.exportJWK(client.publicKey));
      const bound = await token(published[0], { cnf: { jkt } });
      const one = await proof(client, base, bound);
      const fields = { Authorization: `DPoP ${bound}`, DPoP: one };
      assert.equal(told(await get(base, fields)), "200", alg);
      assert.equal(told(await get(base, fields)), "401 dpop-proof-invalid", alg);
      assert.equal(told(await bearer(base, bound)), "401 token-invalid");
    }
  });

  test("a key that is rotated in is taken after one fetch, and one that is gone is not", { timeout: 120_000 }, async () => {
    const old = published[0];
    const captured = await token(old);
    assert.equal(told(await bearer(base, captured)), "200");
    const fresh = await pair("ES256", "es-2");
    published = [fresh, ...published.slice(1)];
    const before = fetches;
    await sleep(COOL_DOWN);
    assert.equal(told(await bearer(base, await token(fresh))), "200");
    assert.equal(fetches, before + 1);
    assert.equal(told(await bearer(base, captured)), "401 token-invalid", "also from the cache of verified tokens");
    assert.equal(told(await bearer(base, await token(old))), "401 token-invalid");
  });
});

describe("oidc-provider", () => {
  let issuer, gate, base, handler, keys;
  const AUDIENCE = "https://api.example.com/partners";

  /** A provider with these signing keys; the first one signs. */
  async function provide() {
    const jwks = { keys: await Promise.all(keys.map(async (key) => ({ ...(await jose.exportJWK(key.privateKey)), kid: key.kid, alg: key.alg, use: "sig" }))) };
    const provider = new Provider(issuer.url, {
      jwks,
      clients: [{ client_id: "app", client_secret: "a-secret-of-the-test", grant_types: ["client_credentials"], redirect_uris: [], response_types: [], id_token_signed_response_alg: "ES256" }],
      features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        dPoP: { enabled: true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => AUDIENCE,
          getResourceServerInfo: () => ({
            scope: "read",
            audience: AUDIENCE,
            accessTokenFormat: "jwt",
            accessTokenTTL: 300,
            jwt: { sign: { alg: "ES256" } },
          }),
        },
      },
    });
    handler = provider.callback();
  }

  before(async () => {
    issuer = await listen((asked, answer) => handler(asked, answer));
    keys = [await pair("ES256", "op-1")];
    await provide();
    gate = await start({ issuer: issuer.url, audience: AUDIENCE });
    base = await gate.serve();
  });
  after(() => {
    gate?.close();
    issuer?.close();
  });

  async function token(fields = {}) {
    const { token_endpoint } = await (await fetch(`${issuer.url}/.well-known/openid-configuration`)).json();
    const answer = await fetch(token_endpoint, {
      method: "POST",
      headers: { Authorization: `Basic ${btoa("app:a-secret-of-the-test")}`, ...fields },
      body: new URLSearchParams({ grant_type: "client_credentials", scope: "read", resource: AUDIENCE }),
    });
    const body = await answer.json();
    assert.equal(answer.status, 200, JSON.stringify(body));
    return body;
  }

  test("its access tokens pass", async () => {
    const { access_token } = await token();
    assert.equal(jose.decodeProtectedHeader(access_token).typ, "at+jwt");
    assert.equal(told(await bearer(base, access_token)), "200");
  });

  test("its DPoP-bound tokens pass with a proof and not without", async () => {
    const client = await pair("ES256", undefined);
    const jwk = await jose.exportJWK(client.publicKey);
    const at = new jose.SignJWT({ htm: "POST", htu: `${issuer.url}/token`, jti: randomUUID() })
      .setProtectedHeader({ typ: "dpop+jwt", alg: "ES256", jwk })
      .setIssuedAt();
    const { access_token, token_type } = await token({ DPoP: await at.sign(client.privateKey) });
    assert.equal(token_type, "DPoP");
    const fields = { Authorization: `DPoP ${access_token}`, DPoP: await proof(client, base, access_token) };
    assert.equal(told(await get(base, fields)), "200");
    assert.equal(told(await bearer(base, access_token)), "401 token-invalid");
  });

  test("it rotates its key and goes on", { timeout: 120_000 }, async () => {
    const before = (await token()).access_token;
    assert.equal(told(await bearer(base, before)), "200");
    keys = [await pair("ES256", "op-2"), keys[0]];
    await provide();
    await sleep(COOL_DOWN);
    assert.equal(told(await bearer(base, (await token()).access_token)), "200");
    assert.equal(told(await bearer(base, before)), "200", "the old key is still published");
  });
});
