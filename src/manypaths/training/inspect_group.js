// Why

const reported = name => Object.hasOwn(run.reported, name) ? run.reported[name] : "";  // what a diagnostic is
const isLeftOut = completion => completion.diagnostics.some(([name, value]) => name === "selected" && value === 0);

const reason = (group, index, part, raised) => {
  const completion = group.completions[index], best = Math.max(...present(group.completions.map(sibling => sibling.raw)));
  if (raised && completion.raw === best && Math.abs(completion.raw - completion.adjusted) < 5e-4)
    return ["its reward was kept, that of others was lowered"];
  if (view.compare === "whole" && Math.abs(part.own[index]) < Math.abs(part.whole[index]) / 2)
    return [make("span", { class: "shared" }, `the rewards were ${part.factor < 1 ? "drawn together" : "driven apart"}, spread ${spreads(group)}`)];
  if (completion.nearest === null || completion.similarity === null) return [];
  const other = group.completions[completion.nearest], near = goTo(completion.nearest), alike = fixed(completion.similarity);
  const least = Math.min(...present(group.completions.map(sibling => sibling.similarity)));
  if (raised && completion.similarity === least) return ["least like its siblings, nearest ", near, ` at ${alike}`];
  if (!raised && typeof completion.text === "string" && completion.text === other.text) return ["the same text as ", near];
  if (!raised && completion.similarity >= 0.95) return ["almost the same as ", near, `, similarity ${alike}`];
  return ["nearest ", near, `, similarity ${alike}`];
};
const explain = (group, part) => {
  const line = make("p", { class: "why" }), change = part[view.compare], values = present(change);
  const most = (extreme, raised) => {
    if (tiny(extreme)) return;
    const tied = [...change.keys()].filter(index => change[index] !== null && tiny(change[index] - extreme));
    const texts = new Set(tied.map(index => group.completions[index].text));
    const because = tied.length > 1 && texts.size === 1 ? ["all with the same text"] : reason(group, tied[0], part, raised);
    line.append(make("b", { class: raised ? "up" : "down" }, raised ? "Raised most:" : "Lowered most:"), " ");
    tied.slice(0, 4).forEach((index, place) => line.append(place ? ", " : "", goTo(index)));
    line.append(tied.length > 4 ? ` and ${tied.length - 4} more` : "", ...(because.length ? [" (", ...because, ")"] : []), ". ");
  };
  const some = group.completions.some(isLeftOut) ? " of the selected completions" : "";
  if (group.method === null) line.append(`Plain GRPO: the rewards${some} were used as they are.`);
  else if (values.length < 2) line.append("Fewer than two completions have a reward, so there is nothing to compare.");
  else {
    most(Math.max(...values), true);
    most(Math.min(...values), false);
    if (!line.hasChildNodes()) line.append("Nothing was raised or lowered.");
    if (line.querySelector(".shared")) line.append(make("button", { "data-compare": "own" }, "Compare at equal reward"));
  }
  return line;
};

// The similarity matrix

const alike = Float32Array.from(run.groups.flatMap(group =>
  (group.similarity ?? []).flatMap((row, i) => row.filter((value, j) => i !== j && value !== null)))).sort();
