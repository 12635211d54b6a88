//! The web page in a real browser, clicked through as a person would, with the real agent and simulated machines.
//!
//! `PAGE_PICTURE=docs/page.png cargo test -p fab-agent --test page` makes the picture in the README (the path is
//! relative to the repository).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

#[path = "common/agent.rs"]
mod agent;
#[path = "common/browser.rs"]
mod browser;

use std::path::{Path, PathBuf};

use agent::{Agent, PLATE, Workshop, text};
use browser::Browser;
use serde_json::{Value, json};

const TOKEN: &str = "correct-horse-battery-staple";

/// How many times faster than real the machines are: slow enough to be seen running, fast enough for a test.
const SPEEDS: [(&str, &str, f64); 3] =
    [("printer", "prusa-mk3s", 15.0), ("mill", "grbl-router-6040", 15.0), ("laser", "grbl-laser-400", 1.0)];

/// A file's name and text that would break the page if they ever reached it as HTML.
const HOSTILE: &str = "<img src=x onerror=window.broken=1><script>window.broken=1</script>.gcode";

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The card of a machine, or a part of it, as a selector.
fn of(machine: &str, part: &str) -> String {
    format!("[data-machine=\"{machine}\"] {part}")
}

/// A condition on the text of a part of the page.
fn says(selector: &str, wanted: &str) -> String {
    format!("document.querySelector({})?.innerText.includes({})", json!(selector), json!(wanted))
}

fn is(browser: &Browser, machine: &str, state: &str) {
    browser.until(&says(&of(machine, ".state"), state));
}

/// Submits a program by the page's own form and starts it with its button.
fn submit_and_start(browser: &Browser, machine: &str, program: &Path) {
    submit_and_start_to(browser, machine, program, "running");
}

/// The same, until the machine is in a state.
fn submit_and_start_to(browser: &Browser, machine: &str, program: &Path, state: &str) {
    let name = program.file_name().unwrap().to_str().unwrap();
    browser.fill(&of(machine, ".file"), program.canonicalize().unwrap().to_str().unwrap());
    browser.until(&says(&of(machine, ".waiting"), name));
    browser.click(&of(machine, ".waiting .start"));
    is(browser, machine, state);
}

/// Lines executed, as the page says.
fn executed(browser: &Browser, machine: &str) -> u64 {
    let counts = browser.text(&of(machine, ".counts"));
    counts.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("no number in {counts:?}"))
}

fn open(browser: &Browser, agent: &Agent) {
    browser.open(&format!("http://{}/", agent.host));
}

/// Nothing went wrong on the page, and it asked nobody but its agent.
fn all_is_well(browser: &Browser, agent: &Agent) {
    assert_eq!(browser.console(), Vec::<String>::new());
    let requests = browser.requests();
    let own = format!("http://{}/", agent.host);
    let foreign: Vec<_> = requests.iter().filter(|url| !url.starts_with(&own) && !url.starts_with("data:")).collect();
    assert!(!requests.is_empty() && foreign.is_empty(), "{foreign:?}");
}

