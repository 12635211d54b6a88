//! Every request and every event in every situation, for every dialect: the tables of `docs/control.md` are what the
//! session does, cell by cell.
//!
//! `MATRIX=write cargo test -p drivers --test matrix` writes the tables anew; then read the difference.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]
#![allow(clippy::unnecessary_wraps, reason = "each situation is brought about by a `Bring`, which some dialects lack")]

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use drivers::request::{Job, Jog, Override, Probe};
use drivers::session::Input;
use drivers::sim::{Faults, Incident, Setup, simulated};
use drivers::{Notice, Request, State};
use support::table::{cell, check};
use support::{Pair, setup, usual_line};

const MILLS: [&str; 3] = ["grbl", "grblhal", "fluidnc"];
const PRINTERS: [&str; 5] = ["marlin", "smoothieware", "reprapfirmware", "repetier", "klipper"];

/// How long after a request or an event it is looked at what became of it: longer than anything but a job takes.
const SETTLED: Duration = Duration::from_secs(20);

/// Brings about a situation. Nothing: this dialect cannot be in it.
type Bring = fn(&str) -> Option<Pair>;

const SITUATIONS: &[(&str, Bring)] = &[
    ("offline", |dialect| Some(unconnected(dialect))),
    ("connecting", connecting),
    ("starting", starting),
    ("another machine", another),
    ("found moving", found_moving),
    ("found hot", found_hot),
    ("busy with a file of its own", |dialect| brought(dialect, Incident::CardPrint, State::Busy)),
    ("check mode", |dialect| brought(dialect, Incident::CheckMode, State::Busy)),
    ("asleep", |dialect| brought(dialect, Incident::PutToSleep, State::Attention)),
    ("idle", |dialect| Some(connected(dialect))),
    ("running", |dialect| Some(running(dialect))),
    ("running, all lines said", ending),
    ("holding", holding),
    ("held", held),
    ("M0 waits", |dialect| waiting(dialect, "M0")),
    ("tool change by hand", |dialect| waiting(dialect, "M6 T2")),
    ("door open", door_open),
    ("stopping", stopping),
    ("alarm", alarm),
    ("emergency stop", stopped),
    ("jogging", jogging),
    ("homing", homing),
];

fn requests() -> Vec<(&'static str, Request)> {
    vec![
        ("start", Request::Start(Job { id: "next".into(), lines: 1, from_line: 1 })),
        ("pause", Request::Pause),
        ("resume", Request::Resume),
        ("cancel", Request::Cancel),
        ("leave", Request::Leave),
        ("hasten", Request::Hasten),
        ("stop", Request::Stop),
        ("clear", Request::Clear),
        ("home", Request::Home),
        ("jog", Request::Jog(Jog { by_mm: [-1.0, 0.0, 0.0], feed_mm_min: 600.0, press: None })),
        ("jog stop", Request::JogStop(None)),
        ("probe", Request::Probe(Probe { down_mm: 10.0, feed_mm_min: 100.0 })),
        ("override", Request::Override(Override::Feed(90))),
        ("answer", Request::Choose(0)),
    ]
}

/// Makes something happen.
type Happen = fn(&mut Pair);

const EVENTS: &[(&str, Happen)] = &[
    ("alarm or halt", |pair| pair.machine.happen(pair.now, Incident::Limit)),
    ("board reset", |pair| pair.machine.reset(pair.now)),
    ("link lost", |pair| {
        pair.connected = false;
        pair.hand(Input::LinkDown(Notice::new("link.lost", "Unplugged.", "", "")));
    }),
    ("line refused", |pair| pair.hand(Input::Bytes(b"error:20\r\n"))),
    ("door opened", |pair| pair.machine.happen(pair.now, Incident::DoorOpened)),
    ("paused there", |pair| pair.machine.happen(pair.now, Incident::Paused)),
    ("resumed there", |pair| pair.machine.happen(pair.now, Incident::Resumed)),
    ("cancelled there", |pair| pair.machine.happen(pair.now, Incident::Cancelled)),
];

/// Events that only mills, or only printers, know.
const MILLS_ONLY: [&str; 2] = ["line refused", "door opened"];
const PRINTERS_ONLY: [&str; 1] = ["cancelled there"];

fn slow() -> Setup {
    Setup { rapid_mm_min: 600.0, ..setup() }
}

