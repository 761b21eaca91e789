/* Amounts, times and ids as text. */

const twoPlaces = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const cents = (amount) => Math.round(amount * 100);
export const money = (amount) => twoPlaces.format(amount);

/** "62 ms", "1.24 s", "12.4 s", "3 min" */
export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toPrecision(3)} s`;
  if (milliseconds < 3_600_000) return `${Math.round(milliseconds / 60_000)} min`;
  return `${Math.round(milliseconds / 3_600_000)} h`;
}

/** The end of an id. Ids begin with the time of creation, so neighbours differ at the end. */
export const shortId = (id) => `…${String(id).slice(-6)}`;

/** The server's time of creation: 41 bits of milliseconds since 2025 precede 12 random bits. */
export const createdAt = (id) => new Date(Date.UTC(2025, 0, 1) + Math.floor(id / 4096));

export const clock = (date) => date.toLocaleTimeString("en-GB");

/** An amount as a number. Other text is sent as it is, so that the API names the error. */
export function amount(text) {
  const trimmed = text.trim();
  return /^-?\d+(\.\d+)?$/.test(trimmed) ? Number(trimmed) : trimmed;
}
