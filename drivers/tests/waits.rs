//! Every wait, with everything a machine may say meanwhile: how long it lasts at most, and what happens then. The tables of
//! `docs/control.md` are what the session does, cell by cell, in virtual time.
//!
//! `MATRIX=write cargo test -p drivers --test waits` writes them anew; then read the difference.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]
#![allow(clippy::unnecessary_wraps, reason = "each wait is brought about by a `Bring`, which some dialects lack")]

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use drivers::profile::Profile;
use drivers::request::{Jog, Override, Probe};
use drivers::session::Input;
use drivers::sim::{Faults, Incident, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Request, State};
use support::table::{cell, check};
use support::{Pair, long_program, setup, strings, usual_line};

const MILLS: [&str; 3] = ["grbl", "grblhal", "fluidnc"];
const PRINTERS: [&str; 5] = ["marlin", "smoothieware", "reprapfirmware", "repetier", "klipper"];

/// What is not over by then goes on for as long as the machine says what it says.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// What a person asked for at once is over by then, whatever the machine says.
const ENDS: Duration = Duration::from_secs(60);

/// Bounds that are named, in seconds: the least of them that holds.
const BOUNDS_S: [u64; 8] = [1, 5, 10, 20, 60, 120, 360, 700];

/// Brings a machine to where it is waited for, and cuts it off. Nothing: this dialect does not know that wait.
type Bring = fn(&str) -> Option<Pair>;

/// Whether the wait is over.
type Over = fn(&Pair) -> bool;

const WAITS: &[(&str, Bring, Over)] = &[
    ("who it is", handshake, |pair| !code(pair).is_empty()),
    ("line counter", counter, not_running),
    ("an answer in a job", |dialect| Some(cut(running(dialect))), not_running),
    ("a wait for heat", heating, not_running),
    ("end of motion", ending, not_running),
    ("hold", |dialect| asked(running(dialect), Request::Pause), |pair| pair.session.state() != State::Holding),
    ("cancel", |dialect| asked(running(dialect), Request::Cancel), is_over),
    ("cancel, hastened", hastened, is_over),
    ("safe end", safe_end, is_over),
    ("home", |dialect| by_hand(dialect, Request::Home), not_running),
    ("jog", |dialect| by_hand(dialect, jog()), not_running),
    ("probe", |dialect| by_hand(dialect, Request::Probe(Probe { down_mm: 4.0, feed_mm_min: 60.0 })), not_running),
    ("override", |dialect| by_hand(dialect, Request::Override(Override::Feed(90))), not_running),
    ("clear", clear, is_cleared),
    ("a question while idle", |dialect| Some(cut(idle(dialect))), |pair| pair.session.state() != State::Idle),
];

/// Waits that a person asked to be over.
const ENDED_BY_A_PERSON: [&str; 4] = ["cancel", "cancel, hastened", "safe end", "clear"];

/// What a machine says meanwhile, and how often, in milliseconds.
type Noise = (&'static str, &'static [u8], u64);

const MILLS_SAY: &[Noise] = &[
    ("nothing", b"", 1_000),
    ("Idle reports", b"<Idle|MPos:0.000,0.000,0.000|FS:0,0>\r\n", 200),
    ("Run reports", b"<Run|MPos:1.000,0.000,0.000|FS:600,0>\r\n", 200),
    ("reports of no known state", b"<Rest|MPos:0.000,0.000,0.000|FS:0,0>\r\n", 200),
    ("positions that are none", b"<Idle|MPos:nan,inf,0.000|FS:0,0>\r\n", 200),
    ("chatter", b"[MSG:Caution: hot]\r\nhello\r\n", 500),
];

const PRINTERS_SAY: &[Noise] = &[
    ("nothing", b"", 1_000),
    ("`wait`", b"wait\n", 1_000),
    ("`busy`", b"echo:busy: processing\n", 2_000),
    ("`busy` without `echo:`", b"busy: processing\n", 2_000),
    ("temperatures", b" T:21.00 /0.00 B:21.00 /0.00 @:0 B@:0\n", 1_000),
    (RISES, b" T:150.00 /200.00 B:21.00 /0.00 @:0 B@:0\n", 1_000),
    ("temperatures at the target", b" T:200.10 /200.00 B:21.00 /0.00 @:0 B@:0\n", 1_000),
    ("positions that are none", b"X:84.43 Y:inf Z:4.80 E:0.00\n", 500),
    ("chatter", b"echo:hello\nNor this\n", 500),
];

