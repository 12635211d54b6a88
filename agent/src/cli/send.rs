//! `fab-agent send`: one program, one machine, until it is executed.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::machine::{Baud, Machine, Setup};
use drivers::probe::{self, probe};
use drivers::profile::{Attach, Profile};
use drivers::request::{Calming, Job};
use drivers::snapshot::{JobPhase, Progress};
use drivers::{Event, EventKind, Notice, Permit, Request, Snapshot, State, shell};
use gcode_tools::analysis::{Info, analyse};
use gcode_tools::formats;
use gcode_tools::preflight::{self, Conditions, Finding, Severity};
use gcode_tools::sniff::ReadError;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use self::connect::{Cleared, connect, who_else};
use self::ending::Ending;
use super::{EndSignals, Failure, complain, print};
use crate::config::load_profile;
use crate::host::keys::Keys;
use crate::host::surroundings;
use crate::status::likely_cause;
use crate::{place, store};

mod connect;
mod ending;

/// How long the event of a job's end may come behind the snapshot that shows it.
const EVENT_PATIENCE: Duration = Duration::from_secs(1);

/// What to send, where, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The program
    file: PathBuf,
    /// Device path or tcp://host:port
    #[arg(long)]
    port: String,
    /// Bits per second, or auto; without it, the profile's
    #[arg(long)]
    baud: Option<String>,
    /// marlin, grbl, or auto: ask the machine
    #[arg(long, default_value = "auto")]
    dialect: String,
    /// Take a machine that answers and does not name itself for the one meant; needs --dialect or --profile
    #[arg(long)]
    attach: bool,
    /// Machine profile to check the program against: a bundled name or a TOML file
    #[arg(long)]
    profile: Option<String>,
    #[command(flatten)]
    cleared: Cleared,
    /// Send it without checking it first
    #[arg(long)]
    no_preflight: bool,
    /// Write what was said and heard to this file, for `fab-agent replay`
    #[arg(long)]
    record: Option<PathBuf>,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

/// How it went, for the final object.
#[derive(Default)]
struct Outcome {
    progress: Option<Progress>,
    lines: u64,
    commands: u64,
    findings: Vec<Finding>,
    seconds: f64,
    error: Option<Notice>,
    /// It was printed while the job ran.
    error_was_said: bool,
    /// What is likely wrong with the line, where its counters show anything.
    cause: Option<Notice>,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self.progress.as_ref().map(|progress| progress.phase) {
            None => "refused",
            Some(JobPhase::Finished) => "finished",
            Some(JobPhase::Cancelled) => "cancelled",
            Some(_) => "failed",
        }
    }

    fn document(&self) -> Value {
        let number = |field: fn(&Progress) -> u64| self.progress.as_ref().map_or(0, field);
        let mut document = json!({
            "outcome": self.word(),
            "lines": self.lines,
            // A machine that was not asked to the end has not seen the whole program.
            "commands": number(|progress| progress.commands).max(self.commands),
            "sent": number(|progress| progress.sent),
            "accepted": number(|progress| progress.accepted),
            "executed": number(|progress| progress.executed),
            "bytes": number(|progress| progress.bytes),
            "resends": number(|progress| progress.resends),
            // Answered and not executed: see `first_refused` and `first_ignored`.
            "refused": number(|progress| progress.refused),
            "ignored": number(|progress| progress.ignored),
            "seconds": (self.seconds * 1000.0).round() / 1000.0,
            "findings": self.findings,
        });
        if let Some(progress) = &self.progress {
            document["first_refused"] = json!(progress.first_refused);
            document["first_ignored"] = json!(progress.first_ignored);
        }
        if let Some(unsure) = self.progress.as_ref().and_then(|progress| progress.unsure) {
            document["unsure"] = json!(unsure);
        }
        if let Some(notice) = &self.error {
            document["error"] = json!({ "code": notice.code, "message": notice.to_string() });
        }
        if let Some(notice) = &self.cause {
            document["link_cause"] = json!({ "code": notice.code, "message": notice.to_string() });
        }
        document
    }
}

