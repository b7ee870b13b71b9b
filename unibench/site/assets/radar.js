"use strict";
// The radar of the start page: ranks of the chosen models, one axis a task, the best outside.
(() => {
  const holder = document.getElementById("radar");
  if (!holder) return;
  const { axes, models } = JSON.parse(holder.dataset.radar);
  const SVG = "http://www.w3.org/2000/svg", SIZE = 460, REACH = 150, MIDDLE = SIZE / 2;
  const COLOURS = ["#1f77b4", "#d55e00", "#009e73", "#cc79a7", "#a07d00", "#56b4e9", "#8a5cc4", "#7f7f7f"];
  const DASHES = ["", "7 3", "2 3", "8 3 2 3"];
  const most = Math.max(1, ...models.flatMap(({ ranks }) => ranks));
  const mean = (ranks) => { const known = ranks.filter(Boolean); return known.reduce((a, b) => a + b, 0) / known.length; };
  const first = models.map((_, index) => index).sort((a, b) => mean(models[a].ranks) - mean(models[b].ranks)).slice(0, 5);
  const chosen = new Set(first);

  function place(axis, rank) {
    const angle = 2 * Math.PI * axis / axes.length, radius = REACH * (most > 1 ? 1 - 0.85 * (rank - 1) / (most - 1) : 1);
    return [MIDDLE + radius * Math.sin(angle), MIDDLE - radius * Math.cos(angle)];
  }

  function add(parent, name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  function drawAxes(svg) {
    for (let rank = 1; rank <= most; rank += Math.max(1, Math.ceil((most - 1) / 5))) {
      add(svg, "polygon", { class: "ring", points: axes.map((_, axis) => place(axis, rank).join()).join(" ") });
      add(svg, "text", { class: "ring", x: MIDDLE + 4, y: place(0, rank)[1] + 11 }, rank);
    }
    axes.forEach((axis, index) => {
      const [x, y] = place(index, 1), far = [MIDDLE + (x - MIDDLE) * 1.13, MIDDLE + (y - MIDDLE) * 1.13];
      add(svg, "line", { class: "ring", x1: MIDDLE, y1: MIDDLE, x2: x, y2: y });
      const anchor = Math.abs(x - MIDDLE) < 9 ? "middle" : x > MIDDLE ? "start" : "end";
      const rise = (y < MIDDLE - 9 ? axis.title.length - 1 : y > MIDDLE + 9 ? 0 : (axis.title.length - 1) / 2) * 14;
      axis.title.forEach((line, at) => add(svg, "text", {
        class: axis.weak ? "weak" : "", "text-anchor": anchor, x: far[0], y: far[1] + 4 + 14 * at - rise,
      }, line));
    });
  }

  function draw() {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `-70 0 ${SIZE + 140} ${SIZE}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Ranks of ${[...chosen].map((index) => models[index].name).join(", ") || "no model"}`);
    drawAxes(svg);
    let side = 0;  // models of one rank stand beside each other, not one over the other
    for (const index of chosen) {
      const { name, ranks, sure } = models[index], stroke = COLOURS[index % COLOURS.length];
      const shift = 3 * (side++ - (chosen.size - 1) / 2);
      const at = (axis) => place(axis, ranks[axis]).map((one) => one + shift * 0.5);
      const group = add(svg, "g", { stroke, fill: stroke });
      axes.forEach((_, axis) => {
        const next = (axis + 1) % axes.length;
        if (!ranks[axis] || !ranks[next] || axes.length < 2) return;
        const [[x1, y1], [x2, y2]] = [at(axis), at(next)];
        add(group, "line", { x1, y1, x2, y2, "stroke-width": 2, "stroke-dasharray": DASHES[Math.floor(index / COLOURS.length) % 4] });
      });
      axes.forEach((axis, place) => {
        if (!ranks[place]) return;
        const [cx, cy] = at(place);
        const dot = add(group, "circle", { cx, cy, r: 4, class: sure[place] ? "" : "tied", "stroke-width": 2 });
        add(dot, "title", {}, `${name}: rank ${ranks[place]} on ${axis.title.join(" ")}`);
      });
    }
    holder.querySelector(".plot").replaceChildren(svg);
  }

  const legend = holder.querySelector("fieldset");
  models.forEach(({ name }, index) => {
    const label = document.createElement("label"), box = document.createElement("input"), swatch = document.createElement("i");
    box.type = "checkbox";
    box.checked = chosen.has(index);
    box.addEventListener("change", () => { if (box.checked) chosen.add(index); else chosen.delete(index); draw(); });
    swatch.style.background = COLOURS[index % COLOURS.length];
    label.append(box, swatch, name);
    legend.append(label);
  });
  holder.hidden = false;
  draw();
})();