/// The machine says with these words that it works: as long as it does, its own work is waited for.
const WORKS: [&str; 3] = ["`busy`", "`busy` without `echo:`", "Run reports"];

/// What is told for as long as a heater rises to what a command waits for. A Klipper tells it by itself only then, whatever
/// it was that began to heat.
const RISES: &str = "temperatures that rise";

fn heats(dialect: &str, wait: &str, noise: &str) -> bool {
    noise == RISES && (dialect == "klipper" || wait == "a wait for heat")
}

fn code(pair: &Pair) -> String {
    pair.session.snapshot().notice.map(|notice| notice.code).unwrap_or_default()
}

fn is_over(pair: &Pair) -> bool {
    pair.session.snapshot().job.is_some_and(|job| job.phase.is_over())
}

fn not_running(pair: &Pair) -> bool {
    pair.session.state() != State::Running
}

fn is_cleared(pair: &Pair) -> bool {
    matches!(pair.session.state(), State::Idle | State::Running) || code(pair) == "clear.nothing_changed"
}

/// What a machine of that dialect says in those words, if it says anything of the kind.
fn in_its_words(dialect: &str, (name, says, every_ms): Noise) -> Option<Noise> {
    let says: &[u8] = match (name, dialect) {
        ("`busy`", "marlin") => says,
        ("`busy`", "repetier") => b"busy:processing\r\n",
        ("`busy` without `echo:`", "marlin") => says,
        ("`busy`" | "`busy` without `echo:`", _) => return None,
        _ => says,
    };
    Some((name, says, every_ms))
}

/// From now on nothing that the machine itself says is heard.
fn cut(mut pair: Pair) -> Pair {
    pair.mute = true;
    pair.to_host.cut(pair.now);
    pair
}

fn unconnected(dialect: &str) -> Pair {
    Pair::new(dialect, &Setup { rapid_mm_min: 600.0, ..setup() }, usual_line(), Faults::default(), 1)
}

fn idle(dialect: &str) -> Pair {
    let mut pair = unconnected(dialect);
    pair.connect();
    pair.run_for(Duration::from_secs(2));
    pair.run_until(|pair| pair.session.state() == State::Idle);
    pair
}

fn running(dialect: &str) -> Pair {
    let mut pair = idle(dialect);
    pair.start(long_program());
    pair.run_for(Duration::from_secs(3));
    pair
}

fn asked(pair: Pair, request: Request) -> Option<Pair> {
    let mut pair = cut(pair);
    pair.ask(request).ok()?;
    Some(pair)
}

fn handshake(dialect: &str) -> Option<Pair> {
    let mut pair = unconnected(dialect);
    pair.connected = true;
    pair.hand(Input::LinkUp { may_reset: false });
    Some(cut(pair))
}

fn counter(dialect: &str) -> Option<Pair> {
    let counted = drivers::dialect::named(dialect)?.habits().counter.is_some();
    let mut pair = cut(idle(dialect));
    pair.start(long_program());
    counted.then_some(pair)
}

/// A command waits for its heat.
fn heating(dialect: &str) -> Option<Pair> {
    let mut pair = Some(idle(dialect)).filter(|_| support::is_printer(dialect))?;
    pair.start(strings(&["G1 X5 F600", "M109 S200", "G1 X0"]));
    pair.run_for(Duration::from_secs(5));
    Some(cut(pair))
}

fn ending(dialect: &str) -> Option<Pair> {
    let mut pair = idle(dialect);
    pair.start(strings(&["G1 X5 F600", "G1 X0", "G1 X50"]));
    pair.run_until(|pair| pair.progress().accepted == 3);
    pair.run_for(Duration::from_millis(100));
    Some(cut(pair))
}

fn hastened(dialect: &str) -> Option<Pair> {
    let mut pair = asked(running(dialect), Request::Cancel)?;
    pair.run_for(Duration::from_millis(100));
    pair.ask(Request::Hasten).ok()?;
    Some(pair)
}

/// Its first line that makes safe has been executed.
fn safe_end(dialect: &str) -> Option<Pair> {
    let mut pair = running(dialect);
    pair.ask(Request::Cancel).ok()?;
    let first = pair.profile.safety.safe_end.first()?.replace(' ', "");
    pair.run_until(|pair| pair.executed().iter().any(|line| line.replace(' ', "") == first));
    Some(cut(pair))
}