/// How many commands the machine refused and ignored, and which first, in sentences; none where it did all.
fn undone(progress: &Progress) -> impl Iterator<Item = String> {
    let commands = |count: u64| if count == 1 { "1 command".to_owned() } else { format!("{count} commands") };
    [
        ("refused", progress.refused, progress.first_refused.as_ref()),
        ("ignored", progress.ignored, progress.first_ignored.as_ref()),
    ]
    .into_iter()
    .filter(|(_, count, _)| *count > 0)
    .map(move |(what, count, first)| {
        let first = first.map(|first| format!(", first {first}")).unwrap_or_default();
        format!("The machine {what} {}{}.", commands(count), first.trim_end_matches('.'))
    })
    .collect::<Vec<_>>()
    .into_iter()
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut outcome = Outcome::default();
    let done = Box::pin(send(&arguments, &mut outcome)).await;
    if let Err(Failure::Failed(notice) | Failure::Usage(notice)) = &done {
        outcome.error = Some(notice.clone());
    }
    let finished = outcome.word() == "finished";
    if arguments.json {
        print(&outcome.document().to_string());
    }
    if matches!(done, Err(Failure::Usage(_))) {
        return done;
    }
    if let Some(notice) = outcome.error.as_ref().filter(|_| !outcome.error_was_said) {
        complain(&notice);
    }
    if outcome.progress.is_some() && !arguments.json {
        let executed = outcome.progress.as_ref().map_or(0, |progress| progress.executed);
        complain(&format!("{}: {executed} commands executed in {:.1} s.", outcome.word(), outcome.seconds));
        for sentence in outcome.progress.iter().flat_map(undone) {
            complain(&sentence);
        }
    }
    if let Some(cause) = outcome.cause.as_ref().filter(|_| !arguments.json) {
        complain(&cause);
    }
    if finished { Ok(()) } else { Err(Failure::Told) }
}

/// Does something, unless somebody wants this program to end meanwhile.
async fn unless_ended<T>(signals: &mut EndSignals, work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::select! {
        done = work => Ok(done),
        _ = signals.next() => Err(Failure::Failed(ending::before_the_job(false))),
    }
}

/// Does what keeps a thread busy on one of its own: a signal is heard meanwhile.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|fault| std::panic::resume_unwind(fault.into_panic()))
}

async fn send(arguments: &Arguments, outcome: &mut Outcome) -> Result<(), Failure> {
    let mut signals = EndSignals::listen();
    // The program first: a file that cannot run is no reason to touch a machine.
    let named = match &arguments.profile {
        Some(name) => Some(load_profile(name, Path::new(".")).map_err(|message| bad_profile(&message))?),
        None => None,
    };
    if let Some(profile) = named.as_ref().filter(|profile| profile.network_only) {
        return Err(bad_profile(&format!("`{}` is reached over its own network only", profile.name)));
    }
    let (unplaced, nothing) = (place::unplaced(), Conditions::default());
    let (file, profile) = (arguments.file.clone(), named.clone());
    let info = unless_ended(&mut signals, aside(move || read(&file, profile.as_ref()))).await?;
    let info = info.map_err(|error| unreadable(&arguments.file, &error))?;
    (outcome.lines, outcome.commands) = (info.lines, info.commands);
    let (profile, baud) = unless_ended(&mut signals, meet(arguments, named)).await??;
    // Where it will lie the machine says once it is met.
    let later = place::is_asked(&profile) && profile.envelope_mm.is_some();
    if !arguments.no_preflight {
        let checked = check(arguments, profile.clone(), if later { unplaced } else { nothing }, outcome);
        unless_ended(&mut signals, checked).await??;
    }
    let setup = Setup {
        name: "send".into(),
        port: arguments.port.clone(),
        baud: baud.map_or(Baud::Profile, Baud::Fixed),
        profile: Arc::new(profile),
        reconnect: false,
        watch_table: false,
    };
    let (dialect, baud_used) = (setup.profile.dialect.clone(), baud.unwrap_or(setup.profile.serial.baud));
    let machine = shell::spawn(setup).map_err(|error| thread(&error))?;
    let connected = tokio::select! {
        connected = connect(&machine, &arguments.cleared) => connected,
        _ = signals.next() => {
            let homes = arguments.cleared.homes() && machine.snapshot().state == State::Running;
            return Err(Failure::Failed(ending::before_the_job(homes)));
        }
    };
    if let Err(failure) = connected {
        record(&machine, arguments).await;
        machine.release().await;
        return Err(who_else(failure, &arguments.port, &dialect, baud_used).await);
    }
    if later && !arguments.no_preflight {
        let place = unless_ended(&mut signals, place::known(&machine)).await?;
        let checked = check(arguments, machine.profile().clone(), place, outcome);
        if let Err(refused) = unless_ended(&mut signals, checked).await.and_then(|checked| checked) {
            record(&machine, arguments).await;
            machine.release().await;
            return Err(refused);
        }
    }
    let mut ending = Ending::default();
    let streamed = stream(&machine, arguments, &info, outcome, (&mut signals, &mut ending)).await;
    outcome.cause = likely_cause(&machine.snapshot(), surroundings::read());
    let last = async {
        if !machine.stop_drives().await {
            complain(&turns_on());
        }
        record(&machine, arguments).await;
    };
    match ending.left() {
        None => last.await,
        Some(left) => {
            if tokio::time::timeout(left, last).await.is_err() {
                complain(&ending::not_known());
            }
        }
    }
    streamed
}

