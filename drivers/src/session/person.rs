//! What the machine or its program asks of a person, and what a person does at the machine itself.

use std::time::Duration;

use gcode_tools::block::Block;
use gcode_tools::words::{self, Effect, Firmwares};
use serde::{Deserialize, Serialize};

use super::barrier::{waiting_word, waits_for_person};
use super::{Phase, Session, Stage};
use crate::dialect::{Calm, Condition, Habits, HostAction, Prompt, Spelling, Status, Word};
use crate::event::EventKind;
use crate::flow::{Aside, Frame};
use crate::notice::Notice;
use crate::profile::{Profile, ToolChange};
use crate::request::{Answer, Denied};
use crate::session::run::Run;
use crate::snapshot::{Asked, Cause, JobPhase, State};

/// Answers of one question kept. Marlin offers two.
const CHOICES_MAX: usize = 8;

/// What is asked of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Person {
    /// The machine's question, while its lines come in and until it is settled.
    prompt: Option<Asked>,
    /// The question is complete.
    shown: bool,
    /// The hold was asked for at the machine itself, and may be ended there.
    pub(super) paused_there: bool,
    /// Its display or a button of its own lets the job go on: it said that it paused itself, and did not only ask for it.
    #[serde(default)]
    goes_on_there: bool,
    /// The tool the program named last.
    pub(super) tool: Option<u32>,
    /// Questions that are answered still for a job that is over: the lines that make the machine safe wait behind them.
    #[serde(default)]
    pub(super) answers_left: u32,
}

impl Person {
    /// The job is held from here, or by its program.
    pub(super) fn held_from_here(&mut self) {
        (self.paused_there, self.goes_on_there) = (false, false);
    }
}

impl Session {
    /// What is asked of a person now.
    pub(super) fn asked(&self) -> Option<Asked> {
        if let Some(prompt) = self.person.prompt.as_ref().filter(|_| self.person.shown) {
            return Some(prompt.clone());
        }
        // That the table is to be said clear is told by its own notice.
        if self.phase != Phase::Ready || self.known.state != State::Attention || self.known.waits_for_clear {
            return None;
        }
        let text = if self.condition == Some(Condition::Door) {
            "Close the safety door, then resume.".to_owned()
        } else if let Some(asked) = self.drive_asks().filter(|_| self.run.is_none()) {
            asked
        } else {
            self.waits_for()
        };
        // Its word to stand may be lost, or not have come to it yet: nobody is sent to a turning tool unwarned.
        let turns = self.profile.spindle.is_some() && (self.spindle_runs() || self.drive_turns());
        let text = if turns { format!("The spindle turns: do not reach in. {text}") } else { text };
        Some(Asked { text, choices: Vec::new() })
    }

    /// What the command that waits for a person asks for.
    pub(super) fn waits_for(&self) -> String {
        let run = self.run.as_ref();
        if run.is_some_and(|run| run.stage == Stage::Asking) {
            return self.tool_asked();
        }
        let Some(Frame::Job(ordinal)) = self.window.oldest() else {
            return "The machine waits for a person.".to_owned();
        };
        let Some(command) = run.and_then(|run| run.history.command(ordinal)) else {
            return "The machine waits for a person.".to_owned();
        };
        let line = command.program_line;
        match waiting_word(&command.text) {
            Some((_, Effect::ChangesTool)) => self.tool_asked(),
            Some((word, Effect::ChangesFilament)) => format!("Change the filament ({word} in line {line})."),
            Some((_, Effect::Person)) => format!("The program stops here for a person (line {line})."),
            Some((_, Effect::WaitsForInput)) => format!("The program waits for a signal (line {line})."),
            _ => format!("The machine waits for a person (line {line})."),
        }
    }

    pub(super) fn tool_asked(&self) -> String {
        let Some(number) = self.person.tool else { return "Change the tool.".to_owned() };
        let name = self.profile.tools.iter().find(|tool| tool.number == number).map(|tool| tool.name.as_str());
        match name.filter(|name| !name.is_empty()) {
            Some(name) => format!("Put in tool {number} ({name})."),
            None => format!("Put in tool {number}."),
        }
    }

    /// A person is needed at the machine.
    pub(super) fn attention(&mut self, code: &str, happened: &str) {
        let notice = Notice::new(code, happened, "The job waits.", "Go to the machine; when it is ready, resume.");
        self.tell_trouble(notice);
    }

