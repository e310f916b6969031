/** Numbers, durations and times as a person reads them. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const calendar = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** 1234567 as 1,234,567. */
export function count(number) {
  return whole.format(number);
}

/** A rate: small ones with a digit behind the point. */
export function rate(perSecond) {
  return perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : whole.format(perSecond);
}

/** A measured value: as many digits as it has, up to three behind the point. */
export function measured(value) {
  return String(Math.round(value * 1_000) / 1_000);
}

/** A duration as `[number, unit]`. */
export function duration(ms) {
  if (ms < 10) return [ms.toFixed(1), "ms"];
  if (ms < 1_000) return [whole.format(ms), "ms"];
  const seconds = ms / 1_000;
  if (seconds < 10) return [seconds.toFixed(1), "s"];
  if (seconds < 120) return [whole.format(seconds), "s"];
  if (seconds < 7_200) return [whole.format(seconds / 60), "min"];
  if (seconds < 172_800) return [whole.format(seconds / 3_600), "h"];
  return [whole.format(seconds / 86_400), "days"];
}

/** A duration as text. */
export function durationText(ms) {
  return duration(ms).join(" ");
}

/** A time of today as a time, another one with its day. */
export function timeText(ms) {
  const isToday = new Date(ms).toDateString() === new Date().toDateString();
  return (isToday ? clock : calendar).format(ms);
}

/** A time with its day. */
export function dateText(ms) {
  return calendar.format(ms);
}

/** `id_conflict` as `id conflict`. */
export function words(name) {
  return name.replaceAll("_", " ");
}
