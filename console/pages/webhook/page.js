// A webhook: its state, the last attempts, and what can be done about it.

import { useState } from "../../vendor/hooks.js";
import { getJson } from "../../app/api.js";
import { html } from "../../app/html.js";
import { Page, Section } from "../../components/page.js";
import { Loaded, useResource } from "../../components/resource.js";
import { Time } from "../../components/time.js";
import { Actor, Badge, Id, formatNumber } from "../../components/values.js";
import { troubleOf } from "../webhooks/columns.js";
import { Attempts } from "./attempts.js";
import { DeleteDialog, ReplayDialog, ResumeDialog, RotateDialog, TestDialog } from "./dialogs.js";

/** @typedef {import("../../app/model.js").Webhook} Webhook */

const DIALOGS = { test: TestDialog, replay: ReplayDialog, resume: ResumeDialog, rotate: RotateDialog, delete: DeleteDialog };
const REFRESH_MS = 5000;

/** @param {{ id: string }} props */
export function WebhookPage({ id }) {
  const path = `/webhooks/${encodeURIComponent(id)}`;
  const [open, setOpen] = useState(/** @type {keyof typeof DIALOGS | null} */ (null));
  const [round, setRound] = useState(0);
  const webhook = useResource(async (signal) => /** @type {Webhook} */ (await getJson(path, { signal })), [path], REFRESH_MS);
  const reload = () => {
    webhook.reload();
    setRound((before) => before + 1);
  };
  const Chosen = open && DIALOGS[open];
  const button = (/** @type {keyof typeof DIALOGS} */ name, /** @type {string} */ title, className = "button") =>
    html`<button type="button" class=${className} onClick=${() => setOpen(name)}>${title}</button>`;
  const actions = webhook.value && html`
    ${button("test", "Test")} ${webhook.value.state !== "active" && button("resume", "Resume")} ${button("replay", "Replay")}
    ${button("rotate", "Rotate the secret")} ${button("delete", "Delete", "button danger-outline")}
  `;
  const title = webhook.value?.description || "Webhook";
  return html`<${Page} title=${title} subtitle=${html`<${Id} id=${id} />`} actions=${actions}>
    <${Loaded} resource=${webhook} missing="There is no such webhook">${(/** @type {Webhook} */ value) => html`
      <${Details} webhook=${value} />
      <${Section} title="Last attempts"><${Attempts} path=${path} round=${`${round} ${value.position} ${value.failing?.attempts ?? 0}`} /><//>
      ${open && html`<${Chosen} path=${path} webhook=${value} reload=${reload} close=${() => setOpen(null)} />`}
    `}<//>
  <//>`;
}

/** Facts with long values. */
const WIDE = new Set(["URL", "Types", "Owner"]);

/** @param {{ webhook: Webhook }} props */
function Details({ webhook }) {
  const facts = /** @type {[string, any][]} */ ([
    ["State", html`<${Badge} state=${webhook.state} />`],
    ["URL", html`<${Id} id=${webhook.url ?? "unreadable"} />`],
    ["Types", webhook.types.length ? webhook.types.join(", ") : "all"],
    ["Owner", html`<${Actor} actor=${`user-${webhook.owner}`} linked=${false} />`],
    ["Delivered up to", html`<span class="number">${formatNumber(webhook.position)}</span>`],
    ["Queued replays", html`<span class="number">${webhook.replays}</span>`],
    ["Registered", html`<${Time} at=${webhook.created_at} />`],
  ]);
  const trouble = troubleOf(webhook);
  return html`
    ${trouble && html`<p class="notice bad">${trouble}</p>`}
    <dl class="facts card">${facts.map(([name, value]) => html`<div class=${WIDE.has(name) ? "fact wide" : "fact"} key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
  `;
}
