// Starts the console.

import { render } from "./vendor/preact.js";
import { html } from "./app/html.js";
import { Console } from "./app/shell.js";
import { applyTheme } from "./app/theme.js";

applyTheme();
const root = document.getElementById("root");
if (root) render(html`<${Console} />`, root);
