// Fills a service with what the pages of the console show: users in every state, logins, webhooks, machine tokens.
// Needs AEGIS_ADDRESS, AEGIS_ADMIN_EMAIL and AEGIS_ADMIN_PASSWORD. `seed` returns what the test refers to.

import { createServer } from "node:http";

export const PASSWORD = "seven green elephants dance";

const FIRST_NAMES = [
  "Ada", "Grace", "Edsger", "Barbara", "Donald", "Frances", "Alan", "Katherine", "Niklaus", "Radia", "Leslie", "Margaret",
  "Tony", "Hedy", "Dennis", "Sophie", "Ken", "Joan", "Butler", "Karen", "Robin", "Shafi", "John", "Evelyn",
];
const LAST_NAMES = [
  "Lovelace", "Hopper", "Dijkstra", "Liskov", "Knuth", "Allen", "Turing", "Johnson", "Wirth", "Perlman", "Lamport",
  "Hamilton", "Hoare", "Lamarr", "Ritchie", "Wilson", "Thompson", "Clarke", "Lampson", "Sparck", "Milner", "Goldwasser",
  "Backus", "Berezin",
];

/** A client of the API that acts with a token. */
export function client(address) {
  const api = `${address}/api/v1`;

  async function send(method, path, { token, json, form, expect } = {}) {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    let body;
    if (form) body = new URLSearchParams(form);
    if (json) {
      headers["content-type"] = "application/json";
      body = JSON.stringify(json);
    }
    const answer = await fetch(api + path, { method, headers, body });
    const text = await answer.text();
    const accepted = expect ? answer.status === expect : answer.ok;
    if (!accepted) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text.startsWith("{") ? JSON.parse(text) : text;
  }

  const logIn = async (email, password, scope = "") =>
    (await send("POST", "/auth/login/access-token", { form: { username: email, password, scope } })).access_token;
  return { send, logIn };
}

/** A receiver of webhooks: `/gone` answers 410, `/broken` 500, all else 200. */
export async function receiver() {
  const answers = { "/gone": 410, "/broken": 500 };
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => response.writeHead(answers[request.url] ?? 200).end());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

async function people(send, logIn) {
  const users = [];
  for (const [index, first] of FIRST_NAMES.entries()) {
    const username = `${first} ${LAST_NAMES[index]}`;
    const email = `${first}.${LAST_NAMES[index]}@example.com`.toLowerCase();
    const { id } = await send("POST", "/auth/signup", { json: { email, username, password: PASSWORD } });
    users.push({ id, email, username });
  }
  for (const [index, { email }] of users.entries()) {
    if (index % 3 === 1) await send("POST", "/auth/login/access-token", { form: { username: email, password: "wrong" }, expect: 400 });
    if (index % 2 === 0) await logIn(email, PASSWORD, index % 4 === 0 ? "offline_access" : "");
  }
  return users;
}

async function histories(send, token, users) {
  const [, grace, edsger, barbara, , , alan] = users;
  await send("POST", `/users/${edsger.id}/deactivate`, { token, json: { reason: "left the company" } });
  await send("POST", `/users/${barbara.id}/deactivate`, { token, json: { reason: "on leave" } });
  await send("POST", `/users/${barbara.id}/reactivate`, { token, json: { reason: "returned" } });
  await send("PUT", `/users/${grace.id}/roles/subscriber`, { token });
  await send("DELETE", `/users/${grace.id}/roles/subscriber`, { token });
  await send("POST", `/users/${alan.id}/erase`, { token, json: { reason: "request" } });
}

/** One user for each role, and one with none: the roles of the console's pages. */
async function staff(send, token) {
  const accounts = {};
  for (const role of ["admin", "auditor", "operator", "subscriber", "none"]) {
    const email = `${role}@example.com`;
    const json = { email, username: `Staff ${role}`, password: PASSWORD, roles: role === "none" ? [] : [role] };
    accounts[role] = { ...(await send("POST", "/users", { token, json })), email };
  }
  return accounts;
}

async function deliveries(send, token, url) {
  const register = (path, types, description) =>
    send("POST", "/webhooks", { token, json: { url: url + path, types, description, after: 0 } });
  const good = await register("/billing", ["UserRegistered", "UserErased"], "Billing: accounts and erasures");
  const broken = await register("/broken", ["UserDeactivated"], "Directory synchronisation");
  const gone = await register("/gone", ["UserRegistered"], "Newsletter of the old site");
  return { good, broken, gone };
}

export async function seed(address, admin, url) {
  const { send, logIn } = client(address);
  const token = await logIn(admin.email, admin.password);
  const accounts = await staff(send, token);
  const users = await people(send, logIn);
  await histories(send, token, users);
  const webhooks = await deliveries(send, token, url);
  await send("POST", "/tokens", { token, json: { name: "billing", roles: ["service"] } });
  await send("POST", "/tokens", { token, json: { name: "metrics", roles: ["operator"], expires_at: "2999-12-31T23:59:59Z" } });
  const { id } = await send("POST", "/tokens", { token, json: { name: "old importer", roles: ["subscriber", "auditor"] } });
  await send("DELETE", `/tokens/${id}`, { token });
  return { accounts, users, webhooks, token };
}
