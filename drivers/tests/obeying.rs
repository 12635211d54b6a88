//! Words that go past the queue and get no answer: what the machine shows afterwards is held against them. In virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::profile::Profile;
use drivers::session::Input;
use drivers::sim::Faults;
use drivers::{Request, State};
use support::{Pair, connected, long_program, setup, usual_line};

const GRBL_KIN: [&str; 3] = ["grbl", "grblhal", "fluidnc"];

fn beginning_with(first: &str) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(long_program()).collect()
}

fn running(dialect: &str, first: &str) -> Pair {
    let mut pair = connected(dialect, &setup());
    pair.run_for(Duration::from_secs(1));
    pair.start(beginning_with(first));
    pair.run_for(Duration::from_secs(3));
    pair
}

fn told(pair: &Pair, code: &str) -> bool {
    pair.notices().iter().any(|notice| notice.contains(code))
}

/// Says the same to the session again and again, and counts how often it says that word.
fn insists(pair: &mut Pair, says: &[u8], word: &[u8]) -> usize {
    let mut said = 0;
    for _ in 0..100 {
        pair.now = pair.now + Duration::from_millis(100);
        pair.session.handle(pair.now, Input::Bytes(says));
        let bytes = pair.session.take_urgent().map(|urgent| urgent.bytes).unwrap_or_default();
        said += bytes.windows(word.len()).filter(|bytes| *bytes == word).count();
        pair.session.take_wire(&mut Vec::new());
        while let Some(event) = pair.session.poll_event() {
            pair.events.push(event);
        }
    }
    said
}

#[test]
fn a_stop_that_was_lost_on_the_wire_was_never_said_again() {
    for dialect in ["grbl", "grblhal", "fluidnc", "smoothieware", "marlin", "reprapfirmware", "repetier", "klipper"] {
        let mut pair = running(dialect, "G21");
        assert_eq!(pair.ask(Request::Stop), Ok(()));
        pair.lose_said();
        pair.run_for(Duration::from_secs(30));
        assert!(!pair.report().moving, "{dialect}: it runs on");
        let executed = pair.report().executed;
        pair.run_for(Duration::from_secs(30));
        assert_eq!(pair.report().executed, executed, "{dialect}: it runs on");
        assert!(!told(&pair, "stop.not_obeyed"), "{dialect}: {:?}", pair.notices());
        assert_eq!(pair.session.state(), State::Alarm, "{dialect}");
    }
}

#[test]
fn a_stop_that_is_obeyed_is_said_once() {
    for dialect in ["grbl", "grblhal", "fluidnc", "smoothieware", "marlin", "reprapfirmware", "repetier", "klipper"] {
        let mut pair = running(dialect, "G21");
        pair.record(1 << 20);
        assert_eq!(pair.ask(Request::Stop), Ok(()));
        pair.run_for(Duration::from_secs(30));
        let recording = pair.recording();
        let word = if recording.contains("M112") { "M112" } else { "\\x18" };
        assert_eq!(recording.matches(word).count(), 1, "{dialect}: {recording}");
        assert!(!told(&pair, "stop.not_"), "{dialect}: {:?}", pair.notices());
        assert_eq!(pair.ask(Request::Clear), Ok(()));
        pair.run_for(Duration::from_secs(1));
        assert!(!told(&pair, "stop.not_seen"), "{dialect}: {:?}", pair.notices());
    }
}

#[test]
fn a_machine_that_does_not_stop_was_called_stopped() {
    let shows: [(&str, &[u8], &[u8]); 5] = [
        ("grbl", b"<Hold:0|MPos:1.000,0.000,0.000|FS:0,10000>\r\n", &[0x18]),
        ("grblhal", b"<Run|MPos:1.000,0.000,0.000|FS:600,0>\r\n", &[0x18]),
        ("fluidnc", b"<Idle|MPos:1.000,0.000,0.000|FS:0,9000>\r\n", &[0x18]),
        ("marlin", b"ok\n", b"M112"),
        ("repetier", b"T:20.1 /0.0 B:20.5 /0.0 @:0\n", b"M112"),
    ];
    for (dialect, says, word) in shows {
        let mut pair = running(dialect, "M3 S10000");
        assert_eq!(pair.ask(Request::Stop), Ok(()));
        assert_eq!(insists(&mut pair, says, word), 6, "{dialect}: once, and five times again");
        let notice = pair.session.snapshot().notice.unwrap();
        assert_eq!(notice.code, "stop.not_obeyed", "{dialect}");
        assert!(notice.to_do.contains("power"), "{dialect}: {notice}");
        assert_eq!(pair.notices().iter().filter(|notice| notice.contains("stop.not_obeyed")).count(), 1, "{dialect}");
        assert_eq!(pair.session.state(), State::Alarm, "{dialect}");
        assert_eq!(pair.ask(Request::Clear), Ok(()));
        insists(&mut pair, b"\n", b"?");
        assert!(told(&pair, "stop.not_seen"), "{dialect}: it was cleared as if it had stopped");
    }
}

