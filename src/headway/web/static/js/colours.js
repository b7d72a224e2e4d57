// Which colour stands for what: a run has one colour in every chart and table of a page.

const COLOURS = 8;
const DASHES = [[], [6, 4], [2, 3], [9, 3, 2, 3]];
const numbers = new Map();

export function numberOf(key) {
  if (!numbers.has(key)) numbers.set(key, numbers.size);
  return numbers.get(key);
}

/** Give these keys, in order, the first colours: what a page shows first is told apart best. */
export function begin(keys) {
  numbers.clear();
  keys.forEach(numberOf);
}

export const tokenOf = (key) => `--c${(numberOf(key) % COLOURS) + 1}`;
export const dashOf = (key) => DASHES[Math.floor(numberOf(key) / COLOURS) % DASHES.length];

/** A token as the colour that it is now, light or dark. */
export function colour(token) {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  probe.style.color = `var(${token})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

export const faded = (value, share = 28) => `color-mix(in srgb, ${value} ${share}%, transparent)`;
