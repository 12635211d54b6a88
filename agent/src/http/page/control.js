"use strict";
// People at a machine: moving it by hand, overrides, and what it asks of them. A jog lasts only while its button is held:
// the page asks for it again and again, and the agent ends it as soon as the page falls silent.

// The agent waits 300 ms for the next request of a held button.
const AGAIN_MS = 100;

// A request that takes longer than this says nothing any more about a button that is held.
const JOG_PATIENCE_MS = 1000;

// As far as one request may go. While a button is held there is always another.
const JOG_MM = 100;

const machinePath = (machine, what) => `/machines/${encodeURIComponent(machine)}/${what}`;

const order = (path, body, patience) => ask(path, {
  method: "POST",
  body: JSON.stringify(body),
  headers: { "Content-Type": "application/json" },
  signal: AbortSignal.timeout(patience || 5000),
});

const told = (asked) => asked.catch((error) => say(error.message)).then(refresh);

// Everything held down now, so that a lost window, page or connection lets go of it.
const held = new Set();
const letGo = () => { for (const stop of [...held]) stop(); };
window.addEventListener("blur", letGo);
window.addEventListener("pagehide", letGo);
document.addEventListener("visibilitychange", () => { if (document.hidden) letGo(); });

// A button that moves the machine while it is held: by pointer, or by the space or enter key.
function holdToJog(button, machine, direction, settings) {
  const path = machinePath(machine, "jog");
  let press = 0;
  const stop = () => {
    if (!press) return;
    const ended = press;
    press = 0;
    held.delete(stop);
    button.classList.remove("held");
    told(order(path, { stop: true, press: ended }, JOG_PATIENCE_MS));
  };
  const start = async () => {
    if (press || button.matches(":disabled")) return;
    const { step, feed } = settings();
    const by = step || JOG_MM;
    const move = { by_mm: { x: direction[0] * by, y: direction[1] * by, z: direction[2] * by }, feed_mm_min: feed };
    if (step) { told(order(path, move)); return; }
    const mine = Date.now();
    press = mine;
    held.add(stop);
    button.classList.add("held");
    while (press === mine) {
      try {
        await order(path, { ...move, press: mine }, JOG_PATIENCE_MS);
      } catch (error) {
        if (press === mine) { say(error.message); stop(); }
        return;
      }
      if (button.matches(":disabled") || document.hidden) stop();
      await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
    }
  };
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId);
    start();
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture", "blur", "contextmenu"]) button.addEventListener(end, stop);
  const isKey = (event) => event.key === " " || event.key === "Enter";
  button.addEventListener("keydown", (event) => {
    if (!isKey(event)) return;
    event.preventDefault();
    if (!event.repeat) start();
  });
  button.addEventListener("keyup", (event) => { if (isKey(event)) stop(); });
}

const AXES = [["x", [1, 0, 0]], ["y", [0, 1, 0]], ["z", [0, 0, 1]]];

// The controls of a new card.
function fitControls(made, machine) {
  const part = (selector) => made.querySelector(selector);
  const settings = () => ({ step: Number(part(".jog-step").value), feed: Number(part(".jog-feed").value) });
  for (const [axis, direction] of AXES) {
    holdToJog(part(`.jog-${axis}-less`), machine.id, direction.map((by) => -by), settings);
    holdToJog(part(`.jog-${axis}-more`), machine.id, direction, settings);
  }
  twice(part(".home"), () => told(ask(machinePath(machine.id, "home"), { method: "POST" })));
  twice(part(".probe"), () => told(order(machinePath(machine.id, "probe"),
    { down_mm: Number(part(".probe-down").value), feed_mm_min: 50 })));
  const names = machine.kind === "printer" ? ["feed", "flow"] : ["feed", "rapid", "spindle"];
  part(".overrides").append(...names.map((name) => overrideRow(machine, name)));
}

const OVERRIDE_NAMES = { feed: "Feed", rapid: "Rapids", spindle: "Spindle", flow: "Flow" };
const RAPIDS = [25, 50, 100];

function overrideRow(machine, name) {
  const row = element("div", undefined, "override");
  row.dataset.override = name;
  const label = name === "spindle" && machine.kind === "laser" ? "Beam" : OVERRIDE_NAMES[name];
  const value = element("output", "100 %", "percent-now");
  const change = (next) => told(order(machinePath(machine.id, "override"), { [`${name}_percent`]: next }));
  const now = () => Number(row.dataset.percent || 100);
  const beside = (step) => (name === "rapid" ? RAPIDS[RAPIDS.indexOf(now()) + Math.sign(step)] : Math.min(200, Math.max(10, now() + step)));
  const to = (text, className, spoken, next) => button(text, className, `${label} of ${machine.id}: ${spoken}`, () => { const percent = next(); if (percent) change(percent); });
  row.append(element("span", label), to("−", "less", "less", () => beside(-10)), value,
    to("+", "more", "more", () => beside(10)), to("100 %", "normal", "as the program says", () => 100));
  return row;
}

function showControls(part, machine, on) {
  const asked = machine.asked;
  part(".asked").hidden = !asked;
  setText(part(".asked-text"), asked ? asked.text : "");
  const choices = asked ? asked.choices : [];
  const list = part(".choices");
  if (JSON.stringify([...list.children].map((choice) => choice.textContent)) !== JSON.stringify(choices)) {
    list.replaceChildren(...choices.map((text, place) => button(text, "choice", `Answer ${machine.id}: ${text}`,
      () => told(order(machinePath(machine.id, "answer"), { choice: place })))));
  }
  part(".by-hand fieldset").disabled = Boolean(on) || !(["idle", "running"].includes(machine.state) || machine.waits_for_clear);
  setText(part(".homed"), machine.homed ? "Homed." : "Not homed: where its ends are is not known.");
  part(".probe-row").hidden = machine.kind !== "mill";
  const probed = machine.probe && machine.probe.value;
  setText(part(".probed"), !probed ? "" : probed.touched ? `Touched at Z ${probed.position_mm[2].toFixed(3)} mm` : "Touched nothing");
  const percents = machine.overrides ? machine.overrides.value : {};
  for (const row of part(".overrides").children) {
    const percent = percents[`${row.dataset.override}_percent`] || 100;
    row.dataset.percent = percent;
    setText(row.querySelector(".percent-now"), `${percent} %`);
  }
}
