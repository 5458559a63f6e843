// Which role may see which page. The service decides on every request; this only spares visitors what would be refused.

/** @typedef {import("./model.js").Me} Me */

export const PERMISSIONS = /** @type {const} */ ({
  stats: ["admin", "operator", "auditor"],
  users: ["admin", "auditor"],
  events: ["admin", "auditor", "subscriber"],
  projections: ["admin", "operator"],
  webhooks: ["admin", "subscriber"],
  log: ["admin", "auditor"],
  tokens: ["admin"],
  administration: ["admin"],
});

/** @typedef {keyof typeof PERMISSIONS} Permission */

/**
 * @param {Me} me
 * @param {Permission} permission
 */
export function may(me, permission) {
  return PERMISSIONS[permission].some((role) => me.roles.includes(role));
}

/** @param {Me} me */
export function hasAnyPage(me) {
  return Object.values(PERMISSIONS).some((roles) => roles.some((role) => me.roles.includes(role)));
}

export const ROLES = ["admin", "auditor", "operator", "subscriber", "service"];
