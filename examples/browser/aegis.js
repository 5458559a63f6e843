// A client of Aegis for pages without a server of their own: sign-up, login with a session, refresh, logout.
//
// The access token is kept in memory, in each tab its own; it is valid for minutes. The refresh token is in
// `localStorage`, which all tabs share, so that a user logs in once. See docs/accounts.md for what that means
// if a foreign script gets into the page, and for the alternative.

const REFRESH_TOKEN = "aegis.refresh_token";
// A refresh token that was used up may be presented again for 30 s, and is answered with the same successor.
const RETRY_REFRESH_MS = [500, 1000, 2000, 4000, 8000];
// An access token is renewed this long before it expires.
const RENEW_BEFORE_MS = 30_000;

/** An answer that is not a success. `code` is stable, `message` is for people. */
export class ApiError extends Error {
  constructor(status, body, headers) {
    const { detail } = body;
    super(Array.isArray(detail) ? detail.map((fault) => fault.msg).join("; ") : (detail ?? `HTTP ${status}`));
    this.status = status;
    this.code = body.code ?? null;
    // The endpoints of OAuth name their error as RFC 6749 §5.2 does.
    this.oauthError = body.error ?? null;
    this.faults = Array.isArray(detail) ? detail : [];
    this.retryAfter = Number(headers.get("Retry-After")) || null;
    this.requestId = headers.get("X-Request-Id");
  }
}

/** The user has to log in: there is no session, or it has ended. */
export class LoggedOut extends Error {}

export class AegisClient extends EventTarget {
  #api;
  #access = null;
  #refreshing = null;

  /** `api` is the address with prefix, for example `https://id.example.com/api/v1`. */
  constructor(api) {
    super();
    this.#api = api;
    // Another tab has logged out, or in as another user.
    addEventListener("storage", (event) => {
      if (event.key === REFRESH_TOKEN && event.newValue === null) this.#forget();
    });
  }

  get isLoggedIn() {
    return localStorage.getItem(REFRESH_TOKEN) !== null;
  }

  async signUp(email, username, password) {
    // The key makes it safe to repeat the request after a lost answer.
    const headers = { "Idempotency-Key": crypto.randomUUID() };
    return this.#json("POST", "/auth/signup", { email, username, password }, headers);
  }

  async logIn(email, password) {
    const form = { grant_type: "password", username: email, password, scope: "offline_access" };
    this.#keep(await this.#form("/auth/token", form));
  }

  me() {
    return this.call("GET", "/users/me");
  }

  sessions() {
    return this.call("GET", "/users/me/sessions");
  }

  endSession(id) {
    return this.call("DELETE", `/users/me/sessions/${encodeURIComponent(id)}`);
  }

  /** Changes the password. It ends every other session; this one goes on with the tokens of the answer. */
  async changePassword(current, next) {
    const body = { current_password: current, new_password: next };
    this.#keep(await this.call("POST", "/users/me/password", body, { Prefer: "return=representation" }));
  }

  /** Ends the session. What it had is forgotten even if the service is out of reach. */
  async logOut() {
    try {
      await this.call("POST", "/auth/logout");
    } catch (error) {
      if (!(error instanceof LoggedOut)) throw error;
    } finally {
      localStorage.removeItem(REFRESH_TOKEN);
      this.#forget();
    }
  }

  /** Sends a request as the user, with a new access token if the present one is refused. */
  async call(method, path, body, headers = {}) {
    const token = await this.#accessToken();
    try {
      return await this.#json(method, path, body, { ...headers, Authorization: `Bearer ${token}` });
    } catch (error) {
      // 403 without a role for it says `forbidden`; everything else says that the token is void.
      const isVoid = error instanceof ApiError && [401, 403].includes(error.status) && error.code !== "forbidden";
      if (!isVoid) throw error;
      const renewed = await this.refresh();
      return this.#json(method, path, body, { ...headers, Authorization: `Bearer ${renewed}` });
    }
  }

  /** Renews the tokens, once for all callers in this tab. Returns the access token. */
  refresh() {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  /** One request of the grant `refresh_token` (RFC 6749 §6). */
  exchange(refreshToken) {
    return this.#form("/auth/token", { grant_type: "refresh_token", refresh_token: refreshToken });
  }

  async #accessToken() {
    const isFresh = this.#access !== null && Date.now() < this.#access.renewAt;
    return isFresh ? this.#access.token : this.refresh();
  }

  async #refresh() {
    for (let attempt = 0; ; attempt += 1) {
      const refreshToken = localStorage.getItem(REFRESH_TOKEN);
      if (refreshToken === null) throw new LoggedOut("not logged in");
      try {
        return this.#keep(await this.exchange(refreshToken));
      } catch (error) {
        if (error instanceof ApiError && error.oauthError === "invalid_grant") {
          // Another tab may have renewed it meanwhile.
          if (localStorage.getItem(REFRESH_TOKEN) !== refreshToken && attempt < RETRY_REFRESH_MS.length) continue;
          localStorage.removeItem(REFRESH_TOKEN);
          this.#forget();
          throw new LoggedOut("the session has ended");
        }
        // The answer was lost, or the service asks to wait: the same token is presented again.
        const isTemporary = !(error instanceof ApiError) || error.status === 429 || error.status === 503;
        if (!isTemporary || attempt >= RETRY_REFRESH_MS.length) throw error;
        await new Promise((resume) => setTimeout(resume, error.retryAfter * 1000 || RETRY_REFRESH_MS[attempt]));
      }
    }
  }

  #keep(tokens) {
    // The lifetime counts from the answer, so that a wrong clock of this machine does not matter.
    const renewAt = Date.now() + Math.max(tokens.expires_in * 1000 - RENEW_BEFORE_MS, tokens.expires_in * 500);
    this.#access = { token: tokens.access_token, renewAt };
    if (tokens.refresh_token) localStorage.setItem(REFRESH_TOKEN, tokens.refresh_token);
    return tokens.access_token;
  }

  #forget() {
    this.#access = null;
    this.dispatchEvent(new Event("loggedout"));
  }

  #form(path, fields) {
    return this.#send("POST", path, new URLSearchParams(fields), {});
  }

  #json(method, path, body, headers) {
    if (body === undefined) return this.#send(method, path, undefined, headers);
    return this.#send(method, path, JSON.stringify(body), { ...headers, "Content-Type": "application/json" });
  }

  async #send(method, path, body, headers) {
    const answer = await fetch(this.#api + path, { method, body, headers });
    if (answer.status === 204) return null;
    const content = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new ApiError(answer.status, content, answer.headers);
    return content;
  }
}
