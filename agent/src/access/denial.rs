//! Why somebody may not.

use drivers::Notice;

use super::actor::Role;

/// Why somebody may not, or why a change of the book is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Nobody showed who they are, and this is not for everybody.
    NoToken,
    /// A token that is not known, over, or revoked.
    WrongToken,
    /// Wrong tokens or codes came too fast from there.
    TooFast {
        /// Seconds until the next is looked at.
        wait_s: u64,
    },
    /// The role does not reach that far.
    Role {
        /// Theirs.
        role: Role,
    },
    /// The token is for less than its person may.
    Scope {
        /// What it is good for.
        scope: Role,
    },
    /// It is somebody else's.
    NotYours,
    /// The token is for other machines.
    Machine,
    /// A name that cannot be one.
    Name(&'static str),
    /// The name is taken.
    NameTaken,
    /// There is no such person.
    NoPerson,
    /// There is no such token.
    UnknownToken,
    /// A token would be good for more than its person.
    TooMuch,
    /// No more are kept.
    Full {
        /// What there is too much of.
        what: &'static str,
    },
    /// A value that makes no sense.
    Invalid(String),
    /// The PIN is not that, or there is no such person.
    WrongPin,
    /// The claim code is not that, or is used up.
    WrongCode,
}

impl Denial {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoToken | Self::WrongToken => "http.unauthorized",
            Self::TooFast { .. } => "access.too_fast",
            Self::Role { .. } => "access.role",
            Self::Scope { .. } => "access.scope",
            Self::NotYours => "access.not_yours",
            Self::Machine => "access.machine",
            Self::Name(_) => "people.name",
            Self::NameTaken => "people.name_taken",
            Self::NoPerson => "people.none",
            Self::UnknownToken => "token.none",
            Self::TooMuch => "token.too_much",
            Self::Full { .. } => "people.full",
            Self::Invalid(_) => "people.invalid",
            Self::WrongPin => "pin.wrong",
            Self::WrongCode => "claim.wrong",
        }
    }

    /// The same in words: what happened, what was done, what to do.
    pub fn notice(&self) -> Notice {
        let (happened, to_do) = match self {
            Self::NoToken => (
                "The request shows no token, and this is not for everybody.".to_owned(),
                "Send a token as `Authorization: Bearer …`; `fab-agent token create` makes one.",
            ),
            Self::WrongToken => (
                "The request shows no valid token.".to_owned(),
                "Send a token that is not over and not revoked as `Authorization: Bearer …`.",
            ),
            Self::TooFast { wait_s } => (
                format!("Too many wrong tokens, codes or PINs came from there; the next is looked at in {wait_s} s."),
                "Wait, and use the right one.",
            ),
            Self::Role { role } => {
                (format!("Somebody with the role `{}` may not do that.", role.word()), "Ask somebody who may.")
            }
            Self::Scope { scope } => (
                format!("The token is good for what the role `{}` may, and that is not enough.", scope.word()),
                "Use a token with a wider scope.",
            ),
            Self::NotYours => ("It is somebody else's.".to_owned(), "Ask its owner, or an operator."),
            Self::Machine => ("The token is for other machines.".to_owned(), "Use a token for this machine."),
            Self::Name(why) => (format!("That cannot be a name: {why}."), "Choose another name."),
            Self::NameTaken => ("Somebody has that name already.".to_owned(), "Choose another name."),
            Self::NoPerson => {
                ("There is nobody of that name.".to_owned(), "`fab-agent member list` says who there is.")
            }
            Self::UnknownToken => {
                ("There is no such token.".to_owned(), "`fab-agent token list` says which there are.")
            }
            Self::TooMuch => {
                ("A token cannot be good for more than its person may.".to_owned(), "Choose a narrower scope.")
            }
            Self::Full { what } => (format!("No more {what} are kept."), "Remove some that are not needed."),
            Self::Invalid(why) => (why.clone(), "Correct it and ask again."),
            Self::WrongPin => ("Name and PIN do not belong together.".to_owned(), "Try again, or have the PIN set."),
            Self::WrongCode => (
                "That is not the claim code, or it was used already.".to_owned(),
                "It is in the file `claim` of the agent's store, which root can read.",
            ),
        };
        Notice::new(self.code(), happened, "Nothing was done.", to_do)
    }
}

impl From<Denial> for Notice {
    fn from(denial: Denial) -> Self {
        denial.notice()
    }
}