/// Writes the recording down, if one is wanted. Whatever becomes of it, the job is what counts.
async fn record(machine: &Machine, arguments: &Arguments) {
    let Some(path) = &arguments.record else { return };
    let written = match machine.recording().await {
        Some(recording) => store::write_out(path, recording.text.as_bytes()).map_err(|error| error.to_string()),
        None => Err("the machine's thread is gone".to_owned()),
    };
    if let Err(why) = written {
        complain(&format!("The recording {} was not written: {why}. [recording.unwritten]", path.display()));
    }
}

fn turns_on() -> Notice {
    Notice::new(
        "drive.does_not_stop",
        "A drive beside the machine was told to stop and does not prove that it stands.",
        "Stop was written again and again.",
        "Press the emergency stop. Do not reach in before it stands.",
    )
}

fn unreadable(file: &Path, error: &ReadError) -> Failure {
    // What the file is comes with what to do about it.
    let said = format!("{}: {}", file.display(), error.message);
    Failure::Failed(Notice::new(error.code, said, "Nothing was sent.", ""))
}

fn read(file: &Path, profile: Option<&Profile>) -> Result<Info, ReadError> {
    let opened = std::fs::File::open(file).map_err(|error| ReadError::from_io(&error))?;
    analyse(formats::open(opened)?, profile)
}

/// The profile to use, and the baud rate if it is not the profile's. Asks the machine where the user did not say.
async fn meet(arguments: &Arguments, named: Option<Profile>) -> Result<(Profile, Option<u32>), Failure> {
    let baud_auto = arguments.baud.as_deref() == Some("auto");
    let mut baud = match arguments.baud.as_deref() {
        None | Some("auto") => None,
        Some(text) => Some(text.parse::<u32>().map_err(|_| {
            let happened = format!("`{text}` is no baud rate.");
            Failure::Usage(Notice::new(
                "send.baud",
                happened,
                "Nothing was sent.",
                "Write a number such as 115200, or auto.",
            ))
        })?),
    };
    let mut dialect = match arguments.dialect.as_str() {
        "auto" => named.as_ref().map(|profile| profile.dialect.clone()),
        name => Some(name.to_owned()),
    };
    if dialect.is_none() || baud_auto {
        let usual = [named.as_ref().map_or(115_200, |profile| profile.serial.baud)];
        let bauds = baud.as_ref().map_or(if baud_auto { &probe::BAUDS[..] } else { &usual[..] }, std::slice::from_ref);
        let found = probe(&arguments.port, bauds).await?;
        dialect = dialect.or_else(|| Some(found.dialect.to_owned()));
        baud = Some(found.baud);
    }
    let dialect = dialect.unwrap_or_default();
    if drivers::dialect::named(&dialect).is_none() {
        let known: Vec<_> = drivers::dialect::ALL.iter().map(|dialect| dialect.habits().name).collect();
        let happened = format!("There is no dialect `{dialect}`.");
        let to_do = format!("Write one of: {}, auto.", known.join(", "));
        return Err(Failure::Usage(Notice::new("send.dialect", happened, "Nothing was sent.", to_do)));
    }
    let mut profile = match named {
        Some(profile) => profile,
        None => Profile::named(&format!("generic-{dialect}"))
            .or_else(|_| Profile::named("generic-marlin"))
            .map_err(|error| bad_profile(&error.to_string()))?,
    };
    profile.dialect = dialect;
    if arguments.attach {
        profile.attach = Attach::AsConfigured;
    }
    Ok((profile, baud))
}

