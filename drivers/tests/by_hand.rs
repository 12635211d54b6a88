//! Moving by hand: jogs that end by themselves, homing, probing. In virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::request::{Jog, Probe};
use drivers::sim::{Faults, LineSpeed, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Answer, Denied, EventKind, Request, State};
use support::{Pair, connected, setup, stands, strings};

const DIALECTS: [&str; 8] =
    ["marlin", "grbl", "grblhal", "fluidnc", "smoothieware", "reprapfirmware", "repetier", "klipper"];

const GRBL_KIN: [&str; 3] = ["grbl", "grblhal", "fluidnc"];

fn jog(by_mm: [f64; 3], feed_mm_min: f64, press: Option<u64>) -> Request {
    Request::Jog(Jog { by_mm, feed_mm_min, press })
}

/// Holds a button down: asks again ten times a second.
fn hold_down(pair: &mut Pair, request: &Request, time: Duration) -> Answer {
    let until = pair.now + time;
    while pair.now < until {
        pair.ask(request.clone())?;
        pair.run_for(Duration::from_millis(100));
    }
    Ok(())
}

#[test]
fn a_jog_lasts_only_while_its_button_is_held() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        let request = jog([100.0, 0.0, 0.0], 600.0, Some(7));
        assert_eq!(hold_down(&mut pair, &request, Duration::from_secs(2)), Ok(()), "{dialect}");
        assert_eq!(pair.session.state(), State::Running, "{dialect}");
        let x = pair.report().position_mm[0];
        assert!(x > 8.0, "{dialect}: it has moved {x} mm in two seconds of 10 mm/s");
        // Nobody asks any more, and nobody says stop: the connection is lost.
        pair.run_for(Duration::from_millis(700));
        let at = pair.report().position_mm[0];
        assert!(at < 27.0, "{dialect}: {at} mm");
        pair.run_for(Duration::from_secs(30));
        assert_eq!(pair.report().position_mm[0], at, "{dialect}: it went on");
        stands(&mut pair);
        assert_eq!(pair.ask(request), Err(Denied::Released), "{dialect}: a late repeat");
        assert_eq!(pair.report().position_mm[0], at, "{dialect}");
    }
}

#[test]
fn a_jog_that_is_let_go_before_the_machine_has_read_it_ends_all_the_same() {
    for latency_ms in [0, 1, 5, 20, 60] {
        for dialect in GRBL_KIN {
            let line = LineSpeed { baud: 115_200, latency: Duration::from_millis(latency_ms) };
            let mut pair = Pair::new(dialect, &setup(), line, Faults::default(), 1);
            pair.connect();
            assert_eq!(pair.ask(jog([100.0, 0.0, 0.0], 1000.0, Some(1))), Ok(()));
            assert_eq!(pair.ask(Request::JogStop(Some(1))), Ok(()));
            pair.run_for(Duration::from_secs(60));
            stands(&mut pair);
            let x = pair.report().position_mm[0];
            assert!(x < 7.0, "{dialect}, {latency_ms} ms: it went {x} mm of 100");
            assert_eq!(pair.ask(jog([100.0, 0.0, 0.0], 1000.0, Some(1))), Err(Denied::Released));
            assert_eq!(pair.ask(jog([1.0, 0.0, 0.0], 1000.0, Some(2))), Ok(()), "a new press moves");
        }
    }
}

#[test]
fn a_stop_that_overtakes_its_press_is_obeyed() {
    let mut pair = connected("grbl", &setup());
    assert_eq!(pair.ask(Request::JogStop(Some(3))), Ok(()));
    assert_eq!(pair.ask(jog([10.0, 0.0, 0.0], 600.0, Some(3))), Err(Denied::Released));
    assert_eq!(pair.report().position_mm, [0.0; 3]);
}

#[test]
fn a_step_is_as_long_as_asked_for_and_bounded() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        assert_eq!(pair.ask(jog([0.0, 5.0, 0.0], 600.0, None)), Ok(()), "{dialect}");
        pair.run_for(Duration::from_millis(200));
        assert_eq!(pair.session.state(), State::Running, "{dialect}");
        assert_eq!(pair.ask(jog([0.0, 5.0, 0.0], 600.0, None)), Err(Denied::Moving), "{dialect}");
        stands(&mut pair);
        assert_eq!(pair.report().position_mm, [0.0, 5.0, 0.0], "{dialect}");
        for (by_mm, feed) in [
            ([101.0, 0.0, 0.0], 600.0),
            ([f64::NAN, 0.0, 0.0], 600.0),
            ([1.0, 0.0, 0.0], f64::INFINITY),
            ([0.0; 3], 600.0),
        ] {
            assert_eq!(pair.ask(jog(by_mm, feed, None)), Err(Denied::OutOfRange), "{dialect}: {by_mm:?}");
        }
    }
}

#[test]
fn a_step_of_a_printer_with_an_emergency_parser_ends_when_told_and_its_position_is_lost() {
    let mut pair = connected("marlin", &setup());
    assert_eq!(pair.ask(Request::Home), Ok(()));
    stands(&mut pair);
    assert!(pair.session.snapshot().homed);
    assert_eq!(pair.ask(jog([100.0, 0.0, 0.0], 600.0, None)), Ok(()));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.ask(Request::JogStop(None)), Ok(()));
    pair.run_for(Duration::from_secs(1));
    let x = pair.report().position_mm[0];
    assert!(x < 25.0, "{x}");
    stands(&mut pair);
    assert!(!pair.session.snapshot().homed, "a quickstop loses steps");
}

