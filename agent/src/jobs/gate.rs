//! The gate: whether a machine may be made to do something, from facts alone. It opens nothing and reads no clock.
//!
//! What makes a machine move, heat or cut needs a [`Permit`], and only [`Pass`] makes one: for one machine, one program by
//! its hash, one request, for as long as whoever asked waits. What only calms a machine asks nobody.
//!
//! | wanted | fresh | right | in service | table clear | machine takes it | program verified |
//! |---|---|---|---|---|---|---|
//! | start a job | yes | yes | yes | yes | yes | yes |
//! | home, jog, probe, override, answer, go on, clear | yes | yes | | | the machine's session says | |

use drivers::permit::StillGood;
use drivers::profile::Kind;
use drivers::request::Job;
use drivers::{Denied, Notice, Permit, Request, Snapshot, State, interlock};
use serde::{Deserialize, Serialize};

use super::{JobState, Record};

/// A machine that a person took out of service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfService {
    /// Why, as that person says it. Hostile text.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339. Absent: until somebody puts it back.
    pub until: Option<String>,
}

/// What is known of a program that is to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified<'a> {
    /// It was not read again yet: that comes before the machine is told anything.
    NotYet,
    /// It was read a moment ago, and its bytes have this SHA-256, in hexadecimal.
    Has(&'a str),
}

/// What is known when somebody wants something of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The machine's name.
    pub machine: &'a str,
    /// What kind of work it does.
    pub kind: Kind,
    /// What is known of the machine.
    pub snapshot: &'a Snapshot,
    /// Whether somebody took it out of service.
    pub out_of_service: Option<&'a OutOfService>,
    /// Why whoever asks has no right to this, if they have not.
    pub no_right: Option<&'a Notice>,
    /// Whether it was asked for a moment ago, by somebody who still waits.
    pub fresh: bool,
}

/// The job that is to be started.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its record.
    pub job: &'a Record,
    /// SHA-256 of the machine's profile as it is now.
    pub profile_sha256: Option<&'a str>,
    /// What is known of its program.
    pub program: Verified<'a>,
}

/// What is missing before something may be done. A closed list; the codes are on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The right to do it.
    Right(Notice),
    /// Somebody who waits for it.
    Fresh,
    /// A machine that is in service.
    InService(OutOfService),
    /// A job that waits to be started.
    Queued(JobState),
    /// A check against the profile that the machine has now.
    Check,
    /// The program that was checked.
    Program,
    /// The word of a person that the table is clear.
    Clear(Notice),
    /// A machine that takes work.
    Machine(Denied, Option<Notice>),
}

/// Leave to make a machine do one thing. Only [`start`] and [`ask`] give it.
#[derive(Debug)]
pub struct Pass<T>(T);

/// Whether a job may be started.
///
/// # Errors
/// Everything that is missing, most important first.
pub fn start<'a>(facts: &Facts<'a>, wanted: &Wanted<'a>) -> Result<Pass<(&'a str, &'a Record)>, Vec<Missing>> {
    let mut missing = of_the_asker(facts);
    let Wanted { job, profile_sha256, program } = wanted;
    if job.machine != facts.machine {
        missing.push(Missing::Machine(Denied::NotPermitted, None));
    }
    if job.state != JobState::Queued {
        missing.push(Missing::Queued(job.state));
    }
    if job.profile_sha256.as_deref() != *profile_sha256 || profile_sha256.is_none() {
        missing.push(Missing::Check);
    }
    if matches!(program, Verified::Has(sha256) if *sha256 != job.sha256) {
        missing.push(Missing::Program);
    }
    missing.extend(of_the_machine(facts));
    if missing.is_empty() { Ok(Pass((facts.machine, job))) } else { Err(missing) }
}

/// Whether a person may ask this of a machine. What the machine itself says to it, its session knows.
///
/// # Errors
/// Everything that is missing, most important first.
pub fn ask<'a>(facts: &Facts<'a>, request: Request) -> Result<Pass<(&'a str, Request)>, Vec<Missing>> {
    let missing = of_the_asker(facts);
    if missing.is_empty() { Ok(Pass((facts.machine, request))) } else { Err(missing) }
}

