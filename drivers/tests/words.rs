//! What a printer says in words, and what becomes of a job for it; and that a request of a person which the machine
//! refuses is told as refused.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]

mod support;

use std::time::Duration;

use drivers::event::EventKind;
use drivers::profile::OnError;
use drivers::request::{Jog, Probe};
use drivers::sim::{Faults, Incident, Setup};
use drivers::snapshot::JobPhase;
use drivers::{Request, State};
use support::{Pair, commands, connected, long_program, profile, setup, strings, usual_line};

const PRINTERS: [&str; 5] = ["marlin", "repetier", "smoothieware", "reprapfirmware", "klipper"];

#[test]
fn the_document_is_what_the_tables_say() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/words.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let start = "<!-- tables -->\n";
    let from = text.find(start).expect("a mark") + start.len();
    let tables = drivers::dialect::tables_of_words();
    if std::env::var("WORDS").as_deref() == Ok("write") {
        std::fs::write(&path, format!("{}{tables}", &text[..from])).unwrap();
        return;
    }
    assert_eq!(&text[from..], tables, "`WORDS=write cargo test -p drivers --test words` writes it anew");
}

/// What a running job comes to when the machine says this by itself.
fn after(dialect: &str, said: &'static str) -> (JobPhase, Pair) {
    let mut pair = connected(dialect, &Setup { speed: 20.0, ..setup() });
    pair.start(long_program());
    pair.run_until(|pair| pair.progress().accepted > 20);
    pair.machine.happen(pair.now, Incident::Says(said));
    let phase = pair.run_job();
    (phase, pair)
}

/// The notices of what the job did, with their codes.
fn codes(pair: &Pair) -> Vec<String> {
    let notices = pair.events.iter().filter_map(|event| match &event.kind {
        EventKind::Trouble { notice } | EventKind::Job { notice: Some(notice), .. } => Some(notice.code.clone()),
        _ => None,
    });
    notices.collect()
}

#[test]
fn a_machine_that_asks_for_a_pause_is_given_one_and_says_why() {
    for (dialect, said, code, why) in [
        ("repetier", "RequestPause:No Filament", "machine.asks_pause", "No Filament"),
        ("repetier", "RequestPause:", "machine.asks_pause", "pause"),
        ("marlin", "RequestPause:No Filament", "machine.asks_pause", "No Filament"),
        ("repetier", "// action:out_of_filament T0", "machine.filament", "out_of_filament T0"),
        ("marlin", "//action:out_of_filament T1", "machine.filament", "out_of_filament T1"),
        ("marlin", "//action:filament_runout T0", "machine.filament", "filament_runout"),
        ("marlin", "//action:paused filament_runout 0", "machine.filament", "filament_runout"),
        ("marlin", "//action:pause", "machine.paused", "paused at the machine"),
        ("marlin", "//action:paused", "machine.paused", "paused at the machine"),
        ("klipper", "// action:paused", "machine.paused", "paused at the machine"),
        ("repetier", "important:Extruder jam detected", "machine.filament", "jam"),
        ("smoothieware", "// Filament Detector has detected a filament jam", "machine.filament", "jam"),
        ("reprapfirmware", "Error: Filament error on extruder 0: noFilament", "machine.filament", "noFilament"),
        ("marlin", "echo:Printer stopped due to errors. Supervision required.", "machine.asks_pause", "Supervision"),
    ] {
        let (phase, mut pair) = after(dialect, said);
        assert_eq!(phase, JobPhase::Held, "{dialect}: {said}: {:?}", pair.notices());
        assert_eq!(codes(&pair), [code], "{dialect}: {said}");
        assert!(pair.notices()[0].contains(why), "{dialect}: {said}: {:?}", pair.notices());
        let stood = pair.executed().len();
        pair.run_for(Duration::from_secs(60));
        assert!(pair.executed().len() <= stood + 40, "{dialect}: {said}: it goes on");
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {said}: {:?}", pair.notices());
        assert_eq!(pair.executed(), commands(&long_program()), "{dialect}: {said}");
    }
}

#[test]
fn filament_that_runs_out_holds_the_job_on_every_firmware() {
    for dialect in PRINTERS {
        let mut pair = connected(dialect, &Setup { speed: 20.0, ..setup() });
        pair.start(long_program());
        pair.run_until(|pair| pair.progress().accepted > 20);
        pair.machine.happen(pair.now, Incident::FilamentOut);
        assert_eq!(pair.run_job(), JobPhase::Held, "{dialect}: {:?}", pair.notices());
    }
}

