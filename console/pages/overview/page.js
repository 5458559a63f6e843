// What has happened lately, and what needs attention.

import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { may } from "../../app/roles.js";
import { Page } from "../../components/page.js";
import { Endpoints } from "./endpoints.js";
import { Figures } from "./figures.js";
import { Lags } from "./lags.js";
import { useResource } from "../../components/resource.js";

const REFRESH_MS = 15_000;

/** @param {{ me: import("../../app/model.js").Me }} props */
export function OverviewPage({ me }) {
  return html`<${Page} title="Overview">
    ${may(me, "stats") && html`<${Figures} />`}
    ${may(me, "projections") && html`<${Projections} />`}
    ${may(me, "webhooks") && html`<${Webhooks} isAdministrator=${may(me, "administration")} />`}
  <//>`;
}

function Projections() {
  const projections = useResource(
    async (signal) => /** @type {{ projections: import("../../app/model.js").Projection[] }} */ (await getJson("/projections", { signal })),
    [], REFRESH_MS,
  );
  return html`<${Lags} projections=${projections} />`;
}

/** @param {{ isAdministrator: boolean }} props */
function Webhooks({ isAdministrator }) {
  const webhooks = useResource(
    async (signal) => /** @type {{ webhooks: import("../../app/model.js").Webhook[], next?: string }} */ (await getJson("/webhooks", { signal })),
    [], REFRESH_MS,
  );
  return html`<${Endpoints} webhooks=${webhooks} isAdministrator=${isAdministrator} />`;
}
