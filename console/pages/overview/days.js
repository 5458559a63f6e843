// The days of a chart, those without events included.

/**
 * The last days in UTC, such as `2026-11-30`, today included.
 * @param {number} count
 * @param {Date} now
 */
export function lastDays(count, now) {
  const today = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate());
  return Array.from({ length: count }, (_, index) => new Date(today - (count - 1 - index) * 86_400_000).toISOString().slice(0, 10));
}

/**
 * The number of active users before the first day: what the day's events have left of the number after it is not
 * known, so days before the first one with events have the number that would be there without it.
 * @param {string[]} days
 * @param {import("../../app/model.js").Stats} stats
 */
export function fillDays(days, stats) {
  const byDay = new Map(stats.days.map((day) => [day.day, day]));
  const registered = [], logins = [], failed = [], active = [];
  const first = stats.days[0];
  let current = first ? Math.max(0, first.active - first.registered) : stats.active;
  for (const name of days) {
    const day = byDay.get(name);
    current = day?.active ?? current;
    registered.push(day?.registered ?? 0);
    logins.push(day?.logins ?? 0);
    failed.push(day?.failed_logins ?? 0);
    active.push(current);
  }
  return { registered, logins, failed, active };
}