    /// The machine says that it waits for a person.
    pub(super) fn hear_needs_person(&mut self) {
        self.answer_to_end();
        // A job that is being ended does not wait for a person who may never come.
        if self.run.as_ref().is_none_or(|run| run.stage != Stage::Cancelling && !run.is_safe_end()) {
            self.sign_of_life();
        }
        if !std::mem::replace(&mut self.needs_person, true) {
            let what = self.waits_for();
            self.attention("machine.waits_for_person", &what);
        }
    }

    pub(super) fn hear_prompt(&mut self, prompt: Prompt) {
        match prompt {
            Prompt::Begin(text) => {
                self.person.prompt = Some(Asked { text, choices: Vec::new() });
                self.person.shown = false;
            }
            Prompt::Choice(text) => {
                if let Some(asked) = self.person.prompt.as_mut().filter(|asked| asked.choices.len() < CHOICES_MAX) {
                    asked.choices.push(text);
                }
            }
            Prompt::Show => {
                let Some(asked) = &self.person.prompt else { return };
                let happened = format!("The machine asks: {}", asked.text);
                if !std::mem::replace(&mut self.person.shown, true) {
                    let notice = Notice::new("machine.asks", happened, "", "Answer at the machine or here.");
                    self.tell(EventKind::Trouble { notice });
                    if self.person_is_waited_for() {
                        // It says so itself two seconds later only.
                        self.hear_needs_person();
                    } else {
                        self.answer_to_end();
                        self.answer_behind_end();
                    }
                }
            }
            Prompt::End => self.prompt_over(),
        }
        self.known.generation += 1;
    }

    pub(super) fn prompt_over(&mut self) {
        self.person.prompt = None;
        self.person.shown = false;
    }

    /// A command was answered. If it waited for a person, nobody is asked any more: Marlin never ends its menu at M0
    /// (`M0_M1.cpp`).
    pub(super) fn prompt_answered(&mut self, ordinal: u64) {
        if self.person.prompt.is_none() {
            return;
        }
        let command = self.run.as_ref().and_then(|run| run.history.command(ordinal));
        if command.is_some_and(|command| waits_for_person(&command.text)) {
            self.prompt_over();
            self.known.generation += 1;
        }
    }

    /// A person lets the machine go on that waits for one: where it asks with a menu, only its own answer ends that. The
    /// last choice goes on, and is the second one of Marlin's where it was not heard (`handle_response`,
    /// `host_actions.cpp`).
    pub(super) fn answer_what_is_asked(&mut self, offered: Option<u8>) {
        if !self.hears_out_of_turn() {
            return;
        }
        if let Spelling::Lines(lines) = self.dialect.word(&Word::Choose(offered.unwrap_or(GOES_ON))) {
            for line in &lines {
                // The window is full of what waits behind the question, or too narrow on a bad wire.
                self.say_past_window(line);
            }
        }
    }

    /// A person answers the machine's question.
    pub(super) fn choose(&mut self, place: u8) -> Answer {
        let found_standing = matches!(self.phase, Phase::Greeting(_)) && self.person.offered().is_some();
        if !found_standing {
            self.must_be_connected()?;
        }
        let offered = self.person.prompt.as_ref().filter(|_| self.person.shown).map_or(0, |asked| asked.choices.len());
        if usize::from(place) >= offered {
            return Err(Denied::NothingAsked);
        }
        // Behind the command that waits for the answer it would never be read.
        if (found_standing || !self.window.is_empty()) && !self.hears_out_of_turn() {
            return Err(Denied::Unsupported);
        }
        let Spelling::Lines(lines) = self.dialect.word(&Word::Choose(place)) else { return Err(Denied::Unsupported) };
        for line in lines.into_iter().rev() {
            self.asides.push_front((Aside::Word, line));
        }
        if found_standing {
            self.write_asides_past_window();
        } else {
            self.prompt_over();
        }
        Ok(())
    }

