// The real program in a folder of its own, with an upstream behind it.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const BINARY = process.env.PORTCULLIS_BIN ?? "portcullis";

const SPEC = `openapi: 3.0.3
info: { title: Partners, version: "1" }
paths:
  /v1/transfers:
    post:
      operationId: createTransfer
      security: [{ partner: [transfers.write] }]
      parameters: [{ name: dry, in: query, schema: { type: array, items: { type: string } }, explode: true }]
      requestBody:
        required: true
        content: { application/json: { schema: { type: object, additionalProperties: true } } }
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /v1/items:
    get:
      operationId: listItems
      security: [{ partner: [transfers.write] }]
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
  /v1/mine:
    get:
      operationId: mine
      security: [{ bearer: [read] }]
      responses: { "200": { description: ok, content: { application/json: { schema: { type: object, properties: { ok: { type: boolean } } } } } } }
components:
  securitySchemes:
    partner: { type: http, scheme: signature }
    bearer: { type: http, scheme: bearer }
`;

/** Listens on loopback; `close` ends it. */
export async function listen(handler) {
  const server = createServer(handler);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, server, close: () => (server.closeAllConnections(), server.close()) };
}

/** `issuer`: the URL whose tokens count, and the audience. */
export async function start({ issuer = "https://login.example.com/", audience = "shop", algorithms = "[RS256, ES256]" } = {}) {
  const dir = mkdtempSync(join(tmpdir(), "portcullis-conformance-"));
  const upstream = await listen((_, answer) => {
    answer.setHeader("Content-Type", "application/json");
    answer.end('{"ok":true}');
  });
  const write = (name, text) => writeFileSync(join(dir, name), text);
  write("openapi.yaml", SPEC);
  write(
    "portcullis.yaml",
    `listen: [{ address: "127.0.0.1:0" }]
admin: 127.0.0.1:0
store: { folder: store }
limits: { global: off, address: off, key: off, user: off }
issuers:
  corp: { url: "${issuer}", algorithms: ${algorithms} }
apis:
  partners:
    spec: openapi.yaml
    upstream: ${upstream.url}
    authenticate:
      jwt: { issuer: corp, audience: "${audience}" }
      signature: { schemes: [portcullis-v1, pc1] }
      schemes: { partner: signature }
`,
  );
  const portcullis = (...words) => execFileSync(BINARY, words, { cwd: dir, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  /** Registers a key and returns its public id; `secret` is what was printed. */
  const register = (...words) => {
    const before = new Set(JSON.parse(portcullis("keys", "list", "--format", "json") || "[]").map((key) => key.id));
    const secret = portcullis(
      ...["keys", "create", "--name", "conformance", "--owner", "acme", "--api", "partners", "--scope", "transfers.write"],
      ...words,
    ).trim();
    const keys = JSON.parse(portcullis("keys", "list", "--format", "json"));
    return { id: keys.find((key) => !before.has(key.id)).id, secret };
  };
  let child;
  const serve = async () => {
    const ready = join(dir, "ready.json");
    rmSync(ready, { force: true });
    child = spawn(BINARY, ["serve", "--ready-file", ready], { cwd: dir, stdio: ["ignore", "ignore", "inherit"] });
    for (let tries = 0; tries < 500; tries++) {
      try {
        return `http://${JSON.parse(readFileSync(ready, "utf8")).listeners.public}`;
      } catch {
        await sleep(20);
      }
    }
    throw new Error("the program did not become ready");
  };
  const close = () => {
    child?.kill("SIGKILL");
    upstream.close();
    rmSync(dir, { recursive: true, force: true });
  };
  return { dir, write, register, serve, close };
}

/** Sends exactly this method, target, fields and body. Returns the status and the code of a problem. */
export function send(base, { method, target, headers, body }) {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const call = request({ hostname, port, method, path: target, headers, agent: false }, (answer) => {
      let text = "";
      answer.on("data", (piece) => (text += piece));
      answer.on("end", () => {
        let code = "";
        try {
          code = JSON.parse(text).type?.replace("urn:portcullis:problem:", "") ?? "";
        } catch {}
        resolve({ status: answer.statusCode, code, headers: answer.headers, text });
      });
    });
    call.on("error", reject);
    call.end(body ?? undefined);
  });
}
