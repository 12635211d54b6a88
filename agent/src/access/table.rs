//! The table: every thing that can be asked, for every role, of one's own and of others'.

use std::fmt::Write as _;

use super::actor::{Actor, Role};
use super::denial::Denial;

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Their own.
    Own,
    /// Somebody else's, or nobody's.
    Others,
}

/// How far a right reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    No,
    Own,
    All,
}

use Reach::{All, No, Own};

/// One line of the table. Admins may everything.
struct Line {
    what: &'static str,
    /// Whether it is about something that belongs to somebody.
    owned: bool,
    nobody: Reach,
    viewer: Reach,
    member: Reach,
    operator: Reach,
    platform: Reach,
}

macro_rules! things {
    ($($(#[$doc:meta])* $name:ident $owned:literal $what:literal: $nobody:ident $viewer:ident $member:ident $operator:ident $platform:ident;)*) => {
        /// Everything that can be asked of the agent.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum What { $($(#[$doc])* $name,)* }

        impl What {
            /// Every one, in the order of the table.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];

            fn line(self) -> Line {
                match self {
                    $(Self::$name => Line {
                        what: $what, owned: $owned, nobody: $nobody, viewer: $viewer, member: $member,
                        operator: $operator, platform: $platform,
                    },)*
                }
            }
        }
    };
}

things! {
    /// The page, health, the API's description, who one is, and the claim code, which is its own proof.
    Open false "the page, `/healthz`, the API's description, `me`, `claim`": All All All All All;
    /// How machines are: status, capability, capacity, metrics.
    ReadStatus false "status, capability, capacity, metrics": All All All All All;
    /// What happens, as it happens; without who, for those who may not read the log.
    ReadEvents false "events": All All All All All;
    /// What a job is and what was found in it.
    ReadJob true "read a job and its findings": No No Own All Own;
    /// The program itself and its picture.
    ReadProgram true "read a program and its picture": No No Own All Own;
    /// Submit a program.
    Submit false "submit a program": No No All All All;
    /// Ask a machine for a price and a time.
    Quote false "ask for a quote": No No All All All;
    /// Approve a job that waits for it, or return it.
    Approve true "approve or return a job": No No No All No;
    /// Start a job.
    StartJob true "start a job": No No Own All Own;
    /// Go on with the rest of a job that failed.
    GoOnAfterFailure true "make a job of the rest of a failed one": No No Own All Own;
    /// Hold a job. It only stops motion.
    PauseJob true "hold a job": All All All All All;
    /// Let a held job go on.
    ResumeJob true "let a held job go on": No No Own All No;
    /// End a job early.
    CancelJob true "end a job early": No No Own All Own;
    /// Forget a job that is over, with its program.
    DeleteJob true "forget a job": No No Own All Own;
    /// Stop a machine at once.
    Stop false "emergency stop": All All All All All;
    /// Say that a machine is clear.
    Clear false "say that it is clear": No No All All No;
    /// Let a machine go on that waits for a person.
    ResumeMachine true "let a machine go on that waits for a person": No No Own All No;
    /// Answer what a machine asks.
    Answer false "answer what a machine asks": No No All All No;
    /// Change feed, speed or flow of what runs.
    Override true "change feed, rapids, speed, flow": No No Own All No;
    /// Home the axes.
    Home false "home": No No All All No;
    /// Move by hand.
    Jog false "jog": No No All All No;
    /// Move until the probe touches.
    Probe false "probe": No No All All No;
    /// Heat before a job.
    Preheat false "preheat": No No All All No;
    /// Send a machine a line of one's own, or a macro.
    Console false "send a line or a macro": No No No All No;
    /// Take a machine out of service, or back.
    OutOfService false "take out of service, and back": No No No All No;
    /// Read who asked for what.
    ReadLog false "read the log: who asked for what": No No No All No;
    /// Take a person out of the log.
    ErasePerson false "take a person out of the log": No No No No No;
    /// See who there is and what they may.
    ReadPeople true "see people, roles, competence": No Own Own All Own;
    /// Add, change and remove people.
    ManagePeople false "add, change, remove people": No No No No No;
    /// Set a PIN.
    SetPin true "set a PIN": No No Own Own No;
    /// See, make and revoke tokens.
    ManageTokens true "see, make, revoke tokens": No Own Own Own Own;
    /// Change the agent's own key.
    ManageKey false "change the agent's key": No No No No No;
}

/// What one role may; `None` is somebody who showed nothing.
pub(super) fn granted(role: Option<Role>, what: What, whose: Whose) -> bool {
    let line = what.line();
    let reach = match role {
        None => line.nobody,
        Some(Role::Viewer) => line.viewer,
        Some(Role::Member) => line.member,
        Some(Role::Operator) => line.operator,
        Some(Role::Platform) => line.platform,
        Some(Role::Admin) => All,
    };
    match reach {
        No => false,
        Own => whose == Whose::Own,
        All => true,
    }
}

impl What {
    /// Whether the answer can depend on whose it is.
    pub fn has_owner(self) -> bool {
        self.line().owned
    }
}

/// Whether somebody may do that, to what is theirs or not, on a machine if it is about one. The person's role and the
/// scope of the token both have to reach: a person whose role became less takes their tokens with them.
///
/// # Errors
/// Why not.
pub fn may(actor: &Actor, what: What, whose: Whose, machine: Option<&str>) -> Result<(), Denial> {
    let allowed = |role| granted(role, what, whose);
    if !allowed(actor.role) {
        return Err(match actor.role {
            None => Denial::NoToken,
            Some(role) if granted(Some(role), what, Whose::Own) && what.has_owner() => {
                debug_assert!(role != Role::Admin);
                Denial::NotYours
            }
            Some(role) => Denial::Role { role },
        });
    }
    // What is for everybody is for every token, too.
    if allowed(None) {
        return Ok(());
    }
    if let Some(scope) = actor.scope.filter(|scope| !allowed(Some(*scope))) {
        return Err(Denial::Scope { scope });
    }
    match (&actor.machines, machine) {
        (Some(machines), Some(machine)) if !machines.contains(machine) => Err(Denial::Machine),
        // A token for some machines is for nothing that is about the whole shop, its person included.
        (Some(_), None) if is_of_the_shop(what) => Err(Denial::Machine),
        _ => Ok(()),
    }
}

/// What is about the shop as a whole, and about no machine.
fn is_of_the_shop(what: What) -> bool {
    matches!(what, What::ErasePerson | What::ManagePeople | What::SetPin | What::ManageTokens | What::ManageKey)
}

/// The table as docs/access.md shows it.
pub fn table() -> String {
    let mut text =
        String::from("| | nobody | viewer | member | operator | platform | admin |\n|---|---|---|---|---|---|---|\n");
    for what in What::ALL {
        let line = what.line();
        // Writing to a String cannot fail.
        let _ = write!(text, "| {} |", line.what);
        for reach in [line.nobody, line.viewer, line.member, line.operator, line.platform, All] {
            let word = match (reach, line.owned) {
                (No, _) => "",
                (Own, _) => "own",
                (All, true) => "all",
                (All, false) => "yes",
            };
            let _ = write!(text, " {word} |");
        }
        text.push('\n');
    }
    text
}