const lowest = alike.length ? Math.min(0.95, Math.floor(20 * alike[Math.floor(alike.length / 10)]) / 20) : 0;
let palette;
const readPalette = () => {
  const style = getComputedStyle(document.documentElement);
  palette = [0, 1, 2, 3, 4].map(n => style.getPropertyValue(`--s${n}`).trim().match(/[0-9a-f]{2}/g).map(hex => parseInt(hex, 16)));
};
const colour = value => {
  const place = 4 * Math.min(1, Math.max(0, (value - lowest) / (1 - lowest))), below = Math.min(3, Math.floor(place));
  return palette[below].map((from, n) => Math.round(from + (palette[below + 1][n] - from) * (place - below)));
};
const luminance = (...rgb) => rgb.reduce((sum, part, n) => sum + [0.2126, 0.7152, 0.0722][n] * (part / 255) ** 2.2, 0);
const picture = (group, order) => {
  const size = order.length, most = Math.min(size > 24 ? 384 : innerWidth < 600 ? 320 : 256, innerWidth - 72);
  const side = Math.max(2, Math.min(40, Math.floor(most / size))), width = side * size, zoom = devicePixelRatio || 1;
  const others = present(group.similarity.flatMap((row, i) => row.filter((_, j) => i !== j)));
  const reading = others.length
    ? `Mean ${fixed(mean(others))}, from ${fixed(others.reduce((a, b) => Math.min(a, b)))} to ${fixed(others.reduce((a, b) => Math.max(a, b)))}`
    : "No similarities";
  const canvas = make("canvas", { role: "img", "aria-label": `Similarity of ${size} completions, pairwise. ${reading}.`,
    width: Math.round(width * zoom), height: Math.round(width * zoom), style: `width:${width}px;height:${width}px` });
  const pen = canvas.getContext("2d"), rim = side >= 10 ? 1 : 0;
  pen.scale(zoom, zoom);
  pen.font = `${Math.min(11, side * 0.38)}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  order.forEach((first, y) => order.forEach((second, x) => {
    const value = group.similarity[first][second];
    if (y === x || value === null) return;  // the diagonal says nothing
    const [red, green, blue] = colour(value);
    pen.fillStyle = `rgb(${red} ${green} ${blue})`;
    pen.fillRect(x * side, y * side, side - rim, side - rim);
    if (side < 25) return;
    pen.fillStyle = luminance(red, green, blue) > 0.18 ? "#000" : "#fff";  // a contrast of 4.5 or more, whatever the colour
    pen.fillText(fixed(value).replace(/^(−?)0\./, "$1."), x * side + side / 2, y * side + side / 2 + 0.5);
  }));
  const plane = make("div", { class: "plane", style: `width:${width}px;height:${width}px` }, canvas);
  const every = side >= 12 ? 1 : size > 32 ? 8 : 4, middle = place => `${(place + 0.5) * side}px`;
  const labels = order.map((index, place) => {
    const label = make("u", { "aria-hidden": "true", style: `left:-0.75rem;top:${middle(place)}` }, String(index));
    label.hidden = place % every !== 0;
    return label;
  });
  const row = make("i", { class: "row" }), cell = make("i", { class: "cell" });
  plane.append(...labels, row, cell);
  const caption = make("div", { class: "number", role: "status" }, reading);
  const scale = make("div", { class: "scale" }, make("span", {}, (alike[0] < lowest ? "≤ " : "") + fixed(lowest)), make("span"),
    make("span", {}, "1.00 alike"));
  const figure = make("figure", { class: "matrix" }, plane, make("figcaption", {}, scale, caption));
  const place = (box, x, y, wide) => box.style.cssText =
    `display:block;left:${x * side - 2}px;top:${y * side - 2}px;width:${wide * side + 4 - rim}px;height:${side + 4 - rim}px`;
  const show = (first, second) => {
    row.style.display = cell.style.display = "none";
    labels.forEach((label, at) => {
      label.classList.toggle("on", order[at] === first);
      label.hidden = order[at] !== first && (at % every !== 0 || (first !== null && every > Math.abs(at - order.indexOf(first))));
    });
    if (first === null) return caption.textContent = reading;
    place(row, 0, order.indexOf(first), size);
    if (second === null || second === first) return caption.textContent = `Row of ${first}`;
    place(cell, order.indexOf(second), order.indexOf(first), 1);
    const value = group.similarity[first][second];
    return caption.textContent = `${first} and ${second}: ${value === null ? "no similarity" : fixed(value, 3)}`;
  };
  const at = event => {
    const box = canvas.getBoundingClientRect();
    const cellOf = offset => order[Math.min(size - 1, Math.max(0, Math.floor(offset / side)))];
    return [cellOf(event.clientY - box.top), cellOf(event.clientX - box.left)];
  };
  return { figure, plane, show, at };
};

// A group

const card = (group, index, change, largest) => {
  const completion = group.completions[index], plain = group.method === null, unscored = !isScored(group, completion);
  const left = isLeftOut(completion);
  const word = unscored ? "not scored" : left ? "not selected" : plain || change === null ? "" : tiny(change) ? "unchanged" : change > 0 ? "raised" : "lowered";
  const node = make("article", { class: "card", tabindex: "0", "data-card": index, "aria-label": `Completion ${index}${word && ", " + word}` });
  const verdict = completion.correct === null ? "" : completion.correct ? "✓ correct" : "✗ wrong";
  const mark = unscored || left ? make("span", { class: "muted" }, word) : plain || change === null ? "" : arrow(change);
  node.append(make("div", { class: "top" }, make("b", { class: "number" }, String(index)), make("span", { class: "muted" }, verdict), mark));
  if (!plain) {
    const wide = change === null || !largest ? 0 : 50 * Math.abs(change) / largest;
    node.append(make("div", { class: `bar ${change > 0 ? "up" : "down"}`, "aria-hidden": "true" },
      make("span", { style: `width:${wide}%;${change > 0 ? "left" : "right"}:50%` })));
  }
  node.append(text(completion.text));
  clip(node, completion.text);
  const numbers = [[run.kind === null ? "raw" : "total reward", fixed(completion.raw)], ...(plain ? [] : [["adjusted", fixed(completion.adjusted, view.digits)]]), ["advantage", signed(completion.advantage)]];
  if (completion.tokens !== null) numbers.push(["tokens", count(completion.tokens)]);
  if (completion.truncated) numbers.push(["cut off", "yes"]);
  numbers.push(...completion.diagnostics.map(([name, value]) => [name, short(value), reported(name)]));
  node.append(make("dl", {}, ...numbers.map(([name, value, title]) => make("div", title ? { title } : {}, make("dt", {}, name), make("dd", {}, value)))));
  const foot = make("div", { class: "foot" });
  if (completion.nearest !== null) foot.append("nearest ", goTo(completion.nearest), completion.similarity === null ? "" : ` ${fixed(completion.similarity)}`);
  const rewards = Object.entries(completion.rewards).map(([name, value]) => `${name} ${fixed(value).replace(/\.00$/, "")}`).join(" · ");
  foot.append(completion.nearest !== null && rewards ? make("br") : "", rewards);
  node.append(foot);
  return node;
};

const arranged = (group, change) => {
  const key = { sampled: () => 0, advantage: i => group.completions[i].advantage, change: i => change[i] }[view.order];
  return [...group.completions.keys()].sort((a, b) => (key(b) ?? -Infinity) - (key(a) ?? -Infinity) || a - b);
};

const section = (group, part, largest) => {
  const change = part[view.compare], order = arranged(group, change), raws = scoredRewards(group);
  const node = make("section", { class: "group", id: `group-${group.group}`, "aria-label": `Group ${group.group}` });
  const scored = group.completions.filter(completion => isScored(group, completion)).length;
  const facts = [group.method ?? (run.kind === null ? "plain GRPO" : ""), ...group.diagnostics.map(([name, value]) => `${name}${reported(name) && ` (${reported(name)})`} ${short(value)}`),
    raws.length ? `mean reward ${fixed(mean(raws))}` : "",
    group.method === null || !raws.length ? "" : `spread ${spreads(group)}`,
    scored < order.length ? `${order.length - scored} not scored` : "",
    raws.length < scored ? "total reward unknown" : "", group.similarity === null ? "similarity unknown" : ""];
  node.append(make("header", {},
    make("h2", {}, make("a", { href: `#step=${group.step}&group=${group.group}`, title: "Link to this group" }, `Group ${group.group}`)),
    make("p", { class: "muted number", style: "white-space:normal;overflow-wrap:anywhere" }, facts.filter(Boolean).join(" · "))));
  node.append(clip(make("div", { class: "prompt" }, text(group.prompt)), group.prompt));
  if (group.answer !== null) node.append(make("p", { class: "gold" }, make("span", { class: "muted" }, "gold answer "), text(group.answer, "span")));
  if (run.kind === null) node.append(explain(group, part));

  const cards = new Map(order.map(index => [index, card(group, index, change[index], largest)]));
  const matrix = group.similarity && picture(group, order);
  const body = make("div", { class: matrix ? "body pictured" : "body" });
  if (matrix) body.append(matrix.figure);
  body.append(make("div", { class: "cards" }, ...cards.values()));
  node.append(body);

  const show = (first, second) => {
    for (const [index, node] of cards) {
      node.classList.toggle("on", index === first);
      node.classList.toggle("near", index === second && index !== first);
    }
    matrix?.show(first, second);
  };
  const follow = event => {
    if (matrix?.plane.contains(event.target)) return;
    const over = event.target.closest("[data-go]:not(.card [data-go])") ?? event.target.closest(".card");
    const first = over ? Number(over.dataset.card) : null;
    show(first, first === null ? null : group.completions[first].nearest);
  };
  node.addEventListener("pointerover", follow);
  node.addEventListener("focusin", follow);
  node.addEventListener("pointerleave", () => show(null, null));
  node.addEventListener("focusout", () => show(null, null));
  node.addEventListener("click", event => {
    const link = event.target.closest("[data-go]");
    if (!link) return;
    const target = cards.get(Number(link.dataset.go));
    target.focus({ preventScroll: true });
    target.scrollIntoView({ block: "nearest" });
  });
  for (const kind of matrix ? ["pointermove", "pointerdown"] : []) matrix.plane.addEventListener(kind, event => show(...matrix.at(event)));
  return node;
};
