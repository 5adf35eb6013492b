// Signs requests for an API behind Portcullis. Node.js 18 or later, nothing else.
//
//   import { Key, signed } from "./portcullis-signing.mjs";
//
//   const key = Key.fromSecret("008j4ct4ank7f24s", readFileSync("billing.pch", "ascii"));
//   const headers = signed(key, "POST", "https://api.example.com/v1/transfers", { body: '{"amount":1250}' });
//   await fetch("https://api.example.com/v1/transfers", { method: "POST", headers, body: '{"amount":1250}' });
//
// Send exactly the URL and the body that were signed. As a program:
//
//   PORTCULLIS_KEY_ID=… PORTCULLIS_SECRET_FILE=… node portcullis-signing.mjs POST URL [BODY]
//
// PORTCULLIS_JWK_FILE in place of the secret names a private JWK (Ed25519 or P-256) of a key of kind `jwk`.
import { createHash, createHmac, createPrivateKey, randomBytes, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

export class Key {
  /** `sign(text)` gives the bytes of the signature; `alg` is its name in RFC 9421. */
  constructor(id, alg, sign) {
    Object.assign(this, { id, alg, sign });
  }

  /** A key of kind `hmac`: its public id and its secret `pch_…`. */
  static fromSecret(id, secret) {
    secret = secret.trim();
    if (!/^pch_[0-9A-Za-z]{49}$/.test(secret)) throw new Error("not a pch_… secret");
    let number = 0n;
    for (const digit of secret.slice(4, 47)) number = number * 62n + BigInt(DIGITS.indexOf(digit));
    // The 32 bytes are the key, never the text.
    const bytes = Buffer.from(number.toString(16).padStart(64, "0"), "hex");
    return new Key(id, "hmac-sha256", (text) => createHmac("sha256", bytes).update(text, "latin1").digest());
  }

  /** A key of kind `jwk`: its public id and the private JWK, which stays with you. */
  static fromJwk(id, jwk) {
    const key = createPrivateKey({ key: jwk, format: "jwk" });
    return jwk.crv === "Ed25519"
      ? new Key(id, "ed25519", (text) => sign(null, Buffer.from(text, "latin1"), key))
      : new Key(id, "ecdsa-p256-sha256", (text) =>
          sign("sha256", Buffer.from(text, "latin1"), { key, dsaEncoding: "ieee-p1363" }),
        );
  }
}

/** The header fields to send, `headers` among them. `scheme` is `portcullis-v1` (RFC 9421) or `pc1`. */
export function signed(key, method, url, { body, contentType = "application/json", scheme = "portcullis-v1", headers = {} } = {}) {
  const [authority, path, query] = parts(url);
  const fields = { ...headers };
  if (body !== undefined) fields["Content-Type"] = contentType;
  const now = Math.floor(Date.now() / 1000);
  const nonce = randomBytes(16).toString("base64url");
  if (scheme === "pc1") {
    const hash = createHash("sha256").update(body ?? "").digest("hex");
    const told = body === undefined ? "" : `b=${hash};`;
    const type = body === undefined ? "" : contentType;
    const text = ["PC1-HMAC-SHA256", now, nonce, method, authority, path, query, type, hash].join("\n");
    fields["X-PC-Signature"] = `v1;k=${key.id};t=${now};n=${nonce};${told}s=${key.sign(text).toString("hex")}`;
    return fields;
  }
  const covered = [["@method", method], ["@authority", authority], ["@path", path], ["@query", `?${query}`]];
  if (body !== undefined) {
    fields["Content-Digest"] = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
    covered.push(["content-digest", fields["Content-Digest"]], ["content-type", contentType]);
  }
  // What else is sent and matters: the token beside the signature, and what the API's `cover` names.
  for (const [name, value] of Object.entries(headers)) covered.push([name.toLowerCase(), value.trim()]);
  const names = covered.map(([name]) => `"${name}"`).join(" ");
  const parameters = `(${names});created=${now};keyid="${key.id}";nonce="${nonce}";alg="${key.alg}";tag="portcullis-v1"`;
  const base = covered.map(([name, value]) => `"${name}": ${value}\n`).join("") + `"@signature-params": ${parameters}`;
  fields["Signature-Input"] = `sig1=${parameters}`;
  fields["Signature"] = `sig1=:${key.sign(base).toString("base64")}:`;
  return fields;
}

/** Authority (lower case, without the scheme's own port), path and query, as they go over the wire. */
function parts(url) {
  const [, scheme, host, target] = /^(https?):\/\/([^/?#]+)([^#]*)$/.exec(url) ?? [];
  if (!scheme) throw new Error("the URL begins with https:// or http:// and has no fragment");
  const authority = host.toLowerCase().replace(scheme === "https" ? /:443$/ : /:80$/, "");
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark);
  return [authority, path || "/", mark < 0 ? "" : target.slice(mark + 1)];
}

async function main([method, url, body]) {
  const { PORTCULLIS_KEY_ID: id, PORTCULLIS_SECRET_FILE: secret, PORTCULLIS_JWK_FILE: jwk, PORTCULLIS_SCHEME: scheme } = process.env;
  const key = jwk
    ? Key.fromJwk(id, JSON.parse(readFileSync(jwk, "utf8")))
    : Key.fromSecret(id, readFileSync(secret, "ascii"));
  const answer = await fetch(url, { method, body, headers: signed(key, method, url, { body, scheme }) });
  console.log(await answer.text());
  console.log(answer.status);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main(process.argv.slice(2));