/// Checks the whole program against the machine before the machine hears of it.
async fn check(
    arguments: &Arguments,
    profile: Profile,
    conditions: Conditions,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let file = arguments.file.clone();
    let checked = aside(move || {
        let opened = std::fs::File::open(file).map_err(|error| ReadError::from_io(&error));
        Ok(preflight::check_with(opened.and_then(formats::open)?, &profile, &conditions))
    });
    let mut verdict = checked.await.map_err(|error: ReadError| unreadable(&arguments.file, &error))?;
    verdict.tell_causes();
    let (passes, truncation) = (verdict.passes(), verdict.truncation().cloned());
    let known = std::mem::replace(&mut outcome.findings, verdict.findings);
    if !arguments.json {
        let shown = outcome.findings.iter().filter(|finding| passes || finding.severity == Severity::Error);
        for finding in shown.filter(|finding| !known.contains(finding)).take(20) {
            let (message, help, code) = (&finding.message, &finding.help, finding.code);
            match finding.line {
                // Of the program as a whole.
                0 => complain(&format!("{message} {help} [{code}]")),
                line => complain(&format!("line {line}: {message} {help} [{code}]")),
            }
        }
    }
    if passes {
        return Ok(());
    }
    if let Some(broken) = truncation {
        let happened = format!("{}: {}", arguments.file.display(), broken.message);
        return Err(Failure::Failed(Notice::new("file.truncated", happened, "Nothing was sent.", broken.help)));
    }
    let errors = outcome.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let errors = errors.count();
    Err(Failure::Failed(Notice::new(
        "send.preflight",
        format!(
            "The program cannot run on this machine as it is: {errors} error{}.",
            if errors == 1 { "" } else { "s" }
        ),
        "Nothing was sent.",
        "Correct the lines named above, name the machine with --profile, or send it unchecked with --no-preflight.",
    )))
}

/// Leave of whoever sits at this terminal, and looks at the machine.
#[expect(clippy::disallowed_methods, reason = "nobody else is to be asked")]
pub(super) fn at_the_terminal(machine: &Machine, request: Request) -> Permit {
    Permit::of_the_terminal(machine.name(), request)
}

