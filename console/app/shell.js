// The frame around every page: navigation, the visitor, the theme. Chooses the page of the current address.

import { useEffect, useState } from "../vendor/hooks.js";
import { Mark } from "../components/mark.js";
import { EmptyState, ErrorState, LoadingState, NoPermission } from "../components/states.js";
import { Page } from "../components/page.js";
import { useResource } from "../components/resource.js";
import { getJson } from "./api.js";
import { html } from "./html.js";
import { Login } from "./login.js";
import { serviceName, serviceVersion } from "./page_settings.js";
import { PAGES } from "./pages.js";
import { hasAnyPage, may } from "./roles.js";
import { link, usePlace } from "./router.js";
import { logOut, onSessionEnd } from "./session.js";
import { chooseTheme, theme } from "./theme.js";

/** @typedef {import("./model.js").Me} Me */

export function Console() {
  const [round, setRound] = useState(0);
  const [hasEnded, setEnded] = useState(false);
  const me = useResource(() => getJson("/users/me", { query: { fields: "all" } }).then((value) => /** @type {Me} */ (value)), [round]);
  useEffect(() => {
    const forget = onSessionEnd(() => setEnded(true));
    return () => void forget();
  }, []);
  const onLogin = () => {
    setEnded(false);
    setRound((before) => before + 1);
  };
  if (hasEnded || me.error?.status === 401) return html`<${Login} onLogin=${onLogin} />`;
  if (me.error) return html`<main class="login"><${Title} /><${ErrorState} error=${me.error} retry=${me.reload} /></main>`;
  if (!me.value) return html`<main class="login"><${Title} /><${LoadingState} lines=${3} /></main>`;
  return html`<${Shell} me=${me.value} key=${me.value.id} />`;
}

/** The heading of what has no page yet. */
function Title() {
  return html`<h1 class="visually-hidden">${serviceName} console</h1>`;
}

/** @param {{ me: Me }} props */
function Shell({ me }) {
  const { path, query } = usePlace();
  const [isOpen, setOpen] = useState(false);
  useEffect(() => setOpen(false), [path]);
  useEffect(() => {
    const focusSearch = (/** @type {KeyboardEvent} */ event) => {
      const isTyping = event.target instanceof Element && event.target.closest("input, textarea, select, dialog");
      const search = document.querySelector("input[type=search]");
      if (event.key !== "/" || isTyping || !(search instanceof HTMLInputElement)) return;
      event.preventDefault();
      search.focus();
    };
    addEventListener("keydown", focusSearch);
    return () => removeEventListener("keydown", focusSearch);
  }, []);
  const active = PAGES.find((page) => page.path === path || (page.path !== "/" && path.startsWith(`${page.path}/`)));
  return html`
    <a class="skip" href="#content">Skip to the content</a>
    <div class="shell">
      <header class="sidebar">
        <div class="brand">
          <a href=${link("/")} class="brand-link"><${Mark} /><span>${serviceName}</span></a>
          <button type="button" class="button menu-button" aria-expanded=${isOpen} aria-controls="navigation" onClick=${() => setOpen(!isOpen)}>Menu</button>
        </div>
        <div class=${isOpen ? "sidebar-body open" : "sidebar-body"} id="navigation">
          <nav aria-label="Pages">
            <ul>
              ${PAGES.filter((page) => page.isVisible(me)).map((page) => html`<li key=${page.path}>
                <a href=${link(page.path)} aria-current=${page === active ? "page" : null}>${page.title}</a>
              </li>`)}
            </ul>
          </nav>
          <${Visitor} me=${me} />
        </div>
      </header>
      <main id="content" tabindex="-1">
        <${Content} me=${me} path=${path} query=${query} page=${active} key=${path} />
      </main>
    </div>
  `;
}

/** @param {{ me: Me, path: string, query: URLSearchParams, page: typeof PAGES[number] | undefined }} props */
function Content({ me, path, query, page }) {
  if (!hasAnyPage(me)) {
    return html`<${Page} title="No access">
      <${EmptyState} title="Your account has no role">
        The console shows nothing to users without a role. An administrator can grant you one.
      <//>
    <//>`;
  }
  if (!page) return html`<${Page} title="Not found"><${EmptyState} title="There is no such page" /><//>`;
  if (page.permission && !may(me, page.permission)) return html`<${Page} title=${page.title}><${NoPermission} /><//>`;
  return page.show({ me, query, rest: path.slice(page.path.length).split("/").filter(Boolean) });
}

/** @param {{ me: Me }} props */
function Visitor({ me }) {
  const [choice, setChoice] = useState(theme);
  const [error, setError] = useState("");
  const choose = (/** @type {Event} */ event) => {
    const value = /** @type {import("./theme.js").Theme} */ (/** @type {HTMLSelectElement} */ (event.currentTarget).value);
    chooseTheme(value);
    setChoice(value);
  };
  const leave = () => logOut().catch((failure) => setError(failure.message));
  return html`<div class="visitor">
    <p class="visitor-name">${me.username}</p>
    <p class="visitor-roles">${me.roles.join(", ") || "no role"}</p>
    <div class="visitor-controls">
      <label><span class="visually-hidden">Theme</span>
        <select value=${choice} onChange=${choose}>
          <option value="system">System theme</option>
          <option value="light">Light</option>
          <option value="dark">Dark</option>
        </select>
      </label>
      <button type="button" class="button" onClick=${leave}>Log out</button>
    </div>
    ${error && html`<p class="notice bad" role="alert">${error}</p>`}
    <p class="version">Aegis ${serviceVersion}</p>
  </div>`;
}
