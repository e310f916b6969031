/**
 * What a person sees of the bytes that a program writes to its terminal: lines, a cursor, and which
 * lines were too long. It knows the few escape sequences that this project uses, and refuses others.
 *
 * @module
 */

interface Row {
  readonly cells: string[];
  /** Whether what was written went on in the next line for want of columns. */
  isWrapped: boolean;
}

/** An escape sequence with numbers, one with a text, or one that is cut off and goes on later. */
// deno-lint-ignore no-control-regex -- they are what is looked for
const SEQUENCE = /^\x1b(?:\[([?\d;]*)([A-Za-z])|\][^\x07\x1b]*(?:\x07|\x1b\\))/;
// deno-lint-ignore no-control-regex -- they are what is looked for
const BEGINNING = /^\x1b(?:\[[?\d;]*|\][^\x07\x1b]*\x1b?)?$/;

/** A terminal's screen, and what has scrolled off it. */
export class Screen {
  #columns: number;
  #height: number;
  readonly #rows: Row[] = [{ cells: [], isWrapped: false }];
  #row = 0;
  /** May be one past the last column: the next character is what wraps the line. */
  #column = 0;
  #pending = "";

  /** An empty screen. */
  constructor(columns: number, rows: number) {
    this.#columns = columns;
    this.#height = rows;
  }

  /** All lines, those that have scrolled off first, without spaces at their ends. */
  get lines(): readonly string[] {
    return this.#rows.map(textOf);
  }

  /** The lines that are on the screen now. */
  get visible(): readonly string[] {
    return this.lines.slice(this.#top);
  }

  /** The line that the cursor is in. */
  get cursorLine(): string {
    return textOf(this.#rows[this.#row]!);
  }

  /** Lines that were longer than the screen is wide, as far as they got. */
  get wrapped(): readonly string[] {
    return this.#rows.filter(({ isWrapped }) => isWrapped).map(textOf);
  }

  /** From now on it has other sizes. What is there stays as it is. */
  resize(columns: number, rows: number): void {
    this.#columns = columns;
    this.#height = rows;
  }

  /** Takes what was written. A piece may end anywhere. */
  write(text: string): void {
    let rest = this.#pending + text;
    this.#pending = "";
    while (rest !== "") {
      if (rest.startsWith("\x1b")) {
        const sequence = rest.match(SEQUENCE);
        if (sequence === null) {
          if (!BEGINNING.test(rest)) throw new Error(`no such sequence: ${JSON.stringify(rest)}`);
          this.#pending = rest;
          return;
        }
        this.#obey(sequence[1] ?? "", sequence[2] ?? "m");
        rest = rest.slice(sequence[0].length);
      } else {
        const character = String.fromCodePoint(rest.codePointAt(0)!);
        this.#put(character);
        rest = rest.slice(character.length);
      }
    }
  }

  get #top(): number {
    return Math.max(0, this.#rows.length - this.#height);
  }

  #put(character: string): void {
    if (character === "\r") this.#column = 0;
    else if (character === "\n") this.#down();
    else if (character === "\b") this.#column = Math.max(0, this.#column - 1);
    else if (character === "\t") this.#column = Math.min(this.#columns - 1, (this.#column | 7) + 1);
    else if (character >= " ") this.#print(character);
  }

  #print(character: string): void {
    if (this.#column >= this.#columns) {
      this.#rows[this.#row]!.isWrapped = true;
      this.#down();
      this.#column = 0;
    }
    const { cells } = this.#rows[this.#row]!;
    while (cells.length < this.#column) cells.push(" ");
    cells[this.#column++] = character;
  }

  #down(): void {
    if (++this.#row === this.#rows.length) this.#rows.push({ cells: [], isWrapped: false });
  }

  #obey(parameters: string, letter: string): void {
    const count = Number(parameters) || 1;
    const isToEnd = Number(parameters) === 0;
    if (letter === "A") this.#row = Math.max(this.#top, this.#row - count);
    else if (letter === "G") this.#column = count - 1;
    else if (letter === "K" && parameters === "2") this.#rows[this.#row]!.cells.length = 0;
    else if (letter === "K" && isToEnd) this.#erase(this.#row);
    else if (letter === "J" && isToEnd) {
      this.#erase(this.#row);
      for (let row = this.#row + 1; row < this.#rows.length; row++) {
        this.#rows[row]!.cells.length = 0;
      }
    } else if (!"mhl".includes(letter)) throw new Error(`no such sequence: ${parameters}${letter}`);
  }

  /** From the cursor on. */
  #erase(row: number): void {
    this.#rows[row]!.cells.length = Math.min(this.#rows[row]!.cells.length, this.#column);
  }
}

function textOf({ cells }: Row): string {
  return cells.join("").trimEnd();
}
