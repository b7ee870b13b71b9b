"use strict";
// The viewer of a clip: two panes over the same frames, each with the truth or one row's prediction.
// What they show lies in scripts beside the page, which are loaded when they are first asked for.
(() => {
  const viewer = document.getElementById("viewer"), clip = JSON.parse(viewer.dataset.clip);
  const find = (id) => document.getElementById(id);
  const slider = find("frame"), where = find("where"), play = find("play"), over = find("over");
  const names = { truth: "Truth", ...clip.rows };
  const data = () => window.UNIBENCH ?? {};
  const images = new Map();
  let frame = 0, timer = 0;

  // ---- what is drawn: one colour an id, over all frames of a clip

  function hue(source, id) {
    const place = data()[source].ids.indexOf(id);
    return (25 + place * 222.5) % 360;  // steps of the golden angle: near ids are far apart in colour
  }

  const colour = (source, id, alpha = 1) => `hsl(${hue(source, id)} 85% 52% / ${alpha})`;

  function runs(text) {  // COCO's compressed runs: 5 bits a character, differences from the fourth on
    const found = [];
    for (let at = 0; at < text.length;) {
      let value = 0, shift = 0, code;
      do {
        code = text.charCodeAt(at++) - 48;
        value |= (code & 31) << shift;
        shift += 5;
      } while (code & 32);
      if (code & 16) value |= -1 << shift;
      found.push(found.length > 2 ? value + found[found.length - 2] : value);
    }
    return found;
  }

  function rgb(degrees) {  // of hsl(degrees 85% 52%)
    const part = (n) => {
      const k = (n + degrees / 30) % 12;
      return 255 * (0.52 - 0.408 * Math.max(-1, Math.min(k - 3, 9 - k, 1)));
    };
    return [part(0), part(8), part(4)];
  }

  function drawMask(pixels, text, [red, green, blue], alpha) {  // runs go down the columns, pixels along the rows
    const { width, height } = clip, on = new Uint8Array(width * height), inside = [];
    let at = 0, inked = false;
    for (const run of runs(text)) {
      for (let pixel = at; inked && pixel < at + run; pixel++) {
        const x = Math.floor(pixel / height), place = (pixel - x * height) * width + x;
        on[place] = 1;
        inside.push(place);
      }
      at += run;
      inked = !inked;
    }
    for (const place of inside) {
      const x = place % width;
      const edge = !(x && on[place - 1]) || !(x < width - 1 && on[place + 1]) || !on[place - width] || !on[place + width];
      if (edge || alpha) pixels.data.set([red, green, blue, edge ? 255 : alpha * 255], 4 * place);
    }
  }

  function drawMasks(context, masks, colours, alpha) {
    const layer = document.createElement("canvas");
    [layer.width, layer.height] = [clip.width, clip.height];
    const pen = layer.getContext("2d"), pixels = pen.createImageData(clip.width, clip.height);
    masks.forEach((text, index) => drawMask(pixels, text, colours[index], alpha));
    pen.putImageData(pixels, 0, 0);
    context.drawImage(layer, 0, 0);
  }

  function drawBox(context, [x1, y1, x2, y2], stroke) {
    if ([x1, y1, x2, y2].includes(null) || x2 <= x1 || y2 <= y1) return false;
    context.strokeStyle = stroke;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    return true;
  }

  function drawName(context, x, y, source, id, unit) {  // above a place, within the frame
    const shade = hue(source, id), text = String(id);
    context.font = `600 ${11 * unit}px system-ui, sans-serif`;
    const width = context.measureText(text).width + 6 * unit, height = 14 * unit;
    const top = Math.max(0, y - height), left = Math.max(0, Math.min(x, clip.width - width));
    context.fillStyle = colour(source, id);
    context.fillRect(left, top, width, height);
    context.fillStyle = shade > 40 && shade < 200 ? "#000" : "#fff";
    context.fillText(text, left + 3 * unit, top + 11 * unit);
  }

  function drawPose(context, flat, stroke, unit) {
    const joint = (index) => (flat[2 * index] == null ? null : [flat[2 * index], flat[2 * index + 1]]);
    context.strokeStyle = stroke;
    for (const [first, second] of clip.limbs) {
      const from = joint(first), to = joint(second);
      if (!from || !to) continue;
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      context.stroke();
    }
    context.fillStyle = stroke;
    for (let index = 0; index < flat.length / 2; index++) {
      const at = joint(index);
      if (!at) continue;
      context.beginPath();
      context.arc(...at, 2.6 * unit, 0, 7);
      context.fill();
    }
  }

  function drawPoint(context, [x, y], hidden, stroke, unit) {
    if (x === null || y === null) return;
    context.strokeStyle = context.fillStyle = stroke;
    context.setLineDash([]);
    context.beginPath();
    context.arc(x + 0.5, y + 0.5, 3 * unit, 0, 7);
    if (hidden) context.stroke(); else context.fill();
  }

  function corner(text) {  // of the box around a mask, upper left; null: it is empty
    let at = 0, inked = false, left = null, top = clip.height;
    for (const run of runs(text)) {
      if (inked && run) {
        left ??= Math.floor(at / clip.height);
        top = Math.min(top, at % clip.height + run > clip.height ? 0 : at % clip.height);
      }
      at += run;
      inked = !inked;
    }
    return left === null ? null : [left, top];
  }

  function drawLabels(context, source, unit, faint) {
    const labels = data()[source]?.frames[frame];
    if (!labels) return;
    const ids = labels.ids ?? [], several = data()[source].ids.length > 1;
    const shade = (index) => (faint ? "#fff" : ids.length ? colour(source, ids[index]) : "#e06b1b");
    const name = (index, x, y) => { if (!faint && several) drawName(context, x, y, source, ids[index], unit); };
    context.lineWidth = (faint ? 1.5 : 2) * unit;
    context.setLineDash(faint ? [5 * unit, 4 * unit] : []);
    if (labels.masks) {
      const colours = ids.map((id) => (faint ? [255, 255, 255] : rgb(hue(source, id))));
      drawMasks(context, labels.masks, colours, faint ? 0 : 0.45);
      labels.masks.forEach((text, index) => { const at = corner(text); if (at) name(index, ...at); });
    }
    labels.boxes?.forEach((box, index) => {
      if (drawBox(context, box, shade(index)) && !labels.masks && !labels.joints) name(index, box[0], box[1]);
    });
    labels.joints?.forEach((flat, index) => {
      if (labels.hidden) return drawPoint(context, flat, labels.hidden.includes(index), shade(index), unit);
      drawPose(context, flat, shade(index), unit);
      const known = (rest) => flat.filter((one, place) => place % 2 === rest && one !== null);
      if (known(0).length) name(index, Math.min(...known(0)), Math.min(...known(1)) - 6 * unit);
    });
    context.setLineDash([3 * unit, 3 * unit]);
    labels.ignored?.boxes?.forEach((box) => drawBox(context, box, "#8a8f94"));
    if (labels.ignored?.masks) drawMasks(context, labels.ignored.masks, labels.ignored.masks.map(() => [138, 143, 148]), 0.3);
  }

  function picture(index) {
    if (!images.has(index)) {
      const image = new Image();
      image.src = `${clip.frames}/${String(index).padStart(5, "0")}.webp`;
      image.addEventListener("load", () => index === frame && draw());
      images.set(index, image);
      if (images.size > 200) images.delete(images.keys().next().value);
    }
    return images.get(index);
  }

  function drawPane(pane) {
    const { canvas } = pane, scale = Math.min(canvas.clientWidth * devicePixelRatio / clip.width, 4);
    if (!(scale > 0)) return;
    canvas.width = Math.round(clip.width * scale);
    canvas.height = Math.round(clip.height * scale);
    const context = canvas.getContext("2d"), unit = clip.width / canvas.clientWidth;  // pixels of the frame a pixel of the page
    context.setTransform(canvas.width / clip.width, 0, 0, canvas.height / clip.height, 0, 0);
    if (clip.frames) {
      const image = picture(frame);
      if (image.complete && image.naturalWidth) context.drawImage(image, 0, 0, clip.width, clip.height);
    }
    drawLabels(context, pane.source, unit, false);
    if (over.checked && pane.source !== "truth") drawLabels(context, "truth", unit, true);
    const row = data()[pane.source];
    const value = row?.values?.[frame];
    pane.note.textContent = !row ? "loading" : !row.values ? ""
      : [value == null ? `${row.score}: not scored here` : `${row.score} ${(100 * value).toFixed(1)}`, row.words[frame],
        ...row.events.filter(([at]) => at === frame).map(([, text]) => text)].filter(Boolean).join(" · ");
    canvas.setAttribute("aria-label", `${names[pane.source]}, frame ${frame}`);
    canvas.dataset.drawn = row ? `${pane.source}:${frame}` : "";
  }

  // ---- panes

  const panes = [0, 1].map((side) => {
    const box = document.createElement("figure"), head = document.createElement("figcaption");
    const select = document.createElement("select"), canvas = document.createElement("canvas"), note = document.createElement("p");
    select.setAttribute("aria-label", side ? "On the right" : "On the left");
    for (const [key, name] of Object.entries(names)) select.add(new Option(name, key));
    canvas.setAttribute("role", "img");
    canvas.style.aspectRatio = `${clip.width} / ${clip.height}`;
    note.className = `note side${side}`;
    head.append(select);
    box.append(head, canvas, note);
    viewer.querySelector(".panes").append(box);
    const pane = { side, select, canvas, note, source: "" };
    select.addEventListener("change", () => show(pane, select.value));
    return pane;
  });

  function load(source) {
    if (data()[source]) return Promise.resolve();
    return new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = `${clip.folder}/${encodeURIComponent(source)}.js`;
      script.addEventListener("load", done);
      script.addEventListener("error", failed);
      document.head.append(script);
    });
  }

  async function show(pane, source) {
    pane.source = pane.select.value = source;
    draw();
    try {
      await load(source);
    } catch {
      pane.note.textContent = "This prediction is missing: its file is not beside the page.";
      return;
    }
    drawTimeline();
    draw();
    remember();
  }

  // ---- time

  const SVG = "http://www.w3.org/2000/svg", HEIGHT = 112, EDGE = 8;
  let wide = 0;  // of the timeline, pixels
  const x = (index) => EDGE + (clip.length > 1 ? index / (clip.length - 1) : 0) * (wide - 2 * EDGE);
  const y = (value) => 6 + (1 - value) * (HEIGHT - 22);

  function element(name, attributes, parent) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  }

  function drawTimeline() {
    const holder = find("timeline");
    holder.replaceChildren();
    const scored = panes.filter((pane) => data()[pane.source]?.values);
    if (!scored.length) return;
    wide = holder.clientWidth;
    const svg = element("svg", { viewBox: `0 0 ${wide} ${HEIGHT}`, "aria-hidden": "true" }, holder);
    for (const level of [0, 0.5, 1]) element("line", { class: "grid", x1: 0, x2: wide, y1: y(level), y2: y(level) }, svg);
    for (const pane of scored) {
      const { values, events } = data()[pane.source];
      let path = "";
      values.forEach((value, index) => {
        if (value !== null) path += `${path && values[index - 1] !== null ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
      });
      element("path", { class: `side${pane.side}`, d: path }, svg);
      for (const [at] of events) {
        const middle = x(at), low = HEIGHT - 1 - 7 * pane.side;
        element("path", { class: `event side${pane.side}`, d: `M${middle - 5} ${low}L${middle} ${low - 7}L${middle + 5} ${low}Z` }, svg);
      }
    }
    element("line", { class: "now", id: "now", y1: 0, y2: HEIGHT }, svg);
    const names = [...new Set(scored.map((pane) => data()[pane.source].score))];
    const caption = document.createElement("p");
    caption.textContent = `${names.join(", ")} by frame; lines at 0, 50 and 100${names.some((one) => one.startsWith("match rate")) ? "; match rate: matched / (matched + missed + false)" : ""}`;
    holder.append(caption);
    const seek = (event) => {
      const { left, width } = svg.getBoundingClientRect();
      go(Math.round((event.clientX - left - EDGE) / (width - 2 * EDGE) * (clip.length - 1)));
    };
    svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); seek(event); });
    svg.addEventListener("pointermove", (event) => { if (event.buttons) seek(event); });
  }

  function draw() {
    panes.forEach(drawPane);
    const now = find("now");
    now?.setAttribute("x1", x(frame));
    now?.setAttribute("x2", x(frame));
    slider.value = frame;
    where.textContent = `${frame} of ${clip.length - 1}`;
    slider.setAttribute("aria-valuetext", `frame ${frame}; ${panes.map((pane) => pane.note.textContent).filter(Boolean).join("; ")}`);
  }

  function go(to) {
    frame = Math.max(0, Math.min(clip.length - 1, to));
    draw();
    if (!timer) remember();
    if (clip.frames) for (let next = frame + 1; next < Math.min(frame + 4, clip.length); next++) picture(next);
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
    remember();
  }

  function toggle() {
    if (timer) return stop();
    if (frame === clip.length - 1) go(0);
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
    timer = setInterval(() => (frame < clip.length - 1 ? go(frame + 1) : stop()), 1000 / Math.min(clip.fps, 30));
  }

  // ---- the address says what is shown, so that it can be sent to somebody

  function remember() {
    const [left, right] = panes.map((pane) => encodeURIComponent(pane.source));
    history.replaceState(null, "", `#left=${left}&right=${right}&frame=${frame}`);
  }

  function recall() {
    const asked = new URLSearchParams(location.hash.slice(1)), keys = Object.keys(names);
    const known = (name, other) => (keys.includes(asked.get(name)) ? asked.get(name) : other);
    const wanted = [known("left", "truth"), known("right", keys[1])];
    frame = Math.max(0, Math.min(clip.length - 1, parseInt(asked.get("frame"), 10) || 0));
    load("truth").then(() => panes.forEach((pane) => show(pane, wanted[pane.side])));
  }

  slider.addEventListener("input", () => go(Number(slider.value)));
  play.addEventListener("click", toggle);
  find("back").addEventListener("click", () => go(frame - 1));
  find("on").addEventListener("click", () => go(frame + 1));
  over.addEventListener("change", draw);
  addEventListener("resize", () => { drawTimeline(); draw(); });
  addEventListener("hashchange", recall);
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("select, input, button, a, [tabindex]") || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = { ArrowLeft: frame - 1, ArrowRight: frame + 1, Home: 0, End: clip.length - 1 }[event.key];
    if (step !== undefined) go(step);
    else if (event.key === " ") toggle();
    else return;
    event.preventDefault();
  });
  for (const button of document.querySelectorAll(".pick")) {
    button.addEventListener("click", () => {
      show(panes[button.dataset.pane], button.dataset.row);
      viewer.scrollIntoView({ block: "nearest" });
    });
  }
  for (const one of viewer.querySelectorAll("[hidden]")) one.hidden = false;
  recall();
})();
