//! `fab-agent send` given what it cannot use, and interrupted: the real program, real signals, machines on real ports.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, what fails is the test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drivers::sim::port::{Between, Port};
use drivers::sim::{self, Report};
use serde_json::{Value, json};

const CUBE: &[u8] = include_bytes!("../../config/demo/cube.gcode");
const PLATE: &[u8] = include_bytes!("../../config/demo/plate.nc");

/// Longest wait for anything in these tests: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

fn simulated(dialect: &str, speed: f64) -> Port {
    let setup = sim::Setup { speed, keep_lines: true, ..sim::Setup::default() };
    Port::on_pty(sim::simulated(dialect, &setup).unwrap(), Between::default(), None).unwrap()
}

fn report(port: &Port) -> Report {
    port.report().unwrap()
}

fn send(file: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.arg("send").arg(file).args(arguments).arg("--json");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A printer that answers what Marlin answers, and says more to a numbered line where it is told to. Its address.
fn scripted(mut more: impl FnMut(u64) -> Option<&'static str> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut host, _) = listener.accept().unwrap();
        for line in BufReader::new(host.try_clone().unwrap()).lines().map_while(Result::ok) {
            let (number, text) = line.strip_prefix('N').and_then(|rest| rest.split_once(' ')).unwrap_or(("", &line));
            let answer = match text.split(['*', ' ']).next().unwrap_or_default() {
                "" => "",
                "M115" => "FIRMWARE_NAME:Marlin 2.1.2\nok\n",
                "M105" => "ok T:20.0 /0.0 B:20.0 /0.0\n",
                "M114" => "X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0 Y:0 Z:0\nok\n",
                _ => "ok\n",
            };
            let said = number.parse().ok().and_then(&mut more).unwrap_or(answer);
            if host.write_all(said.as_bytes()).is_err() {
                return;
            }
        }
    });
    address
}

/// Two hundred short moves.
fn moves() -> Vec<u8> {
    (0..200).flat_map(|step| format!("G1 X{} F6000\n", 1 + step % 9).into_bytes()).collect()
}

/// The final object, what was said to people, and the exit code.
fn end(child: Child) -> (Value, String, i32) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "one final object: {text}{said}");
    (serde_json::from_str(&text).unwrap(), said, output.status.code().unwrap())
}

/// Sends what cannot be sent: nothing is, and the code is said to programs and to people alike.
fn is_refused(file: &Path, arguments: &[&str], code: &str, exit: i32) -> Value {
    let case = format!("{} {}", file.display(), arguments.join(" "));
    let (document, said, exited) = end(send(file, arguments));
    assert_eq!((&document["outcome"], exited), (&json!("refused"), exit), "{case}: {document:#}");
    assert_eq!(document["error"]["code"], code, "{case}: {document:#}");
    let numbers = ["sent", "accepted", "executed", "bytes", "resends"].map(|name| document[name].as_u64());
    assert_eq!(numbers, [Some(0); 5], "{case}: {document:#}");
    assert!(said.contains(&format!("[{code}]")) && !said.contains("  "), "{case}: {said}");
    let sentences = document["error"]["message"].as_str().unwrap().split(". ").count();
    assert!(sentences >= 3, "{case}: what happened, what was done, what to do: {said}");
    document
}