    /// Somebody did something about the job at the machine's own display.
    pub(super) fn hear_action(&mut self, action: HostAction) {
        self.sign_of_life();
        let Some(run) = &self.run else {
            match action {
                HostAction::Resume => {
                    self.needs_person = false;
                    self.own_work.paused(false);
                }
                HostAction::Pause if self.phase == Phase::Ready => self.own_work.paused(true),
                _ => {}
            }
            return;
        };
        if run.is_safe_end() || run.stage == Stage::Cancelling {
            return;
        }
        match action {
            // A command that waits for a person says so, too; it is answered when the person is done.
            HostAction::Pause if self.person_is_waited_for() => self.hear_needs_person(),
            HostAction::Pause => {
                let notice = Notice::new(
                    "machine.paused",
                    "The job was paused at the machine.",
                    "The job is held; nothing more is said to the machine.",
                    "Resume it at the machine, or here.",
                );
                if !matches!(run.stage, Stage::Holding | Stage::Held) {
                    self.hold(Cause::Machine, Some(notice));
                    self.person.paused_there = true;
                }
                self.person.goes_on_there = true;
            }
            HostAction::Resume => {
                self.needs_person = false;
                if self.person.paused_there {
                    self.resumed_there();
                }
            }
            HostAction::Cancel => {
                let notice = Notice::new(
                    "job.cancelled_at_machine",
                    "The job was cancelled at the machine.",
                    "The machine is being made safe.",
                    "Look at the work before the next job.",
                );
                self.cancel_as(JobPhase::Cancelled, Some(notice));
            }
            HostAction::Disconnect => {
                let notice = Notice::new(
                    "machine.disconnects",
                    "The machine asks its host to let go of it.",
                    "The job is being ended safely.",
                    "Look at the machine and its display.",
                );
                self.cancel_as(JobPhase::Failed, Some(notice));
            }
        }
    }

    /// Whether the job stands and nobody at the machine can let it go on.
    pub(super) fn waits_for_agent(&self) -> bool {
        self.run.as_ref().is_some_and(|run| match run.stage {
            Stage::Held => !(self.person.paused_there && self.person.goes_on_there),
            Stage::Asking => true,
            _ => false,
        })
    }

    /// The machine asked for the hold, and may end it; with `goes_on_there`, whoever stands there can let it.
    pub(super) fn paused_there(&mut self, goes_on_there: bool) {
        self.person.paused_there = self.run.as_ref().is_some_and(Run::is_holding);
        self.person.goes_on_there = goes_on_there;
    }

    /// Whether the oldest command without an answer is one that waits for a person.
    fn person_is_waited_for(&self) -> bool {
        let Some(Frame::Job(ordinal)) = self.window.oldest() else { return false };
        let command = self.run.as_ref().and_then(|run| run.history.command(ordinal));
        command.is_some_and(|command| waits_for_person(&command.text))
    }

    /// A person at the machine let the job go on: it moves already, or will at once.
    fn resumed_there(&mut self) {
        self.person.paused_there = false;
        let Some(run) = &mut self.run else { return };
        if !matches!(run.stage, Stage::Holding | Stage::Held) {
            return;
        }
        run.stage = run.held_from;
        run.probes = 0;
        run.rewinds = 0;
        self.asides.retain(|(aside, _)| *aside != Aside::HoldProof);
        self.known.notice = None;
        self.told_job_phase(JobPhase::Running, None);
    }

    /// The machine moves again after a hold, and nobody here said so: its own button was pressed.
    pub(super) fn condition_changed(&mut self, before: Option<Condition>, now: Option<Condition>) {
        let stood = matches!(before, Some(Condition::Held | Condition::Door));
        if !stood || !matches!(now, Some(Condition::Run | Condition::Idle)) {
            return;
        }
        self.needs_person = false;
        if self.run.as_ref().is_some_and(|run| run.stage == Stage::Held) {
            self.resumed_there();
        }
    }

    /// In a hold a beam is switched off, and a spindle where the program itself waits for a person, who is about to reach
    /// for it. In any other hold it stands in the work, where it must go on turning.
    pub(super) fn spindle_in_hold(&mut self, status: &Status) {
        if status.condition != Some(Condition::Held) {
            self.spindle_may_turn();
            return;
        }
        let goes_on = self.hold_stale_until.is_some_and(|until| self.now < until);
        if goes_on || self.deadlines.spin_up.is_some() {
            return;
        }
        let wanted = self.profile.laser.is_some() || (self.profile.spindle.is_some() && self.person_is_waited_for());
        if wanted {
            self.spindle_to_stand(status.turning().is_some());
        }
    }

    /// Switches a spindle on again that was switched off for a person, and waits until it has its speed. True: the
    /// machine is told later to go on. Told at once, Grbl would switch it on and move in one step
    /// (`protocol_exec_rt_system`, `protocol.c`).
    pub(super) fn spindle_on_again(&mut self) -> bool {
        let told = self.spindle_may_turn();
        // The word toggles: said to one that never stood, it would switch it off.
        if self.profile.laser.is_some() || !told || self.spindle_runs() {
            return false;
        }
        self.calm(Calm::SpindleOffInHold);
        self.deadlines.spin_up = Some(self.now + SPIN_UP);
        self.hold_stale_until = self.deadlines.spin_up;
        true
    }

