// A grid of any length of which only the rows in sight exist.

import { h } from "./dom.js";

const BEYOND = 8;

export class Grid {
  /** `columns` are `[name, class, cell of a row]`; `open` hears which row was chosen. */
  constructor({ label, columns, open }) {
    this.columns = columns;
    this.open = open;
    this.items = [];
    this.rows = new Map();
    this.active = -1;
    this.head = h("div", { role: "row", class: "row head", "aria-rowindex": 1 },
      columns.map(([name, kind]) => h("span", { role: "columnheader", class: kind }, name)));
    this.body = h("div", { role: "rowgroup", class: "rows" });
    this.element = h("div", {
      role: "grid", class: "grid", tabindex: 0, "aria-label": label, "aria-colcount": columns.length,
      on: {
        scroll: () => this.later(),
        keydown: (event) => this.key(event),
        click: (event) => this.click(event),
        focus: () => this.active < 0 && this.items.length && this.activate(0),
      },
    }, h("div", { role: "rowgroup", class: "heads" }, this.head), this.body);
    new ResizeObserver(() => this.later()).observe(this.element);
  }

  /** Shows other rows. The place stays; so does what is active, if `same` finds it. */
  show(items, same) {
    const before = this.items[this.active];
    this.items = items;
    this.active = before && same ? items.findIndex((item) => same(item, before)) : -1;
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.element.setAttribute("aria-rowcount", items.length + 1);
    this.draw();
  }

  /** Marks the row that is open. */
  mark(index) {
    this.active = index;
    this.draw();
    if (index >= 0) this.reveal(index);
  }

  later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  get height() {
    const said = parseFloat(getComputedStyle(this.element).getPropertyValue("--row"));
    return Number.isFinite(said) && said > 0 ? said : 34;
  }

  draw() {
    const height = this.height;
    this.body.style.height = `${this.items.length * height}px`;
    const top = Math.max(0, this.element.scrollTop - this.head.offsetHeight);
    const first = Math.max(0, Math.floor(top / height) - BEYOND);
    const last = Math.min(this.items.length, Math.ceil((top + this.element.clientHeight) / height) + BEYOND);
    for (const [index, row] of this.rows) {
      if (index < first || index >= last) {
        row.remove();
        this.rows.delete(index);
      }
    }
    let previous = null;
    for (let index = first; index < last; index += 1) {
      let row = this.rows.get(index);
      if (!row) {
        row = this.row(index);
        row.style.transform = `translateY(${index * height}px)`;
        this.rows.set(index, row);
        if (previous) previous.after(row);
        else this.body.prepend(row);
      }
      row.setAttribute("aria-selected", index === this.active);
      previous = row;
    }
    const active = this.rows.get(this.active);
    if (active) this.element.setAttribute("aria-activedescendant", active.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  row(index) {
    return h("div", {
      role: "row", class: "row", id: `row-${index}`, "aria-rowindex": index + 2, data: { index },
    }, this.columns.map(([, kind, cell]) => h("span", { role: "gridcell", class: kind }, cell(this.items[index]))));
  }

  activate(index) {
    if (!this.items.length) return;
    this.active = Math.max(0, Math.min(this.items.length - 1, index));
    this.reveal(this.active);
    this.draw();
  }

  reveal(index) {
    const height = this.height;
    const room = this.element.clientHeight - this.head.offsetHeight;
    const top = index * height;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + height > this.element.scrollTop + room) this.element.scrollTop = top + height - room;
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 2);
    const to = {
      ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page,
      PageUp: this.active - page, Home: 0, End: this.items.length - 1,
    }[event.key];
    if (to !== undefined) this.activate(to);
    else if (event.key === "Enter" && this.items[this.active]) this.open(this.items[this.active]);
    else return;
    event.preventDefault();
  }

  click(event) {
    const row = event.target.closest?.("[data-index]");
    if (!row) return;
    this.active = Number(row.dataset.index);
    this.draw();
    this.open(this.items[this.active]);
  }
}