/// A folder with a file in it.
fn written(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_file_that_is_no_whole_program_never_reaches_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mill = simulated("grbl", f64::INFINITY);
    let printer = simulated("marlin", f64::INFINITY);
    let to_mill = ["--port", mill.address(), "--dialect", "grbl"];
    let to_printer = ["--port", printer.address(), "--dialect", "marlin"];
    is_refused(&folder.join("nowhere.nc"), &to_mill, "file.missing", 1);
    is_refused(folder, &to_mill, "file.unreadable", 1);
    is_refused(&written(folder, "empty.nc", b""), &to_mill, "file.empty", 1);
    is_refused(&written(folder, "comments.nc", b"; nothing\n(to do)\n\n"), &to_mill, "file.empty", 1);
    is_refused(&written(folder, "binary.nc", b"\0\x01\x02\x03\xff\xfe\0\0\0\0\0\0\0\0"), &to_mill, "file.binary", 1);
    is_refused(&written(folder, "picture.nc", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), &to_mill, "file.not_gcode", 1);
    // In the middle of a line, as an upload that broke off or a full disk leaves it.
    let half = written(folder, "half.gcode", &CUBE[..CUBE.len() / 2 - 8]);
    is_refused(&half, &to_printer, "file.truncated", 1);
    let outside = written(folder, "outside.nc", b"G21 G90\nM3 S9000\nG1 X99999 F500\nM2\n");
    let far = is_refused(&outside, &[&to_mill[..], &["--profile", "grbl-router-6040"]].concat(), "send.preflight", 1);
    assert!(far["findings"].as_array().unwrap().iter().any(|finding| finding["line"] == 3), "{far:#}");
    for port in [&mill, &printer] {
        assert_eq!((report(port).executed, report(port).bytes), (0, 0), "the machine heard nothing at all");
    }
}

#[test]
fn a_port_that_cannot_be_used_is_named_and_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let plate = written(folder.path(), "plate.nc", PLATE);
    let nowhere = folder.path().join("ttyUSB7");
    is_refused(&plate, &["--port", nowhere.to_str().unwrap(), "--dialect", "grbl"], "link.no_such_port", 1);
    is_refused(&plate, &["--port", nowhere.to_str().unwrap()], "link.no_such_port", 1);
    is_refused(&plate, &["--port", plate.to_str().unwrap(), "--dialect", "grbl"], "link.not_a_port", 1);
    is_refused(&plate, &["--port", "tcp://127.0.0.1:1", "--dialect", "grbl"], "link.unreachable", 1);
    let mill = simulated("grbl", f64::INFINITY);
    let other_program = serialport::new(mill.address(), 115_200).open_native().unwrap();
    is_refused(&plate, &["--port", mill.address(), "--dialect", "grbl"], "link.busy", 1);
    assert_eq!(report(&mill).bytes, 0);
    drop(other_program);
}

