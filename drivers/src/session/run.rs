//! A run: the commands of a job, or the few lines that end one safely, and how far they got.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::by_hand::homing_word;
use super::evidence::Evidence;
use super::hands::Hands;
use super::proof::Rounds;
use super::reach::Reach;
use super::refusal::Stuck;
use super::undone::Ledger;
use crate::history::History;
use crate::moment::Moment;
use crate::notice::Notice;
use crate::snapshot::{Cause, JobPhase, LinkCounters, Progress};

/// Two reports closer than this were not said at different times: the shortest pause between two questions is twice as long.
const REPORTS_APART: Duration = Duration::from_millis(50);

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// The machine's line counter is being set to zero.
    Counter,
    /// Lines are being said.
    Streaming,
    /// Every line was answered; the end of motion is not proven yet.
    Proving,
    /// A hold was asked for.
    Holding,
    /// Standing still.
    Held,
    /// At a tool change that the machine does not know: a person is asked.
    Asking,
    /// Being ended early: hold, then drop what the machine has queued.
    Cancelling,
}

/// How a job ends once the machine has been made safe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// `Cancelled` or `Failed`.
    pub phase: JobPhase,
    /// Why.
    pub notice: Option<Notice>,
}

/// A machine's request to say a line again, while its late answers are still coming in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resync {
    /// Ordinal the machine wants.
    pub(super) ordinal: u64,
    /// It was silent and was asked for the number: no earlier line is due an answer any more.
    #[serde(default)]
    pub(super) nothing_due: bool,
    /// It was asked again in the quiet behind its requests: what it says now is where it stands.
    #[serde(default)]
    pub(super) asked: bool,
    /// Nothing was said behind the damaged line: besides the `ok` behind the request nothing is to come of it.
    #[serde(default)]
    pub(super) alone: bool,
}

