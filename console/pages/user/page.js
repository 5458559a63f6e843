// A user: facts, what may be done, sessions, logins, and the history with the user as of any position.

import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { may } from "../../app/roles.js";
import { Page, Section } from "../../components/page.js";
import { Loaded, useResource } from "../../components/resource.js";
import { EmptyState, ErrorState, LoadingState } from "../../components/states.js";
import { Badge, Id } from "../../components/values.js";
import { Actions } from "./actions.js";
import { AsOf } from "./as_of.js";
import { Facts } from "./facts.js";
import { Logins } from "./logins.js";
import { Sessions } from "./sessions.js";
import { Timeline } from "./timeline.js";

/** @typedef {import("../../app/model.js").User} User */
/** @typedef {import("../../app/model.js").HistoryEvent} HistoryEvent */

/** @param {{ me: import("../../app/model.js").Me, id: string, query: URLSearchParams }} props */
export function UserPage({ me, id, query }) {
  const path = `/users/${encodeURIComponent(id)}`;
  const user = useResource(async (signal) => /** @type {User} */ (await getJson(path, { signal })), [path]);
  const history = useResource(
    async (signal) => /** @type {{ events: HistoryEvent[] }} */ (await getJson(`${path}/events`, { signal })), [path],
  );
  const reload = () => {
    user.reload();
    history.reload();
  };
  const isErased = Boolean(user.error?.isMissing && history.value?.events.some(({ type }) => type === "UserErased"));
  const isMissing = user.error?.isMissing && !isErased && (history.error || history.value);
  if (user.error?.isMissing && !isErased && !isMissing) return html`<${Page} title="User"><${LoadingState} /><//>`;
  if (isMissing && user.error) return html`<${Page} title="User"><${ErrorState} error=${user.error} missing="There is no such user" /><//>`;
  const title = isErased ? "Erased user" : user.value?.username ?? "User";
  const subtitle = html`<${Id} id=${id} /> ${user.value && html`<${Badge} state=${user.value.is_active ? "active" : "deactivated"} />`}`;
  const actions = user.value && !isErased && may(me, "administration") &&
    html`<${Actions} user=${user.value} path=${path} history=${history.value?.events ?? []} reload=${reload} />`;
  return html`<${Page} title=${title} subtitle=${subtitle} actions=${actions}>
    ${isErased
      ? html`<${EmptyState} title="This user was erased">The personal data is destroyed. What happened, and when, remains.<//>`
      : html`<${Loaded} resource=${user}>${(/** @type {User} */ value) => html`<${Facts} user=${value} />`}<//>`}
    <${Loaded} resource=${history} lines=${6}>${(/** @type {{ events: HistoryEvent[] }} */ { events }) => html`
      <${AsOf} path=${path} events=${events} current=${user.value} start=${Number(query.get("as_of")) || null} />
      <${Section} title="Timeline" note=${`${events.length} ${events.length === 1 ? "event" : "events"}`}><${Timeline} events=${events} /><//>
    `}<//>
    ${!isErased && html`<${Section} title="Open sessions"><${Sessions} path=${path} version=${user.value?.version ?? 0} /><//>`}
    <${Section} title="Logins"><${Logins} path=${path} /><//>
  <//>`;
}