/// Streams the job and shows how far it is.
async fn stream(
    machine: &Machine,
    arguments: &Arguments,
    info: &Info,
    outcome: &mut Outcome,
    (signals, ending): (&mut EndSignals, &mut Ending),
) -> Result<(), Failure> {
    let job = Job { id: "send".into(), lines: info.lines, from_line: 1 };
    let mut people = Keys::listen();
    let mut events = machine.events();
    let started = Instant::now();
    let permit = at_the_terminal(machine, Request::Start(job));
    machine.start(permit, arguments.file.clone()).await.map_err(Notice::from)?;
    let bar = bar(info, arguments.json);
    let mut watch = machine.watch();
    let mut said: Option<Notice> = None;
    // Why the job was given up, where it was this program that gave it up.
    let mut given_up: Option<Notice> = None;
    let mut end = loop {
        let snapshot = watch.borrow_and_update().clone();
        show(&bar, &snapshot, info);
        if let Some(notice) = snapshot.notice.as_ref().filter(|notice| said.as_ref() != Some(notice)) {
            bar.suspend(|| complain(&notice));
            said = Some(notice.clone());
            if people.are_here() && matches!(snapshot.state, State::Held | State::Attention) {
                bar.suspend(|| complain(&"Enter resumes, Ctrl-C cancels and makes the machine safe."));
            }
        }
        if let Some(progress) = snapshot.job.as_ref().filter(|progress| progress.phase.is_over()) {
            break progress.clone();
        }
        if ending.is_none() && given_up.is_none() && snapshot.waits_for_agent && !people.are_here() {
            given_up.clone_from(&said);
            bar.suspend(|| complain(&"Nobody is here to decide: the job is cancelled and the machine made safe."));
            let _ = machine.calm(Calming::Cancel).await;
        }
        tokio::select! {
            changed = watch.changed() => if changed.is_err() { break lost(machine) },
            wanted = signals.next() => {
                if let Some(what) = ending.signalled(machine, wanted).await {
                    bar.suspend(|| complain(&what));
                }
            }
            () = ending.due() => {
                if ending.overdue(machine).await {
                    given_up = Some(ending::not_known());
                    break lost(machine);
                }
            }
            () = people.next() => {
                if let Err(denied) = machine.act(at_the_terminal(machine, Request::Resume)).await {
                    bar.suspend(|| complain(&denied));
                }
            }
        }
    };
    bar.finish_and_clear();
    outcome.seconds = started.elapsed().as_secs_f64();
    if given_up.is_some() && end.phase == JobPhase::Cancelled {
        // Nobody asked for that: it could not go on.
        end.phase = JobPhase::Failed;
    }
    if end.phase != JobPhase::Finished {
        // What the machine says since (a board that restarted is well again) is no reason.
        let patience = ending.left().map_or(EVENT_PATIENCE, |left| left.min(EVENT_PATIENCE));
        let why = reason(&mut events, patience).await.filter(|notice| notice.code != "job.cancelled");
        outcome.error = given_up.or(why).or_else(|| said.clone());
        outcome.error_was_said = outcome.error.is_some() && outcome.error == said;
    }
    outcome.progress = Some(end);
    Ok(())
}

/// Why the job is over, as the event of its end says it. Events come right behind the snapshot.
async fn reason(events: &mut broadcast::Receiver<Event>, patience: Duration) -> Option<Notice> {
    let told = async {
        loop {
            match events.recv().await {
                Ok(Event { kind: EventKind::Job { phase, notice, .. }, .. }) if phase.is_over() => return notice,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    };
    tokio::time::timeout(patience, told).await.unwrap_or_default()
}

fn lost(machine: &Machine) -> Progress {
    let begun = || Progress::begun("send".into(), 0, drivers::Moment::ZERO);
    let mut progress = machine.snapshot().job.clone().unwrap_or_else(begun);
    progress.phase = JobPhase::Failed;
    progress
}

fn bar(info: &Info, quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {percent:>3} %  {pos} of {len} commands executed  {msg}");
    ProgressBar::new(info.commands).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, snapshot: &Snapshot, info: &Info) {
    let Some(progress) = &snapshot.job else { return };
    bar.set_position(progress.executed);
    let left = Duration::from_secs_f64((info.time_s - info.time_line.seconds_at(progress.executed_line)).max(0.0));
    bar.set_message(format!("{}, about {} left", snapshot.state.word(), indicatif::HumanDuration(left)));
}

fn bad_profile(message: &str) -> Failure {
    Failure::Usage(Notice::new("send.profile", message.to_owned(), "Nothing was sent.", ""))
}

fn thread(error: &std::io::Error) -> Notice {
    Notice::new(
        "agent.no_thread",
        format!("The machine's thread could not be started: {error}."),
        "Nothing was sent.",
        "",
    )
}