fn unconnected(dialect: &str) -> Pair {
    Pair::new(dialect, &slow(), usual_line(), Faults::default(), 1)
}

fn connected(dialect: &str) -> Pair {
    let mut pair = unconnected(dialect);
    pair.connect();
    pair.run_for(Duration::from_secs(1));
    pair.run_until(|pair| pair.session.state() == State::Idle);
    pair
}

fn connecting(dialect: &str) -> Option<Pair> {
    let mut pair = unconnected(dialect);
    pair.hand(Input::LinkUp { may_reset: true });
    Some(pair)
}

/// Its own host is starting, for longer than it is looked at.
fn starting(dialect: &str) -> Option<Pair> {
    let mut pair = Pair::new(dialect, &Setup { starts_s: 3600.0, ..slow() }, usual_line(), Faults::default(), 1);
    pair.connected = true;
    pair.hand(Input::LinkUp { may_reset: false });
    pair.run_for(Duration::from_secs(3));
    (pair.session.state() == State::Connecting).then_some(pair)
}

/// The line is opened to a machine that moves.
fn found_moving(dialect: &str) -> Option<Pair> {
    let mut pair = unconnected(dialect);
    pair.machine.hear(pair.now, b"G1 X500 F600\n");
    pair.machine.say(&mut Vec::new());
    pair.connected = true;
    pair.hand(Input::LinkUp { may_reset: false });
    pair.run_for(Duration::from_secs(3));
    (pair.session.state() == State::Busy).then_some(pair)
}

/// The line is opened to a printer that somebody left hot.
fn found_hot(dialect: &str) -> Option<Pair> {
    let hot = Setup { found_hot_c: [210.0, 60.0], ..slow() };
    let mut pair = Pair::new(dialect, &hot, usual_line(), Faults::default(), 1);
    pair.connected = true;
    pair.hand(Input::LinkUp { may_reset: false });
    pair.run_for(Duration::from_secs(3));
    (pair.session.state() == State::Attention).then_some(pair)
}

/// Something happens to an idle machine that brings it into that state.
fn brought(dialect: &str, incident: Incident, state: State) -> Option<Pair> {
    let mut pair = connected(dialect);
    pair.machine.happen(pair.now, incident);
    pair.run_for(Duration::from_secs(5));
    (pair.session.state() == state).then_some(pair)
}

fn another(dialect: &str) -> Option<Pair> {
    let mut pair = unconnected(dialect);
    pair.machine = simulated(if MILLS.contains(&dialect) { "marlin" } else { "grbl" }, &slow()).unwrap();
    pair.connected = true;
    pair.hand(Input::LinkUp { may_reset: false });
    pair.run_until(|pair| pair.session.state() == State::Attention);
    Some(pair)
}

fn moves(count: usize) -> Vec<String> {
    (0..count).map(|step| format!("G1 X{} F1200", if step % 2 == 0 { 20 } else { 0 })).collect()
}

fn running(dialect: &str) -> Pair {
    let mut pair = connected(dialect);
    pair.start(moves(300));
    pair.run_for(Duration::from_secs(3));
    pair
}

fn ending(dialect: &str) -> Option<Pair> {
    let mut pair = connected(dialect);
    let lines: Vec<_> = (0..8).map(|step| format!("G1 X{} F600", if step % 2 == 0 { 100 } else { 0 })).collect();
    pair.start(lines);
    pair.run_for(Duration::from_secs(1));
    // One line at a time, or a line that is answered when it is done, leaves nothing to wait for at the end.
    (pair.progress().sent == 8).then_some(pair)
}

fn holding(dialect: &str) -> Option<Pair> {
    let mut pair = running(dialect);
    pair.ask(Request::Pause).unwrap();
    Some(pair)
}

fn held(dialect: &str) -> Option<Pair> {
    let mut pair = holding(dialect)?;
    pair.run_until(|pair| pair.session.state() == State::Held);
    Some(pair)
}

fn waiting(dialect: &str, word: &str) -> Option<Pair> {
    let mut pair = connected(dialect);
    pair.start([vec!["G1 X5 F1200".to_owned(), word.to_owned()], moves(300)].concat());
    pair.run_for(Duration::from_secs(5));
    (pair.session.state() == State::Attention).then_some(pair)
}

