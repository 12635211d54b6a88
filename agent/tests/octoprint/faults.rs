//! Each fault switch of OctoPrint's virtual printer: the job ends *finished*, or failed with the reason that is so,
//! within a minute of the last fault. None hangs, and nothing runs twice.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::{Sent, root, send};

/// Lines of the demo's print that are sent: enough for a fault in the middle.
const LINES: usize = 1_200;

/// A job must be over so long after the printer's last fault, in seconds.
const OVER_IN_S: f64 = 60.0;

/// How many printers are sent to at once: they mostly wait.
const AT_ONCE: usize = 8;

/// What each fault switch does, by the name of what is true of it.
const CASES: &[(&str, fn())] = &[
    ("one_answer_that_never_comes_is_asked_after", one_answer_that_never_comes_is_asked_after),
    (
        "one_answer_that_never_comes_is_asked_after_although_the_printer_says_wait",
        one_answer_that_never_comes_is_asked_after_although_the_printer_says_wait,
    ),
    ("a_printer_that_says_wait_takes_a_real_print", a_printer_that_says_wait_takes_a_real_print),
    ("a_printer_that_stops_answering_fails_the_job_as_silent", a_printer_that_stops_answering_fails_the_job_as_silent),
    (
        "a_printer_that_stops_answering_and_said_wait_before_fails_the_job_as_silent",
        a_printer_that_stops_answering_and_said_wait_before_fails_the_job_as_silent,
    ),
    (
        "requests_for_lines_that_were_executed_are_answered_and_the_print_goes_on",
        requests_for_lines_that_were_executed_are_answered_and_the_print_goes_on,
    ),
    (
        "a_line_that_it_throws_away_with_an_error_and_no_request_is_said_again",
        a_line_that_it_throws_away_with_an_error_and_no_request_is_said_again,
    ),
    (
        "a_line_that_it_throws_away_is_said_again_although_it_says_wait",
        a_line_that_it_throws_away_is_said_again_although_it_says_wait,
    ),
    ("a_fatal_error_in_marlins_words_fails_the_job_with_them", a_fatal_error_in_marlins_words_fails_the_job_with_them),
    (
        "a_fatal_error_in_repetiers_words_fails_the_job_with_them",
        a_fatal_error_in_repetiers_words_fails_the_job_with_them,
    ),
    ("a_temperature_below_or_above_what_may_be_fails_the_job", a_temperature_below_or_above_what_may_be_fails_the_job),
    (
        "a_printer_that_asks_for_the_same_line_for_ever_fails_the_job",
        a_printer_that_asks_for_the_same_line_for_ever_fails_the_job,
    ),
    ("broken_answers_cost_no_line", broken_answers_cost_no_line),
    ("a_printer_that_sleeps_for_twenty_seconds_is_waited_for", a_printer_that_sleeps_for_twenty_seconds_is_waited_for),
    ("a_printer_that_is_reset_fails_the_job_as_restarted", a_printer_that_is_reset_fails_the_job_as_restarted),
    ("a_connection_that_is_dropped_fails_the_job_as_lost", a_connection_that_is_dropped_fails_the_job_as_lost),
    (
        "a_pause_at_the_printer_holds_the_job_and_says_where_it_was_asked",
        a_pause_at_the_printer_holds_the_job_and_says_where_it_was_asked,
    ),
    (
        "errors_that_nobody_asked_for_hold_the_job_with_their_text",
        errors_that_nobody_asked_for_hold_the_job_with_their_text,
    ),
    (
        "a_klipper_that_lost_its_board_fails_the_job_with_its_words",
        a_klipper_that_lost_its_board_fails_the_job_with_its_words,
    ),
    (
        "noise_that_begins_in_the_middle_of_a_print_comes_to_an_end",
        noise_that_begins_in_the_middle_of_a_print_comes_to_an_end,
    ),
];

#[test]
fn every_fault_switch_ends_in_time_and_nothing_runs_twice() {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                while let Some((name, case)) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let ended = std::panic::catch_unwind(case);
                    println!("{name}: {} in {:.0?}", if ended.is_ok() { "ok" } else { "FAILED" }, began.elapsed());
                    if ended.is_err() {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner().unwrap(), Vec::<&str>::new());
}

