"use strict";
// Everything a machine or a file says is hostile: it reaches the page through textContent only.

// Without a slash in front: behind a proxy the page can be anywhere.
const api = "api/v1";
const cards = new Map();
// The machines as last heard of, by name.
let onMachine = new Map();
let token = sessionStorage.getItem("token") || "";
let lastGood = 0;
let locked = false;
// The agent's clock, as its last answer told it: a phone's own clock may be wrong.
let agentNow = Date.now();

const byId = (id) => document.getElementById(id);
const element = (tag, text, className) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
};

const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };

// An agent on the same bench answers in milliseconds; one that needs longer is gone. Uploads take what they take.
const PATIENCE_MS = 5000;

async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  const shown = token;
  if (shown) headers.Authorization = `Bearer ${shown}`;
  const signal = options.signal ? options.signal : options.body ? undefined : AbortSignal.timeout(PATIENCE_MS);
  const { without: _, ...request } = options;
  const answer = await fetch(api + path, { ...request, headers, signal }).catch(() => { throw new Error("The agent did not answer."); });
  agentNow = Date.parse(answer.headers.get("date")) || Date.now();
  // What is not shown to somebody without a token is left out, and no reason to ask for one.
  if (answer.status === 401 && !shown && options.without) return options.without;
  // An answer to an older token says nothing of the one given since.
  if (answer.status === 401 && shown === token) askForToken();
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({ title: `The agent answered ${answer.status}.` }));
  throw new Error([problem.title, problem.detail, problem.code && `[${problem.code}]`].filter(Boolean).join(" "));
}

function askForToken() {
  locked = true;
  const dialog = byId("token-dialog");
  if (dialog.open) return;
  byId("token-wrong").hidden = !token;
  dialog.showModal();
}

let toastTimer;
function say(text) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 8000);
}

async function act(path, done, failed) {
  try {
    await ask(path, { method: "POST" });
    if (done) say(done);
  } catch (error) {
    say(failed ? `${error.message} ${failed}` : error.message);
  }
  refresh();
}

// A second click within a moment: what ends a job is not done by a slip of the hand. A stop needs one click only.
const SURE_MS = 4000;
function twice(button, handler) {
  const label = button.textContent;
  let timer;
  const calm = () => { clearTimeout(timer); timer = undefined; button.textContent = label; button.classList.remove("sure"); };
  button.addEventListener("click", () => {
    if (timer) { calm(); handler(); return; }
    button.textContent = "Really?";
    button.classList.add("sure");
    timer = setTimeout(calm, SURE_MS);
  });
}

const clock = (text, seconds) => new Date(text).toLocaleTimeString([],
  { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(seconds ? { second: "2-digit" } : {}) });

const moment = (text) => {
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  return today ? clock(text) : `${at.toLocaleDateString([], { day: "numeric", month: "short" })} ${clock(text)}`;
};