fn door_open(dialect: &str) -> Option<Pair> {
    let mut pair = running(dialect);
    pair.machine.happen(pair.now, Incident::DoorOpened);
    pair.run_for(Duration::from_secs(1));
    (pair.session.state() == State::Attention).then_some(pair)
}

fn stopping(dialect: &str) -> Option<Pair> {
    let mut pair = running(dialect);
    pair.ask(Request::Cancel).unwrap();
    Some(pair)
}

fn alarm(dialect: &str) -> Option<Pair> {
    let mut pair = connected(dialect);
    pair.machine.happen(pair.now, Incident::Limit);
    pair.run_for(Duration::from_secs(1));
    (pair.session.state() == State::Alarm).then_some(pair)
}

fn stopped(dialect: &str) -> Option<Pair> {
    let mut pair = running(dialect);
    pair.ask(Request::Stop).unwrap();
    pair.run_for(Duration::from_secs(5));
    Some(pair)
}

fn jogging(dialect: &str) -> Option<Pair> {
    let mut pair = connected(dialect);
    pair.ask(Request::Jog(Jog { by_mm: [-50.0, 0.0, 0.0], feed_mm_min: 600.0, press: Some(1) })).unwrap();
    pair.run_for(Duration::from_millis(150));
    Some(pair)
}

fn homing(dialect: &str) -> Option<Pair> {
    let mut pair = connected(dialect);
    // In steps: one that is longer is told of.
    for _ in 0..5 {
        pair.ask(Request::Jog(Jog { by_mm: [-20.0, 0.0, 0.0], feed_mm_min: 1000.0, press: None })).unwrap();
        pair.run_until(|pair| pair.session.state() == State::Idle);
    }
    pair.ask(Request::Home).unwrap();
    pair.run_for(Duration::from_millis(500));
    Some(pair)
}

/// What became of it: the state and, where there is a job, how that is called.
fn settled(pair: &mut Pair) -> String {
    pair.run_for(SETTLED);
    let snapshot = pair.session.snapshot();
    match snapshot.job {
        Some(job) => format!("{}, {}", snapshot.state.word(), job.phase.word()),
        None => snapshot.state.word().to_owned(),
    }
}

/// The table of a family: a row for each situation, a column for each request or event.
fn table(dialects: &[&str], columns: &[&str], try_one: impl Fn(&mut Pair, &str) -> String) -> String {
    let mut text = format!("| | {} |\n|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for (situation, bring) in SITUATIONS {
        let mut cells = Vec::new();
        for column in columns {
            let tried = dialects.iter().filter_map(|dialect| Some((*dialect, try_one(&mut bring(dialect)?, column))));
            cells.push(cell(&tried.collect::<Vec<_>>()));
        }
        if cells.iter().any(|cell| cell != "–") {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| **{situation}** | {} |", cells.join(" | "));
        }
    }
    text
}

fn of_requests(dialects: &[&str]) -> String {
    let requests = requests();
    let columns: Vec<_> = requests.iter().map(|(name, _)| *name).collect();
    table(dialects, &columns, |pair, column| {
        let request = requests.iter().find(|(name, _)| *name == column).unwrap().1.clone();
        if let Request::Start(_) = request {
            pair.program = moves(300);
            pair.next_line = 0;
        }
        let before = pair.session.state();
        match pair.ask(request) {
            Ok(()) => settled(pair),
            Err(denied) => {
                assert_eq!(pair.session.state(), before, "{column}: what is denied changes nothing");
                format!("`{}`", denied.code())
            }
        }
    })
}

fn of_events(dialects: &[&str], left_out: &[&str]) -> String {
    let columns: Vec<_> = EVENTS.iter().map(|(name, _)| *name).filter(|name| !left_out.contains(name)).collect();
    table(dialects, &columns, |pair, column| {
        EVENTS.iter().find(|(name, _)| *name == column).unwrap().1(pair);
        settled(pair)
    })
}

#[test]
fn every_request_and_every_event_in_every_situation_does_what_the_document_says() {
    check("mills, requests", &of_requests(&MILLS));
    check("printers, requests", &of_requests(&PRINTERS));
    check("mills, events", &of_events(&MILLS, &PRINTERS_ONLY));
    check("printers, events", &of_events(&PRINTERS, &MILLS_ONLY));
}
