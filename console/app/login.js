// The login form.

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { asApiError } from "./api_error.js";
import { html } from "./html.js";
import { serviceName } from "./page_settings.js";
import { logIn } from "./session.js";
import { Mark } from "../components/mark.js";

/** @param {{ onLogin: () => void }} props */
export function Login({ onLogin }) {
  const [error, setError] = useState("");
  const [isRunning, setRunning] = useState(false);
  const email = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => {
    document.title = `Log in · ${serviceName} console`;
    email.current?.focus();
  }, []);
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    setRunning(true);
    setError("");
    try {
      await logIn(String(form.get("email")), String(form.get("password")));
      onLogin();
    } catch (failure) {
      const problem = asApiError(failure);
      setError(problem.retryAfter ? `${problem.message} Try again in ${problem.retryAfter} s.` : problem.message);
      setRunning(false);
    }
  };
  return html`<main class="login">
    <form class="card login-card" onSubmit=${submit}>
      <div class="login-brand"><${Mark} /><h1>${serviceName} console</h1></div>
      ${!isSecureContext && html`<p class="notice warning">This page was loaded without HTTPS. Sessions last until it is reloaded, and proofs cannot be verified.</p>`}
      <label class="field">
        <span>E-mail address</span>
        <input ref=${email} name="email" type="email" autocomplete="username" required spellcheck="false" autocapitalize="none" />
      </label>
      <label class="field">
        <span>Password</span>
        <input name="password" type="password" autocomplete="current-password" required />
      </label>
      <div role="alert">${error && html`<p class="notice bad">${error}</p>`}</div>
      <button class="button primary wide" type="submit" disabled=${isRunning}>${isRunning ? "Logging in…" : "Log in"}</button>
    </form>
  </main>`;
}