#[test]
fn a_port_where_nobody_or_somebody_else_answers_gets_no_job() {
    let folder = tempfile::tempdir().unwrap();
    let plate = written(folder.path(), "plate.nc", PLATE);
    let cube = written(folder.path(), "cube.gcode", CUBE);
    let silent = nix::pty::openpty(None, None).unwrap();
    let nobody = nix::unistd::ttyname(&silent.slave).unwrap().display().to_string();
    is_refused(&plate, &["--port", &nobody], "machine.unknown", 1);
    is_refused(&plate, &["--port", &nobody, "--dialect", "grbl"], "machine.silent", 1);
    let mill = simulated("grbl", f64::INFINITY);
    let printer = simulated("marlin", f64::INFINITY);
    is_refused(&cube, &["--port", mill.address(), "--dialect", "marlin"], "machine.wrong", 1);
    is_refused(&plate, &["--port", printer.address(), "--profile", "grbl-router-6040"], "machine.wrong", 1);
    for port in [&mill, &printer] {
        assert_eq!(report(port).executed_lines.unwrap(), Vec::<String>::new(), "questions were asked, and no more");
        assert!(!report(port).moving);
    }
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_exit_code_2_and_the_final_object() {
    let folder = tempfile::tempdir().unwrap();
    let plate = written(folder.path(), "plate.nc", PLATE);
    let mill = simulated("grbl", f64::INFINITY);
    let to_mill = ["--port", mill.address()];
    for (more, code) in [
        (["--baud", "fast"], "send.baud"),
        (["--dialect", "klingon"], "send.dialect"),
        (["--profile", "nobody"], "send.profile"),
    ] {
        is_refused(&plate, &[&to_mill[..], &more].concat(), code, 2);
    }
    assert_eq!(report(&mill).bytes, 0);
    let output = Command::new(env!("CARGO_BIN_EXE_fab-agent")).args(["send", "--port"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_a_machine_refuses_and_ignores_is_counted_in_the_outcome_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "old.gcode", b"G21\nG90\nG1 X5 F3000\nM101\nG1 X10\nX131 S1\nG1 X0\n");
    let printer = simulated("marlin", f64::INFINITY);
    let (document, said, exit) =
        end(send(&file, &["--port", printer.address(), "--dialect", "marlin", "--no-preflight"]));
    assert_eq!((&document["outcome"], exit), (&json!("finished"), 0), "{document:#}{said}");
    let counts = ["commands", "executed", "refused", "ignored"].map(|name| document[name].as_u64().unwrap());
    assert_eq!(counts, [7, 5, 0, 2], "{document:#}");
    assert_eq!(
        (&document["first_ignored"]["line"], &document["first_ignored"]["command"]),
        (&json!(4), &json!("M101"))
    );
    assert_eq!(document["first_refused"], Value::Null);
    assert_eq!(report(&printer).executed, 5);
    // People are told the same.
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.arg("send").arg(&file).args(["--port", printer.address(), "--dialect", "marlin", "--no-preflight"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("The machine ignored 2 commands, first line 4 (`M101`)"), "{said}");
}

/// Looks until a machine's report is as wanted.
fn until(port: &Port, wanted: impl Fn(&Report) -> bool) -> Report {
    let started = Instant::now();
    loop {
        let report = report(port);
        if wanted(&report) {
            return report;
        }
        assert!(started.elapsed() < PATIENCE, "never happened: {report:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Commands a machine gets at the end to be safe, from its profile.
fn safe_end(dialect: &str) -> Vec<String> {
    drivers::profile::Profile::named(&format!("generic-{dialect}")).unwrap().safety.safe_end
}

#[test]
fn ctrl_c_holds_then_cancels_and_makes_the_machine_safe() {
    let folder = tempfile::tempdir().unwrap();
    for (dialect, name, program, speed) in [("grbl", "plate.nc", PLATE, 20.0), ("marlin", "cube.gcode", CUBE, 60.0)] {
        for interrupt in ["-INT", "-TERM"] {
            let file = written(folder.path(), name, program);
            let machine = simulated(dialect, speed);
            let child = send(&file, &["--port", machine.address(), "--dialect", dialect]);
            until(&machine, |report| report.executed >= 60 && report.moving);
            signal(&child, interrupt);
            let (document, said, exit) = end(child);
            assert_eq!((&document["outcome"], exit), (&json!("cancelled"), 1), "{document:#}{said}");
            assert!(said.contains("Holding, then making the machine safe."), "{said}");
            let report = report(&machine);
            assert!(!report.moving, "{dialect}: it stands still when the program ends");
            assert!(document["executed"].as_u64() < document["commands"].as_u64(), "{document:#}");
            let executed = report.executed_lines.unwrap();
            for word in safe_end(dialect) {
                let word = word.replace(' ', "");
                let last = executed.iter().rev().take(10).any(|line| line.replace(' ', "").starts_with(&word));
                assert!(last, "{dialect}: no {word} at the end: {:?}", &executed[executed.len() - 10..]);
            }
        }
    }
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "plate.nc", PLATE);
    // Slow enough that the hold's own slowing down takes longer than a person's second key press.
    let machine = simulated("grbl", 0.05);
    let mut child = send(&file, &["--port", machine.address(), "--dialect", "grbl", "--no-preflight"]);
    until(&machine, |report| report.moving);
    signal(&child, "-INT");
    let mut heard = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(heard.any(|line| line.unwrap().contains("Ctrl-C again")), "it says what it does");
    signal(&child, "-INT");
    let said: Vec<_> = heard.map(Result::unwrap).collect();
    let (document, _, exit) = end(child);
    assert_eq!((&document["outcome"], exit), (&json!("cancelled"), 1), "{document:#}{said:?}");
    assert_eq!(document["error"]["code"], "machine.stopped", "{document:#}");
    assert!(!report(&machine).moving);
}

#[test]
fn a_machine_that_is_unplugged_fails_the_job_with_its_count() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "plate.nc", PLATE);
    let machine = simulated("grbl", 4.0);
    let child = send(&file, &["--port", machine.address(), "--dialect", "grbl"]);
    until(&machine, |report| report.executed >= 20);
    drop(machine);
    let (document, said, exit) = end(child);
    assert_eq!((&document["outcome"], exit), (&json!("failed"), 1), "{document:#}");
    assert_eq!(document["error"]["code"], "link.lost", "{document:#}");
    assert!(said.contains("[link.lost]") && document["executed"].as_u64() > Some(0), "{document:#}{said}");
}

#[test]
fn a_send_that_was_ended_ran_on_while_its_machine_answered_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "cube.gcode", CUBE);
    let quick =
        b"name = \"quick\"\ntitle = \"Quick\"\nkind = \"printer\"\ndialect = \"klipper\"\n[heat]\ntool_max_c = 300.0\n\
        [stream]\nanswer_timeout_ms = 300\n[safety]\nsafe_end = [\"M104 S0\"]\n";
    let profile = written(folder.path(), "quick.toml", quick);
    let setup = sim::Setup { speed: 60.0, silent_after: Some(40), ..sim::Setup::default() };
    let machine = Port::on_pty(sim::simulated("klipper", &setup).unwrap(), Between::default(), None).unwrap();
    let to = ["--port", machine.address(), "--profile", profile.to_str().unwrap(), "--no-preflight"];
    let child = send(&file, &to);
    until(&machine, |report| report.executed >= 40);
    let started = Instant::now();
    signal(&child, "-TERM");
    let (document, said, exit) = end(child);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!((&document["outcome"], exit), (&json!("cancelled"), 1), "{document:#}{said}");
    assert_eq!(document["error"]["code"], "machine.silent", "{document:#}");
    assert!(said.contains("not known"), "{said}");
}

#[test]
fn a_board_that_restarted_and_was_well_again_left_the_job_without_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "moves.gcode", &moves());
    let address = scripted(|number| (number == 50).then_some("start\n"));
    let (document, said, exit) = end(send(&file, &["--port", &address, "--dialect", "marlin"]));
    assert_eq!((&document["outcome"], exit), (&json!("failed"), 1), "{document:#}");
    assert_eq!(document["error"]["code"], "machine.restarted", "{document:#}");
    assert_eq!(said.matches("[machine.restarted]").count(), 1, "{said}");
}

