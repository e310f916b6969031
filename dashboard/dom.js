/**
 * Building and changing the page. Texts only ever become text nodes: what came over the topic can
 * hold markup, and stays text.
 */

/** @param {string} id An element that `index.html` has. */
export function byId(id) {
  return document.getElementById(id);
}

/** Makes an element with attributes; children are elements or texts. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Sets a text if it is another one: an unchanged text is not read out again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Brings the children of `parent` into line with `items`: known ones are kept, with their focus,
 * and updated; new ones are made; others go.
 *
 * @param keyOf Gives each item's key.
 * @param make Makes `{element, update(item)}` of an item, once: whatever changes must come with the
 * items.
 */
export function syncList(parent, items, { keyOf, make }) {
  const known = parent.syncedParts ?? new Map();
  const next = new Map();
  for (const item of items) {
    const key = keyOf(item);
    const part = known.get(key) ?? make(item);
    part.update(item);
    next.set(key, part);
  }
  for (const [key, part] of known) if (!next.has(key)) part.element.remove();
  let place = parent.firstChild;
  for (const part of next.values()) {
    if (part.element === place) place = place.nextSibling;
    else parent.insertBefore(part.element, place);
  }
  while (place !== null) {
    const following = place.nextSibling;
    place.remove();
    place = following;
  }
  parent.syncedParts = next;
}

/** Asks the API. */
export async function getJson(path, signal) {
  const response = await fetch(path, { signal });
  const value = await response.json();
  if (!response.ok) throw new Error(value.error ?? `status ${response.status}`);
  return value;
}
