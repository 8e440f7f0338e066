// The curves

const curves = [];
run.curves.forEach(({ metric: key, title, meaning }) => {
  const points = run.metrics.filter(line => line[key] !== undefined);
  if (!points.length) return;
  const all = run.metrics.map(line => line.step), values = points.map(line => line[key]);
  const [first, last] = [Math.min(all[0], steps[0]), Math.max(all.at(-1), steps.at(-1))];
  const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
  const x = step => last === first ? 50 : 100 * (step - first) / (last - first);
  const y = value => high === low ? 50 : 94 - 88 * (value - low) / (high - low);
  const svg = document.querySelector("template").content.firstChild.cloneNode(true);
  const [line, here, dot] = svg.children;
  line.setAttribute("d", points.map((point, at) => `${at ? "L" : "M"}${x(point.step).toFixed(2)} ${y(point[key]).toFixed(2)}`).join("") + "h0");
  svg.setAttribute("aria-label", `${title} (${meaning}) over the steps ${first} to ${last}: ${short(values[0])} at first, ${short(values.at(-1))} at last, `
    + `lowest ${short(low)}, highest ${short(high)}.`);
  const reading = make("b", { class: "number" }), ends = make("div", { class: "ends number" });
  const name = make("span", { class: "muted", title: meaning }, title);
  $("curves").append(make("figure", {}, make("figcaption", {}, name, reading), svg, ends));
  const mark = (step, hovered = false) => {
    const point = points.reduce((best, other) => Math.abs(other.step - step) < Math.abs(best.step - step) ? other : best);
    const there = point.step === step;
    here.setAttribute("d", `M${x(step)} 0V100`);
    dot.setAttribute("d", there ? `M${x(step)} ${y(point[key])}h0` : "");
    reading.textContent = there ? short(point[key]) : "–";
    ends.replaceChildren(make("span", {}, `${short(low)} to ${short(high)}`), make("span", {}, hovered || first === last ? `step ${step}` : `steps ${first} to ${last}`));
  };
  const under = event => {
    const box = svg.getBoundingClientRect();
    return first + (last - first) * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  const nearest = (list, step) => list.reduce((best, other) => Math.abs(other - step) < Math.abs(best - step) ? other : best);
  svg.addEventListener("pointermove", event => curves.forEach(curve => curve.mark(nearest(all, under(event)), true)));
  svg.addEventListener("pointerleave", () => curves.forEach(curve => curve.mark(steps[view.at])));
  svg.addEventListener("click", event => go(nearest(steps, under(event))));
  curves.push({ mark });
});

// The page

let width;
const draw = () => {
  width = innerWidth;
  const step = steps[view.at], all = groupsOf.get(step);
  const chosen = view.spread ? all.filter(varies) : all;
  const parts = new Map(chosen.map(group => [group, changes(group)]));
  const largest = [...parts.values()].flatMap(part => part[view.compare]).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  view.digits = largest > 5e-4 && largest < 0.1 ? 3 : 2;
  $("slider").value = view.at;
  $("slider").setAttribute("aria-valuetext", `${run.word} ${step}`);
  $("previous").disabled = view.at === 0;
  $("next").disabled = view.at === steps.length - 1;
  document.querySelector("#steps output").textContent = `${run.word} ${step}`;
  $("shown").textContent = view.spread ? `${chosen.length} of ${all.length} groups` : "";
  const title = group => `Group ${group.group}: ${[group.prompt].flat().join(" … ").replace(/\s+/g, " ").slice(0, 60)}`;
  $("jump").replaceChildren(make("option", { value: "" }, "Group …"), ...chosen.map(group => make("option", { value: group.group }, title(group))));
  curves.forEach(curve => curve.mark(step));
  $("groups").replaceChildren(...chosen.map(group => section(group, parts.get(group), largest)));
  if (!chosen.length) $("groups").append(make("p", { class: "muted" }, "All groups of this step are zero-variance groups: within each, all rewards are equal."));
};
const reach = group => $(`group-${group}`)?.scrollIntoView();
const go = (step, group = null) => {
  view.at = Math.max(0, steps.indexOf(step));
  history.replaceState(null, "", `#step=${steps[view.at]}${group === null ? "" : `&group=${group}`}`);
  draw();
  if (group !== null) reach(group);
};
const turn = by => steps[view.at + by] !== undefined && go(steps[view.at + by]);
const follow = () => {
  const fragment = new URLSearchParams(location.hash.slice(1)), step = Number(fragment.get("step") ?? NaN);
  const group = fragment.get("group");
  go(steps.includes(step) ? step : steps.at(-1), /^\d+$/.test(group ?? "") ? Number(group) : null);
};

document.title = `${run.name} · manypaths`;
document.querySelector("h1").textContent = run.name;
const shown = steps.length < run.steps ? `${count(steps.length)} of ${count(run.steps)}` : count(steps.length);
const word = run.word.toLowerCase();
$("size").textContent = `${run.kind === null ? "" : `${run.kind}: `}${shown} ${run.steps === 1 ? word : word + "s"}, ${count(run.groups.length)} groups, `
  + `${count(run.groups.reduce((sum, group) => sum + group.completions.length, 0))} completions`;
if (run.evaluation) {
  const parts = Object.entries(run.evaluation).flatMap(([when, { accuracy, low, high }], place) => [place ? ", " : " ",
    make("b", { class: "number" }, `${percent(accuracy)} %`), `${low === null || high === null ? "" : ` [${percent(low)}, ${percent(high)}]`} ${when}`]);
  const { problems } = run.evaluation.after ?? run.evaluation.before ?? { problems: null };
  $("evaluation").append(`Accuracy on ${problems === null ? "" : count(problems) + " "}held-out problems:`, ...parts, ".");
  $("evaluation").hidden = !parts.length;
}
if (run.kind !== null) {
  $("what").textContent = "manypaths · the groups of a log";
  $("compare").parentElement.style.display = "none";  // nobody is known to be raised or lowered
  $("order").querySelector("[value=change]").remove();
}
if (run.notes.length) {
  $("notes").hidden = false;
  $("notes").append(...run.notes.map(note => make("p", {}, visible(note))));
}
if (run.recipe !== null) {
  $("recipe").hidden = false;
  document.querySelector("#recipe pre").textContent = run.recipe;
}
$("slider").max = steps.length - 1;
$("slider").addEventListener("input", event => go(steps[event.target.value]));
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
$("jump").addEventListener("change", event => event.target.value && go(steps[view.at], Number(event.target.value)));
for (const name of ["order", "compare"]) $(name).addEventListener("change", event => { view[name] = event.target.value; draw(); });
$("spread").addEventListener("change", event => { view.spread = event.target.checked; draw(); });
addEventListener("click", event => {
  if (!event.target.closest("[data-compare]")) return;
  $("compare").value = view.compare = event.target.dataset.compare;
  draw();
});
addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.target.closest?.("input, select")) return;
  if (event.key === "ArrowLeft") turn(-1);
  if (event.key === "ArrowRight") turn(1);
});
addEventListener("hashchange", follow);
addEventListener("resize", () => { if (innerWidth !== width) draw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readPalette(); draw(); });
readPalette();
showChecks();
follow();