// Nobody knows the seconds of an estimate of ten minutes.
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  const minutes = Math.round(whole / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

const age = (at) => duration((agentNow - Date.parse(at)) / 1000);

function card(machine) {
  if (cards.has(machine.id)) return cards.get(machine.id);
  const made = byId("machine-template").content.firstElementChild.cloneNode(true);
  made.dataset.machine = machine.id;
  const on = (selector, handler) => made.querySelector(selector).addEventListener("click", handler);
  on(".stop", () => act(`/machines/${encodeURIComponent(machine.id)}/stop`, `${machine.id}: the stop was sent.`,
    "Use the switch on the machine itself."));
  on(".clear", () => act(`/machines/${encodeURIComponent(machine.id)}/clear`));
  const job = (action) => act(`/jobs/${encodeURIComponent(made.dataset.job)}/${action}`);
  on(".pause", () => job("pause"));
  on(".resume", () => (made.dataset.on ? job("resume") : act(`/machines/${encodeURIComponent(machine.id)}/resume`)));
  twice(made.querySelector(".cancel"), () => job("cancel"));
  made.querySelector(".file").addEventListener("change", (event) => submit(machine.id, event.target));
  fitControls(made, machine);
  byId("machines").append(made);
  cards.set(machine.id, made);
  return made;
}

// What happened, what was done and what to do.
const sentences = (notice) => (notice ? [notice.happened, notice.done, notice.to_do].filter(Boolean).join(" ") : "");

async function submit(machine, input) {
  const file = input.files[0];
  if (!file) return;
  say(`Sending ${file.name}…`);
  try {
    const job = await ask(`/machines/${encodeURIComponent(machine)}/jobs?name=${encodeURIComponent(file.name)}`,
      { method: "POST", body: file });
    say(job.state === "refused" ? `${job.name} was refused. ${sentences(job.reason)}`
      : `${job.name} was submitted. It waits in the list until somebody starts it.`);
  } catch (error) {
    say(error.message);
  }
  input.value = "";
  refresh();
}

const heaterName = (heater) => heater.replace(/^tool(\d+)$/, (_, number) => (number === "0" ? "Tool" : `Tool ${number}`))
  .replace(/^(bed|chamber)$/, (name) => name[0].toUpperCase() + name.slice(1));

function readings(machine) {
  const list = [];
  const add = (name, reading, values, unit) => {
    if (!reading) return;
    const box = element("div", undefined, [reading.quality !== "good" && "stale", values.length > 1 && "wide"].filter(Boolean).join(" "));
    const label = element("dt", name);
    if (reading.quality !== "good") label.append(element("span", ` ${age(reading.at)} old`, "age"));
    box.append(label, ...values.map(([prefix, text]) => {
      const value = element("dd");
      if (prefix) value.append(element("span", `${prefix} `, "unit"));
      value.append(text, element("span", ` ${unit}`, "unit"));
      return value;
    }));
    box.title = `as of ${clock(reading.at, true)}`;
    list.push(box);
  };
  const position = machine.position_mm;
  add("Position", position, position ? ["X", "Y", "Z"].map((axis, at) => [axis, position.value[at].toFixed(2)]) : [], "mm");
  for (const heater of machine.temperatures) {
    const target = heater.target_c ? ` / ${heater.target_c.toFixed(0)}` : "";
    add(heaterName(heater.heater), heater.actual_c, [["", heater.actual_c.value.toFixed(1) + target]], "°C");
  }
  const whole = (reading) => (reading ? [["", reading.value.toFixed(0)]] : []);
  add("Feed", machine.feed_mm_min, whole(machine.feed_mm_min), "mm/min");
  if (machine.kind === "laser") add("Beam", machine.spindle, whole(machine.spindle), "S");
  else add("Spindle", machine.spindle, whole(machine.spindle), "rpm");
  return list;
}

function show(machine) {
  const made = card(machine);
  const part = (selector) => made.querySelector(selector);
  const on = machine.job && !["finished", "cancelled", "failed"].includes(machine.job.state);
  made.className = `machine ${machine.state}`;
  setText(part(".title"), machine.id);
  const firmware = [machine.title, machine.identity && machine.identity.firmware].filter(Boolean).join(" · ");
  setText(part(".firmware"), firmware);
  part(".firmware").title = firmware;
  setText(part(".state"), machine.state);
  part(".state").className = `state ${machine.state}`;
  part(".accepting").className = `accepting ${machine.accepting_jobs ? "yes" : "no"}`;
  const told = machine.notice && machine.reason && machine.notice.code === machine.reason.code;
  setText(part(".accepting"), [
    machine.accepting_jobs ? "Accepting jobs." : "Not accepting jobs.",
    !told && machine.reason && machine.reason.happened,
    machine.free_at && machine.state === "running" && `Free at about ${moment(machine.free_at)}.`,
  ].filter(Boolean).join(" "));
  const notice = part(".notice");
  notice.hidden = !machine.notice;
  setText(notice, sentences(machine.notice));
  const cause = part(".link-cause");
  cause.hidden = !machine.link.likely_cause;
  if (machine.link.likely_cause) setText(cause, `${machine.link.likely_cause.happened} ${machine.link.likely_cause.to_do}`);
  showJob(part, made, machine.job);
  part(".readings").replaceChildren(...readings(machine));
  part(".if-host-dies").hidden = machine.protection.length === 0;
  part(".protection").replaceChildren(...machine.protection.map((hazard) =>
    element("li", `${hazard.hazard}: ${hazard.because}`, hazard.protected ? "safe" : "open")));
  showControls(part, machine, on);
  part(".pause").hidden = !(on && machine.state === "running");
  // A hold or an open door outside a job, too; somebody else on the port is nothing to go on with.
  const code = machine.notice ? machine.notice.code : "";
  const other = ["machine.wrong", "machine.swapped", "machine.spindle_on"].includes(code);
  const clear = machine.waits_for_clear && `The ${machine.kind === "mill" ? "table" : "bed"} is clear`;
  const meant = clear || { "machine.swapped": "It is the right one", "machine.spindle_on": "It is meant to be on" }[code];
  if (on) made.dataset.on = "job"; else delete made.dataset.on;
  part(".resume").hidden = other || machine.waits_for_clear || !["held", "attention"].includes(machine.state);
  part(".cancel").hidden = !(on && machine.state !== "stopping");
  setText(part(".clear"), meant || "Clear alarm");
  part(".clear").hidden = machine.state !== "alarm" && !meant;
  part(".stop").setAttribute("aria-label", `STOP ${machine.id} at once`);
}

function showJob(part, made, job) {
  part(".job").hidden = !job;
  if (!job) return;
  made.dataset.job = job.id;
  showPicture(part(".picture"), job);
  const percent = job.state === "finished" ? 100 : Math.floor((job.progress || 0) * 100);
  const name = job.name || job.id;
  part(".job").className = `job ${job.state}`;
  setText(part(".job-name"), name);
  setText(part(".percent"), job.state === "running" || job.state === "held" ? `${percent} %` : job.state);
  part(".fill").style.width = `${percent}%`;
  part(".bar").setAttribute("aria-valuenow", percent);
  part(".bar").setAttribute("aria-label", `Executed part of ${name}`);
  const undone = [["refused", job.refused], ["ignored", job.ignored]].filter(([, count]) => count).map(([what, count]) => `, ${count} ${what}`).join("");
  setText(part(".counts"), `${job.executed} of ${job.commands} executed${undone}`);
  part(".counts").title = `${job.sent} commands sent, ${job.accepted} accepted, ${job.executed} executed, ${job.resends} resends`;
  const left = duration(job.time_left_s);
  setText(part(".left"), left && job.state === "running" ? `about ${left} left` : "");
}

// Where the picture of each job's program is.
let pictures = new Map();

// Shows what a program does. Where there is nothing to draw, nothing is shown.
function showPicture(link, job) {
  const address = pictures.get(job.id);
  if (!address) { link.hidden = true; return; }
  if (link.getAttribute("href") === address) return;
  const image = link.firstElementChild || link.appendChild(element("img"));
  link.href = address;
  link.hidden = true;
  image.alt = `What ${job.name || job.id} does`;
  image.onload = () => { link.hidden = false; };
  image.onerror = () => { link.hidden = true; };
  image.src = address;
}

function pictureLink() {
  const link = element("a", undefined, "picture");
  link.target = "_blank";
  link.rel = "noopener";
  link.hidden = true;
  return link;
}

function button(label, className, spoken, handler) {
  const made = element("button", label, className);
  made.type = "button";
  made.setAttribute("aria-label", spoken);
  made.addEventListener("click", handler);
  return made;
}

const startOf = (job) => button("Start", "primary start", `Start ${job.name} on ${job.machine}`,
  () => act(`/jobs/${encodeURIComponent(job.id)}/start`));
// A failed job goes on only as a job of its own, which waits like any other until somebody starts it. Reading a long
// program takes a while.
const REST_PATIENCE_MS = 120000;
async function makeRest(job) {
  say(`Looking at what is left of ${job.name}…`);
  try {
    const made = await ask(`/jobs/${encodeURIComponent(job.id)}/resume-after-failure`,
      { method: "POST", signal: AbortSignal.timeout(REST_PATIENCE_MS) });
    const { notes, lead_in: leadIn } = made.resumes;
    setText(byId("rest-text"), `${made.name} is a job of its own. It waits in the list until somebody starts it.`);
    byId("rest-notes").replaceChildren(...notes.map((note) => element("li", note)));
    setText(byId("rest-lead-in"), leadIn.join("\n"));
    byId("rest").hidden = false;
    byId("rest").focus();
    byId("toast").hidden = true;
  } catch (error) {
    say(error.message);
  }
  refresh();
}
byId("rest-close").addEventListener("click", () => { byId("rest").hidden = true; });

const restOf = (job) => button("Go on…", "rest", `Go on with ${job.name} on ${job.machine} after its failure`, () => makeRest(job));
const removeOf = (job) => button("Remove", "remove", `Remove ${job.name}`,
  () => act(`/jobs/${encodeURIComponent(job.id)}/cancel`));

// Puts one child for each item, in order. A child that is there already stays the same element: a button that is
// replaced between press and release is never clicked, and one that has the focus would lose it.
function keep(list, items, make, update) {
  const known = new Map([...list.children].map((child) => [child.dataset.job, child]));
  items.forEach((item, at) => {
    let child = known.get(item.id);
    known.delete(item.id);
    if (!child) {
      child = make(item);
      child.dataset.job = item.id;
    }
    if (list.children[at] !== child) list.insertBefore(child, list.children[at] || null);
    update(child, item);
  });
  known.forEach((child) => child.remove());
}

function makeRow(job) {
  const row = element("tr");
  const name = element("td", undefined, "name");
  name.append(element("span", job.name), element("span", "", "why"));
  const state = element("td");
  state.append(element("span", ""));
  const actions = element("td");
  actions.append(startOf(job), removeOf(job), restOf(job));
  row.append(name, element("td", job.machine), state, element("td"), element("td"), element("td", moment(job.submitted_at)), actions);
  return row;
}

function updateRow(row, job) {
  const [name, , state, executed, estimate, , actions] = row.children;
  const waitsFor = (job.waits_for || []).map((missing) => missing.happened).join(" ");
  setText(name.lastChild, sentences(job.reason) || (waitsFor && `Waits. ${waitsFor}`));
  setText(state.firstChild, job.state);
  state.firstChild.className = `word ${job.state}`;
  const on = (onMachine.get(job.machine) || {}).job;
  const fraction = on && on.id === job.id ? on.progress : job.progress.fraction;
  setText(executed, job.commands && job.started_at ? `${Math.floor((fraction || 0) * 100)} %` : "");
  setText(estimate, duration(job.time_s));
  for (const offer of actions.children) offer.hidden = job.state !== (offer.classList.contains("rest") ? "failed" : "queued");
  offerStart(actions.querySelector(".start"), job);
}

function offerStart(start, job) {
  const { state } = onMachine.get(job.machine) || {};
  start.disabled = state !== "idle";
  start.title = start.disabled ? `${job.machine} is ${state || "unknown"}` : "";
}

function makeWaiting(job) {
  const line = element("li");
  line.append(pictureLink(), element("span", `Waiting: ${job.name}`, "name"), startOf(job));
  return line;
}

// Shown on a machine's card; the list below has all of them.
const WAITING_SHOWN = 3;

function showJobs(jobs) {
  byId("no-jobs").hidden = jobs.length > 0;
  byId("jobs").closest("table").hidden = jobs.length === 0;
  keep(byId("jobs"), jobs, makeRow, updateRow);
  for (const [machine, made] of cards) {
    const waiting = jobs.filter((job) => job.machine === machine && job.state === "queued").reverse();
    const list = made.querySelector(".waiting");
    list.hidden = waiting.length === 0;
    keep(list, waiting.slice(0, WAITING_SHOWN), makeWaiting, (line, job) => {
      showPicture(line.firstChild, job);
      offerStart(line.lastChild, job);
    });
  }
}

let refreshing = false;
async function refresh() {
  if (refreshing) return;
  refreshing = true;
  try {
    // Machines are for everybody where the owner says so; jobs are not. Whoever has no token sees machines, and stops them.
    const jobs = ask("/jobs?limit=30", { without: { jobs: [] } });
    const answers = await Promise.all([ask("/machines"), jobs]).catch(() => null);
    // Without an answer nothing is drawn anew: the header says how old the rest is.
    if (answers) draw(answers[0].machines, answers[1].jobs);
  } finally {
    refreshing = false;
    showConnection();
  }
}

function draw(machines, jobs) {
  lastGood = Date.now();
  locked = false;
  onMachine = new Map(machines.map((machine) => [machine.id, machine]));
  pictures = new Map(jobs.filter((job) => !["received", "checking", "refused"].includes(job.state)).map((job) => [job.id, job.preview.replace(/^\//, "")]));
  machines.forEach(show);
  for (const [id, made] of cards) {
    if (onMachine.has(id)) continue;
    made.remove();
    cards.delete(id);
  }
  summarise(machines);
  showJobs(jobs);
  jobs.forEach((job) => names.set(job.id, job.name));
}

function summarise(machines) {
  const counts = new Map();
  for (const { state } of machines) counts.set(state, (counts.get(state) || 0) + 1);
  const words = [...counts].map(([state, count]) => `${count} ${state}`);
  setText(byId("summary"), `${machines.length} machine${machines.length === 1 ? "" : "s"}: ${words.join(", ")}`);
  const alarms = machines.filter(({ state }) => state === "alarm" || state === "attention").map(({ id, state }) => `${id}: ${state}`);
  const title = [...alarms, "fab-agent"].join(" · ");
  if (document.title !== title) document.title = title;
}

// Readings come twice a second. After this long without any, what is on the page is called old.
const LOST_MS = 3000;

function showConnection() {
  const silent = Date.now() - lastGood;
  const lost = silent > LOST_MS;
  document.body.classList.toggle("lost", lost);
  byId("connection").className = !lost ? "live" : lastGood ? "lost" : "";
  let text = "Live";
  if (lost && locked) text = "The agent asks for its token.";
  else if (lost && lastGood) text = `Connection lost: no answer for ${duration(silent / 1000)}. What you see is old. To stop a machine, use its own switch.`;
  else if (lost) text = "Connecting…";
  setText(byId("connection"), text);
}

const EVENTS_SHOWN = 200;
const names = new Map();

function tellEvent(event) {
  const what = {
    connected: () => `connected: ${event.firmware}`,
    disconnected: () => event.notice.happened,
    state: () => `${event.from} → ${event.to}`,
    job: () => `${names.get(event.job) || "job"}: ${event.phase}${event.notice ? `. ${event.notice.happened}` : ""}`,
    trouble: () => `${event.notice.happened} ${event.notice.to_do}`,
    message: () => event.text,
    probed: () => (event.touched ? `the probe touched at Z ${event.position_mm[2].toFixed(3)} mm` : "the probe touched nothing"),
    missed: () => `${event.missed} events were missed`,
  }[event.type];
  if (!what) return;
  const line = element("li", undefined, `is-${event.type}`);
  const at = element("time", event.at ? clock(event.at, true) : "");
  line.append(at, element("span", event.machine || "", "machine-name"), element("span", what(), "what"));
  byId("events").prepend(line);
  byId("no-events").hidden = true;
  while (byId("events").children.length > EVENTS_SHOWN) byId("events").lastChild.remove();
}

const RETRY_MS = 2000;

// The stream is read with fetch, because EventSource cannot show a token. A page that nobody sees gives its connection
// back: browsers allow six to one address, and a stop must not wait for one behind forgotten tabs.
async function follow() {
  // What happened before this page was opened is told, too, as far as the agent remembers it.
  let last = "0-0";
  for (;;) {
    const hidden = new AbortController();
    const leave = () => { if (document.hidden) hidden.abort(); };
    document.addEventListener("visibilitychange", leave);
    leave();
    try {
      const headers = { "Last-Event-ID": last };
      if (token) headers.Authorization = `Bearer ${token}`;
      const answer = await fetch(`${api}/events`, { headers, signal: hidden.signal });
      if (answer.ok) await listen(answer.body.pipeThrough(new TextDecoderStream()).getReader(), (id) => { last = id; });
    } catch { /* Tried again below. */ }
    document.removeEventListener("visibilitychange", leave);
    await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
  }
}

async function listen(reader, seen) {
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      let data = "";
      for (const line of block.split("\n")) {
        if (line.startsWith("id:")) seen(line.slice(3).trim());
        if (line.startsWith("data:")) data += line.slice(5).trim();
      }
      if (data) tellEvent(JSON.parse(data));
    }
    refresh();
  }
}

byId("token-form").addEventListener("submit", () => {
  token = byId("token").value.trim();
  sessionStorage.setItem("token", token);
  byId("token").value = "";
  refresh();
});

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh().then(follow);
setInterval(refresh, 500);
setInterval(showConnection, 1000);
