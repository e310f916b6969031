/**
 * Text in the columns of a terminal: how many it takes, how it is cut, where it wraps.
 *
 * @module
 */

/** Combining marks, joiners and other invisible ones; they stand on the character before them. */
const NO_COLUMN = /^[\p{Mn}\p{Me}\p{Cf}\u1160-\u11ff]$/u;

/** What Unicode calls wide, as terminals have it: East Asian scripts and pictures. */
const TWO_COLUMNS =
  /^[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2fb}\u{20000}-\u{3fffd}]$/u;

/** Colours, as `doctor` uses them. */
// deno-lint-ignore no-control-regex -- they are what is looked for
const COLOURS = /\x1b\[[0-9;]*m/g;

/** How many columns a terminal needs for one line of text. Colours take none. */
export function columnsOf(text: string): number {
  const plain = text.replace(COLOURS, "");
  if (/^[\x20-\x7e]*$/.test(plain)) return plain.length;
  let columns = 0;
  for (const character of plain) columns += columnsOfCharacter(character);
  return columns;
}

function columnsOfCharacter(character: string): number {
  return NO_COLUMN.test(character) ? 0 : TWO_COLUMNS.test(character) ? 2 : 1;
}

/** Cuts a text that takes more than `columns`, which are 1 or more; then it ends with `…`. */
export function cutTo(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  return `${startOf(text, columns - 1)}…`;
}

/** As many characters as fit. */
function startOf(text: string, columnsMax: number): string {
  let [start, columns] = ["", 0];
  for (const character of text) {
    columns += columnsOfCharacter(character);
    if (columns > columnsMax) break;
    start += character;
  }
  return start;
}

/** Fills a text up with spaces to `columns`. */
export function padTo(text: string, columns: number, side: "start" | "end"): string {
  const spaces = " ".repeat(Math.max(0, columns - columnsOf(text)));
  return side === "start" ? spaces + text : text + spaces;
}

/**
 * The lines of a text that is to fit into `columns`, broken between words. What goes on in the next
 * line is indented by `indent` more than the first. A word that is too long on its own stays whole,
 * for it is something to copy: an id, an address, a path.
 */
export function wrapped(line: string, columns: number, indent = 2): readonly string[] {
  if (columnsOf(line) <= columns) return [line];
  const [margin = ""] = /^ */.exec(line) ?? [];
  const lines: string[] = [];
  let current = "";
  for (const word of line.match(/ *[^ ]+/g) ?? []) {
    const longer = current + word;
    if (current.trim() === "" || columnsOf(longer) <= columns) {
      current = longer;
      continue;
    }
    lines.push(current);
    current = margin + " ".repeat(indent) + word.trimStart();
  }
  return [...lines, current];
}

/** Breaks a text after `columns`, wherever that is: for what has no words and must be seen whole. */
export function broken(text: string, columns: number): readonly string[] {
  const lines: string[] = [];
  let rest = text;
  do {
    // A character that is too wide on its own still has to go somewhere.
    const line = startOf(rest, columns) || (rest.match(/^./su)?.[0] ?? "");
    lines.push(line);
    rest = rest.slice(line.length);
  } while (rest !== "");
  return lines;
}
