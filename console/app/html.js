// Markup as tagged templates. Preact escapes every value; nothing here sets HTML from a string.

import { h } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export const html = htm.bind(h);
