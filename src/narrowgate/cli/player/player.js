// Plays the session that this page holds: a small terminal, its controls, and the timeline.
// Everything that was recorded becomes text of the page and never markup.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);

  const COLOURS = [
    "#14161a", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d8d8d8",
    "#5c6370", "#ff7b86", "#b5e890", "#ffd98c", "#82c4ff", "#e29bf5", "#7fd6e2", "#ffffff",
  ];
  const LARGEST = 500;
  // Milliseconds: a slow machine shows fewer frames and keeps time as long as it shows one in that time.
  const LONGEST_FRAME = 1000;

  function colour(number) {
    if (number < 16) return COLOURS[number];
    if (number > 231) { const grey = 8 + (number - 232) * 10; return `rgb(${grey},${grey},${grey})`; }
    const part = (value) => (value ? 55 + value * 40 : 0);
    const cube = number - 16;
    return `rgb(${part(Math.floor(cube / 36))},${part(Math.floor(cube / 6) % 6)},${part(cube % 6)})`;
  }

  // Two columns: East Asian wide characters and emoji (Unicode, UAX 11), as far as recordings need them.
  const WIDE = /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
  const COMBINING = /\p{Mark}|\u200d|\ufe0f/u;
  const GRAPHICS = { j: "┘", k: "┐", l: "┌", m: "└", n: "┼", q: "─", t: "├", u: "┤", v: "┴", w: "┬", x: "│", a: "▒", "`": "◆", f: "°", g: "±", "~": "·" };
  const PLAIN = { fg: "", bg: "", bold: false, faint: false, italic: false, under: false, invert: false, hidden: false, struck: false };

  class Terminal {
    constructor(columns, rows) {
      this.size(columns, rows);
      this.reset();
    }

    size(columns, rows) {
      this.columns = Math.min(Math.max(columns, 1), LARGEST);
      this.rows = Math.min(Math.max(rows, 1), LARGEST);
      if (!this.lines) return;
      for (const lines of [this.lines, this.other]) {
        while (lines.length > this.rows) lines.shift();
        while (lines.length < this.rows) lines.push(this.blank());
        for (const line of lines) {
          line.length = Math.min(line.length, this.columns);
          while (line.length < this.columns) line.push({ text: " ", style: PLAIN });
        }
      }
      this.top = 0;
      this.bottom = this.rows - 1;
      this.move(this.y, this.x);
    }

    reset() {
      this.lines = Array.from({ length: this.rows }, () => this.blank());
      this.other = Array.from({ length: this.rows }, () => this.blank());
      this.style = PLAIN;
      this.x = this.y = this.top = 0;
      this.bottom = this.rows - 1;
      this.saved = { x: 0, y: 0, style: PLAIN };
      this.isOther = this.wraps = this.inserts = this.graphics = false;
      this.wrapping = true;
      this.cursor = true;
      this.last = " ";
    }

    blank() {
      const style = this.style && this.style.bg ? { ...PLAIN, bg: this.style.bg } : PLAIN;
      return Array.from({ length: this.columns }, () => ({ text: " ", style }));
    }

    move(y, x) {
      this.y = Math.min(Math.max(y, 0), this.rows - 1);
      this.x = Math.min(Math.max(x, 0), this.columns - 1);
      this.wraps = false;
    }

    write(text) {
      for (let index = 0; index < text.length;) {
        if (text[index] === "\x1b") {
          // What comes here was made safe: sequences are whole, few and short.
          const sequence = /^\x1b(?:\[([?>=]?)([\d;:]*)( ?)([@-~])|([()])(.)|#?(.))/.exec(text.slice(index, index + 200));
          if (!sequence) return;
          this.escape(sequence);
          index += sequence[0].length;
          continue;
        }
        const letter = String.fromCodePoint(text.codePointAt(index));
        index += letter.length;
        this.letter(letter);
      }
    }

    letter(letter) {
      switch (letter) {
        case "\r": this.move(this.y, 0); return;
        case "\n": this.feed(); return;
        case "\b": this.move(this.y, this.x - 1); return;
        case "\t": this.move(this.y, (Math.floor(this.x / 8) + 1) * 8); return;
        case "\x0e": this.graphics = true; return;
        case "\x0f": this.graphics = false; return;
      }
      if (letter < " ") return;
      if (COMBINING.test(letter)) {
        const before = this.lines[this.y][Math.max(this.x - (this.wraps ? 0 : 1), 0)];
        if (before.text.length < 32) this.lines[this.y][Math.max(this.x - (this.wraps ? 0 : 1), 0)] = { ...before, text: before.text + letter };
        return;
      }
      const shown = this.graphics && GRAPHICS[letter] ? GRAPHICS[letter] : letter;
      const width = WIDE.test(shown) ? 2 : 1;
      if (this.wrapping && (this.wraps || this.x + width > this.columns)) { this.x = 0; this.feed(); }
      this.wraps = false;
      const line = this.lines[this.y];
      if (this.inserts) { line.splice(this.x, 0, ...Array.from({ length: width }, () => ({ text: " ", style: this.style }))); line.length = this.columns; }
      line[this.x] = { text: shown, style: this.style };
      if (width === 2 && this.x + 1 < this.columns) line[this.x + 1] = { text: "", style: this.style };
      this.last = letter;
      if (this.x + width >= this.columns) { this.x = this.columns - 1; this.wraps = true; } else this.x += width;
    }

    feed() {
      this.wraps = false;
      if (this.y === this.bottom) this.scroll(1); else if (this.y < this.rows - 1) this.y += 1;
    }

    scroll(count) {
      for (let turn = 0; turn < Math.min(Math.abs(count), this.rows); turn += 1) {
        if (count > 0) { this.lines.splice(this.top, 1); this.lines.splice(this.bottom, 0, this.blank()); }
        else { this.lines.splice(this.bottom, 1); this.lines.splice(this.top, 0, this.blank()); }
      }
    }

    erase(y, from, to) {
      const style = this.style.bg ? { ...PLAIN, bg: this.style.bg } : PLAIN;
      for (let x = Math.max(from, 0); x < Math.min(to, this.columns); x += 1) this.lines[y][x] = { text: " ", style };
    }

    lifted(count, action) {
      if (this.y < this.top || this.y > this.bottom) return;
      const top = this.top;
      this.top = this.y;
      this.scroll(action * count);
      this.top = top;
    }

    escape([, mark, numbers, space, final, set, charset, other]) {
      if (set) { if (set === "(") this.graphics = charset === "0"; return; }
      if (other) {
        if (other === "7") this.saved = { x: this.x, y: this.y, style: this.style };
        if (other === "8") { this.move(this.saved.y, this.saved.x); this.style = this.saved.style; }
        if (other === "D") this.feed();
        if (other === "E") { this.x = 0; this.feed(); }
        if (other === "M") { if (this.y === this.top) this.scroll(-1); else this.move(this.y - 1, this.x); }
        return;
      }
      if (space || (mark && mark !== "?")) return;
      const values = numbers.split(";").map((text) => Number.parseInt(text, 10));
      if (mark === "?" && (final === "h" || final === "l")) { values.forEach((mode) => this.mode(mode, final === "h")); return; }
      const count = Math.min(values[0] || 1, 9999);
      const line = this.lines[this.y];
      switch (final) {
        case "A": this.move(this.y - count, this.x); break;
        case "B": case "e": this.move(this.y + count, this.x); break;
        case "C": case "a": this.move(this.y, this.x + count); break;
        case "D": this.move(this.y, this.x - count); break;
        case "E": this.move(this.y + count, 0); break;
        case "F": this.move(this.y - count, 0); break;
        case "G": case "`": this.move(this.y, count - 1); break;
        case "I": this.move(this.y, (Math.floor(this.x / 8) + count) * 8); break;
        case "Z": this.move(this.y, (Math.ceil(this.x / 8) - count) * 8); break;
        case "H": case "f": this.move(count - 1, (values[1] || 1) - 1); break;
        case "d": this.move(count - 1, this.x); break;
        case "J": this.eraseScreen(values[0] || 0); break;
        case "K": this.erase(this.y, values[0] ? 0 : this.x, values[0] === 1 ? this.x + 1 : this.columns); break;
        case "L": this.lifted(count, -1); break;
        case "M": this.lifted(count, 1); break;
        case "P": line.splice(this.x, count); while (line.length < this.columns) line.push({ text: " ", style: PLAIN }); break;
        case "@": line.splice(this.x, 0, ...Array.from({ length: Math.min(count, this.columns) }, () => ({ text: " ", style: PLAIN }))); line.length = this.columns; break;
        case "X": this.erase(this.y, this.x, this.x + count); break;
        case "S": this.scroll(count); break;
        case "T": this.scroll(-count); break;
        case "b": for (let turn = 0; turn < Math.min(count, 1000); turn += 1) this.letter(this.last); break;
        case "m": this.colours(numbers); break;
        case "r": {
          const top = (values[0] || 1) - 1, bottom = (values[1] || this.rows) - 1;
          if (top < bottom && bottom < this.rows) { this.top = top; this.bottom = bottom; this.move(0, 0); }
          break;
        }
        case "s": this.saved = { x: this.x, y: this.y, style: this.style }; break;
        case "u": this.move(this.saved.y, this.saved.x); break;
        case "h": case "l": if (values[0] === 4) this.inserts = final === "h"; break;
      }
    }

    eraseScreen(which) {
      const first = which === 0 ? this.y + 1 : 0;
      const last = which === 1 ? this.y : this.rows;
      for (let y = first; y < last; y += 1) this.erase(y, 0, this.columns);
      if (which === 0) this.erase(this.y, this.x, this.columns);
      if (which === 1) this.erase(this.y, 0, this.x + 1);
    }

    mode(mode, on) {
      if (mode === 25) this.cursor = on;
      if (mode === 7) this.wrapping = on;
      if ((mode === 47 || mode === 1047 || mode === 1049) && on !== this.isOther) {
        if (mode === 1049 && on) this.saved = { x: this.x, y: this.y, style: this.style };
        [this.lines, this.other] = [this.other, this.lines];
        this.isOther = on;
        if (on) for (let y = 0; y < this.rows; y += 1) this.erase(y, 0, this.columns);
        if (mode === 1049 && !on) { this.move(this.saved.y, this.saved.x); this.style = this.saved.style; }
      }
    }

    colours(numbers) {
      const values = numbers.replaceAll(":", ";").split(";").map((text) => Number.parseInt(text, 10) || 0);
      const style = { ...this.style };
      for (let index = 0; index < values.length; index += 1) {
        const value = values[index];
        if (value === 0) Object.assign(style, PLAIN);
        else if (value === 1) style.bold = true;
        else if (value === 2) style.faint = true;
        else if (value === 3) style.italic = true;
        else if (value === 4) style.under = true;
        else if (value === 7) style.invert = true;
        else if (value === 8) style.hidden = true;
        else if (value === 9) style.struck = true;
        else if (value === 22) style.bold = style.faint = false;
        else if (value === 23) style.italic = false;
        else if (value === 24) style.under = false;
        else if (value === 27) style.invert = false;
        else if (value === 28) style.hidden = false;
        else if (value === 29) style.struck = false;
        else if (value >= 30 && value <= 37) style.fg = colour(value - 30);
        else if (value >= 40 && value <= 47) style.bg = colour(value - 40);
        else if (value >= 90 && value <= 97) style.fg = colour(value - 82);
        else if (value >= 100 && value <= 107) style.bg = colour(value - 92);
        else if (value === 39) style.fg = "";
        else if (value === 49) style.bg = "";
        else if (value === 38 || value === 48) {
          const side = value === 38 ? "fg" : "bg";
          if (values[index + 1] === 5) { style[side] = colour(Math.min(values[index + 2] || 0, 255)); index += 2; }
          else if (values[index + 1] === 2) {
            const part = (step) => Math.min(values[index + step] || 0, 255);
            style[side] = `rgb(${part(2)},${part(3)},${part(4)})`;
            index += 4;
          }
        }
      }
      this.style = style;
    }

    draw(into) {
      const rows = this.lines.map((line, y) => {
        const row = document.createElement("div");
        let run = "", style = null;
        const end = () => {
          if (!run) return;
          const span = document.createElement("span");
          span.textContent = run;
          dress(span, style);
          row.append(span);
          run = "";
        };
        line.forEach((cell, x) => {
          const here = this.cursor && y === this.y && x === this.x;
          const now = here ? { ...cell.style, invert: !cell.style.invert } : cell.style;
          if (now !== style) { end(); style = now; }
          run += cell.text;
        });
        end();
        return row;
      });
      into.replaceChildren(...rows);
    }
  }

  function dress(span, style) {
    let front = style.fg || "#d8d8d8", back = style.bg;
    if (style.invert) [front, back] = [back || "#14161a", style.fg || "#d8d8d8"];
    if (front !== "#d8d8d8") span.style.color = front;
    if (back) span.style.background = back;
    if (style.bold) span.style.fontWeight = "bold";
    if (style.faint) span.style.opacity = "0.6";
    if (style.italic) span.style.fontStyle = "italic";
    if (style.under || style.struck) span.style.textDecoration = `${style.under ? "underline" : ""} ${style.struck ? "line-through" : ""}`;
    if (style.hidden) span.style.visibility = "hidden";
  }

  const clock = (seconds) => {
    const whole = Math.abs(seconds), minutes = Math.floor(whole / 60);
    return `${seconds < 0 ? "-" : ""}${minutes}:${(whole % 60).toFixed(1).padStart(4, "0")}`;
  };

  document.title = data.title;
  at("title").textContent = data.title;
  at("told").append(...data.told.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  const items = data.lines.map(([seconds, mark, text]) => {
    const item = document.createElement("li");
    item.className = mark === "-" ? "event" : mark;
    const parts = [["time", clock(seconds)], ["b", mark === "-" ? "" : mark], ["span", text]];
    item.append(...parts.map(([tag, content]) => Object.assign(document.createElement(tag), { textContent: content })));
    item.addEventListener("click", () => seek(Math.max(seconds, 0)));
    return item;
  });
  at("lines").append(...items);

  const terminal = new Terminal(data.columns, data.rows);
  const length = data.seconds;
  let next = 0, now = 0, playing = false, stamp = 0;
  at("screen").hidden = !data.tty;
  at("place").max = String(length);

  function apply(event) {
    if (event[1] === "r") terminal.size(event[2], event[3]); else terminal.write(event[2]);
  }

  function show() {
    if (data.tty) terminal.draw(at("screen"));
    at("time").textContent = `${clock(now)} / ${clock(length)}`;
    at("place").value = String(now);
    at("play").textContent = playing ? "Pause" : "Play";
    let last = -1;
    data.lines.forEach(([seconds], index) => { if (seconds <= now) last = index; });
    items.forEach((item, index) => item.classList.toggle("now", index === last));
  }

  function until(seconds) {
    while (next < data.events.length && data.events[next][0] <= seconds) { apply(data.events[next]); next += 1; }
    now = seconds;
  }

  function seek(seconds) {
    if (seconds < now) { terminal.size(data.columns, data.rows); terminal.reset(); next = 0; }
    until(Math.min(Math.max(seconds, 0), length));
    show();
  }

  function step(time) {
    if (!playing) return;
    // A frame bears the time at which it was begun, which may be before the button was pressed; and none comes while the
    // page is hidden, after which it goes on where it was.
    const since = Math.min(Math.max(time - stamp, 0), LONGEST_FRAME);
    let passed = (since / 1000) * Number(at("speed").value);
    stamp = time;
    const idle = next < data.events.length ? data.events[next][0] - now : length - now;
    if (at("skip").checked && idle > 2) passed = Math.max(passed, idle - 0.5);
    until(Math.min(now + passed, length));
    if (now >= length) playing = false;
    show();
    if (playing) requestAnimationFrame(step);
  }

  function toggle() {
    playing = !playing;
    if (playing && now >= length) seek(0);
    stamp = performance.now();
    show();
    if (playing) requestAnimationFrame(step);
  }

  function search() {
    const wanted = at("search").value.toLowerCase();
    const found = items.filter((item) => {
      const is = wanted !== "" && item.lastChild.textContent.toLowerCase().includes(wanted);
      item.classList.toggle("found", is);
      return is;
    });
    if (found.length) found[0].scrollIntoView({ block: "center" });
  }

  at("play").addEventListener("click", toggle);
  at("place").addEventListener("input", () => { playing = false; seek(Number(at("place").value)); });
  at("search").addEventListener("input", search);
  document.addEventListener("keydown", (event) => {
    if (event.target !== document.body) return;
    if (event.key === " ") { event.preventDefault(); toggle(); }
    if (event.key === "ArrowRight") seek(now + 5);
    if (event.key === "ArrowLeft") seek(now - 5);
  });
  // `#t=12.5` shows that moment: to be sent to somebody, or pictured.
  const wanted = /^#t=(\d+(?:\.\d+)?)$/.exec(location.hash);
  seek(wanted ? Number(wanted[1]) : 0);
})();