/// One run.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them can be")]
pub(super) struct Run {
    pub(super) progress: Progress,
    pub(super) history: History,
    /// The layers of a print.
    #[serde(default)]
    pub(super) layers: super::layers::Layers,
    pub(super) stage: Stage,
    /// Present once the job is over and its safe end is being said: how it will be called.
    pub(super) ending: Option<Ending>,
    /// Whether lines come from a file (a job) or were all given at once (a safe end).
    pub(super) from_file: bool,
    /// The program's commands: all but the lead and those that prove the end of motion. Known at the program's end.
    pub(super) commands: Option<u64>,
    /// Highest ordinal written.
    pub(super) sent: u64,
    /// Highest ordinal answered.
    pub(super) accepted: u64,
    /// Highest ordinal ever answered: unlike `accepted`, a damaged request to say a line again does not lower it.
    pub(super) highest: u64,
    pub(super) resync: Option<Resync>,
    /// Rewinds to the same ordinal in a row, for the budget.
    pub(super) rewinds: u32,
    pub(super) last_rewind: u64,
    /// Rewinds in a row that each came out only a few lines behind the one before.
    #[serde(default)]
    pub(super) rewinds_near: u32,
    /// Present while a command is in flight that must be answered before the next one: how long that may take.
    pub(super) alone_until: Option<Moment>,
    /// Commands in front of the program's own: the line that proves the counter.
    pub(super) lead: u64,
    /// What the machine had queued was dropped already.
    pub(super) dropped: bool,
    /// When it was asked where it stands, before it is made safe.
    #[serde(default)]
    pub(super) located_at: Option<Moment>,
    /// Times its safe end was begun anew.
    #[serde(default)]
    pub(super) safe_ends: u32,
    /// Who caused the hold.
    pub(super) hold_cause: Cause,
    /// Proof of the end of motion: idle reports in a row, or a position after the proving commands.
    pub(super) idle_reports: u32,
    /// When the last one came that counted.
    #[serde(default)]
    pub(super) idle_at: Moment,
    pub(super) position_seen: bool,
    /// The same where it must be seen twice.
    #[serde(default)]
    pub(super) rounds: Rounds,
    /// Questions about an overdue answer, without any since.
    pub(super) probes: u32,
    /// Since when the end of motion is asked for with every line answered, and questions answered since.
    #[serde(default)]
    pub(super) proof_since: Option<Moment>,
    #[serde(default)]
    pub(super) proof_answers: u32,
    /// What it told as its position was none.
    #[serde(default)]
    pub(super) no_position: bool,
    /// It was to be ended, and the machine did not come to the end of what it had.
    #[serde(default)]
    pub(super) overdue: bool,
    /// Questions of the machine that were answered so that it can be ended.
    #[serde(default)]
    pub(super) prompts_answered: u32,
    /// Lines are said without waiting for answers: the machine is silent, and this is all that can be done.
    #[serde(default)]
    pub(super) unheard: bool,
    /// Since the last answer, it was counted that lines or their answers were lost.
    #[serde(default)]
    pub(super) loss_counted: bool,
    /// The machine was asked which line it waits for, and has not said so yet.
    #[serde(default)]
    pub(super) probed: bool,
    /// Motion ended before the tool change that comes next.
    #[serde(default)]
    pub(super) stands_for_tool: bool,
    /// Lines in a row that it passed over, and was asked after.
    #[serde(default)]
    pub(super) passed_over: u32,
    /// Stage to return to on resume.
    pub(super) held_from: Stage,
    /// What the wire had done before.
    pub(super) link_before: LinkCounters,
    /// Since when the machine could take more and the program was not there.
    pub(super) starved_since: Option<Moment>,
    /// The first program line to run; earlier ones are skipped.
    pub(super) from_line: u64,
    /// The last line said that homes every axis or lets the axes go, and which of both.
    #[serde(default)]
    pub(super) homing: Option<(u64, bool)>,
    /// The last line of the program that was read.
    #[serde(default)]
    pub(super) fed_line: u64,
    /// The line that ends the program (M2, M30): a machine that is told what stands behind it would run that too.
    #[serde(default)]
    pub(super) end_line: Option<u64>,
    /// Why nothing more can be read at the moment.
    #[serde(default)]
    pub(super) stalled: Option<Notice>,
    /// What may still be in the planner.
    #[serde(default)]
    pub(super) evidence: Evidence,
    /// What was answered and not executed.
    #[serde(default)]
    pub(super) undone: Ledger,
    /// A command was refused, and what stands behind it may be refused with it until that error is cleared.
    #[serde(default)]
    pub(super) stuck: Option<Stuck>,
    /// Refusals and complaints that people were told of one by one.
    #[serde(default)]
    pub(super) told: u32,
    /// Where the program leads.
    #[serde(default)]
    pub(super) reach: Reach,
    /// What shows that somebody else talks to the machine.
    #[serde(default)]
    pub(super) hands: Hands,
}

impl Run {
    pub(super) fn job(id: String, lines: u64, from_line: u64, numbered: bool, now: Moment) -> Self {
        let stage = if numbered { Stage::Counter } else { Stage::Streaming };
        Self {
            progress: Progress::begun(id, lines, now),
            history: History::default(),
            layers: super::layers::Layers::default(),
            stage,
            ending: None,
            from_file: true,
            commands: None,
            sent: 0,
            accepted: 0,
            highest: 0,
            resync: None,
            rewinds: 0,
            last_rewind: 0,
            rewinds_near: 0,
            alone_until: None,
            lead: 0,
            dropped: false,
            safe_ends: 0,
            located_at: None,
            hold_cause: Cause::Asked,
            idle_reports: 0,
            idle_at: Moment::ZERO,
            position_seen: false,
            rounds: Rounds::default(),
            probes: 0,
            proof_since: None,
            proof_answers: 0,
            no_position: false,
            overdue: false,
            prompts_answered: 0,
            unheard: false,
            loss_counted: false,
            probed: false,
            stands_for_tool: false,
            passed_over: 0,
            held_from: stage,
            link_before: LinkCounters::default(),
            starved_since: None,
            from_line,
            homing: None,
            fed_line: 0,
            end_line: None,
            stalled: None,
            evidence: Evidence::default(),
            undone: Ledger::default(),
            stuck: None,
            told: 0,
            reach: Reach::default(),
            hands: Hands::default(),
        }
    }

