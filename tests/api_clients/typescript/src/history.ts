// Reads the history of a user with the client generated from the description of the API.

import assert from "node:assert/strict";
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./api.js";

type FieldValue = components["schemas"]["FieldValue"];
type UserChange = components["schemas"]["UserChange"];

const address = process.env["AEGIS_ADDRESS"];
const client = createClient<paths>({ ...(address === undefined ? {} : { baseUrl: address }) });

async function logIn(username: string, password: string): Promise<string> {
  const { data, error } = await client.POST("/api/v1/auth/login/access-token", {
    body: { username, password },
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
  });
  assert(data, JSON.stringify(error));
  return data.access_token;
}

function bearer(token: string): Middleware {
  return {
    onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${token}`);
      return request;
    },
  };
}

// Every type that a value can have.
function describe(value: FieldValue): string {
  if (typeof value === "string") return value.toUpperCase();
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.join("+");
  return value.erased ? "erased" : "kept";
}

function find(events: UserChange[], type: string): UserChange {
  const event = events.find((event) => event.type === type);
  assert(event, `no ${type}`);
  return event;
}

const name = `typescript-${Date.now()}`;
const password = "correct horse battery staple";
const signedUp = await client.POST("/api/v1/auth/signup", {
  params: { header: { "Idempotency-Key": name } },
  body: { email: `${name}@example.com`, username: name, password },
});
assert(signedUp.data, JSON.stringify(signedUp.error));
const id = signedUp.data.id;
const path = { id };

// An invalid and a reused request are distinguished by the code.
const reused = await client.POST("/api/v1/auth/signup", {
  params: { header: { "Idempotency-Key": name } },
  body: { email: `other-${name}@example.com`, username: name, password },
});
assert.equal(reused.response.status, 422);
assert(reused.error);
if (reused.error.code === "idempotency_key_reused") {
  assert.equal(typeof reused.error.detail, "string");
} else {
  assert.fail(JSON.stringify(reused.error));
}
const invalid = await client.POST("/api/v1/auth/signup", { body: { email: "", username: name, password } });
assert(invalid.error);
if (invalid.error.code === "validation_error") {
  assert.deepEqual((invalid.error.detail as components["schemas"]["Fault"][])[0]?.loc, ["body", "email"]);
} else {
  assert.fail(JSON.stringify(invalid.error));
}

const { AEGIS_ADMIN_EMAIL: adminEmail = "", AEGIS_ADMIN_PASSWORD: adminPassword = "" } = process.env;
client.use(bearer(await logIn(adminEmail, adminPassword)));
const deactivated = await client.POST("/api/v1/users/{id}/deactivate", {
  params: { path },
  body: { reason: "asked for it" },
});
assert.equal(deactivated.data?.is_active, false);
await client.POST("/api/v1/users/{id}/reactivate", { params: { path } });
await client.PUT("/api/v1/users/{id}/roles/{role}", { params: { path: { id, role: "auditor" } } });

const shown = await client.GET("/api/v1/users/{id}", { params: { path } });
assert.equal(shown.data?.username, name);

async function history(): Promise<UserChange[]> {
  const { data, error } = await client.GET("/api/v1/users/{id}/events", { params: { path } });
  assert(data, JSON.stringify(error));
  return data.events;
}

const events = await history();
const deactivation = find(events, "UserDeactivated");
assert.equal(deactivation.reason, "asked for it");
const then = await client.GET("/api/v1/users/{id}", { params: { path, query: { as_of: deactivation.position } } });
assert.equal(then.data?.is_active, false);
assert.deepEqual(
  deactivation.changes.map(({ field, from, to }) => [field, from && describe(from), to !== undefined && describe(to)]),
  [["is_active", "yes", "no"]],
);
const registered = find(events, "UserRegistered").changes.map(({ field, from, to }) => [field, from, to]);
assert.deepEqual(registered.find(([field]) => field === "username"), ["username", null, name]);
assert.deepEqual(registered.find(([field]) => field === "password"), ["password", undefined, undefined]);
const granted = find(events, "RoleGranted").changes[0];
assert(granted?.to !== undefined);
assert.equal(describe(granted.to), "auditor");

const erased = await client.POST("/api/v1/users/{id}/erase", { params: { path }, body: { reason: "request" } });
assert.equal(erased.response.status, 204);
const afterwards = find(await history(), "UserDeactivated");
assert.deepEqual(afterwards.reason, { erased: true });
console.log(`TypeScript: ${events.length} events read`);