#[test]
fn filament_that_runs_out_while_the_job_stands_already_is_told_until_it_goes_on() {
    for (said, code) in
        [("RequestPause:No Filament", "machine.asks_pause"), ("// action:out_of_filament T0", "machine.filament")]
    {
        let mut pair = connected("repetier", &Setup { speed: 20.0, ..setup() });
        pair.start(long_program());
        pair.run_until(|pair| pair.progress().accepted > 20);
        assert_eq!(pair.ask(Request::Pause), Ok(()));
        pair.run_until(|pair| pair.session.state() == State::Held);
        for _ in 0..3 {
            pair.machine.happen(pair.now, Incident::Says(said));
            pair.run_for(Duration::from_secs(20));
        }
        assert_eq!(codes(&pair), [code], "{said}: {:?}", pair.notices());
        assert_eq!(pair.session.snapshot().notice.expect("a notice").code, code, "{said}");
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        assert_eq!(pair.session.snapshot().notice, None, "{said}");
        assert_eq!(pair.run_job(), JobPhase::Finished, "{said}: {:?}", pair.notices());
    }
}

#[test]
fn what_paused_there_may_go_on_there() {
    for (paused, resumed) in [
        ("RequestPause:", "RequestContinue:"),
        ("// action:out_of_filament T0", "// action:resume"),
        ("//action:paused", "//action:resumed"),
    ] {
        let (phase, mut pair) = after("repetier", paused);
        assert_eq!(phase, JobPhase::Held);
        // A machine that only says that its filament is out has not paused by itself: a program without anybody at its
        // terminal waited for it for ever.
        let only_asks = paused == "// action:out_of_filament T0";
        assert_eq!(pair.session.snapshot().waits_for_agent, only_asks, "{paused}");
        pair.machine.happen(pair.now, Incident::Says(resumed));
        pair.run_until(|pair| pair.session.state() != State::Held);
        assert_eq!(pair.run_job(), JobPhase::Finished, "{paused} {resumed}: {:?}", pair.notices());
    }
}

#[test]
fn a_machine_that_ends_the_job_fails_it_and_is_made_safe() {
    for (dialect, said, code) in [
        ("repetier", "RequestStop:", "machine.asks_stop"),
        ("repetier", "RequestStop:Heater decoupled", "machine.asks_stop"),
        ("marlin", "RequestStop:", "machine.asks_stop"),
        ("marlin", "//action:poweroff", "machine.asks_stop"),
        ("marlin", "//action:cancel", "job.cancelled_at_machine"),
    ] {
        let (_, mut pair) = after(dialect, said);
        pair.run_until(|pair| pair.progress().phase.is_over());
        let wanted = if said.contains("cancel") { JobPhase::Cancelled } else { JobPhase::Failed };
        assert_eq!(pair.progress().phase, wanted, "{dialect}: {said}");
        assert_eq!(codes(&pair), [code], "{dialect}: {said}");
        let executed = pair.executed();
        assert!(executed.iter().any(|line| line == "M104 S0"), "{dialect}: {said}: the heaters are off");
        assert!(executed.len() < 100, "{dialect}: {said}");
    }
}

#[test]
fn a_machine_that_halts_in_any_words_fails_the_job() {
    for (dialect, said) in [
        ("marlin", "Error:Printer halted. kill() called!"),
        ("marlin", "Error:!! KILLED"),
        ("marlin", "Error: THERMAL RUNAWAY (PREHEAT HOTEND)"),
        ("marlin", "Error:Thermal Runaway, system stopped! Heater_ID: bed"),
        ("marlin", "Error:Heating failed, system stopped! Heater_ID: 0"),
        ("marlin", "Error:MAXTEMP triggered, system stopped! Heater_ID: 0"),
        ("marlin", "error: mintemp triggered"),
        ("marlin", ": Extruder switched off. MAXTEMP triggered !"),
        ("marlin", "Error:0: Heaters switched off. MINTEMP triggered!"),
        ("marlin", "Error:STOP called because of BLTouch error - restart with M999"),
        ("marlin", "!! hard fault"),
        (
            "repetier",
            "fatal:Heater/sensor error - Printer stopped and heaters disabled due to this error. Fix error and restart with M999.",
        ),
        ("repetier", "Error:Fail mode active. Send M999 to disable failed mode!"),
        ("marlin", "fatal:Heater decoupled"),
        ("klipper", "!! MCU 'mcu' shutdown: Timer too close"),
        ("smoothieware", "Error: Soft Endstop X was exceeded - reset or $X or M999 required"),
        ("smoothieware", "ALARM: Kill button pressed - reset, $X or M999 to clear HALT"),
    ] {
        let (phase, pair) = after(dialect, said);
        assert_eq!(phase, JobPhase::Failed, "{dialect}: {said}: {:?}", pair.notices());
        assert_eq!(pair.session.state(), State::Alarm, "{dialect}: {said}");
    }
}

