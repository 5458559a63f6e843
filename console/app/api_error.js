// Errors of the API: `detail`, `code` and `request_id`, as every endpoint answers them.

export class ApiError extends Error {
  /**
   * @param {number} status 0 if there was no answer
   * @param {string} code
   * @param {string} message
   * @param {string | null} requestId
   * @param {number | null} retryAfter seconds
   */
  constructor(status, code, message, requestId = null, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }

  get isForbidden() {
    return this.status === 403;
  }

  get isMissing() {
    return this.status === 404;
  }
}

/**
 * The texts of a list of faults, or the only text.
 * @param {unknown} detail
 */
function message(detail) {
  if (typeof detail === "string") return detail;
  if (!Array.isArray(detail)) return "";
  return detail.map((fault) => `${fault.loc?.at(-1) ?? "request"}: ${fault.ctx?.reason ?? fault.msg}`).join("; ");
}

/** @param {Response} answer */
export async function readError(answer) {
  /** @type {Record<string, unknown>} */
  let body = {};
  try {
    body = await answer.json();
  } catch {
    // Not an answer of the service, but of a proxy before it.
  }
  const retryAfter = Number(answer.headers.get("retry-after")) || null;
  const requestId = answer.headers.get("x-request-id");
  const text = message(body["detail"]) || `The service answered with status ${answer.status}.`;
  return new ApiError(answer.status, String(body["code"] ?? "unknown"), text, requestId, retryAfter);
}

/** @param {unknown} error */
export function asApiError(error) {
  if (error instanceof ApiError) return error;
  const isNetwork = error instanceof TypeError;
  const text = isNetwork ? "The service cannot be reached." : String(error);
  return new ApiError(0, isNetwork ? "unreachable" : "internal", text);
}