#[test]
fn a_person_submits_starts_watches_pauses_stops_and_clears_on_the_page() {
    let workshop = Workshop::new(&SPEEDS);
    let agent = workshop.start();
    let browser = Browser::start();
    browser.looks(1280, 960, "light");
    open(&browser, &agent);
    for (machine, ..) in SPEEDS {
        is(&browser, machine, "idle");
    }
    browser.until(&says(&of("mill", ".accepting"), "Accepting jobs."));
    submit_and_start(&browser, "printer", &in_repository("config/demo/cube.gcode"));
    browser.fill(&of("mill", ".file"), in_repository("config/demo/plate.nc").canonicalize().unwrap().to_str().unwrap());
    browser.until(&says(&of("mill", ".waiting"), "plate.nc"));
    shows_what_it_does(&browser, &of("mill", ".waiting .picture"));
    assert_eq!(workshop.report("mill").executed, 0, "submit is not start");
    browser.click(&of("mill", ".waiting .start"));
    is(&browser, "mill", "running");
    submit_and_start(&browser, "laser", &in_repository("config/demo/badge.gcode"));
    for machine in ["printer", "mill", "laser"] {
        shows_what_it_does(&browser, &of(machine, ".job .picture"));
    }
    progress_is_what_the_machine_did(&browser, &workshop);
    if let Some(picture) = std::env::var_os("PAGE_PICTURE") {
        picture_of_work(&browser, &agent, &in_repository(picture.to_str().unwrap()));
    }
    browser.click(&of("mill", ".pause"));
    is(&browser, "mill", "held");
    browser.click(&of("mill", ".resume"));
    is(&browser, "mill", "running");
    browser.click(&of("mill", ".stop"));
    is(&browser, "mill", "alarm");
    let report = workshop.report("mill");
    assert!(!report.moving && report.executed < 717, "{report:?}");
    browser.until(&says(&of("mill", ".accepting"), "Not accepting jobs."));
    // The stop's own notice, or what the machine says of being reset in motion.
    browser.until(&says(&of("mill", ".notice"), "When it is safe, clear the alarm"));
    browser.until(&says("#jobs", "cancelled"));
    browser.until(&says("#jobs", "An emergency stop was asked for."));
    browser.click(&of("mill", ".clear"));
    is(&browser, "mill", "idle");
    assert_eq!(workshop.report("mill").executed, report.executed, "a stopped machine stays stopped");
    is(&browser, "printer", "running");
    all_is_well(&browser, &agent);
    drop(agent);
    browser.until(&says("#connection", "Connection lost"));
    browser.click(&of("printer", ".stop"));
    browser.until(&says("#toast", "The agent did not answer. Use the switch on the machine itself."));
}

#[test]
fn a_second_click_on_start_put_a_job_onto_the_last_one() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 15.0)]).clear_is_said();
    let agent = workshop.start();
    let browser = Browser::start();
    browser.looks(1280, 960, "light");
    open(&browser, &agent);
    is(&browser, "mill", "attention");
    browser.until(&says(&of("mill", ".notice"), "Nobody has said that the table is clear"));
    browser.until(&says(&of("mill", ".clear"), "The table is clear"));
    // There is nothing to go on with.
    assert_eq!(
        browser.evaluate(&format!("return document.querySelector({}).hidden", json!(of("mill", ".resume")))),
        true
    );
    browser.click(&of("mill", ".clear"));
    is(&browser, "mill", "idle");
    let plate = in_repository("config/demo/plate.nc");
    submit_and_start(&browser, "mill", &plate);
    // Cancelled with two clicks; the next job waits, and says for what.
    browser.click(&of("mill", ".cancel"));
    browser.click(&of("mill", ".cancel"));
    browser.until(&says("#jobs", "cancelled"));
    is(&browser, "mill", "attention");
    let executed = workshop.report("mill").executed;
    browser.fill(&of("mill", ".file"), plate.canonicalize().unwrap().to_str().unwrap());
    browser.until(&says(&of("mill", ".waiting"), "plate.nc"));
    browser.until(&says("#jobs", "Waits. Nobody has said that the table is clear since its last job began."));
    // The page offers no start, and whoever asks all the same is refused.
    let disabled =
        |part: &str| browser.evaluate(&format!("return document.querySelector({}).disabled", json!(of("mill", part))));
    assert_eq!((disabled(".waiting .start"), disabled(".by-hand fieldset")), (json!(true), json!(false)));
    let job = agent.get("/api/v1/jobs?state=queued")["jobs"][0].clone();
    assert_eq!(agent.act("jobs", text(&job, "id"), "start").code(), "table.not_clear");
    assert_eq!(workshop.report("mill").executed, executed, "the machine was told nothing");
    browser.click(&of("mill", ".clear"));
    is(&browser, "mill", "idle");
    browser.click(&of("mill", ".waiting .start"));
    is(&browser, "mill", "running");
}