#[test]
fn an_error_no_table_knows_holds_the_job_and_names_the_line() {
    for (dialect, said) in [
        ("marlin", "Error:Probing Failed"),
        ("marlin", "error: probing failed"),
        ("marlin", "Error:Homing Failed"),
        ("marlin", "echo:Homing Failed"),
        ("marlin", "Error:0"),
        ("marlin", "Error:Something nobody has heard of"),
        ("marlin", "// Error: something"),
        ("repetier", "Error:Z-probe failed"),
        ("smoothieware", "Error: Soft Endstop X was exceeded - entire move ignored"),
        ("reprapfirmware", "Error: G0/G1: target position outside machine limits"),
        ("klipper", "!! Move out of range: 999.000 0.000 0.000 [0.000]"),
    ] {
        // Said in answer to the 30th line.
        let mut pair = connected(dialect, &Setup { speed: 20.0, says: vec![("G1X7".into(), said.into())], ..setup() });
        let mut program = long_program();
        program[29] = "G1 X7 F1200".into();
        pair.start(program.clone());
        assert_eq!(pair.run_job(), JobPhase::Held, "{dialect}: {said}: {:?}", pair.notices());
        assert_eq!(codes(&pair), [format!("{dialect}.error")], "{dialect}: {said}");
        assert!(pair.notices()[0].contains("line "), "{dialect}: {said}: {:?}", pair.notices());
        if dialect != "repetier" {
            assert!(pair.notices()[0].contains("line 30 ("), "{dialect}: {said}: {:?}", pair.notices());
        }
        assert_eq!(pair.ask(Request::Resume), Ok(()));
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {said}: {:?}", pair.notices());
        let job = pair.progress();
        assert_eq!(job.executed + job.refused, job.commands, "{dialect}: {said}: {job:?}");
    }
}

#[test]
fn trouble_of_the_machine_itself_holds_the_job_and_counts_no_line() {
    for (dialect, said) in [
        ("marlin", "Error:TMC CONNECTION ERROR"),
        ("marlin", "Error:X driver overtemperature warning! (850mA)"),
        ("reprapfirmware", "Error: Heater 1 fault: temperature excursion exceeded 15.0C"),
        ("reprapfirmware", "Error: Driver 0 error: over temperature shutdown"),
        ("repetier", "Error:Heated bed exceeded max temperature!"),
        ("marlin", "echo:endstops hit:  X:12.00"),
        ("marlin", "echo:endstops hit: Z:1.00"),
    ] {
        let (phase, pair) = after(dialect, said);
        assert_eq!(phase, JobPhase::Held, "{dialect}: {said}: {:?}", pair.notices());
        assert_eq!(codes(&pair), ["machine.fault"], "{dialect}: {said}");
        assert_eq!((pair.progress().refused, pair.progress().ignored), (0, 0), "{dialect}: {said}");
    }
}

#[test]
fn harmless_words_stop_nothing() {
    for (dialect, said) in [
        ("marlin", "Error:volume.init failed"),
        ("marlin", "Error:openRoot failed"),
        ("marlin", "echo:SD init fail"),
        ("marlin", "Error:SD read error"),
        ("marlin", "Error:No thermistors - no temperature"),
        ("marlin", "Error:EEPROM CRC mismatch - (stored) 1 != 2 (calculated)!"),
        ("marlin", "//action:notification Error: none"),
        ("marlin", "echo:Filament runout ON ; Distance 25.00mm"),
        ("marlin", "echo:; Home offset:"),
        ("marlin", "Warning: something"),
        ("repetier", "Info:Cold extrusion disallowed"),
        ("repetier", "Warning:moveTo / queueDeltaMove returns error"),
        ("reprapfirmware", "Warning: Driver 0 stall"),
        ("reprapfirmware", "Error: HTTP: could not write upload data"),
        ("klipper", "// probe at 10.000,10.000 is z=0.025"),
    ] {
        let (phase, pair) = after(dialect, said);
        assert_eq!(phase, JobPhase::Finished, "{dialect}: {said}: {:?}", pair.notices());
        assert!(pair.notices().is_empty(), "{dialect}: {said}: {:?}", pair.notices());
        let job = pair.progress();
        assert_eq!((job.refused, job.ignored, job.executed), (0, 0, job.commands), "{dialect}: {said}");
    }
}