fn of_the_asker(facts: &Facts<'_>) -> Vec<Missing> {
    let stale = (!facts.fresh).then_some(Missing::Fresh);
    facts.no_right.cloned().map(Missing::Right).into_iter().chain(stale).collect()
}

/// What a job waits for at its machine, whoever starts it.
pub fn of_the_machine(facts: &Facts<'_>) -> Vec<Missing> {
    let mut missing: Vec<_> = facts.out_of_service.cloned().map(Missing::InService).into_iter().collect();
    let snapshot = facts.snapshot;
    // A table that is not clear makes a machine wait that would be idle: what else it waits for comes first.
    let but_for_table = if snapshot.waits_for_clear { State::Idle } else { snapshot.state };
    if let Err(denied) = interlock::may_start(but_for_table, snapshot) {
        let why = snapshot.notice.clone().filter(|_| !snapshot.waits_for_clear);
        missing.push(Missing::Machine(denied, why));
    }
    missing.extend(snapshot.table.notice(facts.kind).map(Missing::Clear));
    missing
}

impl Pass<(&str, &Record)> {
    /// The permit to start it, for the program that was verified.
    #[expect(clippy::disallowed_methods, reason = "the gate is where permits are made")]
    pub fn permit(self, still_good: StillGood) -> Permit {
        let (machine, job) = self.0;
        let order = Job { id: job.id.clone(), lines: job.lines, from_line: 1 };
        Permit::to_start(machine, order, &job.sha256, still_good)
    }
}

impl Pass<(&str, Request)> {
    /// The permit to ask it.
    #[expect(clippy::disallowed_methods, reason = "the gate is where permits are made")]
    pub fn permit(self, still_good: StillGood) -> Permit {
        let (machine, request) = self.0;
        Permit::to_ask(machine, request, still_good)
    }
}

impl Missing {
    /// What is missing, in words: what happened, what was done, what to do.
    pub fn notice(&self) -> Notice {
        match self {
            Self::Right(notice) | Self::Clear(notice) => notice.clone(),
            Self::Machine(denied, Some(why)) => {
                Notice::new(denied.code(), format!("{denied} {}", why.happened), "", why.to_do.as_str())
            }
            Self::Fresh => Denied::Stale.into(),
            Self::Machine(denied, None) => (*denied).into(),
            Self::InService(out) => {
                let until = out.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
                Notice::new(
                    "machine.out_of_service",
                    format!("The machine is out of service{until}: {}", out.reason),
                    "Nothing was started.",
                    "Wait until it is put back into service, or choose another machine.",
                )
            }
            Self::Queued(state) => Notice::new(
                "job.not_startable",
                format!("The job is {}, and a job is started once.", state.word()),
                "Nothing was started.",
                "Submit the program again to run it again.",
            ),
            Self::Check => Notice::new(
                "job.checked_again",
                "The machine's profile is not the one that the program was checked against.",
                "Nothing was started. The program is being checked again.",
                "Look at what the check finds, then start the job.",
            ),
            Self::Program => Notice::new(
                "job.program_changed",
                "The program is not the one that was checked.",
                "Nothing was started.",
                "Submit the program again.",
            ),
        }
    }
}

#[cfg(test)]
mod test {
    use std::sync::Arc;

    use drivers::Moment;
    use drivers::snapshot::{Occupied, Table};

    use super::*;
    use crate::jobs::test::record;

    const STATES: [State; 11] = [
        State::Offline,
        State::Connecting,
        State::Idle,
        State::Busy,
        State::Running,
        State::Holding,
        State::Held,
        State::Stopping,
        State::Attention,
        State::Alarm,
        State::Unknown,
    ];

    fn snapshot(state: State, table: Table) -> Snapshot {
        // As the session has it: only a machine that would be idle waits for nothing but that.
        let occupied = matches!(table, Table::NotClear { .. });
        let waits_for_clear = occupied && state == State::Idle;
        let state = if waits_for_clear { State::Attention } else { state };
        Snapshot { state, table, waits_for_clear, ..Snapshot::unknown(Moment(0)) }
    }

    fn tables() -> [Table; 4] {
        let since = Moment(0);
        [
            Table::NotWatched,
            Table::Clear { since },
            Table::NotClear { by: Occupied::Unseen, since },
            Table::NotClear { by: Occupied::Job, since },
        ]
    }

