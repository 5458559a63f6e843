// The log as a transparency log: its checkpoint and key, and proofs that this browser verifies.

import { useState } from "../../vendor/hooks.js";
import { getText } from "../../app/api.js";
import { html } from "../../app/html.js";
import { Page, Section } from "../../components/page.js";
import { Loaded, useResource } from "../../components/resource.js";
import { parseCheckpoint } from "./checkpoint.js";
import { Consistency } from "./consistency.js";
import { Inclusion } from "./inclusion.js";

/** @param {{ query: URLSearchParams }} props */
export function LogPage({ query }) {
  const log = useResource(async (signal) => {
    const [checkpoint, key] = await Promise.all([getText("/log/checkpoint", { signal }), getText("/log/key", { signal })]);
    return { checkpoint, key: key.trim(), size: parseCheckpoint(checkpoint).size };
  }, []);
  return html`<${Page} title="Log" subtitle="Every event is a leaf of a Merkle tree, whose root is signed with each append.">
    ${!crypto.subtle && html`<p class="notice warning">Without HTTPS the browser offers no WebCrypto, so nothing can be verified here.</p>`}
    <${Loaded} resource=${log} lines=${6}>${(/** @type {{ checkpoint: string, key: string, size: number }} */ value) =>
      html`<${Log} log=${value} start=${Number(query.get("position")) || null} />`}<//>
  <//>`;
}

/** @param {{ log: { checkpoint: string, key: string, size: number }, start: number | null }} props */
function Log({ log, start }) {
  const [key, setKey] = useState(log.key);
  const download = `data:text/plain;charset=utf-8,${encodeURIComponent(log.checkpoint)}`;
  return html`
    <${Section} title="Checkpoint" actions=${html`<a class="button" href=${download} download=${`checkpoint-${log.size}.txt`}>Save to a file</a>`}>
      <pre class="json" tabindex="0" aria-label="Checkpoint">${log.checkpoint}</pre>
      <p class="muted">Keep it where the operators of the database cannot reach it: it protects every event before it.</p>
      <label class="field"><span>Key that verifies</span>
        <input class="mono" value=${key} spellcheck="false" autocapitalize="none" autocomplete="off"
          onChange=${(/** @type {Event} */ event) => setKey(/** @type {HTMLInputElement} */ (event.currentTarget).value.trim())} />
      </label>
      <p class="muted">${key === log.key ? "This is the key that the service states. To be independent of it, replace the key by the one that you have kept." : "This is your own key, not the one that the service states."}</p>
    <//>
    <${Inclusion} verifierKey=${key} start=${start} size=${log.size} />
    <${Consistency} verifierKey=${key} />
  `;
}