#[test]
fn errors_that_belong_to_a_line_said_again_stop_nothing() {
    for said in [
        "Error:checksum mismatch, Last Line: 12",
        "Error: checksum mismatch",
        "Error:Line Number is not Last Line Number+1, Last Line: 12",
        "Error:line number is not last line number+1",
        "Error:No Checksum with line number, Last Line: 12",
        "Error:No Line Number with checksum, Last Line: 12",
        "Error:Format error",
        "Error:Serial status mismatch",
    ] {
        let (phase, pair) = after("marlin", said);
        assert_eq!(phase, JobPhase::Finished, "{said}: {:?}", pair.notices());
    }
    // On a bad wire the words themselves arrive damaged; the request behind them shows what they were.
    let setup = Setup { resend_permille: 20, speed: 20.0, ..setup() };
    let mut pair = connected("marlin", &setup);
    pair.start(long_program());
    pair.run_until(|pair| pair.progress().accepted > 20);
    let last = pair.progress().accepted;
    pair.hand(drivers::session::Input::Bytes(b"Error:chebksum mis\x7fatch\nResend: "));
    pair.hand(drivers::session::Input::Bytes(format!("{}\nok\n", last + 2).as_bytes()));
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
}

#[test]
fn an_error_right_before_the_link_is_lost_is_told_then_and_not_behind_the_next_greeting() {
    let mut pair = connected("marlin", &Setup { speed: 20.0, ..setup() });
    pair.start(long_program());
    pair.run_until(|pair| pair.progress().accepted > 20);
    pair.hand(drivers::session::Input::Bytes(b"Error:Something nobody has heard of\n"));
    pair.unplug();
    pair.run_for(Duration::from_millis(100));
    let told = |pair: &Pair| codes(pair).iter().filter(|code| *code == "marlin.error").count();
    assert_eq!(told(&pair), 1, "{:?}", pair.notices());
    pair.plug_in(true);
    pair.run_until(|pair| pair.session.state() == State::Idle);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(told(&pair), 1, "{:?}", pair.notices());
    assert_eq!(pair.session.snapshot().notice, None);
}

#[test]
fn damage_that_nobody_saw_is_not_asserted() {
    for (explained, seen) in [("", "did not say why"), ("Error:checksum mismatch, Last Line: 1\n", "arrived damaged")] {
        let mut pair = connected("marlin", &Setup { speed: 20.0, ..setup() });
        pair.start(long_program());
        pair.run_until(|pair| pair.progress().accepted > 20);
        pair.deaf = true;
        pair.run_for(Duration::from_secs(1));
        // Numbers count from the line that sets the counter on.
        let due = pair.progress().accepted + 2;
        for _ in 0..20 {
            let said = format!("{explained}Resend: {due}\nok\n");
            pair.hand(drivers::session::Input::Bytes(said.as_bytes()));
            pair.run_for(Duration::from_secs(2));
        }
        assert_eq!(codes(&pair), ["link.resend_hopeless"], "{:?}", pair.notices());
        assert!(pair.notices()[0].contains(seen), "{:?}", pair.notices());
    }
    let mut pair = connected("grbl", &Setup { speed: 20.0, ..setup() });
    pair.start(long_program());
    pair.run_until(|pair| pair.progress().accepted > 20);
    pair.deaf = true;
    pair.run_for(Duration::from_millis(300));
    pair.deaf = false;
    assert_eq!(pair.run_job(), JobPhase::Held, "{:?}", pair.notices());
    assert_eq!(codes(&pair), ["link.answer_lost"], "{:?}", pair.notices());
    assert!(pair.notices()[0].contains("Nothing was seen to arrive damaged"), "{:?}", pair.notices());
}

fn cold(dialect: &str) -> Pair {
    let setup = Setup { speed: 20.0, extrudes_above_c: Some(170.0), ..setup() };
    let mut pair = connected(dialect, &setup);
    let mut program = strings(&["G90", "M83", "G1 F3000"]);
    program.extend((0..50).map(|step| format!("G1 X{} E1", step % 20)));
    pair.start(program);
    pair
}