/// The picture of a program is drawn and seen.
fn shows_what_it_does(browser: &Browser, link: &str) {
    let link = json!(link);
    browser.until(&format!("document.querySelector({link})?.firstElementChild?.naturalWidth > 300"));
    browser.until(&format!("document.querySelector({link}).checkVisibility()"));
}

/// The page's numbers grow, and are never ahead of what the machine has done.
fn progress_is_what_the_machine_did(browser: &Browser, workshop: &Workshop) {
    let counts = json!(of("mill", ".counts"));
    browser.until(&format!("parseInt(document.querySelector({counts}).innerText) > 0"));
    let first = executed(browser, "mill");
    assert!(first <= workshop.report("mill").executed);
    browser.until(&format!("parseInt(document.querySelector({counts}).innerText) > {first}"));
    assert!(executed(browser, "mill") <= workshop.report("mill").executed);
    browser.until(&says(&of("mill", ".left"), "left"));
    for part in ["X", "Y", "Z", "Feed", "Spindle"] {
        browser.until(&says(&of("mill", ".readings"), part));
    }
    for part in ["Tool", "Bed", "°C"] {
        browser.until(&says(&of("printer", ".readings"), part));
    }
}

/// Waits until there is something to see on all three machines, and takes the picture.
fn picture_of_work(browser: &Browser, agent: &Agent, path: &Path) {
    agent.ask("POST", "/api/v1/machines/mill/jobs?name=bracket.nc", "", PLATE);
    for (machine, percent) in [("printer", 20), ("mill", 8), ("laser", 10)] {
        let shown = json!(of(machine, ".percent"));
        browser.until(&format!("parseInt(document.querySelector({shown}).innerText) >= {percent}"));
    }
    browser.evaluate("document.getElementById('toast').hidden = true; document.activeElement.blur()");
    browser.picture(path);
}

#[test]
fn what_a_file_says_is_shown_as_text_and_never_as_html() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]);
    let agent = workshop.start();
    let browser = Browser::start();
    open(&browser, &agent);
    is(&browser, "mill", "idle");
    let program = workshop.home.path().join(HOSTILE.replace('/', "\u{2215}"));
    std::fs::write(&program, format!("G21 {HOSTILE}\n{HOSTILE}\n")).unwrap();
    browser.fill(&of("mill", ".file"), program.to_str().unwrap());
    browser.until(&says("#jobs", "refused"));
    assert!(browser.text("#jobs").contains("<img src=x onerror=window.broken=1>"), "{}", browser.text("#jobs"));
    let foreign = "return [window.broken ?? null, document.querySelectorAll('img:not(.picture img)').length, document.scripts.length]";
    assert_eq!(browser.evaluate(foreign), json!([null, 1, 2]), "the page's own picture and scripts and nothing else");
    all_is_well(&browser, &agent);
    // Should text become HTML one day, the policy still lets nothing of it run.
    let injected = "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.broken=1>');
        const script = document.createElement('script'); script.textContent = 'window.broken = 1';
        document.body.append(script);";
    browser.evaluate(injected);
    browser.until("[...document.images].every((image) => image.complete)");
    assert_eq!(browser.evaluate("return window.broken ?? null"), Value::Null);
}

/// Where the mill's X axis stands.
fn x(workshop: &Workshop) -> f64 {
    workshop.report("mill").position_mm[0]
}

#[test]
fn a_jog_button_moves_the_machine_while_it_is_held_and_no_longer() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    let browser = Browser::start();
    browser.looks(1280, 960, "light");
    open(&browser, &agent);
    is(&browser, "mill", "idle");
    browser.click(&of("mill", ".by-hand summary"));
    let button = of("mill", ".jog-x-less");
    let lets_go = [
        ("let go", None),
        ("the window lost the focus", Some("window.dispatchEvent(new Event('blur'))")),
        ("the agent was heard of no more", Some("window.fetch = () => new Promise(() => {})")),
    ];
    for (how, happens) in lets_go {
        let before = x(&workshop);
        browser.press(&button);
        let started = std::time::Instant::now();
        while x(&workshop) > before - 4.0 {
            assert!(started.elapsed() < agent::PATIENCE, "{how}: it never moved");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        match happens {
            Some(script) => drop(browser.evaluate(script)),
            None => browser.let_go(),
        }
        agent.machine_is("mill", "idle");
        let stood = x(&workshop);
        assert!(stood < before - 4.0 && stood > before - 95.0, "{how}: from {before} to {stood} mm");
        browser.let_go();
        agent.machine_is("mill", "idle");
        assert_eq!(x(&workshop), stood, "{how}: it moved again");
    }
}

