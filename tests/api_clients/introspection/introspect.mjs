// A service that receives tokens of users asks Aegis about them, with a library that knows nothing of Aegis and checks
// what RFC 7662 says of the answer.

import assert from "node:assert/strict";
import * as oauth from "oauth4webapi";

const api = `${process.env.AEGIS_ADDRESS}/api/v1`;
// Without TLS, as is all on this machine.
const insecure = { [oauth.allowInsecureRequests]: true };

async function send(method, path, token, body) {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(api + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

async function logIn(username, password) {
  const form = new URLSearchParams({ grant_type: "password", username, password, scope: "offline_access" });
  const answer = await fetch(`${api}/auth/token`, { method: "POST", body: form });
  assert.equal(answer.status, 200);
  return answer.json();
}

const admin = await logIn(process.env.AEGIS_ADMIN_EMAIL, process.env.AEGIS_ADMIN_PASSWORD);
const machine = await send("POST", "/tokens", admin.access_token, { name: "a resource server", roles: ["service"] });
const server = { issuer: api, introspection_endpoint: `${api}/auth/introspect` };
const client = { client_id: "resource-server" };

async function introspect(token, secret = machine.token) {
  const authentication = oauth.ClientSecretBasic(secret);
  const answer = await oauth.introspectionRequest(server, client, authentication, token, insecure);
  return oauth.processIntrospectionResponse(server, client, answer);
}

const password = "four blue rivers sleep";
const email = "introspected@example.com";
const user = await send("POST", "/auth/signup", null, { email, username: "introspected", password });
const tokens = await logIn(email, password);

const access = await introspect(tokens.access_token);
assert.equal(access.active, true);
assert.equal(access.sub, user.id);
assert.ok(access.exp > Date.now() / 1000);
const refresh = await introspect(tokens.refresh_token);
assert.deepEqual([refresh.active, refresh.sub, refresh.scope], [true, user.id, "offline_access"]);
const own = await introspect(machine.token);
assert.deepEqual([own.active, own.sub], [true, `token-${machine.id}`]);
for (const unknown of ["x", "a.b.c", `${tokens.refresh_token}x`, `${machine.token}x`]) {
  assert.deepEqual(await introspect(unknown), { active: false });
}

await send("POST", "/auth/logout", tokens.access_token);
for (const ended of [tokens.access_token, tokens.refresh_token]) {
  assert.deepEqual(await introspect(ended), { active: false });
}
await send("DELETE", `/tokens/${machine.id}`, admin.access_token);
await assert.rejects(introspect(tokens.access_token), "a revoked client");