    /// The spindle has its speed. What was held, ended or stopped meanwhile does not go on.
    pub(super) fn spun_up(&mut self) {
        let goes_on = self.run.as_ref().is_some_and(|run| matches!(run.stage, Stage::Streaming | Stage::Proving));
        if goes_on && self.phase == Phase::Ready {
            self.say_go_on();
        }
    }

    /// Waits at a tool change that the machine does not know: until motion has ended, then with the spindle off, until
    /// a person says that the tool is in. As in RS274NGC the spindle stays off; the program starts it again.
    pub(super) fn ask_for_tool(&mut self, ordinal: u64) {
        if !self.stands_for_tool() {
            return;
        }
        let Some(run) = &mut self.run else { return };
        run.stands_for_tool = false;
        run.history.advance();
        run.sent = run.sent.max(ordinal);
        run.accepted = run.accepted.max(ordinal);
        run.highest = run.highest.max(ordinal);
        // It stands still: nothing is left in the planner.
        run.executed_but(0, 1);
        run.stage = Stage::Asking;
        let turns = !self.dialect.habits().printer || self.profile.spindle.is_some();
        if turns && !self.is_driven() {
            self.asides.push_back((Aside::Word, SPINDLE_OFF.to_owned()));
        }
        let what = self.tool_asked();
        self.attention("machine.tool_change", &what);
    }

    /// Whether motion has ended before a tool change. One that does not report how it is has to prove it: twice, because
    /// half a word that waits is answered at once.
    fn stands_for_tool(&mut self) -> bool {
        let habits = self.dialect.habits();
        if !habits.stands_by_word() {
            let idle = self.condition == Some(Condition::Idle);
            return idle && self.run.as_ref().is_some_and(|run| run.idle_reports >= 2);
        }
        let stands = self.run.as_ref().is_some_and(|run| run.stands_for_tool);
        if !stands && !self.is_asked(Aside::HoldProof) {
            if let crate::dialect::MotionEnd::Commands([wait, ..]) = habits.motion_end {
                self.asides.push_back((Aside::Query, (*wait).to_owned()));
            }
            self.ask_hold_proof();
            self.pump_asides();
        }
        stands
    }

    /// A person says that the tool is in.
    pub(super) fn tool_is_in(&mut self) {
        if let Some(run) = self.run.as_mut().filter(|run| run.stage == Stage::Asking) {
            run.stage = Stage::Streaming;
            run.idle_reports = 0;
        }
        self.known.notice = None;
        self.told_job_phase(JobPhase::Running, None);
    }
}

/// The place of the answer "Continue" in a menu of two.
const GOES_ON: u8 = 1;

/// How long a spindle is given to come to its speed: as long as Grbl itself waits after its door was closed
/// (`SAFETY_DOOR_SPINDLE_DELAY`, `config.h`).
const SPIN_UP: Duration = Duration::from_secs(4);

/// Every machine with a spindle and without a tool changer knows this.
const SPINDLE_OFF: &str = "M5";

impl Person {
    /// The question is open, and this is the place of its last answer.
    pub(super) fn offered(&self) -> Option<u8> {
        let asked = self.prompt.as_ref().filter(|_| self.shown)?;
        u8::try_from(asked.choices.len()).ok()?.checked_sub(1)
    }

    /// Notes which tool a line names that is being said.
    pub(super) fn note_tool(&mut self, text: &[u8]) {
        let named = Block::new(text).value('T').filter(|number| (0.0..1e6).contains(number));
        self.tool = named.map(|number| number as u32).or(self.tool);
    }
}

/// Whether the agent itself waits for a person at this line: the machine does not know it.
pub(super) fn person_changes_tool(text: &[u8], profile: &Profile, habits: &Habits) -> bool {
    let by_person = profile.stream.tool_change.map_or(!habits.tool_change, ToolChange::is_person);
    by_person && !habits.numbered && is_tool_change(text)
}

/// Whether a line changes the tool and does nothing else.
pub(super) fn is_tool_change(text: &[u8]) -> bool {
    let block = Block::new(text);
    let mut codes = block.codes().filter(|(letter, _)| matches!(letter, 'G' | 'M'));
    let changes = |(letter, tenths): (char, u32)| {
        let letter = u8::try_from(letter).unwrap_or_default();
        words::effect_of_any(Firmwares::CNC, letter, tenths) == Effect::ChangesTool
    };
    codes.next().is_some_and(changes) && codes.next().is_none()
}

impl Run {
    /// Whether it stands and waits: held, or at a tool change.
    pub(super) fn stands(&self) -> bool {
        matches!(self.stage, Stage::Held | Stage::Asking)
    }
}
