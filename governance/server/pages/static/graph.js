"use strict";
{
  const box = document.getElementById("picture");
  const panel = document.getElementById("panel");
  let svg, all, view;
  let scale = 1, x = 0, y = 0, waiting = false, selected = null;

  // One transform on one group, at most once a frame: the browser moves the picture, nothing is laid out.
  const draw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      // What cannot be read from so far need not be painted.
      box.classList.toggle("far", scale < 0.25);
      all.setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
    });
  };
  const size = () => [box.clientWidth, box.clientHeight];
  const fit = () => {
    const [width, height] = size();
    scale = Math.min(width / view[2], height / view[3], 1.25);
    x = (width - view[2] * scale) / 2 - view[0] * scale;
    y = (height - view[3] * scale) / 2 - view[1] * scale;
    draw();
  };
  const zoom = (factor, atX, atY) => {
    const next = Math.min(4, Math.max(0.02, scale * factor));
    x = atX - (atX - x) * (next / scale);
    y = atY - (atY - y) * (next / scale);
    scale = next;
    draw();
  };
  const middle = () => size().map((length) => length / 2);
  const nodes = () => [...svg.querySelectorAll(".node")];
  const opener = (node) => node.querySelector("a.open");
  const place = (node) => node.transform.baseVal[0].matrix;

  const take = () => {
    svg = box.querySelector("svg");
    all = svg.querySelector(".all");
    view = svg.getAttribute("viewBox").split(" ").map(Number);
    svg.removeAttribute("viewBox");
    box.classList.add("live");
  };
  const see = (node) => {
    const at = place(node), [width, height] = size();
    const left = x + at.e * scale, top = y + at.f * scale;
    if (left < 0 || top < 0 || left + 236 * scale > width || top + 52 * scale > height) {
      x = width / 2 - (at.e + 118) * scale;
      y = height / 2 - (at.f + 26) * scale;
      draw();
    }
  };
  const element = (tag, text, more = {}) => {
    const made = document.createElement(tag);
    made.textContent = text;
    return Object.assign(made, more);
  };
  const select = (node) => {
    for (const one of svg.querySelectorAll(".selected")) one.classList.remove("selected");
    node.classList.add("selected");
    selected = node.dataset.id;
    const said = node.dataset;
    const list = document.createElement("dl");
    const facts = [["Namespace", said.namespace]];
    if (said.level) facts.push(["Sensitivity", said.level]);
    if (said.classes) facts.push(["Holds", said.classes]);
    for (const [term, fact] of facts) list.append(element("dt", term), element("dd", fact));
    const links = [element("a", "Open its page", { href: said.link }), element("a", "Centre the graph here", { href: said.centre })];
    if (said.grow) links.push(element("a", "Show its neighbours", { href: said.grow, className: "expander" }));
    const ways = document.createElement("ul");
    for (const link of links) ways.append(document.createElement("li"));
    links.forEach((link, i) => ways.children[i].append(link));
    panel.replaceChildren(element("p", said.kind, { className: "kind" }), element("h2", said.name), list, ways);
  };
  const expand = async (href, id) => {
    const before = nodes().find((node) => node.dataset.id === id);
    const at = before && [x + place(before).e * scale, y + place(before).f * scale];
    box.setAttribute("aria-busy", "true");
    try {
      const asked = new URL(href, location.href);
      asked.pathname = asked.pathname.replace(/graph$/, "graph.json");
      const answer = await fetch(asked, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(answer.status);
      const said = await answer.json();
      const made = new DOMParser().parseFromString(said.svg, "image/svg+xml").documentElement;
      box.replaceChildren(document.importNode(made, true));
      document.getElementById("edges").replaceChildren(
        ...new DOMParser().parseFromString(said.edges, "text/html").body.childNodes);
      document.getElementById("download").href = said.download;
      document.getElementById("truncated").hidden = !said.truncated;
      history.replaceState(null, "", href);
      take();
      const now = nodes().find((node) => node.dataset.id === id);
      if (now && at) {
        x = at[0] - place(now).e * scale;
        y = at[1] - place(now).f * scale;
        select(now);
        opener(now).focus({ preventScroll: true });
      }
      draw();
    } catch {
      location.assign(href);
    } finally {
      box.removeAttribute("aria-busy");
    }
  };
  const towards = (node, dx, dy) => {
    const from = place(node);
    let best = null, least = Infinity;
    for (const other of nodes()) {
      const to = place(other), along = (to.e - from.e) * dx + (to.f - from.f) * dy;
      const aside = Math.abs((to.e - from.e) * dy + (to.f - from.f) * dx);
      if (other !== node && along > 1 && along + 3 * aside < least) [best, least] = [other, along + 3 * aside];
    }
    return best;
  };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  take();
  fit();
  document.querySelector(".tools").hidden = false;
  const does = { in: () => zoom(1.25, ...middle()), out: () => zoom(0.8, ...middle()), fit, print: () => print() };
  document.querySelector(".tools").addEventListener("click", (event) => does[event.target.dataset.do]?.());
  box.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = box.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - at.left, event.clientY - at.top);
  }, { passive: false });

  let drag = null, moved = false;
  box.addEventListener("pointerdown", (event) => {
    if (event.button === 0) drag = [event.clientX - x, event.clientY - y, event.clientX, event.clientY];
    moved = false;
  });
  addEventListener("pointermove", (event) => {
    if (!drag) return;
    moved ||= Math.hypot(event.clientX - drag[2], event.clientY - drag[3]) > 4;
    if (!moved) return;
    box.classList.add("dragged");
    [x, y] = [event.clientX - drag[0], event.clientY - drag[1]];
    draw();
  });
  const drop = () => { drag = null; box.classList.remove("dragged"); };
  addEventListener("pointerup", drop);
  addEventListener("pointercancel", drop);
  box.addEventListener("dragstart", (event) => event.preventDefault());
  box.addEventListener("click", (event) => {
    const node = event.target.closest(".node");
    if (moved || (node && !event.ctrlKey && !event.metaKey && !event.shiftKey)) event.preventDefault();
    if (moved || !node) return;
    const grow = event.target.closest(".grow");
    if (grow) expand(grow.getAttribute("href"), node.dataset.id);
    else select(node);
  });
  box.addEventListener("dblclick", (event) => {
    const node = event.target.closest(".node");
    if (node?.dataset.grow) expand(node.dataset.grow, node.dataset.id);
  });
  panel.addEventListener("click", (event) => {
    if (!event.target.matches(".expander")) return;
    event.preventDefault();
    expand(event.target.getAttribute("href"), selected);
  });
  box.addEventListener("focusin", (event) => {
    const node = event.target.closest(".node");
    if (node && !drag) see(node);
  });
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const node = event.target.closest(".node"), arrow = arrows[event.key];
    if (event.key === "+" || event.key === "=") does.in();
    else if (event.key === "-") does.out();
    else if (event.key === "0") fit();
    else if (event.key === "e" && node?.dataset.grow) expand(node.dataset.grow, node.dataset.id);
    else if (arrow && node) opener(towards(node, ...arrow) || node).focus({ preventScroll: true });
    else if (arrow) { x -= arrow[0] * 60; y -= arrow[1] * 60; draw(); }
    else return;
    event.preventDefault();
  });
  addEventListener("beforeprint", () => {
    svg.setAttribute("viewBox", view.join(" "));
    all.removeAttribute("transform");
  });
  addEventListener("afterprint", () => { svg.removeAttribute("viewBox"); draw(); });
}
