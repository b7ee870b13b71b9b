"use strict";
// Cost against quality on the start page: parameters of each model against its score on the chosen task.
(() => {
  const holder = document.getElementById("pareto");
  if (!holder) return;
  const { tasks, models } = JSON.parse(holder.dataset.pareto);
  const SVG = "http://www.w3.org/2000/svg", WIDTH = 720, HEIGHT = 380, LEFT = 52, LOW = 44, TOP = 24, RIGHT = 130;
  const select = holder.querySelector("select"), plot = holder.querySelector(".plot");

  function add(parent, name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  function scale(values, from, to) {
    const low = Math.min(...values), high = Math.max(...values), room = (high - low || 1) * 0.08;
    const put = (value) => from + (to - from) * (value - low + room) / (high - low + 2 * room);
    return { low: low - room, high: high + room, put };
  }

  function ticks({ low, high }) {
    const step = [1, 2, 5, 10, 20, 50, 100, 1e3, 1e4, 1e5].find((one) => (high - low) / one <= 6) ?? 1e6;
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(at);
    return found;
  }

  function draw() {
    const index = Number(select.value), { direction } = tasks[index];
    const points = models.filter(({ scores }) => scores[index] !== null)
      .map(({ name, parameters, scores }) => ({ name, cost: Math.log10(parameters), score: scores[index] }))
      .sort((a, b) => a.cost - b.cost || direction * (b.score - a.score));
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Parameters against ${tasks[index].title} of ${points.length} models`);
    if (points.length) {
      const across = scale(points.map(({ cost }) => cost), LEFT, WIDTH - RIGHT);
      const up = scale(points.map(({ score }) => score), HEIGHT - LOW, TOP);
      for (const at of ticks(up)) {
        add(svg, "line", { class: "ring", x1: LEFT, x2: WIDTH - RIGHT, y1: up.put(at), y2: up.put(at) });
        add(svg, "text", { class: "ring", x: LEFT - 6, y: up.put(at) + 4, "text-anchor": "end" }, at);
      }
      for (const unit of [1, 2, 5].flatMap((one) => [5, 6, 7, 8, 9].map((power) => one * 10 ** power))) {
        const at = across.put(Math.log10(unit));
        if (at < LEFT || at > WIDTH - RIGHT) continue;
        add(svg, "text", { class: "ring", x: at, y: HEIGHT - LOW + 16, "text-anchor": "middle" }, unit >= 1e6 ? `${unit / 1e6} M` : `${unit / 1e3} k`);
      }
      add(svg, "text", { class: "ring", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, "parameters");
      let best = null;
      const front = points.filter(({ score }) => {
        const ahead = best === null || direction * score > direction * best;
        if (ahead) best = score;
        return ahead;
      });
      const path = front.map(({ cost, score }, at) => `${at ? `H${across.put(cost)}V` : `M${across.put(cost)} `}${up.put(score)}`).join("");
      add(svg, "path", { class: "front", d: `${path}H${WIDTH - RIGHT}` });
      let last = -Infinity;
      for (const point of [...points].sort((a, b) => b.score - a.score)) {
        const x = across.put(point.cost), y = up.put(point.score), ahead = front.includes(point);
        const dot = add(svg, "circle", { cx: x, cy: y, r: 4.5, class: ahead ? "ahead" : "" });
        add(dot, "title", {}, `${point.name}: ${point.score}`);
        if (points.length > 25 && !ahead) continue;  // names of the front alone, where there are many
        last = Math.max(y - 6, last + 13);  // from top to bottom, none over another
        add(svg, "text", { x: x + 7, y: last }, point.name);
      }
    }
    plot.replaceChildren(svg);
  }

  tasks.forEach(({ title }, index) => select.add(new Option(title, index)));
  select.addEventListener("change", draw);
  holder.hidden = false;
  draw();
})();