#[test]
fn a_pause_at_the_printers_display_was_taken_for_the_end_of_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "moves.gcode", &moves());
    let mut paused = false;
    // It is resumed there when the host has come to rest: the questions of a hold go on.
    let address = scripted(move |number| match number {
        50 if !std::mem::replace(&mut paused, true) => Some("ok\n//action:pause\n"),
        52 => {
            std::thread::sleep(Duration::from_millis(300));
            Some("ok\n//action:resume\n")
        }
        _ => None,
    });
    let (document, said, exit) = end(send(&file, &["--port", &address, "--dialect", "marlin"]));
    assert_eq!((&document["outcome"], exit), (&json!("finished"), 0), "{document:#}{said}");
    assert!(said.contains("[machine.paused]"), "{said}");
}

#[test]
fn a_job_that_was_held_and_given_up_lost_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "plate.nc", b"G21\nG90\nG1 X1 F1000\nG1 X2 Q7\nG1 X3\nM2\n");
    let mill = simulated("grbl", 20.0);
    let (document, said, exit) = end(send(&file, &["--port", mill.address(), "--dialect", "grbl", "--no-preflight"]));
    assert_eq!((&document["outcome"], exit), (&json!("failed"), 1), "{document:#}");
    assert_eq!(document["error"]["code"], "grbl.error.20", "{document:#}{said}");
    assert!(said.contains("Nobody is here to decide"), "{said}");
}

#[test]
fn a_stop_of_the_program_on_a_mill_without_buttons_could_not_be_ended_at_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "plate.nc", b"G21\nG90\nG1 X1 F1000\nM0\nG1 X2\nM2\n");
    let mill = simulated("grbl", 20.0);
    let pair = nix::pty::openpty(None, None).unwrap();
    let (mut keys, terminal) = (std::fs::File::from(pair.master), std::fs::File::from(pair.slave));
    let mut command = Command::new(env!("CARGO_BIN_EXE_fab-agent"));
    command.args(["send", "--port", mill.address(), "--dialect", "grbl", "--json"]).arg(&file);
    let mut child = command.stdin(terminal).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut heard = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(heard.any(|line| line.unwrap().contains("Enter resumes")), "it says what to do");
    keys.write_all(b"\n").unwrap();
    let (document, _, exit) = end(child);
    assert_eq!((&document["outcome"], exit), (&json!("finished"), 0), "{document:#}");
}