fn jog() -> Request {
    Request::Jog(Jog { by_mm: [-50.0, 0.0, 0.0], feed_mm_min: 600.0, press: None })
}

/// What a person asked for is under way.
fn by_hand(dialect: &str, request: Request) -> Option<Pair> {
    let mut pair = idle(dialect);
    if request == Request::Home {
        pair.ask(jog()).ok()?;
        pair.run_until(|pair| pair.session.state() == State::Idle);
    }
    let line = matches!(request, Request::Override(_));
    pair.ask(request).ok()?;
    if !line {
        pair.run_for(Duration::from_millis(400));
    }
    (pair.session.state() == State::Running).then(|| cut(pair))
}

fn clear(dialect: &str) -> Option<Pair> {
    let mut pair = idle(dialect);
    pair.machine.happen(pair.now, Incident::Limit);
    pair.run_for(Duration::from_secs(1));
    asked(pair, Request::Clear)
}

/// Lets the machine say that, again and again, until the wait is over: how long that took.
fn endure(pair: &mut Pair, noise: &Noise, over: Over) -> Option<Duration> {
    let (_, says, every_ms) = *noise;
    let since = pair.now;
    let mut next = pair.now;
    while pair.now.since(since) < FOR_EVER {
        next = next + Duration::from_millis(every_ms);
        pair.run_until(|pair| over(pair) || pair.now >= next);
        if over(pair) {
            return Some(pair.now.since(since));
        }
        if !says.is_empty() {
            pair.hand(Input::Bytes(says));
        }
        // Nothing else may wake it up.
        pair.now = pair.now.max(next);
    }
    None
}

/// How long at most, and what happens then.
fn tried(dialect: &str, wait: &(&str, Bring, Over), noise: &Noise) -> Option<String> {
    let (name, bring, over) = wait;
    let noise = &in_its_words(dialect, *noise)?;
    // A mill that is idle and reports so is not waited for.
    let well = *name == "a question while idle" && noise.1.starts_with(b"<Idle");
    let mut pair = bring(dialect).filter(|_| !well)?;
    let took = endure(&mut pair, noise, *over);
    let Some(took) = took else {
        let works = WORKS.contains(&noise.0) || heats(dialect, name, noise.0);
        assert!(works, "{dialect}: {name} never ends while it says {}", noise.0);
        assert!(!ENDED_BY_A_PERSON.contains(name), "{dialect}: {name} never ends while it says {}", noise.0);
        return Some("as long as it says so".to_owned());
    };
    if ENDED_BY_A_PERSON.contains(name) {
        assert!(took <= ENDS, "{dialect}: {name} takes {took:?} while it says {}", noise.0);
    }
    let bound = BOUNDS_S.into_iter().find(|bound| took <= Duration::from_secs(*bound)).expect("a bound");
    let snapshot = pair.session.snapshot();
    let mut what = format!("{bound} s: {}", snapshot.state.word());
    if let Some(job) = snapshot.job.as_ref().filter(|job| job.phase != JobPhase::Held) {
        let _ = write!(what, ", {}", job.phase.word());
    }
    if let Some(notice) = snapshot.notice {
        let _ = write!(what, ", `{}`", notice.code);
    }
    Some(what)
}

fn table(dialects: &[&str], noises: &[Noise]) -> String {
    let columns: Vec<_> = noises.iter().map(|(name, ..)| *name).collect();
    let mut text = format!("| waited for | {} |\n|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for wait in WAITS {
        let cells: Vec<_> = noises
            .iter()
            .map(|noise| {
                let tried = dialects.iter().filter_map(|dialect| Some((*dialect, tried(dialect, wait, noise)?)));
                cell(&tried.collect::<Vec<_>>())
            })
            .collect();
        if cells.iter().any(|cell| cell != "–") {
            let _ = writeln!(text, "| **{}** | {} |", wait.0, cells.join(" | "));
        }
    }
    text
}

#[test]
fn every_wait_ends_whatever_the_machine_says_meanwhile() {
    check("mills, waits", &table(&MILLS, MILLS_SAY));
    check("printers, waits", &table(&PRINTERS, PRINTERS_SAY));
}

