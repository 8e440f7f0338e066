// What `manypaths check` says of the run

const isShown = ({ step, group }) => (groupsOf.get(step) ?? []).some(other => other.group === group);
const place = at => {
  const words = `${run.word.toLowerCase()} ${at.step} group ${at.group}`;
  return isShown(at) ? make("a", { href: `#step=${at.step}&group=${at.group}` }, words) : make("span", {}, words);
};
const finding = check => {
  const node = make("li", {}, make("b", {}, `${check.title}:`), ` ${check.sentence}`);
  if (check.advice) node.append(make("p", {}, make("span", { class: "muted" }, "To do: "), check.advice));
  if (check.groups.length) {
    const links = check.groups.flatMap((at, index) => [index ? ", " : "", place(at)]);
    node.append(make("p", { class: "number where" }, make("span", { class: "muted" }, "Look at "), ...links));
  }
  return node;
};
const showChecks = () => {
  if (run.unchecked !== null) {
    $("checks").before(make("p", { class: "muted", id: "unchecked" }, `Not checked: ${visible(run.unchecked)}`));
    return;
  }
  const [found, not, unchecked] = ["found", "not shown", "not checkable"].map(state => run.checks.filter(check => check.state === state));
  const details = $("checks"), titles = found.map(check => check.title).join(", ");
  details.hidden = false;
  details.open = found.length > 0;
  const checked = unchecked.length < run.checks.length;
  const outcome = found.length ? `Found: ${titles}` : checked ? "Nothing found" : "Nothing could be checked";
  const parts = [outcome, `${run.checks.length} checks`];
  if (checked && unchecked.length) parts.push(`${unchecked.length} not checkable`);
  details.querySelector("summary").textContent = parts.join(" · ");
  details.querySelector("#found").append(...found.map(finding));
  const others = details.querySelector("details");
  others.hidden = found.length === run.checks.length;
  others.querySelector("summary").textContent = "What else was checked";
  others.querySelector("ul").append(...not.map(finding), ...unchecked.map(check => finding({ ...check, title: `${check.title}, not checkable` })));
};