/// A Grbl with homing, which starts locked. Its address, and what it was told.
fn locked_mill() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    std::thread::spawn(move || {
        let (mut host, _) = listener.accept().unwrap();
        host.write_all(b"\r\nGrbl 1.1h ['$' for help]\r\n[MSG:'$H'|'$X' to unlock]\r\n").unwrap();
        let (mut line, mut locked) = (String::new(), true);
        for byte in BufReader::new(host.try_clone().unwrap()).bytes().map_while(Result::ok) {
            let answer = match byte {
                b'?' => format!("<{}|MPos:0,0,0|FS:0,0>\r\n", if locked { "Alarm" } else { "Idle" }),
                b'\n' => {
                    let line = std::mem::take(&mut line);
                    heard.lock().unwrap().push(line.clone());
                    locked &= !matches!(line.as_str(), "$X" | "$H");
                    let known = if line == "$I" { "[VER:1.1h.20190825:]\r\n[OPT:V,15,128]\r\n" } else { "" };
                    let done = if locked && !line.starts_with('$') { "error:9" } else { "ok" };
                    format!("{known}{done}\r\n")
                }
                b' '..=b'~' => {
                    line.push(char::from(byte));
                    continue;
                }
                _ => continue,
            };
            if host.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    (address, told)
}

#[test]
fn a_mill_that_starts_locked_could_not_be_sent_anything() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "plate.nc", b"G21\nG90\nG1 X-1 F1000\nM2\n");
    for (flag, unlocks) in [(None, &[][..]), (Some("--clear"), &["$X"]), (Some("--home"), &["$X", "$H"])] {
        let (address, told) = locked_mill();
        let arguments = ["--port", &address, "--dialect", "grbl", "--no-preflight"];
        let (document, said, exit) = end(send(&file, &[&arguments[..], flag.as_slice()].concat()));
        let told = told.lock().unwrap().clone();
        let unlocked: Vec<_> = told.iter().filter(|line| matches!(line.as_str(), "$X" | "$H")).collect();
        assert_eq!(unlocked, unlocks, "{flag:?}: {told:?}{said}");
        let (outcome, ends_with) = if flag.is_some() { ("finished", 0) } else { ("refused", 1) };
        assert_eq!((&document["outcome"], exit), (&json!(outcome), ends_with), "{flag:?}: {document:#}{said}");
        assert_eq!(said.contains("--clear"), flag.is_none(), "it says how: {said}");
        assert_eq!(told.iter().any(|line| line.starts_with("G1")), flag.is_some(), "{told:?}");
    }
}

#[test]
fn a_program_that_would_leave_the_machine_where_its_zero_is_now_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "far.nc", b"G21 G90\nM3 S1000\nG0 Z5\nG1 X210 F600\nM5\nM30\n");
    for (homes, outcome) in [(1.0, "refused"), (0.0, "finished")] {
        let setup = sim::Setup {
            speed: f64::INFINITY,
            work_offset_mm: [-200.0, -100.0, -20.0],
            settings: vec![(22, homes)],
            ..sim::Setup::default()
        };
        let mill = Port::on_pty(sim::simulated("grbl", &setup).unwrap(), Between::default(), None).unwrap();
        let (document, said, _) = end(send(&file, &["--port", mill.address(), "--profile", "grbl-mill-3018:switches"]));
        assert_eq!(document["outcome"], outcome, "$22={homes}: {document:#}{said}");
        let found = document["findings"].to_string();
        let code = if homes == 1.0 { "envelope.outside" } else { "place.unchecked" };
        assert!(found.contains(code) && found.contains("profile.travel"), "$22={homes}: {found}");
        assert_eq!(mill.report().unwrap().executed > 0, homes == 0.0);
    }
}
