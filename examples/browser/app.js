// Binds the page to the client. The address of the API is in the query: `?api=http://127.0.0.1:8000/api/v1`.

import { AegisClient, LoggedOut } from "./aegis.js";

const client = new AegisClient(new URLSearchParams(location.search).get("api") ?? "/api/v1");
const element = (id) => document.getElementById(id);

function show(state) {
  element("state").textContent = state;
}

/** Runs what a form or a button does, and shows why it failed. */
async function act(action) {
  element("error").textContent = "";
  try {
    await action();
  } catch (error) {
    if (!(error instanceof LoggedOut)) element("error").textContent = error.message;
    if (!client.isLoggedIn) show("logged out");
  }
}

function onSubmit(id, action) {
  element(id).addEventListener("submit", (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(event.target));
    act(() => action(fields));
  });
}

async function showUser() {
  const user = await client.me();
  show(`logged in as ${user.username}`);
}

async function listSessions() {
  const { sessions } = await client.sessions();
  const items = sessions.map((session) => {
    const item = document.createElement("li");
    item.dataset.id = session.id;
    item.textContent = `${session.current ? "this session" : "another session"}, last used ${session.last_used_at} `;
    const end = document.createElement("button");
    end.textContent = "End";
    end.addEventListener("click", () => act(() => client.endSession(session.id).then(listSessions)));
    item.append(end);
    return item;
  });
  element("sessions").replaceChildren(...items);
}

onSubmit("sign-up", async ({ email, username, password }) => {
  const user = await client.signUp(email, username, password);
  show(`signed up as ${user.username}`);
});
onSubmit("log-in", async ({ email, password }) => {
  await client.logIn(email, password);
  await showUser();
});
onSubmit("password", async ({ current, next }) => {
  await client.changePassword(current, next);
  show("the password is changed");
});
element("show").addEventListener("click", () => act(showUser));
element("list").addEventListener("click", () => act(listSessions));
element("log-out").addEventListener("click", () => act(() => client.logOut()));
client.addEventListener("loggedout", () => show("logged out"));
if (client.isLoggedIn) act(showUser);

// For the console of the browser.
window.client = client;
