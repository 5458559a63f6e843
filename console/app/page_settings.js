// What the service writes into the page: its name and version, the prefix of the API, and the types of events.

/** @param {string} name */
function content(name) {
  return document.querySelector(`meta[name="aegis-${name}"]`)?.getAttribute("content") ?? "";
}

export const serviceName = content("name");
export const serviceVersion = content("version");
export const apiPrefix = content("api");
export const eventTypes = content("event-types").split(",").filter(Boolean);
