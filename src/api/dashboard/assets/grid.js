// A grid with virtual scrolling: only the visible rows have elements.

import { h } from "./dom.js";

/** Rows above and below the visible ones that have elements, too. */
const OVERSCAN = 8;
const DEFAULT_ROW_HEIGHT = 34;

export class Grid {
  /** `columns` are `[name, class, cell of an item]`; `onOpen` is called with the item of the opened row. */
  constructor({ label, columns, onOpen }) {
    this.columns = columns;
    this.onOpen = onOpen;
    this.items = [];
    /** Elements of rows by index. */
    this.rows = new Map();
    this.activeIndex = -1;
    this.head = h("div", { role: "row", class: "row head", "aria-rowindex": 1 },
      columns.map(([name, kind]) => h("span", { role: "columnheader", class: kind }, name)));
    this.body = h("div", { role: "rowgroup", class: "rows" });
    this.element = h("div", {
      role: "grid", class: "grid", tabindex: 0, "aria-label": label, "aria-colcount": columns.length,
      on: {
        scroll: () => this.drawSoon(),
        keydown: (event) => this.onKey(event),
        click: (event) => this.onClick(event),
        focus: () => this.activeIndex < 0 && this.items.length && this.activate(0),
      },
    }, h("div", { role: "rowgroup", class: "heads" }, this.head), this.body);
    new ResizeObserver(() => this.drawSoon()).observe(this.element);
  }

  /** Replaces the items. The scroll position stays, and so does the active item if `isSame` finds it. */
  show(items, isSame) {
    const before = this.items[this.activeIndex];
    this.items = items;
    this.activeIndex = before && isSame ? items.findIndex((item) => isSame(item, before)) : -1;
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.element.setAttribute("aria-rowcount", items.length + 1);
    this.draw();
  }

  /** Makes a row the active one and scrolls to it; -1 is none. */
  select(index) {
    this.activeIndex = index;
    this.draw();
    if (index >= 0) this.reveal(index);
  }

  drawSoon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  /** Row height in pixels, from the style sheet. */
  get rowHeight() {
    const height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row-height"));
    return Number.isFinite(height) && height > 0 ? height : DEFAULT_ROW_HEIGHT;
  }

  draw() {
    const height = this.rowHeight;
    this.body.style.height = `${this.items.length * height}px`;
    const top = Math.max(0, this.element.scrollTop - this.head.offsetHeight);
    const first = Math.max(0, Math.floor(top / height) - OVERSCAN);
    const last = Math.min(this.items.length, Math.ceil((top + this.element.clientHeight) / height) + OVERSCAN);
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
        row = this.createRow(index);
        row.style.transform = `translateY(${index * height}px)`;
        this.rows.set(index, row);
        if (previous) previous.after(row);
        else this.body.prepend(row);
      }
      row.setAttribute("aria-selected", index === this.activeIndex);
      previous = row;
    }
    const active = this.rows.get(this.activeIndex);
    if (active) this.element.setAttribute("aria-activedescendant", active.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  createRow(index) {
    return h("div", {
      role: "row", class: "row", id: `row-${index}`, "aria-rowindex": index + 2, data: { index },
    }, this.columns.map(([, kind, cell]) => h("span", { role: "gridcell", class: kind }, cell(this.items[index]))));
  }

  activate(index) {
    if (!this.items.length) return;
    this.activeIndex = Math.max(0, Math.min(this.items.length - 1, index));
    this.reveal(this.activeIndex);
    this.draw();
  }

  reveal(index) {
    const height = this.rowHeight;
    const visible = this.element.clientHeight - this.head.offsetHeight;
    const top = index * height;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + height > this.element.scrollTop + visible) this.element.scrollTop = top + height - visible;
  }

  onKey(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 2);
    const index = {
      ArrowDown: this.activeIndex + 1, ArrowUp: this.activeIndex - 1, PageDown: this.activeIndex + page,
      PageUp: this.activeIndex - page, Home: 0, End: this.items.length - 1,
    }[event.key];
    if (index !== undefined) this.activate(index);
    else if (event.key === "Enter" && this.items[this.activeIndex]) this.onOpen(this.items[this.activeIndex]);
    else return;
    event.preventDefault();
  }

  onClick(event) {
    const row = event.target.closest?.("[data-index]");
    if (!row) return;
    this.activeIndex = Number(row.dataset.index);
    this.draw();
    this.onOpen(this.items[this.activeIndex]);
  }
}
