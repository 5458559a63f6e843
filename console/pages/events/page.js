// The live event feed.

import { useEffect, useRef, useState } from "../../vendor/hooks.js";
import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { eventTypes } from "../../app/page_settings.js";
import { may } from "../../app/roles.js";
import { replaceQuery } from "../../app/router.js";
import { Page } from "../../components/page.js";
import { Loaded, useResource } from "../../components/resource.js";
import { EmptyState } from "../../components/states.js";
import { Badge } from "../../components/values.js";
import { EventList, USER_ID } from "./list.js";
import { follow } from "./stream.js";

/** @typedef {import("../../app/model.js").AegisEvent} AegisEvent */
/** @typedef {import("../../app/model.js").EventPage} EventPage */
/** @typedef {{ type: string, stream: string, actor: string }} Filters */

/** How many events of the past are shown at first. */
const PAST = 100;
/** Older events than these are dropped. */
const MOST = 500;

/** @param {{ me: import("../../app/model.js").Me, query: URLSearchParams }} props */
export function EventsPage({ me, query }) {
  const [filters, setFilters] = useState({ type: query.get("type") ?? "", stream: query.get("stream") ?? "", actor: query.get("actor") ?? "" });
  useEffect(() => replaceQuery(filters), [filters]);
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    const text = (/** @type {string} */ name) => String(form.get(name) ?? "").trim();
    setFilters({ type: text("type"), stream: text("stream"), actor: text("actor") });
  };
  const clear = () => setFilters({ type: "", stream: "", actor: "" });
  return html`<${Page} title="Events">
    <form class="filters" onSubmit=${submit} key=${JSON.stringify(filters)}>
      <label class="field"><span>Type</span>
        <select name="type" defaultValue=${filters.type} value=${filters.type}>
          <option value="">All types</option>${eventTypes.map((type) => html`<option key=${type} value=${type}>${type}</option>`)}
        </select>
      </label>
      <label class="field grow"><span>Stream</span><input name="stream" defaultValue=${filters.stream} placeholder="user-0193…" spellcheck="false" autocapitalize="none" autocomplete="off" /></label>
      <label class="field grow"><span>Actor</span><input name="actor" defaultValue=${filters.actor} placeholder="user-0193… or system" spellcheck="false" autocapitalize="none" autocomplete="off" /></label>
      <button type="submit" class="button primary">Filter</button>
      ${(filters.type || filters.stream || filters.actor) && html`<button type="button" class="button" onClick=${clear}>Clear</button>`}
    </form>
    <${Feed} filters=${filters} isPersonal=${may(me, "users")} key=${JSON.stringify(filters)} />
  <//>`;
}

/**
 * The last events that match. Positions before them are searched backwards, with a window that doubles.
 * @param {Filters} filters
 * @param {AbortSignal} signal
 */
async function lastEvents(filters, signal) {
  const query = { types: filters.type, stream: filters.stream, actor: filters.actor };
  const { head } = /** @type {EventPage} */ (await getJson("/events", { query: { limit: 1 }, signal }));
  for (let window = PAST; ; window *= 8) {
    const after = Math.max(0, head - window);
    /** @type {AegisEvent[]} */
    let events = [];
    let next = after;
    while (next < head) {
      const page = /** @type {EventPage} */ (await getJson("/events", { query: { ...query, after: next, limit: 1000 }, signal }));
      events = [...events, ...page.events].slice(-PAST);
      if (page.next <= next) break;
      next = page.next;
    }
    if (events.length >= PAST || after === 0 || window > 500_000) return { events: events.toReversed(), next: Math.max(head, next) };
  }
}

/** @param {{ filters: Filters, isPersonal: boolean }} props */
function Feed({ filters, isPersonal }) {
  const past = useResource((signal) => lastEvents(filters, signal), [filters]);
  return html`<${Loaded} resource=${past} lines=${10}>${(/** @type {{ events: AegisEvent[], next: number }} */ value) =>
    html`<${LiveFeed} past=${value} filters=${filters} isPersonal=${isPersonal} />`}<//>`;
}

const STATES = { connecting: "connecting", live: "live", interrupted: "interrupted", paused: "paused" };

/** @param {{ past: { events: AegisEvent[], next: number }, filters: Filters, isPersonal: boolean }} props */
function LiveFeed({ past, filters, isPersonal }) {
  const [events, setEvents] = useState(past.events);
  const [state, setState] = useState(/** @type {keyof typeof STATES} */ ("connecting"));
  const [error, setError] = useState("");
  const [isPaused, setPaused] = useState(false);
  const position = useRef(past.next);
  useEffect(() => {
    if (isPaused) {
      setState("paused");
      return undefined;
    }
    const abort = new AbortController();
    const matches = (/** @type {AegisEvent} */ event) =>
      (!filters.actor || event.actor === filters.actor) && (!filters.stream || streamOf(event) === filters.stream);
    void follow({
      after: position.current, types: filters.type, signal: abort.signal,
      onEvents: (arrived) => {
        position.current = arrived.at(-1)?.position ?? position.current;
        setEvents((before) => [...arrived.filter(matches).toReversed(), ...before].slice(0, MOST));
      },
      onState: (now, problem) => {
        setState(now);
        setError(problem?.message ?? "");
      },
    });
    return () => abort.abort();
  }, [isPaused]);
  return html`
    <div class="feed-bar">
      <span role="status"><${Badge} state=${STATES[state]} tone=${state === "live" ? "good" : state === "interrupted" ? "bad" : "warn"} /> ${error && html`<span class="muted">${error}</span>`}</span>
      <button type="button" class="button" onClick=${() => setPaused(!isPaused)}>${isPaused ? "Resume" : "Pause"}</button>
    </div>
    ${events.length === 0
      ? html`<${EmptyState} title="No event matches">New ones appear here as they are appended.<//>`
      : html`<${EventList} events=${events} isPersonal=${isPersonal} />`}
  `;
}

/**
 * The stream of an event, as far as it follows from what is shown: events of a user are in one of two.
 * @param {AegisEvent} event
 */
function streamOf(event) {
  if (!USER_ID.test(event.subject)) return event.subject;
  return `${event.type.startsWith("Login") ? "logins" : "user"}-${event.subject}`;
}
