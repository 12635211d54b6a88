//! Heaters that are on without a job: told after a time, switched off after a longer one, where the profile says so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::sim::Faults;
use drivers::snapshot::JobPhase;
use drivers::{Denied, Request, State};
use support::{Pair, code, program, setup, usual_line};

const PRINTERS: [&str; 5] = ["marlin", "smoothieware", "reprapfirmware", "repetier", "klipper"];

const MINUTE: Duration = Duration::from_secs(60);

/// A printer whose nozzle somebody heats at its display, and that has been at rest for so long.
fn heated(dialect: &str, told: Option<u32>, off: Option<u32>) -> Pair {
    let mut profile = support::profile(dialect);
    profile.safety.heat_idle_min = told;
    profile.safety.heat_idle_off_min = off;
    if profile.safety.safe_end.is_empty() {
        profile.safety.safe_end = vec!["M104 S0".into(), "M140 S0".into(), "M84".into()];
    }
    let mut pair = Pair::with_profile(profile, &setup(), usual_line(), Faults::default(), 1);
    pair.connect();
    // It was seen cold first: found hot is another matter.
    pair.run_for(Duration::from_secs(30));
    pair.machine.hear(pair.now, b"M104 S200\nM140 S60\n");
    pair.run_for(Duration::from_secs(30));
    pair
}

fn targets(pair: &Pair) -> Vec<f64> {
    pair.session.snapshot().temperatures.iter().filter_map(|heater| heater.target_c).collect()
}

#[test]
fn a_nozzle_that_was_left_hot_at_the_display_burned_all_night() {
    for dialect in PRINTERS {
        let mut pair = heated(dialect, Some(10), Some(20));
        assert_eq!(pair.session.state(), State::Idle, "{dialect}: {}", code(&pair));
        pair.run_for(8 * MINUTE);
        assert_eq!(pair.session.state(), State::Idle, "{dialect}");
        pair.run_for(3 * MINUTE);
        assert_eq!((pair.session.state(), code(&pair).as_str()), (State::Attention, "machine.hot_idle"), "{dialect}");
        assert_eq!(pair.try_start(program(5, 1)), Err(Denied::Attention), "{dialect}");
        assert!(targets(&pair).contains(&200.0), "{dialect}: {:?}", targets(&pair));
        let executed = pair.executed().len();
        pair.run_for(11 * MINUTE);
        assert!(targets(&pair).iter().all(|target| *target == 0.0), "{dialect}: {:?}", targets(&pair));
        let said: Vec<_> =
            pair.executed()[executed..].iter().filter(|line| !line.starts_with("M105")).cloned().collect();
        assert!(
            !said.iter().any(|line| line.contains("M84") || line.starts_with('G')),
            "{dialect}: nothing else: {said:?}"
        );
        assert!(pair.notices().iter().any(|notice| notice.contains("machine.heat_switched_off")), "{dialect}");
        // It is off: nobody has to look any more.
        assert_eq!(pair.session.state(), State::Idle, "{dialect}: {}", code(&pair));
    }
}

#[test]
fn heaters_that_are_meant_to_be_on_have_their_time_anew() {
    let mut pair = heated("marlin", Some(10), None);
    pair.run_for(11 * MINUTE);
    assert_eq!(code(&pair), "machine.hot_idle");
    pair.ask(Request::Clear).unwrap();
    assert_eq!(pair.session.state(), State::Idle);
    pair.run_for(9 * MINUTE);
    assert_eq!(pair.session.state(), State::Idle);
    pair.run_for(2 * MINUTE);
    assert_eq!(code(&pair), "machine.hot_idle");
    assert!(targets(&pair).contains(&200.0), "it is told and not touched: {:?}", targets(&pair));
}

#[test]
fn a_profile_that_says_nothing_leaves_heaters_alone_and_a_job_is_no_idling() {
    let mut pair = heated("marlin", None, None);
    pair.run_for(120 * MINUTE);
    assert_eq!(pair.session.state(), State::Idle, "{}", code(&pair));
    let mut pair = heated("marlin", Some(10), Some(20));
    pair.run_for(8 * MINUTE);
    pair.start(program(200, 1));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    pair.run_for(8 * MINUTE);
    assert_ne!(code(&pair), "machine.hot_idle", "the time began with the end of the job");
}