#[test]
fn what_a_machine_asks_is_shown_as_text_and_answered_on_the_page() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 10.0)]);
    let agent = workshop.start();
    let browser = Browser::start();
    open(&browser, &agent);
    is(&browser, "mill", "idle");
    let program = workshop.home.path().join("ask.nc");
    std::fs::write(&program, "G21\nG90\nG0 X-1\nM0\nG0 X-2\nM30\n").unwrap();
    submit_and_start_to(&browser, "mill", &program, "attention");
    browser.until(&says(&of("mill", ".asked-text"), "The program stops here for a person (line 4)."));
    browser.click(&of("mill", ".resume"));
    is(&browser, "mill", "idle");
    browser.until(&format!("document.querySelector({}).hidden", json!(of("mill", ".asked"))));
    let hostile = json!({ "text": HOSTILE, "choices": [HOSTILE, "Continue"] });
    let shown = format!(
        "const machine = {{ ...onMachine.get('mill'), asked: {hostile} }}; show(machine);
         return [document.querySelector('.asked-text').textContent, document.querySelector('.choice').textContent,
                 document.querySelectorAll('img:not(.picture img)').length, document.scripts.length, window.broken ?? null];"
    );
    assert_eq!(browser.evaluate(&shown), json!([HOSTILE, HOSTILE, 1, 2, null]));
    browser.click(&of("mill", ".by-hand summary"));
    browser.click(&of("mill", "[data-override=feed] .less"));
    browser.until(&says(&of("mill", "[data-override=feed] .percent-now"), "90 %"));
    browser.click(&of("mill", "[data-override=rapid] .less"));
    browser.until(&says(&of("mill", "[data-override=rapid] .percent-now"), "50 %"));
    all_is_well(&browser, &agent);
}

#[test]
fn a_failed_job_goes_on_and_a_hold_outside_a_job_ends_on_the_page() {
    let mut workshop = Workshop::new(&[("mill", "grbl-router-6040", 10.0)]);
    let agent = workshop.start();
    let browser = Browser::start();
    open(&browser, &agent);
    is(&browser, "mill", "idle");
    let held = "show({ ...onMachine.get('mill'), state: 'held' });
                const resume = document.querySelector('[data-machine=mill] .resume');
                const shown = !resume.hidden; resume.click(); return shown;";
    assert_eq!(browser.evaluate(held), json!(true));
    browser.until(&says("#toast", "job.none"));
    submit_and_start(&browser, "mill", &in_repository("config/demo/plate.nc"));
    let counts = json!(of("mill", ".counts"));
    browser.until(&format!("parseInt(document.querySelector({counts}).innerText) > 5"));
    workshop.unplug("mill");
    browser.until(&says("#jobs", "failed"));
    browser.click("#jobs .rest");
    browser.until(&says("#rest-lead-in", "$H"));
    browser.until(&says("#rest-notes", "is the last one known to be executed"));
    browser.until(&says("#jobs", "plate.nc (from line"));
    browser.click("#rest-close");
    browser.until("document.querySelector('#rest').hidden");
}

/// More tabs than a browser has connections to one address.
const TABS: usize = 8;

