"use strict";
// Every text of a run reaches the page through `make`, whose children are text or nodes, never markup.
const $ = id => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const run = JSON.parse($("data").textContent);
const steps = [...new Set(run.groups.map(group => group.step))];
const groupsOf = new Map(steps.map(step => [step, []]));
for (const group of run.groups) groupsOf.get(group.step).push(group);
const view = { at: 0, order: "sampled", compare: "whole", spread: false, digits: 2 };

// Numbers

const scoredRewards = group => present(group.completions.map(completion => completion.raw));
const isScored = (group, completion) => completion.raw !== null
  || (!scoredRewards(group).length && Object.values(completion.rewards).some(value => value !== null));  // the total is unknown
const varies = group => run.kind === null || scoredRewards(group).length  // else by the advantages, for the totals are unknown
  ? spreadOf(group, "raw") > 1e-6 : group.completions.some(completion => Math.abs(completion.advantage ?? 0) > 1e-6);
const present = values => values.filter(value => value !== null);
const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = values => {  // of a sample, as GRPO has it
  const centre = mean(values);
  return values.length < 2 ? 0 : Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
};
const fixed = (value, digits = 2) => value === null ? "–" : value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1").replace("-", "−");
const tiny = change => Math.abs(change) < 0.5 * 10 ** -view.digits;
const signed = value => value === null ? "–" : (value > 0 && !tiny(value) ? "+" : "") + fixed(value, view.digits);
const short = value => {  // of any magnitude
  const size = Math.abs(value ?? 0);
  if (size === 0 || (size >= 0.01 && size < 1e4)) return fixed(value).replace(/\.00$/, "");
  return String(Number(value.toPrecision(3))).replaceAll("-", "−");
};
const percent = value => value === null ? "?" : (100 * value).toFixed(0);

// The change of each completion by reweighting, in its distance from the group's mean; null where it has no reward.
//   whole  adjusted - raw: the difference to plain GRPO
//   own    that difference without the factor by which all rewards of the group were scaled
const changes = group => {
  const both = group.completions.filter(completion => completion.raw !== null && completion.adjusted !== null);
  const [raw, adjusted] = ["raw", "adjusted"].map(key => {
    const centre = mean(both.map(completion => completion[key]));
    return both.map(completion => completion[key] - centre);
  });
  const square = raw.reduce((sum, value) => sum + value ** 2, 0);
  const factor = square > 1e-12 ? raw.reduce((sum, value, at) => sum + value * adjusted[at], 0) / square : 1;
  const spread = part => group.completions.map(completion => both.includes(completion) ? part(both.indexOf(completion)) : null);
  return { whole: spread(at => adjusted[at] - raw[at]), own: spread(at => adjusted[at] - factor * raw[at]), factor };
};
const spreadOf = (group, key) => deviation(present(group.completions.map(completion => completion[key])));
const spreads = group => `${fixed(spreadOf(group, "raw"))}\u00a0→\u00a0${fixed(spreadOf(group, "adjusted"))}`;

// Texts

const visible = text => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g,
  control => String.fromCharCode(control === "\u007f" ? 0x2421 : 0x2400 + control.charCodeAt(0)));
const count = number => number.toLocaleString("en");
const text = (value, tag = "div") => {
  const node = make(tag, { class: "text", dir: "auto" });
  if (typeof value !== "string") {
    const [start, left, end] = value;
    const note = `${count(left)} characters are left out here; ${run.kind === null ? "groups.jsonl" : "the log"} has them.`;
    node.append(visible(start), make("span", { class: "gap" }, note), visible(end));
  } else if (value.trim() === "") {
    node.append(make("span", { class: "muted" }, value === "" ? "(empty)" : "(white space only)"));
  } else {
    node.append(visible(value));
  }
  return node;
};
const clip = (node, value) => {  // long texts open on request
  const all = typeof value === "string" ? value : value.join("");
  if (all.length < 500 && all.split("\n").length < 14) return node;
  node.classList.add("clipped");
  const more = make("button", { class: "more", "aria-expanded": "false" }, "Show all");
  more.addEventListener("click", () => {
    const clipped = node.classList.toggle("clipped");
    more.textContent = clipped ? "Show all" : "Show less";
    more.setAttribute("aria-expanded", !clipped);
  });
  node.querySelector(".text").after(more);
  return node;
};
const arrow = change => {
  if (tiny(change)) return make("span", { class: "number muted", title: "Neither raised nor lowered" }, `= ${signed(change)}`);
  const [name, mark] = change > 0 ? ["up", "▲"] : ["down", "▼"];
  return make("span", { class: `number ${name}`, title: `${change > 0 ? "Raised" : "Lowered"} against plain GRPO` }, `${mark} ${signed(change)}`);
};
const goTo = index => make("button", { "data-card": index, "data-go": index, "aria-label": `Completion ${index}` }, String(index));