#[test]
fn a_wait_of_an_idle_printer_counted_as_work_and_nothing_more_was_sent() {
    let lost = Faults { line_lost: 0.02, ..Faults::default() };
    for dialect in ["marlin", "repetier"] {
        for seed in 0..10 {
            let setup = Setup { says_wait: true, speed: 50.0, ..setup() };
            let mut pair = Pair::new(dialect, &setup, usual_line(), lost, seed);
            pair.connect();
            pair.start(support::program(300, seed));
            let since = pair.now;
            pair.run_until(|pair| is_over(pair) || pair.session.state() == State::Held);
            assert_eq!(pair.progress().phase, JobPhase::Finished, "{dialect} {seed}: {:?}", pair.notices());
            assert!(pair.now.since(since) < Duration::from_secs(120), "{dialect} {seed}: {:?}", pair.now.since(since));
        }
    }
}

#[test]
fn an_answer_to_the_last_question_that_holds_no_number_was_asked_for_for_ever() {
    for (dialect, phase) in
        [("marlin", JobPhase::Finished), ("repetier", JobPhase::Finished), ("reprapfirmware", JobPhase::Held)]
    {
        let mut pair = support::connected(dialect, &Setup { nonsense_position: true, ..setup() });
        pair.start(strings(&["G1 X5 F600", "G1 X0"]));
        pair.run_until(|pair| is_over(pair) || pair.session.state() == State::Held);
        assert!(!pair.report().moving, "{dialect}");
        assert_eq!(pair.progress().phase, phase, "{dialect}: {:?}", pair.notices());
        let told = if phase == JobPhase::Finished { "job.no_position" } else { "job.end_unproven" };
        pair.run_for(Duration::from_millis(10));
        assert!(pair.notices().iter().any(|notice| notice.contains(told)), "{dialect}: {:?}", pair.notices());
        if phase == JobPhase::Held {
            assert_eq!(pair.ask(Request::Cancel), Ok(()));
            let since = pair.now;
            pair.run_until(is_over);
            assert!(pair.now.since(since) < ENDS, "{dialect}: {:?}", pair.now.since(since));
        }
    }
}

#[test]
fn a_position_behind_the_acknowledgement_was_not_read() {
    for advanced_ok in [true, false] {
        let setup = Setup { position_behind_ok: true, advanced_ok, ..setup() };
        let mut pair = support::connected("marlin", &setup);
        pair.start(strings(&["G1 X5 F600", "G1 X13"]));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
        assert_eq!(pair.session.snapshot().position_mm.unwrap().value[0], 13.0);
    }
}

#[test]
fn a_tool_change_that_reports_idle_was_taken_for_a_lost_answer() {
    let setup = Setup { tool_macro_s: 45.0, ..setup() };
    let mut pair = support::connected("fluidnc", &setup);
    pair.start(strings(&["G1 X5 F600", "M6 T2", "G1 X10"]));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
}

#[test]
fn a_machine_that_says_nothing_for_ten_seconds_while_it_works_is_said_to_be_quiet() {
    for dialect in MILLS.iter().chain(&PRINTERS) {
        let mut pair = cut(running(dialect));
        pair.run_for(Duration::from_millis(11_500));
        let notice = pair.session.snapshot().notice.unwrap_or_else(|| panic!("{dialect}: nothing is said"));
        let known = ["machine.quiet", "machine.silent"].contains(&notice.code.as_str());
        assert!(known, "{dialect}: {notice}");
        pair.hand(Input::Bytes(b"hello\n"));
        assert_ne!(code(&pair), "machine.quiet", "{dialect}: it speaks again");
    }
}

#[test]
fn a_cancel_on_every_profile_with_a_heater_is_over_though_the_printer_says_that_it_waits() {
    for profile in ["prusa-mk3s", "generic-marlin", "ender-3"] {
        let Ok(profile) = Profile::named(profile) else { continue };
        let setup = Setup { says_wait: true, silent_after: Some(3), ..setup() };
        let mut pair = Pair::with_profile(profile, &setup, usual_line(), Faults::default(), 1);
        pair.connect();
        pair.start(long_program());
        pair.run_for(Duration::from_secs(5));
        assert_eq!(pair.ask(Request::Cancel), Ok(()));
        let since = pair.now;
        pair.run_until(is_over);
        assert!(pair.now.since(since) < ENDS, "{:?}", pair.now.since(since));
    }
}