#[test]
fn forgotten_tabs_leave_a_connection_for_the_stop() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    let browser = Browser::start();
    open(&browser, &agent);
    is(&browser, "mill", "idle");
    submit_and_start(&browser, "mill", &in_repository("config/demo/plate.nc"));
    for _ in 0..TABS {
        browser.open_in_new_tab(&format!("http://{}/", agent.host));
        is(&browser, "mill", "running");
        browser.until(&says("#events", "connected"));
    }
    browser.click(&of("mill", ".stop"));
    is(&browser, "mill", "alarm");
    assert!(!workshop.report("mill").moving);
}

#[test]
fn an_agent_with_a_token_shows_nothing_until_it_is_given() {
    let workshop = Workshop::new(&[("mill", "grbl-router-6040", f64::INFINITY)]).with_token(TOKEN);
    let agent = workshop.start();
    let browser = Browser::start();
    open(&browser, &agent);
    browser.until("document.getElementById('token-dialog').open");
    browser.until(&says("#connection", "The agent asks for its token."));
    browser.fill("#token", "wrong-wrong-wrong-wrong");
    browser.click("#token-form .primary");
    browser.until("!document.getElementById('token-wrong').hidden");
    assert_eq!(browser.evaluate("return document.querySelectorAll('.machine').length"), 0);
    browser.fill("#token", TOKEN);
    browser.click("#token-form .primary");
    is(&browser, "mill", "idle");
    browser.until(&says("#connection", "Live"));
    browser.until(&says("#events", "connected"));
    let shown = format!("Authorization: Bearer {TOKEN}\r\n");
    agent.ask("POST", "/api/v1/machines/mill/jobs?name=part.nc", &shown, PLATE);
    // An image shows no token: its address holds a key of its own.
    shows_what_it_does(&browser, &of("mill", ".waiting .picture"));
}

/// Elements whose text is hard to read: a contrast below 4.5 to 1, which WCAG 2.2 asks for at level AA.
const FAINT: &str = r"
const light = (colour) => {
  const [r, g, b] = colour.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const parse = (text) => text.match(/[\d.]+/g).map(Number);
const ground = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour.slice(0, 3);
  }
  return [255, 255, 255];
};
const faint = [];
for (const node of document.querySelectorAll('body *')) {
  const text = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!text || !node.checkVisibility()) continue;
  const [a, b] = [light(parse(getComputedStyle(node).color).slice(0, 3)), light(ground(node))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < 4.5) faint.push(`${node.className || node.tagName}: ${contrast.toFixed(2)}`);
}
return faint;";

#[test]
fn the_page_is_readable_and_its_stop_in_reach_on_phones_and_desktops_by_day_and_by_night() {
    let workshop = Workshop::new(&[("printer", "prusa-mk3s", 1.0), ("mill", "grbl-router-6040", 1.0)]);
    let agent = workshop.start();
    agent.machine_is("mill", "idle");
    agent.machine_is("printer", "idle");
    let job = agent.submit("mill", PLATE);
    assert_eq!(agent.act("jobs", text(&job, "id"), "start").status, 200);
    agent.submit("mill", PLATE);
    agent.submit("printer", b"no program");
    assert_eq!(agent.act("machines", "printer", "stop").status, 200);
    let browser = Browser::start();
    for (width, height) in [(320, 640), (390, 844), (768, 1024), (1280, 800), (1920, 1080)] {
        for scheme in ["light", "dark"] {
            browser.looks(width, height, scheme);
            open(&browser, &agent);
            is(&browser, "mill", "running");
            is(&browser, "printer", "alarm");
            let overflow = "return document.documentElement.scrollWidth - innerWidth";
            assert_eq!(browser.evaluate(overflow), 0, "{width} px: the page must not scroll sideways");
            // 44 px: what a thumb hits (WCAG 2.2, target size, enhanced). A mouse needs less.
            let reach = if width < 700 { 44.0 } else { 40.0 };
            let height = browser.evaluate("return document.querySelector('.stop').getBoundingClientRect().height");
            assert!(height.as_f64().unwrap() >= reach, "{width} px: STOP is {height} px high");
            assert_eq!(browser.evaluate(FAINT), json!([]), "{width} px, {scheme}");
        }
    }
}
