// npm `http-message-signatures` signs: in any order of parameters, and by every kind of key.
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import library from "http-message-signatures";
import { send, start } from "./gate.mjs";

const { createSigner, httpbis } = library;
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BODY = '{"amount":1250,"to":"acct_7"}';
const BARE = ["@method", "@authority", "@path", "@query"];
const FULL = [...BARE, "content-digest", "content-type"];
const PARAMETERS = ["created", "keyid", "nonce", "alg", "tag"];

let gate, base, keys;

before(async () => {
  gate = await start();
  const hmac = gate.register("--kind", "hmac");
  let number = 0n;
  for (const digit of hmac.secret.slice(4, 47)) number = number * 62n + BigInt(DIGITS.indexOf(digit));
  const bytes = Buffer.from(number.toString(16).padStart(64, "0"), "hex");
  keys = [createSigner(bytes, "hmac-sha256", hmac.id)];
  for (const [kind, options, alg] of [
    ["ed25519", {}, "ed25519"],
    ["ec", { namedCurve: "P-256" }, "ecdsa-p256-sha256"],
  ]) {
    const pair = generateKeyPairSync(kind, options);
    gate.write(`${kind}.jwk`, JSON.stringify(pair.publicKey.export({ format: "jwk" })));
    const { id } = gate.register("--kind", "jwk", "--jwk", `${kind}.jwk`);
    keys.push(createSigner(pair.privateKey, alg, id));
  }
  base = await gate.serve();
});
after(() => gate?.close());

async function call(config, { method = "POST", target = "/v1/transfers?dry=%2Ftrue&dry=0", body = BODY, change = {} } = {}) {
  const headers = { Host: new URL(base).host };
  if (body !== null) {
    headers["Content-Type"] = "application/json";
    headers["Content-Digest"] = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
    headers["Content-Length"] = String(Buffer.byteLength(body));
  }
  const message = await httpbis.signMessage(config, { method, url: `${base}${target}`, headers });
  return send(base, { method, target, headers: message.headers, body, ...change });
}

const whole = (key, more = {}) => ({
  key,
  fields: FULL,
  params: PARAMETERS,
  paramValues: { nonce: randomBytes(16).toString("base64url"), tag: "portcullis-v1" },
  ...more,
});

test("the default call covers nothing and is refused", async () => {
  for (const key of keys) {
    const answer = await call({ key });
    assert.equal(answer.status, 401, answer.text);
    assert.equal(answer.code, "signature-missing");
  }
});

test("full coverage passes, by every kind of key", async () => {
  for (const key of keys) {
    assert.equal((await call(whole(key))).status, 200, key.alg);
    const get = await call(whole(key, { fields: BARE }), { method: "GET", target: "/v1/items", body: null });
    assert.equal(get.status, 200, get.text);
  }
});

test("parameters pass in every order, and unknown ones too", async () => {
  const orders = [];
  const permute = (head, rest) =>
    rest.length ? rest.forEach((one, at) => permute([...head, one], rest.toSpliced(at, 1))) : orders.push(head);
  permute([], PARAMETERS);
  assert.equal(orders.length, 120);
  for (const params of orders) {
    const answer = await call(whole(keys[0], { params }));
    assert.equal(answer.status, 200, `${params} ${answer.text}`);
  }
  const config = whole(keys[0], { params: ["x-first", ...PARAMETERS, "x-last"] });
  Object.assign(config.paramValues, { "x-first": "a", "x-last": 7 });
  assert.equal((await call(config)).status, 200);
});

test("less than full coverage is refused", async () => {
  for (const left of FULL) {
    const answer = await call(whole(keys[0], { fields: FULL.filter((field) => field !== left) }));
    assert.deepEqual([answer.status, answer.code], [401, "signature-coverage"], left);
  }
  for (const left of PARAMETERS) {
    const answer = await call(whole(keys[0], { params: PARAMETERS.filter((name) => name !== left) }));
    assert.equal(answer.status, 401, left);
    assert.equal(answer.code, left === "tag" ? "signature-missing" : "signature-malformed", left);
  }
});

test("what is changed afterwards is refused", async () => {
  for (const [change, code] of [
    [{ method: "PUT" }, undefined],
    [{ target: "/v1/transfers?dry=0" }, "signature-invalid"],
    [{ body: BODY.replace("1250", "9999") }, "signature-digest"],
  ]) {
    const answer = await call(whole(keys[0]), { change });
    assert.notEqual(answer.status, 200);
    if (code) assert.equal(answer.code, code);
  }
});

test("a nonce is used once", async () => {
  const config = whole(keys[0]);
  assert.equal((await call(config)).status, 200);
  assert.equal((await call(config)).code, "signature-replay");
});
