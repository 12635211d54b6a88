"use strict";
// Everything a machine or a file says is hostile: it reaches the page through textContent only.

const api = "/api/v1";
const cards = new Map();
let token = sessionStorage.getItem("token") || "";
let lastGood = 0;
let jobs = [];

const byId = (id) => document.getElementById(id);
const element = (tag, text, className) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
};

async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(api + path, { ...options, headers });
  if (answer.status === 401) byId("token-dialog").open || byId("token-dialog").showModal();
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({ title: `The agent answered ${answer.status}.` }));
  throw new Error([problem.title, problem.detail, problem.code && `[${problem.code}]`].filter(Boolean).join(" "));
}

let toastTimer;
function say(text) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 8000);
}

async function act(path, done) {
  try {
    await ask(path, { method: "POST" });
    if (done) say(done);
  } catch (error) {
    say(error.message);
  }
  refresh();
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.max(0, Math.round(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  if (hours) return `${hours} h ${String(minutes).padStart(2, "0")} min`;
  return minutes ? `${minutes} min ${String(whole % 60).padStart(2, "0")} s` : `${whole} s`;
}

function card(machine) {
  if (cards.has(machine.id)) return cards.get(machine.id);
  const made = byId("machine-template").content.firstElementChild.cloneNode(true);
  made.dataset.machine = machine.id;
  const on = (selector, handler) => made.querySelector(selector).addEventListener("click", handler);
  on(".stop", () => act(`/machines/${encodeURIComponent(machine.id)}/stop`, `${machine.id}: stopped.`));
  on(".clear", () => act(`/machines/${encodeURIComponent(machine.id)}/clear`));
  for (const action of ["pause", "resume", "cancel"]) {
    on(`.${action}`, () => act(`/jobs/${encodeURIComponent(made.dataset.job)}/${action}`));
  }
  made.querySelector(".file").addEventListener("change", (event) => submit(machine.id, event.target));
  byId("machines").append(made);
  cards.set(machine.id, made);
  return made;
}

async function submit(machine, input) {
  const file = input.files[0];
  if (!file) return;
  say(`Sending ${file.name}…`);
  try {
    const job = await ask(`/machines/${encodeURIComponent(machine)}/jobs?name=${encodeURIComponent(file.name)}`,
      { method: "POST", body: file });
    say(job.state === "refused" ? `${job.name} was refused. ${job.reason ? job.reason.message : ""}`
      : `${job.name} was submitted. It waits in the list until somebody starts it.`);
  } catch (error) {
    say(error.message);
  }
  input.value = "";
  refresh();
}

function readings(machine) {
  const list = [];
  const add = (name, reading, text) => {
    if (reading) list.push({ name, text, stale: reading.quality !== "good" });
  };
  const position = machine.position_mm;
  if (position) {
    ["X", "Y", "Z"].forEach((axis, at) => add(axis, position, `${position.value[at].toFixed(2)} mm`));
  }
  for (const heater of machine.temperatures) {
    const target = heater.target_c ? ` / ${heater.target_c.toFixed(0)}` : "";
    add(heater.heater, heater.actual_c, `${heater.actual_c.value.toFixed(1)}${target} °C`);
  }
  add("Feed", machine.feed_mm_min, machine.feed_mm_min && `${machine.feed_mm_min.value.toFixed(0)} mm/min`);
  add(machine.kind === "laser" ? "Beam S" : "Spindle", machine.spindle, machine.spindle && machine.spindle.value.toFixed(0));
  return list;
}

function show(machine) {
  const made = card(machine);
  const part = (selector) => made.querySelector(selector);
  part(".title").textContent = machine.id;
  part(".firmware").textContent =
    [machine.title, machine.identity && machine.identity.firmware].filter(Boolean).join(" · ");
  part(".state").textContent = machine.state;
  part(".state").className = `state ${machine.state}`;
  const accepting = part(".accepting");
  accepting.className = `accepting ${machine.accepting_jobs ? "yes" : "no"}`;
  const reason = machine.reason ? ` ${machine.reason.sentence}` : "";
  const free = machine.free_at && machine.state === "running"
    ? ` Free at about ${new Date(machine.free_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}.` : "";
  accepting.textContent = (machine.accepting_jobs ? "Accepting jobs." : "Not accepting jobs.") + reason + free;
  const notice = part(".notice");
  notice.hidden = !machine.notice;
  if (machine.notice) notice.textContent = [machine.notice.happened, machine.notice.done, machine.notice.to_do].join(" ");
  showJob(part, made, machine.job);
  const list = part(".readings");
  list.replaceChildren(...readings(machine).map((reading) => {
    const box = element("div", undefined, reading.stale ? "stale" : "");
    box.append(element("dt", reading.name), element("dd", reading.text));
    return box;
  }));
  const on = machine.job && !["finished", "cancelled", "failed"].includes(machine.job.state);
  part(".pause").hidden = !(on && ["running"].includes(machine.state));
  part(".resume").hidden = !(on && ["held", "attention"].includes(machine.state));
  part(".cancel").hidden = !(on && machine.state !== "stopping");
  part(".clear").hidden = machine.state !== "alarm";
  part(".stop").disabled = machine.state === "offline";
}

function showJob(part, made, job) {
  part(".job").hidden = !job;
  if (!job) return;
  made.dataset.job = job.id;
  const percent = job.state === "finished" ? 100 : Math.floor((job.progress || 0) * 100);
  part(".job-name").textContent = job.name || job.id;
  part(".percent").textContent = job.state === "running" || job.state === "held" ? `${percent} %` : job.state;
  part(".fill").style.width = `${percent}%`;
  part(".bar").setAttribute("aria-valuenow", percent);
  part(".bar").setAttribute("aria-label", `Executed part of ${job.name || job.id}`);
  part(".counts").textContent = `${job.executed} of ${job.commands} commands executed`;
  const left = duration(job.time_left_s);
  part(".left").textContent = left && job.state === "running" ? `about ${left} left` : "";
}

function showJobs() {
  byId("no-jobs").hidden = jobs.length > 0;
  byId("jobs").replaceChildren(...jobs.map((job) => {
    const row = element("tr");
    row.dataset.job = job.id;
    const name = element("td", job.name, "name");
    if (job.reason) name.append(element("span", job.reason.message, "why"));
    const percent = Math.floor(job.progress.fraction * 100);
    row.append(name, element("td", job.machine), element("td", job.state),
      element("td", job.commands ? `${percent} %` : ""), element("td", duration(job.time_s)));
    const actions = element("td");
    if (job.state === "queued") {
      for (const [action, label, look] of [["start", "Start", "primary"], ["cancel", "Remove", ""]]) {
        const button = element("button", label, look);
        button.type = "button";
        button.addEventListener("click", () => act(`/jobs/${encodeURIComponent(job.id)}/${action}`));
        actions.append(button, " ");
      }
    }
    row.append(actions);
    return row;
  }));
}

let refreshing = false;
async function refresh() {
  if (refreshing) return;
  refreshing = true;
  try {
    const [machines, list] = await Promise.all([ask("/machines"), ask("/jobs?limit=30")]);
    machines.machines.forEach(show);
    if (JSON.stringify(list.jobs) !== JSON.stringify(jobs)) {
      jobs = list.jobs;
      showJobs();
    }
    lastGood = Date.now();
  } catch { /* The header says how old the data is. */ }
  refreshing = false;
  showConnection();
}

function showConnection() {
  const age = lastGood ? Math.round((Date.now() - lastGood) / 1000) : null;
  const lost = age === null || age > 3;
  document.body.classList.toggle("lost", lost);
  const line = byId("connection");
  line.classList.toggle("lost", lost);
  const text = !lost ? "Live" : age === null ? "Connecting…" : `No answer from the agent for ${age} s. What you see is old.`;
  if (line.textContent !== text) line.textContent = text;
}

function tellEvent(event) {
  const what = {
    connected: () => `connected: ${event.firmware}`,
    disconnected: () => event.notice.happened,
    state: () => `${event.from} → ${event.to}`,
    job: () => `job ${event.phase}${event.notice ? `: ${event.notice.happened}` : ""}`,
    trouble: () => `${event.notice.happened} ${event.notice.to_do}`,
    message: () => event.text,
    missed: () => `${event.missed} events were missed`,
  }[event.type];
  if (!what) return;
  const line = element("li");
  const at = element("time", event.at ? new Date(event.at).toLocaleTimeString() : "");
  line.append(at, element("span", event.machine || "", "machine-name"), element("span", what(), "what"));
  byId("events").prepend(line);
  while (byId("events").children.length > 200) byId("events").lastChild.remove();
}

// The stream is read with fetch, because EventSource cannot show a token.
async function follow() {
  let last = "";
  for (;;) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      if (token) headers.Authorization = `Bearer ${token}`;
      const answer = await fetch(`${api}/events`, { headers });
      if (!answer.ok) throw new Error();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const blocks = text.split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          let data = "";
          for (const line of block.split("\n")) {
            if (line.startsWith("id:")) last = line.slice(3).trim();
            if (line.startsWith("data:")) data += line.slice(5).trim();
          }
          if (data) tellEvent(JSON.parse(data));
        }
        refresh();
      }
    } catch { /* Tried again below. */ }
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

byId("token-use").addEventListener("click", () => {
  token = byId("token").value.trim();
  sessionStorage.setItem("token", token);
  byId("token-dialog").close();
  refresh();
});

refresh();
follow();
setInterval(refresh, 500);
setInterval(showConnection, 1000);