    /// Everything that can be, one by one: a start is let through where all is well, and nowhere else.
    #[test]
    fn motion_comes_only_of_a_verified_program_a_clear_table_the_right_person_and_a_fresh_request() {
        let denial = Notice::new("access.denied", "No.", "", "");
        let out = OutOfService { reason: "belt".into(), since: String::new(), until: None };
        let (mut through, mut asked) = (0, 0);
        for state in STATES {
            for table in tables() {
                let snapshot = snapshot(state, table);
                for (fresh, right, service) in every_three() {
                    let facts = Facts {
                        machine: "m",
                        kind: Kind::Mill,
                        snapshot: &snapshot,
                        out_of_service: (!service).then_some(&out),
                        no_right: (!right).then_some(&denial),
                        fresh,
                    };
                    for job_state in JobState::ALL {
                        for (own_machine, checked, verified) in every_three() {
                            let mut job = record("1", job_state);
                            job.sha256 = "program".into();
                            job.profile_sha256 = Some("profile".into());
                            job.machine = if own_machine { "m" } else { "other" }.into();
                            let wanted = Wanted {
                                job: &job,
                                profile_sha256: Some(if checked { "profile" } else { "newer" }),
                                program: Verified::Has(if verified { "program" } else { "changed" }),
                            };
                            let good = fresh && right && service && own_machine && checked && verified;
                            let good = good && job_state == JobState::Queued && state == State::Idle;
                            let good = good && !matches!(table, Table::NotClear { .. });
                            asked += 1;
                            match start(&facts, &wanted) {
                                Ok(_) => through += 1,
                                Err(missing) => {
                                    assert!(!missing.is_empty());
                                    // Whoever has no right hears that first.
                                    assert!(right || matches!(missing[0], Missing::Right(_)));
                                }
                            }
                            assert_eq!(start(&facts, &wanted).is_ok(), good, "{facts:?} {wanted:?}");
                        }
                    }
                    assert_eq!(ask(&facts, Request::Home).is_ok(), fresh && right);
                }
            }
        }
        assert_eq!((through, asked), (2, 11 * 4 * 8 * 10 * 8), "idle, and not watched or clear");
    }

    fn every_three() -> impl Iterator<Item = (bool, bool, bool)> {
        (0..8).map(|bits| (bits & 1 == 0, bits & 2 == 0, bits & 4 == 0))
    }

    #[test]
    fn all_that_is_missing_is_said_at_once_and_each_has_its_words() {
        let out = OutOfService { reason: "belt".into(), since: String::new(), until: Some("tomorrow".into()) };
        let snapshot = snapshot(State::Idle, Table::NotClear { by: Occupied::Job, since: Moment(0) });
        let facts = Facts {
            machine: "m",
            kind: Kind::Printer,
            snapshot: &snapshot,
            out_of_service: Some(&out),
            no_right: None,
            fresh: false,
        };
        let job = record("1", JobState::Finished);
        let wanted = Wanted { job: &job, profile_sha256: None, program: Verified::NotYet };
        let missing = start(&facts, &wanted).map(|_| ()).unwrap_err();
        let codes: Vec<_> = missing.iter().map(|missing| missing.notice().code).collect();
        let wanted = ["job.start_stale", "job.not_startable", "job.checked_again", "machine.out_of_service"];
        assert_eq!(codes, wanted.into_iter().chain(["table.not_clear"]).collect::<Vec<_>>());
        let words: Vec<_> = missing.iter().map(|missing| missing.notice().to_string()).collect();
        assert!(words[3].contains("until tomorrow: belt"), "{words:?}");
        assert!(words[4].contains("the bed is clear since its last job began"), "{words:?}");
    }

    #[test]
    fn a_permit_is_for_one_machine() {
        let snapshot = snapshot(State::Idle, Table::NotWatched);
        let facts = Facts {
            machine: "m",
            kind: Kind::Mill,
            snapshot: &snapshot,
            out_of_service: None,
            no_right: None,
            fresh: true,
        };
        let pass = ask(&facts, Request::Home).unwrap();
        let permit = format!("{:?}", pass.permit(Arc::new(|| true)));
        assert!(permit.contains("\"m\"") && permit.contains("Home"), "{permit}");
    }
}