    /// The same job once it is over: a few lines of its own, counted apart from the job's.
    pub(super) fn safe_end(of: &Self, ending: Ending, numbered: bool) -> Self {
        let mut run = Self::job(of.progress.job.clone(), 0, 1, numbered, of.progress.started_at);
        run.progress = of.progress();
        run.from_file = false;
        run.ending = Some(ending);
        run.link_before = of.link_before;
        run.safe_ends = of.safe_ends;
        run.prompts_answered = of.prompts_answered;
        run
    }

    /// The machine reports that it is idle. Reports that an adapter or a network held back and that come in one read were
    /// said long ago: they count as one.
    pub(super) fn idle_reported(&mut self, now: Moment) {
        if self.idle_reports == 0 || now.since(self.idle_at) >= REPORTS_APART {
            self.idle_reports += 1;
            self.idle_at = now;
        }
    }

    pub(super) fn is_safe_end(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether this was a safe end that let the motors go: where the axes are is not certain then.
    pub(super) fn let_motors_go(&self, safe_end: &[String]) -> bool {
        self.is_safe_end() && safe_end.iter().any(|line| homing_word(line.as_bytes(), true) == Some(false))
    }

    /// Whether it stands still because somebody or something wanted that, or is about to.
    pub(super) fn is_holding(&self) -> bool {
        matches!(self.stage, Stage::Holding | Stage::Held)
    }

    /// Whether every line and every proving command was answered.
    pub(super) fn is_answered(&self) -> bool {
        self.history.is_sent() && self.accepted + 1 >= self.history.end()
    }

    /// The job's numbers now.
    pub(super) fn progress(&self) -> Progress {
        let mut progress = self.progress.clone();
        if !self.is_safe_end() {
            let all = self.commands.unwrap_or(u64::MAX);
            progress.sent = self.sent.saturating_sub(self.lead).min(all);
            // A damaged request to say an old line again takes back nothing that was executed.
            let reached = self.undone.reached().saturating_sub(self.lead);
            progress.accepted = self.accepted.saturating_sub(self.lead).min(all).max(reached);
            progress.commands = self.commands.unwrap_or(0);
            progress.phase = match self.stage {
                Stage::Held | Stage::Holding => JobPhase::Held,
                _ => JobPhase::Running,
            };
        }
        progress
    }

    /// Raises the executed count to what evidence supports, when at most so many blocks are still in the planner.
    /// `planner`: how many it has.
    pub(super) fn executed_but(&mut self, blocks: u32, planner: u32) {
        if self.is_safe_end() || self.resync.is_some() {
            return;
        }
        while self.evidence.noted() < self.accepted {
            let ordinal = self.evidence.noted() + 1;
            let text = if self.undone.holds(ordinal) { None } else { self.history.command(ordinal) };
            let text = text.map(|command| &*command.text);
            self.evidence.note(ordinal, text, planner as usize);
        }
        let ordinal = self.evidence.executed(self.accepted, blocks as usize);
        let last = self.commands.map_or(u64::MAX, |commands| commands + self.lead);
        let ordinal = ordinal.min(self.accepted).min(last);
        if let Some(done) = self.undone.reach(ordinal) {
            self.progress.executed = done.saturating_sub(self.lead);
            if let Some(command) = self.history.command(ordinal).filter(|_| ordinal > self.lead) {
                self.progress.executed_line = command.program_line;
                self.progress.layer = self.layers.reach(command.program_line);
            }
        }
    }
}
