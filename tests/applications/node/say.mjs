// What scenario.md says of values, for both clients: `say(step, ...values)` prints a line.
export function text(value) {
  if (value === null || value === undefined) return "nil";
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "number") return value.toFixed(4).replace(/\.?0+$/, "");
  if (typeof value === "string") return value === "OK" ? "1" : value;
  if (Array.isArray(value)) return `[${value.map(text).join(" ")}]`;
  const pairs = Object.entries(value).map(([key, one]) => `${key}=${text(one)}`);
  return `{${pairs.sort().join(" ")}}`;
}

export function say(step, ...values) {
  console.log(`${step}: ${values.map(text).join(" ")}`);
}

export function scored(member, score) {
  return `${member}=${text(Number(score))}`;
}

export async function until(condition) {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
