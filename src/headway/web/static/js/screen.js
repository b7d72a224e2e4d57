// A terminal's screen as lines of styled cells: what carriage returns, backspaces, cursor moves and ANSI colours leave visible.
// Pure: no document here.

const LIMIT = 20_000;
const WIDTH = 10_000;

export class Screen {
  constructor() {
    this.lines = [[]];
    this.dropped = 0; // lines that fell off the top
    this.row = 0;
    this.column = 0;
    this.style = "";
    this.rest = ""; // an escape sequence whose end has not come yet
    this.dirty = new Set([0]);
  }

  write(text) {
    const input = this.rest + text;
    this.rest = "";
    for (let at = 0; at < input.length; ) {
      const code = input.charCodeAt(at);
      if (code === 27) {
        const next = this.escape(input, at);
        if (next < 0) {
          // an unfinished sequence waits for the next piece, unless it is too long to be one
          if (input.length - at < 64) this.rest = input.slice(at);
          return;
        }
        at = next;
      } else if (code < 32 || code === 127) {
        this.control(code);
        at += 1;
      } else {
        const char = String.fromCodePoint(input.codePointAt(at));
        this.put(char);
        at += char.length;
      }
    }
  }

  put(char) {
    if (this.column >= WIDTH) this.newLine();
    const line = this.lines[this.row];
    while (line.length < this.column) line.push([" ", ""]);
    line[this.column] = [char, this.style];
    this.column += 1;
    this.dirty.add(this.row + this.dropped);
  }

  control(code) {
    if (code === 10) this.newLine();
    else if (code === 13) this.column = 0;
    else if (code === 8) this.column = Math.max(0, this.column - 1);
    else if (code === 9) for (let n = 8 - (this.column % 8); n; n -= 1) this.put(" ");
  }

  newLine() {
    this.row += 1;
    this.column = 0;
    if (this.row === this.lines.length) this.lines.push([]);
    this.dirty.add(this.row + this.dropped);
    if (this.lines.length > LIMIT) {
      const gone = this.lines.length - LIMIT;
      this.lines.splice(0, gone);
      this.dropped += gone;
      this.row -= gone;
    }
  }

  /** Acts on the sequence that starts at `at`; returns where the text goes on, or -1 if its end is missing. */
  escape(input, at) {
    if (at + 1 >= input.length) return -1;
    const kind = input[at + 1];
    if (kind === "]") {
      // a title or a link: shown text follows it
      const end = input.slice(at).search(/\x07|\x1b\\/);
      return end < 0 ? -1 : at + end + (input[at + end] === "\x07" ? 1 : 2);
    }
    if (kind !== "[") return at + 2;
    let end = at + 2;
    while (end < input.length && !(input[end] >= "@" && input[end] <= "~")) end += 1;
    if (end >= input.length) return -1;
    this.command(input[end], input.slice(at + 2, end));
    return end + 1;
  }

  command(letter, text) {
    const numbers = text.split(";").map((part) => parseInt(part, 10) || 0);
    const n = Math.max(1, numbers[0]);
    if (letter === "m") this.paint(numbers);
    else if (letter === "A") this.row = Math.max(0, this.row - n);
    else if (letter === "B") for (let i = 0; i < Math.min(n, 1000); i += 1) this.down();
    else if (letter === "C") this.column = Math.min(WIDTH, this.column + n);
    else if (letter === "D") this.column = Math.max(0, this.column - n);
    else if (letter === "G") this.column = Math.min(WIDTH, n - 1);
    else if (letter === "K") this.erase(numbers[0]);
  }

  down() {
    if (this.row + 1 === this.lines.length) this.lines.push([]);
    this.row += 1;
  }

  erase(which) {
    const line = this.lines[this.row];
    if (which === 2) line.length = 0;
    else if (which === 1) for (let i = 0; i <= this.column && i < line.length; i += 1) line[i] = [" ", ""];
    else line.length = Math.min(line.length, this.column);
    this.dirty.add(this.row + this.dropped);
  }

  paint(numbers) {
    let classes = new Set(this.style ? this.style.split(" ") : []);
    for (let i = 0; i < numbers.length; i += 1) {
      const n = numbers[i];
      if (n === 0) classes = new Set();
      else if (n === 38 || n === 48) i += numbers[i + 1] === 5 ? 2 : numbers[i + 1] === 2 ? 4 : 0; // 256 colours: not told apart
      else if (n >= 1 && n <= 4) classes.add(`ansi-${n}`);
      else if (n === 22) ["ansi-1", "ansi-2"].forEach((name) => classes.delete(name));
      else if (n === 23 || n === 24) classes.delete(`ansi-${n - 20}`);
      else if ((n >= 30 && n <= 37) || n === 39 || (n >= 90 && n <= 97)) {
        for (const name of classes) if (/^ansi-[39]\d$/.test(name)) classes.delete(name);
        if (n !== 39) classes.add(`ansi-${n}`);
      }
    }
    this.style = [...classes].join(" ");
  }

  /** A line as runs of [text, classes]. `number` counts from the first line ever written. */
  runs(number) {
    const runs = [];
    for (const [char, style] of this.lines[number - this.dropped] ?? []) {
      const last = runs.at(-1);
      if (last && last[1] === style) last[0] += char;
      else runs.push([char, style]);
    }
    return runs;
  }

  text() {
    return this.lines.map((line) => line.map(([char]) => char).join("").trimEnd()).join("\n").replace(/\n$/, "");
  }
}