#[test]
fn a_homed_machine_is_not_jogged_out_of_its_envelope() {
    // The bundled mill's envelope ends at its home; a machine that was not homed may be anywhere.
    let mut pair = connected("grbl", &setup());
    assert_eq!(pair.ask(jog([1.0, 0.0, 0.0], 600.0, None)), Ok(()), "not homed: nobody knows where the end is");
    stands(&mut pair);
    assert_eq!(pair.ask(Request::Home), Ok(()));
    stands(&mut pair);
    pair.run_for(Duration::from_secs(1));
    let envelope = pair.profile.envelope_mm.unwrap();
    let by = envelope.max[0] + 5.0;
    assert_eq!(pair.ask(jog([by.min(100.0), 0.0, 0.0], 600.0, None)), Err(Denied::OutsideEnvelope));
}

#[test]
fn a_long_step_of_a_machine_that_was_not_homed_went_as_far_as_asked_and_untold() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &setup());
        let told = |pair: &mut Pair| {
            pair.run_for(Duration::from_millis(1));
            pair.events.iter().any(|event| format!("{event:?}").contains("20 mm at most"))
        };
        assert_eq!(pair.ask(jog([20.0, 0.0, 0.0], 600.0, None)), Ok(()), "{dialect}");
        assert!(!told(&mut pair), "{dialect}");
        stands(&mut pair);
        assert_eq!(pair.ask(jog([0.0, 60.0, 0.0], 600.0, None)), Ok(()), "{dialect}");
        assert!(told(&mut pair), "{dialect}");
        stands(&mut pair);
    }
}

#[test]
fn homing_may_take_long_and_grbl_says_nothing_meanwhile() {
    for dialect in DIALECTS {
        let mut pair = connected(dialect, &Setup { rapid_mm_min: 60.0, ..setup() });
        assert_eq!(pair.ask(jog([-50.0, 0.0, 0.0], 600.0, None)), Ok(()));
        stands(&mut pair);
        assert!(!pair.session.snapshot().homed);
        assert_eq!(pair.ask(Request::Home), Ok(()));
        loop {
            pair.step();
            if pair.session.snapshot().homed {
                break;
            }
            assert_ne!(pair.session.state(), State::Idle, "{dialect}: it homes");
            assert_eq!(pair.ask(Request::Home), Err(Denied::Moving), "{dialect}");
        }
        stands(&mut pair);
        assert!(pair.notices().is_empty(), "{dialect}: {:?}", pair.notices());
        assert_eq!(pair.report().position_mm, [0.0; 3], "{dialect}");
        pair.machine.reset(pair.now);
        pair.run_for(Duration::from_secs(1));
        assert!(!pair.session.snapshot().homed, "{dialect}: a board that restarted knows its position no more");
    }
}

#[test]
fn a_probe_says_where_it_touched() {
    for dialect in GRBL_KIN {
        let mut pair = connected(dialect, &setup());
        let probe = Request::Probe(Probe { down_mm: 20.0, feed_mm_min: 100.0 });
        assert_eq!(pair.ask(probe), Ok(()));
        stands(&mut pair);
        let found = pair.session.snapshot().probe.unwrap().value;
        assert_eq!((found.position_mm[2], found.touched), (-5.0, true), "{dialect}");
        assert!(pair.events.iter().any(|event| matches!(event.kind, EventKind::Probed { touched: true, .. })));
        assert_eq!(pair.executed(), ["G91G21G38.2Z-20.000F100", "G90"], "{dialect}");
        for (down_mm, feed_mm_min) in [(51.0, 100.0), (-1.0, 100.0), (f64::NAN, 100.0), (5.0, 5000.0)] {
            let asked = pair.ask(Request::Probe(Probe { down_mm, feed_mm_min }));
            assert_eq!(asked, Err(Denied::OutOfRange), "{down_mm} {feed_mm_min}");
        }
    }
    let mut printer = connected("marlin", &setup());
    let probe = Request::Probe(Probe { down_mm: 5.0, feed_mm_min: 100.0 });
    assert_eq!(printer.ask(probe), Err(Denied::Unsupported));
}

#[test]
fn a_probe_that_touches_nothing_is_an_alarm_and_leaves_no_relative_coordinates() {
    let mut pair = connected("grbl", &setup());
    assert_eq!(pair.ask(Request::Probe(Probe { down_mm: 3.0, feed_mm_min: 100.0 })), Ok(()));
    pair.run_until(|pair| pair.session.state() == State::Alarm);
    pair.run_for(Duration::from_secs(1));
    assert!(!pair.session.snapshot().probe.unwrap().value.touched);
    assert_eq!(pair.ask(Request::Clear), Ok(()));
    stands(&mut pair);
    assert_eq!(pair.executed().last().map(String::as_str), Some("G90"));
}

#[test]
fn a_spindle_that_turns_is_no_probe() {
    let mut pair = connected("grbl", &setup());
    pair.start(strings(&["M3 S1000", "G1 X1 F600"]));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    pair.run_for(Duration::from_secs(1));
    let probe = Request::Probe(Probe { down_mm: 5.0, feed_mm_min: 100.0 });
    assert_eq!(pair.ask(probe), Err(Denied::SpindleOn));
}
