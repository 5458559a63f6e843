// The event stream, read with the access token in a header. It resumes after the last position whenever it ends.

import { request } from "../../app/api.js";
import { asApiError } from "../../app/api_error.js";

/** @typedef {import("../../app/model.js").AegisEvent} AegisEvent */
/** @typedef {"connecting" | "live" | "interrupted"} StreamState */

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * @param {{ after: number, types: string, signal: AbortSignal, onEvents: (events: AegisEvent[]) => void, onState: (state: StreamState, error?: import("../../app/api_error.js").ApiError) => void }} options
 */
export async function follow({ after, types, signal, onEvents, onState }) {
  let position = after;
  let pause = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    onState("connecting");
    try {
      const answer = await request("GET", "/events/stream", { query: { after: position, types }, signal, accept: "text/event-stream" });
      for await (const { id, data } of frames(answer)) {
        pause = FIRST_PAUSE_MS;
        onState("live");
        if (id !== null) position = id;
        if (data.length > 0) onEvents(data);
      }
    } catch (failure) {
      if (signal.aborted) return;
      const error = asApiError(failure);
      onState("interrupted", error);
      if (error.status === 403 || error.status === 401 || error.status === 422) return;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

/**
 * What arrives in each chunk: complete events, and the last position.
 * @param {Response} answer
 */
async function* frames(answer) {
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop() ?? "";
    yield parts.reduce(collect, { id: /** @type {number | null} */ (null), data: /** @type {AegisEvent[]} */ ([]) });
  }
}

/**
 * @param {{ id: number | null, data: AegisEvent[] }} collected
 * @param {string} frame
 */
function collect(collected, frame) {
  for (const line of frame.split("\n")) {
    if (line.startsWith("id:")) collected.id = Number(line.slice(3));
    if (line.startsWith("data:")) collected.data.push(JSON.parse(line.slice(5)));
  }
  return collected;
}
