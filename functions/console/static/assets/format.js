/* Amounts, instants and ids as people read them. */

const twoPlaces = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const cents = (amount) => Math.round(amount * 100);
export const money = (amount) => twoPlaces.format(amount);

/** "62 ms", "1.24 s", "3 min" */
export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(2)} s`;
  if (milliseconds < 3_600_000) return `${Math.round(milliseconds / 60_000)} min`;
  return `${Math.round(milliseconds / 3_600_000)} h`;
}

/** The end of an id tells it from its neighbours: ids begin with the time of creation. */
export const shortId = (id) => `…${String(id).slice(-6)}`;

/** When something with this id was created. Ids have 41 bits of milliseconds since 2025, then 12 random ones. */
export const createdAt = (id) => new Date(Date.UTC(2025, 0, 1) + Math.floor(id / 4096));

export const clock = (date) => date.toLocaleTimeString("en-GB");

/** An amount to be sent as a number. What is none is sent as it was typed, for the API to say so. */
export function amount(text) {
  const trimmed = text.trim();
  return /^-?\d+(\.\d+)?$/.test(trimmed) ? Number(trimmed) : trimmed;
}