/// Sends the first lines of the demo's print to a printer with these settings.
pub(super) fn send_some(lines: usize, settings: &[&str]) -> Sent {
    let whole = std::fs::read_to_string(root().join("config/demo/cube.gcode")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("cube.gcode");
    std::fs::write(&program, whole.split_inclusive('\n').take(lines).collect::<String>()).unwrap();
    send(&program, settings)
}

/// Sends it to a printer that does this when it has executed 500 commands.
fn start(commands: &[&str], settings: &[&str]) -> Sent {
    let faults = serde_json::json!({ "500": commands });
    let faults = format!("faults={faults}");
    send_some(LINES, &[&[faults.as_str()], settings].concat())
}

/// The same; what every fault has in common was looked at.
fn fault(commands: &[&str], settings: &[&str]) -> Sent {
    let sent = start(commands, settings);
    let after = sent.after_fault_s.unwrap_or_else(|| panic!("{commands:?} never came: {}", sent.report));
    let (report, complaints) = (&sent.report, &sent.complaints);
    // A fault that a printer recovers from lets the rest of the print go on, which takes its time.
    assert!(report["outcome"] == "finished" || after < OVER_IN_S, "{commands:?}: {after} s: {report}\n{complaints}");
    nothing_twice(&sent);
    sent
}

/// What was executed is the program's lines in their order, each at most once, and then at most the safe end.
fn nothing_twice(sent: &Sent) {
    let mut rest = sent.wanted.iter();
    let behind: Vec<_> = sent.executed.iter().skip_while(|line| rest.any(|next| next == *line)).collect();
    let prints = |line: &&String| line.starts_with('G') && line.contains('E');
    let again = behind.iter().find(|line| prints(line));
    assert!(again.is_none(), "{again:?} ran twice or out of order, {} lines from the end", behind.len());
}

/// The whole print was executed all the same.
fn finishes(commands: &[&str], settings: &[&str]) {
    let sent = fault(commands, settings);
    assert_eq!(sent.report["outcome"], "finished", "{commands:?}: {}\n{}", sent.report, sent.complaints);
    assert!(sent.executed == sent.wanted, "{commands:?}: {} of {}", sent.executed.len(), sent.wanted.len());
}

/// The job ended early, for this reason.
fn ends(commands: &[&str], settings: &[&str], outcome: &str, code: &str, says: &str) {
    let sent = fault(commands, settings);
    let (report, complaints) = (&sent.report, &sent.complaints);
    assert_eq!(report["outcome"], outcome, "{commands:?}: {report}\n{complaints}");
    assert_eq!(report["error"]["code"], code, "{commands:?}: {report}\n{complaints}");
    let message = report["error"]["message"].as_str().unwrap();
    assert!(message.contains(says), "{commands:?}: {message}");
}

/// It says `wait` each second in which nothing came.
const WAITS: &[&str] = &["sendWait=true", "waitInterval=1.0"];

fn one_answer_that_never_comes_is_asked_after() {
    finishes(&["dont_answer"], &[]);
}

fn one_answer_that_never_comes_is_asked_after_although_the_printer_says_wait() {
    finishes(&["dont_answer"], WAITS);
}

fn a_printer_that_says_wait_takes_a_real_print() {
    let sent = send_some(LINES, WAITS);
    assert_eq!(sent.report["outcome"], "finished", "{}\n{}", sent.report, sent.complaints);
    assert!(sent.executed == sent.wanted, "{} of {}", sent.executed.len(), sent.wanted.len());
}

fn a_printer_that_stops_answering_fails_the_job_as_silent() {
    ends(&["go_awol"], &[], "failed", "machine.silent", "has not answered");
}

fn a_printer_that_stops_answering_and_said_wait_before_fails_the_job_as_silent() {
    ends(&["go_awol"], WAITS, "failed", "machine.silent", "has not answered");
}

/// These switches make it throw a line away and ask for the one before it, which it has executed already, as the next: no
/// host can see that, and it runs twice. Nothing else does.
fn requests_for_lines_that_were_executed_are_answered_and_the_print_goes_on() {
    let faults = ["trigger_resend_lineno", "trigger_resend_checksum", "trigger_missing_checksum"];
    let Sent { report, complaints, executed, wanted, .. } = start(&faults, &[]);
    assert_eq!(report["outcome"], "finished", "{report}\n{complaints}");
    let again = executed.len() - wanted.len();
    assert!(again <= faults.len(), "{again} lines ran twice");
    let from = executed.iter().zip(&wanted).position(|(executed, wanted)| executed != wanted).unwrap();
    assert!(executed[from..] == wanted[from - again..], "another line ran twice, out of order or not at all");
}

fn a_line_that_it_throws_away_with_an_error_and_no_request_is_said_again() {
    finishes(&["trigger_missing_lineno"], &[]);
}

fn a_line_that_it_throws_away_is_said_again_although_it_says_wait() {
    finishes(&["trigger_missing_lineno"], WAITS);
}

fn a_fatal_error_in_marlins_words_fails_the_job_with_them() {
    ends(&["trigger_fatal_error_marlin"], &[], "failed", "machine.halted", "Thermal Runaway");
}

fn a_fatal_error_in_repetiers_words_fails_the_job_with_them() {
    ends(&["trigger_fatal_error_repetier"], &[], "failed", "machine.halted", "Heater/sensor error");
}

fn a_temperature_below_or_above_what_may_be_fails_the_job() {
    ends(&["mintemp_error"], &[], "failed", "machine.halted", "MINTEMP");
    ends(&["maxtemp_error"], &[], "failed", "machine.halted", "MAXTEMP");
}

fn a_printer_that_asks_for_the_same_line_for_ever_fails_the_job() {
    let sent = fault(&["rerequest_last"], &[]);
    assert_eq!(sent.report["outcome"], "failed", "{}\n{}", sent.report, sent.complaints);
}

fn broken_answers_cost_no_line() {
    finishes(&["prepare_ok k", "prepare_ok o", "prepare_ok okok"], &[]);
}

fn a_printer_that_sleeps_for_twenty_seconds_is_waited_for() {
    finishes(&["sleep 20"], &[]);
}

fn a_printer_that_is_reset_fails_the_job_as_restarted() {
    ends(&["reset"], &["simulateReset=true"], "failed", "machine.restarted", "");
}

fn a_connection_that_is_dropped_fails_the_job_as_lost() {
    ends(&["drop_connection"], &[], "failed", "link.lost", "");
}

fn a_pause_at_the_printer_holds_the_job_and_says_where_it_was_asked() {
    // Whoever paused it there resumes it there.
    finishes(&["action_pause", "action_resume"], &[]);
}

fn errors_that_nobody_asked_for_hold_the_job_with_their_text() {
    for said in ["Error:Probing Failed", "// action:out_of_filament T0"] {
        let sent = fault(&[&format!("send {said}")], &[]);
        let (report, complaints) = (&sent.report, &sent.complaints);
        assert_ne!(report["outcome"], "finished", "{said}: {report}\n{complaints}");
        let words = said.trim_start_matches("Error:").trim_start_matches("// action:");
        let message = report["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{said}: {message}");
    }
}

fn a_klipper_that_lost_its_board_fails_the_job_with_its_words() {
    let sent = fault(&["toggle_klipper_connection"], &[]);
    assert_ne!(sent.report["outcome"], "finished", "{}", sent.report);
    let message = sent.report["error"]["message"].as_str().unwrap();
    assert!(message.contains("Lost communication with MCU"), "{message}");
}

/// It throws away every tenth line from then on, and a line that is said again may be a tenth one each time.
fn noise_that_begins_in_the_middle_of_a_print_comes_to_an_end() {
    let sent = start(&["resend_ratio 10"], &[]);
    nothing_twice(&sent);
    let (report, complaints) = (&sent.report, &sent.complaints);
    let hopeless = report["error"]["code"] == "link.resend_hopeless";
    assert!(report["outcome"] == "finished" || hopeless, "{report}\n{complaints}");
}