#[test]
fn a_hold_that_was_lost_on_the_wire_was_never_said_again() {
    for dialect in GRBL_KIN {
        for request in [Request::Pause, Request::Cancel] {
            let mut pair = running(dialect, "G21");
            assert_eq!(pair.ask(request.clone()), Ok(()));
            pair.lose_said();
            pair.run_for(Duration::from_millis(1_500));
            let held = if request == Request::Pause { State::Held } else { State::Idle };
            assert_eq!(pair.session.state(), held, "{dialect}: {:?}", pair.notices());
            assert!(!told(&pair, "hold.not_obeyed"), "{dialect}");
        }
        let mut pair = running(dialect, "G21");
        assert_eq!(pair.ask(Request::Pause), Ok(()));
        assert_eq!(insists(&mut pair, b"<Run|MPos:1.000,0.000,0.000|FS:600,0>\r\n", b"!"), 6, "{dialect}");
        assert!(told(&pair, "hold.not_obeyed"), "{dialect}: {:?}", pair.notices());
    }
}

#[test]
fn a_resume_that_was_lost_on_the_wire_was_never_said_again() {
    for dialect in GRBL_KIN {
        let mut pair = running(dialect, "G21");
        assert_eq!(pair.ask(Request::Pause), Ok(()));
        pair.run_until(|pair| pair.session.state() == State::Held);
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        pair.lose_said();
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.session.state(), State::Running, "{dialect}: {:?}", pair.notices());
        assert!(pair.report().moving && !told(&pair, "resume.not_obeyed"), "{dialect}");
        // One that stays in its hold is told so three times, and no more: somebody may have pressed its own button.
        assert_eq!(pair.ask(Request::Pause), Ok(()));
        pair.run_until(|pair| pair.session.state() == State::Held);
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        let [x, y, z] = pair.session.snapshot().position_mm.unwrap().value;
        let stays = format!("<Hold:0|MPos:{x:.3},{y:.3},{z:.3}|FS:0,0>\r\n");
        assert_eq!(insists(&mut pair, stays.as_bytes(), b"~"), 3, "{dialect}");
        assert!(told(&pair, "resume.not_obeyed"), "{dialect}: {:?}", pair.notices());
    }
}

#[test]
fn steps_of_an_override_that_arrive_at_once_count_as_one_and_left_it_half_way() {
    for dialect in GRBL_KIN {
        for percent in [150, 43, 200, 10, 100, 97] {
            let mut pair = running(dialect, "G21");
            assert_eq!(pair.ask(Request::Override(drivers::request::Override::Feed(percent))), Ok(()));
            pair.run_for(Duration::from_secs(12));
            let reported = pair.session.snapshot().overrides.unwrap().value.feed_percent;
            assert_eq!(reported, percent, "{dialect}: {:?}", pair.notices());
            assert!(!told(&pair, "override.not_obeyed"), "{dialect}");
        }
    }
}

#[test]
fn a_beam_whose_stop_in_a_hold_was_lost_burned_on() {
    let profile = Profile::named("grbl-laser-400").unwrap();
    let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 1);
    pair.connect();
    pair.start(beginning_with("M4 S500"));
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.ask(Request::Pause), Ok(()));
    let report = b"<Hold:0|MPos:1.000,0.000,0.000|FS:0,500>\r\n";
    assert_eq!(insists(&mut pair, report, &[0x9e]), 3, "an odd number of times");
    assert!(told(&pair, "hold.spindle_on"), "{:?}", pair.notices());
    // In a hold that is obeyed it is said once.
    let mut pair =
        Pair::with_profile(Profile::named("grbl-laser-400").unwrap(), &setup(), usual_line(), Faults::default(), 1);
    pair.connect();
    pair.start(beginning_with("M4 S500"));
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.ask(Request::Pause), Ok(()));
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.session.snapshot().spindle.unwrap().value, 0.0);
    assert!(!told(&pair, "hold."), "{:?}", pair.notices());
}

#[test]
fn a_spindle_that_never_stood_at_an_m0_was_switched_off_by_going_on() {
    let mut pair = connected("grbl", &setup());
    pair.start(["M3 S1000", "G1 X5 F600", "M0", "G1 X100"].map(str::to_owned).to_vec());
    pair.run_until(|pair| pair.session.state() == State::Attention);
    insists(&mut pair, b"<Hold:0|MPos:5.000,0.000,0.000|FS:0,1000>\r\n", &[0x9e]);
    assert_eq!(pair.session.request(pair.now, Request::Resume), Ok(()));
    assert_eq!(pair.session.take_urgent().unwrap().bytes, b"~");
}