#[test]
fn a_cold_nozzle_holds_the_job_and_each_extrusion_that_was_none_is_counted() {
    for (dialect, refused) in [("marlin", false), ("reprapfirmware", false), ("klipper", true)] {
        let mut pair = cold(dialect);
        assert_eq!(pair.run_job(), JobPhase::Held, "{dialect}: {:?}", pair.notices());
        assert_eq!(codes(&pair)[0], "machine.not_extruded", "{dialect}");
        assert!(pair.notices()[0].contains("line 4 ("), "{dialect}: {:?}", pair.notices());
        let job = pair.progress();
        let first = if refused { job.first_refused.clone() } else { job.first_ignored.clone() }.expect("named");
        assert_eq!(first.line, 4, "{dialect}: {first:?}");
        // A person insists, line by line.
        for _ in 0..60 {
            if pair.ask(Request::Resume).is_err() || pair.run_job() == JobPhase::Finished {
                break;
            }
        }
        let job = pair.progress();
        assert_eq!(job.phase, JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        let counted = if refused { job.refused } else { job.ignored };
        assert_eq!((counted, job.executed), (50, job.commands - 50), "{dialect}: {job:?}");
        assert_eq!(pair.report().ignored, 50, "{dialect}");
    }
}

#[test]
fn a_profile_that_goes_on_is_told_a_few_times_and_counts_all() {
    let mut profile = profile("marlin");
    profile.stream.on_error = OnError::Continue;
    let setup = Setup { speed: 20.0, extrudes_above_c: Some(170.0), ..setup() };
    let mut pair = Pair::with_profile(profile, &setup, usual_line(), Faults::default(), 1);
    pair.connect();
    pair.start((0..500).map(|step| format!("G1 X{} E{step}.5 F3000", step % 20)).collect());
    assert_eq!(pair.run_job(), JobPhase::Finished, "{:?}", pair.notices());
    let job = pair.progress();
    assert_eq!((job.ignored, job.executed), (500, 0), "{job:?}");
    assert!(pair.notices().len() <= 20, "{} notices", pair.notices().len());
}

#[test]
fn commands_a_firmware_does_not_know_are_ignored_counted_and_named() {
    for dialect in ["marlin", "repetier", "reprapfirmware", "klipper"] {
        let mut pair = connected(dialect, &Setup { speed: 20.0, ..setup() });
        let program = strings(&["G1 X5 F3000", "X131 S1", "G1 X10", "M101", "G1 X0", "M103", "G1 X3"]);
        pair.start(program);
        assert_eq!(pair.run_job(), JobPhase::Finished, "{dialect}: {:?}", pair.notices());
        let job = pair.progress();
        // RepRapFirmware takes the old extruder's words for retractions (`GCodes2.cpp`).
        let retracts = dialect == "reprapfirmware";
        let (executed, ignored) = if retracts { (6, 1) } else { (4, 3) };
        assert_eq!((job.commands, job.executed, job.ignored), (7, executed, ignored), "{dialect}: {job:?}");
        let first = job.first_ignored.expect("named");
        assert_eq!((first.line, first.command.as_str()), (2, "X131S1"), "{dialect}");
        assert!(first.said.to_lowercase().contains("command"), "{dialect}: {first:?}");
        let mut done = pair.executed();
        done.retain(|line| !(retracts && (line == "M101" || line == "M103")));
        assert_eq!(done, ["G1X5F3000", "G1X10", "G1X0", "G1X3"], "{dialect}");
    }
    let said = "Unknown M code: M131 S1";
    let mut pair = connected("marlin", &Setup { says: vec![("M131".into(), said.into())], ..setup() });
    pair.start(strings(&["G1 X5 F3000", "M131 S1"]));
    assert_eq!(pair.run_job(), JobPhase::Finished);
    assert_eq!(pair.progress().ignored, 1, "as Prusa's firmware says it");
}

#[test]
fn a_printer_that_is_not_homed_holds_the_job_at_the_first_move() {
    for (dialect, code) in
        [("marlin", "machine.not_homed"), ("klipper", "machine.not_homed"), ("reprapfirmware", "reprapfirmware.error")]
    {
        let mut pair = connected(dialect, &Setup { must_home: true, speed: 20.0, ..setup() });
        pair.start(strings(&["G90", "G1 X5 F3000", "G1 X10"]));
        assert_eq!(pair.run_job(), JobPhase::Held, "{dialect}: {:?}", pair.notices());
        assert_eq!(codes(&pair)[0], code, "{dialect}");
        assert!(pair.notices()[0].contains("line 2 ("), "{dialect}: {:?}", pair.notices());
        assert_eq!(pair.ask(Request::Cancel), Ok(()));
        pair.run_until(|pair| pair.session.state() == State::Idle);
        assert_eq!(pair.report().position_mm, [0.0; 3], "{dialect}: it never moved");
    }
}

#[test]
fn what_a_machine_refuses_a_person_is_told_as_refused() {
    let jog = Request::Jog(Jog { by_mm: [5.0, 0.0, 0.0], feed_mm_min: 600.0, press: None });
    for (dialect, code) in
        [("marlin", "machine.not_homed"), ("klipper", "machine.not_homed"), ("reprapfirmware", "reprapfirmware.error")]
    {
        let mut pair = connected(dialect, &Setup { must_home: true, ..setup() });
        assert_eq!(pair.ask(jog.clone()), Ok(()));
        pair.run_for(Duration::from_secs(3));
        pair.run_until(|pair| pair.session.state() == State::Idle);
        assert_eq!(codes(&pair), [code], "{dialect}: {:?}", pair.notices());
        assert!(pair.notices()[0].contains("refused to be moved by hand"), "{dialect}: {:?}", pair.notices());
    }
    for (dialect, said) in [
        ("marlin", "Error:Homing Failed"),
        ("klipper", "!! No trigger on x after full movement"),
        ("reprapfirmware", "Error: G28: failed to home axes X"),
        ("smoothieware", "Error: failed"),
        ("repetier", "Error:z-max homing failed"),
    ] {
        let mut pair = connected(dialect, &Setup { says: vec![("G28".into(), said.into())], ..setup() });
        assert_eq!(pair.ask(Request::Home), Ok(()));
        pair.run_for(Duration::from_secs(5));
        assert_eq!(codes(&pair), [format!("{dialect}.error")], "{dialect}: {:?}", pair.notices());
        assert!(pair.notices()[0].contains("refused to home"), "{dialect}: {:?}", pair.notices());
        assert!(pair.session.snapshot().notice.is_some(), "{dialect}: and stands");
        assert!(!pair.session.snapshot().homed, "{dialect}: it is not homed");
    }
}

#[test]
fn a_pause_that_is_asked_for_while_somebody_homes_means_that_it_is_not_homed() {
    let says = vec![("G28".into(), "RequestPause:Homing failed!".into())];
    let mut pair = connected("repetier", &Setup { says, ..setup() });
    assert_eq!(pair.ask(Request::Home), Ok(()));
    pair.run_for(Duration::from_secs(5));
    assert!(pair.notices()[0].contains("refused to home"), "{:?}", pair.notices());
    assert!(!pair.session.snapshot().homed);
}

#[test]
fn what_a_mill_refuses_a_person_is_told_as_refused() {
    for dialect in ["grbl", "grblhal", "fluidnc"] {
        let requests = [
            (Request::Home, "refused to home"),
            (
                Request::Jog(Jog { by_mm: [-5.0, 0.0, 0.0], feed_mm_min: 600.0, press: None }),
                "refused to be moved by hand",
            ),
            (Request::Probe(Probe { down_mm: 5.0, feed_mm_min: 50.0 }), "refused to probe"),
        ];
        for (request, what) in requests {
            let mut pair = connected(dialect, &setup());
            pair.run_for(Duration::from_secs(1));
            assert_eq!(pair.ask(request), Ok(()));
            // Whatever it would have done: it is refused.
            pair.step();
            pair.lose_said();
            pair.hand(drivers::session::Input::Bytes(b"error:9\r\n"));
            pair.step();
            assert!(pair.notices()[0].contains(what), "{dialect}: {:?}", pair.notices());
            assert!(codes(&pair)[0].ends_with(".error.9"), "{dialect}");
            if what == "refused to probe" {
                // The words behind it were lost as well, and that is told next.
                continue;
            }
            pair.run_for(Duration::from_secs(3));
            assert_eq!(pair.session.state(), State::Idle, "{dialect}");
            let stands = pair.session.snapshot().notice.expect("it stays until something else is asked");
            assert!(stands.happened.contains(what), "{dialect}: {stands}");
            assert_eq!(pair.ask(Request::Clear), Ok(()));
            assert_eq!(pair.session.snapshot().notice, None, "{dialect}");
        }
    }
}
